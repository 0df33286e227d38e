"""The bodies of transactions of actors over HTTP. Used by `actors`, which imports this with the first of them."""

import json
from typing import TypeVar

import msgspec

from pydapr.components.state import NO_METADATA, Delete, Set
from pydapr.errors import ActorStateSaveFailed, MalformedRequest

_T = TypeVar("_T")

_NULL = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    key: str | None = None
    value: msgspec.Raw = _NULL
    etag: str | None = None
    metadata: dict[str, str] | None = None


class _Operation(msgspec.Struct):
    operation: str | None = None
    request: msgspec.Raw = _NULL


_Fields = dict[str, msgspec.Raw]
_read = msgspec.json.Decoder(list[_Fields | None] | None).decode
_read_fields = msgspec.json.Decoder(_Fields).decode


def operations(body: bytes) -> list[_Operation]:
    """What a transaction is made of. Raises `MalformedRequest`."""
    try:
        try:
            found = _read(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = _read(_with_whole_letters(body))
        return [_named_as_go(_Operation, fields or {}) for fields in found or ()]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason = "EOF" if not body.strip() else str(error)
        raise MalformedRequest(f"failed deserializing HTTP body: {reason}") from None


def _with_whole_letters(document: bytes) -> bytes:
    """As Go reads it: what is no UTF-8, or a half of a pair, as JavaScript cuts letters, becomes U+FFFD."""
    text = json.dumps(json.loads(document.decode("utf-8", "replace")), ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _named_as_go(kind: type[_T], fields: _Fields) -> _T:
    """The names without regard to case, as Go has them."""
    return msgspec.convert({name.lower(): _value(name.lower(), raw) for name, raw in fields.items()}, kind)


def _value(name: str, raw: msgspec.Raw) -> object:
    return raw if name in ("request", "value") else msgspec.json.decode(raw)


def made(one: _Operation) -> Set | Delete:
    """One of them for the store. Raises `ActorStateSaveFailed`."""
    if bytes(one.request) == b"null":
        raise ActorStateSaveFailed("request data is empty")
    if not one.operation:
        raise ActorStateSaveFailed("operation is empty")
    if one.operation not in ("upsert", "delete"):
        raise ActorStateSaveFailed(f"operation type {one.operation} not supported")
    try:
        request = _named_as_go(_Request, _read_fields(one.request))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ActorStateSaveFailed(str(error)) from None
    if one.operation == "delete":
        return Delete(request.key or "", etag=request.etag or "")
    return Set(
        request.key or "",
        bytes(request.value),
        is_json=True,
        etag=request.etag or "",
        metadata=request.metadata or NO_METADATA,
    )
