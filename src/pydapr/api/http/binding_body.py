"""The body of a request to an output binding over HTTP. Used by `bindings`, which imports this with its first request.

Data go through as they came, byte by byte. What is in the usual form is read by msgspec, the rest as Go would read it.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from pydapr.errors import MalformedRequest


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """What an app asks for."""

    operation: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    metadata: dict[str, str] | None = None


_read_usual = msgspec.json.Decoder(Wanted).decode


def read(body: bytes) -> Wanted:
    """Raises `MalformedRequest`."""
    try:
        return _read_usual(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _as_go(body)


# -- as Go reads it --


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_halves = re.compile("[\ud800-\udfff]")
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _as_go(body: bytes) -> Wanted:
    """Names without regard to case, unknown ones passed over, nothing minded behind the document."""
    before = "failed deserializing HTTP body: "
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise MalformedRequest(f"{before}EOF")
    try:
        document = _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"{before}invalid JSON: {error}") from None
    if document is None:
        return Wanted()
    if not isinstance(document, dict):
        raise MalformedRequest(f"{before}json: the body must be an object")
    fields = {name.lower(): value for name, value in document.items()}
    operation, metadata = fields.get("operation"), fields.get("metadata")
    if not _are_texts([operation]):
        raise MalformedRequest(f"{before}json: operation must be a string")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not _are_texts(metadata.values()):
        raise MalformedRequest(f"{before}json: metadata must be an object of strings")
    data = _whole(json.dumps(fields.get("data"), ensure_ascii=False, separators=(",", ":"))).encode()
    texts = {_whole(name): _whole(value or "") for name, value in metadata.items()}
    return Wanted(_whole(operation or ""), msgspec.Raw(data), texts)


def _whole(text: str) -> str:
    """`text` without halves of characters, which JSON can name and which have no bytes."""
    return _halves.sub("\ufffd", text)


def _are_texts(values: Iterable[object]) -> bool:
    return all(value is None or isinstance(value, str) for value in values)
