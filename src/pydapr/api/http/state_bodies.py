"""The bodies of the state API over HTTP, read and written. Used by `state`, which imports this with its first request.

Values go through as they came, byte by byte. What is in the usual form is read by msgspec; the rest as Go would read it:
names without regard to case, unknown ones passed over, nothing minded that stands behind the document.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pydapr.api.http import errors
from pydapr.blocks.state import Found
from pydapr.components.state import NO_METADATA, Delete, Match, Set
from pydapr.errors import MalformedRequest, StateOperationUnknown

_NULL = msgspec.Raw(b"null")


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    concurrency: str | None = None
    consistency: str | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    key: str = ""
    value: msgspec.Raw = _NULL
    etag: str | None = None
    metadata: dict[str, str] | None = None
    options: _Options | None = None
    contentType: str | None = None


class _Operation(msgspec.Struct, forbid_unknown_fields=True):
    operation: str = ""
    request: _Request | None = None


class _Transaction(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[_Operation] | None = None
    metadata: dict[str, str] | None = None


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[str] | None = None
    metadata: dict[str, str] | None = None
    parallelism: int | None = None


_read_requests = msgspec.json.Decoder(list[_Request]).decode
_read_transaction = msgspec.json.Decoder(_Transaction).decode
_read_keys = msgspec.json.Decoder(_Keys).decode
_check_document = msgspec.json.Decoder(msgspec.Raw).decode


def saved(body: bytes, metadata: Mapping[str, str]) -> list[Set]:
    """The values that a body wants saved; `metadata` are those of the query. Raises `MalformedRequest`."""
    try:
        requests = _read_requests(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        requests = [_request(one) for one in _array(_document(body), "the body", "")]
    return [_set(request, metadata) for request in requests]


def transaction(body: bytes, metadata: Mapping[str, str]) -> tuple[list[Set | Delete], Mapping[str, str]]:
    """Operations and metadata of a transaction. Raises `MalformedRequest`, `StateOperationUnknown`."""
    before = "failed deserializing HTTP body: "
    try:
        wanted = _read_transaction(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        fields = _object(_document(body, before), "the body", before)
        operations = [
            _operation(_object(one, "an operation", before), before)
            for one in _array(fields.get("operations"), "operations", before)
        ]
        wanted = _Transaction(operations, _texts(fields.get("metadata"), before))
    made = [_made(one, metadata) for one in wanted.operations or ()]
    return made, _merged(wanted.metadata, metadata)


def keys(body: bytes, metadata: Mapping[str, str]) -> tuple[list[str], int, Mapping[str, str]]:
    """Keys, parallelism and metadata of a bulk request. Raises `MalformedRequest`."""
    before = "failed deserializing HTTP body: "
    try:
        wanted = _read_keys(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        fields = _object(_document(body, before), "the body", before)
        parallelism = fields.get("parallelism") or 0
        if not isinstance(parallelism, int) or isinstance(parallelism, bool):
            raise MalformedRequest(f"{before}parallelism must be a whole number") from None
        names = [_text(one, "a key", before) for one in _array(fields.get("keys"), "keys", before)]
        wanted = _Keys(names, _texts(fields.get("metadata"), before), parallelism)
    return wanted.keys or [], wanted.parallelism or 0, _merged(wanted.metadata, metadata)


def _set(request: _Request, metadata: Mapping[str, str]) -> Set:
    options = request.options
    made = Set(request.key, bytes(request.value), is_json=True, etag=request.etag or "")
    if options is not None:
        made.concurrency, made.consistency = options.concurrency or "", options.consistency or ""
    if metadata or request.metadata:
        made.metadata = _merged(request.metadata, metadata)
    if request.contentType:
        made.content_type = request.contentType
    return made


def _made(one: _Operation, metadata: Mapping[str, str]) -> Set | Delete:
    if one.operation not in ("upsert", "delete"):
        raise StateOperationUnknown(one.operation)
    request = _set(one.request or _Request(), metadata)
    if one.operation == "upsert":
        return request
    return Delete(
        request.key,
        etag=request.etag,
        concurrency=request.concurrency,
        consistency=request.consistency,
        metadata=request.metadata,
    )


def _merged(own: Mapping[str, str] | None, query: Mapping[str, str]) -> Mapping[str, str]:
    """Those of the query count more."""
    if not own:
        return query or NO_METADATA
    return {**own, **query}


# -- as Go reads it --


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _document(body: bytes, before: str = "") -> Any:
    """The first document in a body."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise MalformedRequest(f"{before}EOF")
    try:
        return _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"{before}invalid JSON: {error}") from None


def _array(value: Any, what: str, before: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedRequest(f"{before}json: {what} must be an array")
    return value


def _object(value: Any, what: str, before: str) -> dict[str, Any]:
    """By names in lower case."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedRequest(f"{before}json: {what} must be an object")
    return {name.lower(): one for name, one in value.items()}


def _text(value: Any, what: str, before: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedRequest(f"{before}json: {what} must be a string")
    return _whole(value)


def _texts(value: Any, before: str) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise MalformedRequest(f"{before}json: metadata must be an object of strings")
    return {_whole(name): _text(one, f"metadata.{name}", before) for name, one in value.items()}


def _whole(text: str) -> str:
    """`text` without halves of pairs, which UTF-8 does not have."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _request(document: Any, before: str = "") -> _Request:
    fields = _object(document, "a request", before)
    options = _object(fields.get("options"), "options", before)
    etag = fields.get("etag")
    value = _whole(json.dumps(fields.get("value"), ensure_ascii=False, separators=(",", ":")))
    return _Request(
        _text(fields.get("key"), "key", before),
        msgspec.Raw(value.encode()),
        None if etag is None else _text(etag, "etag", before),
        _texts(fields.get("metadata"), before),
        _Options(
            _text(options.get("concurrency"), "options.concurrency", before),
            _text(options.get("consistency"), "options.consistency", before),
        ),
        _text(fields.get("contenttype"), "contentType", before),
    )


def _operation(fields: dict[str, Any], before: str) -> _Operation:
    return _Operation(_text(fields.get("operation"), "operation", before), _request(fields.get("request"), before))


# -- answers --


def found(items: Iterable[Found]) -> bytes:
    """What was asked for in bulk, or listed: an array."""
    return b"[" + b",".join([_entry(one) for one in items]) + b"]"


def listed(items: Iterable[Found], token: str) -> bytes:
    """A page of keys."""
    end = b',"token":' + errors.encode(token) if token else b""
    return b'{"items":' + found(items) + end + b"}"


def matches(items: Iterable[Match], token: str, metadata: Mapping[str, str]) -> bytes:
    """What a query has found."""
    body = b'{"results":[' + b",".join([_match(one) for one in items]) + b"]"
    if token:
        body += b',"token":' + errors.encode(token)
    if metadata:
        body += b',"metadata":' + errors.encode(dict(sorted(metadata.items())))
    return body + b"}"


def _entry(one: Found) -> bytes:
    parts = [b'{"key":' + errors.encode(one.key)]
    item, error = one.item, one.error
    if item is not None and item.value:
        value, error = _value(item.value)
        if not error:
            parts.append(b'"data":' + value)
    if item is not None and item.etag:
        parts.append(b'"etag":' + errors.encode(item.etag))
    if item is not None and item.metadata:
        parts.append(b'"metadata":' + errors.encode(dict(item.metadata)))
    if error:
        parts.append(b'"error":' + errors.encode(error))
    return b",".join(parts) + b"}"


def _match(one: Match) -> bytes:
    value, error = _value(one.value) if one.value else (b"null", "")
    parts = [b'{"key":' + errors.encode(one.key), b'"data":' + value]
    if one.etag:
        parts.append(b'"etag":' + errors.encode(one.etag))
    if one.error or error:
        parts.append(b'"error":' + errors.encode(one.error or error))
    return b",".join(parts) + b"}"


def _value(value: bytes) -> tuple[bytes, str]:
    """A value as it stands in JSON, and why it cannot. What is no document, but text, becomes a string."""
    try:
        _check_document(value)
        value.decode()
        return value, ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return errors.encode(value.decode()), ""
    except UnicodeDecodeError:
        return b"null", "the value is neither JSON nor text: read it by itself"
