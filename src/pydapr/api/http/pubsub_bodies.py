"""Bodies of the bulk publish API over HTTP. Used by `pubsub`, which imports this with its first such request.

Events go on as they came, byte by byte. What is in the usual form is read by msgspec; the rest as Go would read it.
"""

import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec

from pydapr.blocks.pubsub import cloudevents
from pydapr.blocks.pubsub.errors import EventsUnreadable, EventUnfit
from pydapr.components.pubsub import NO_METADATA, Entry, Message

_TYPE = "bulkPublishMessageEntry"
_MISMATCH = "error: mismatch between contentType and event"
_NULL = msgspec.Raw(b"null")


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    entryId: str | None = None
    event: msgspec.Raw = _NULL
    contentType: str | None = None
    metadata: dict[str, str] | None = None


class _Unfit(ValueError):
    """An event does not fit its content type; the message is the reason."""


_read = msgspec.json.Decoder(list[_Event] | None).decode


def events(body: bytes, pubsub: str, topic: str, app_id: str, metadata: Mapping[str, str]) -> list[Entry]:
    """The events of a body; `metadata` are those of the query. Raises `EventsUnreadable`, `EventUnfit`."""
    try:
        body.decode()
        found = _read(body) or []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            found = _as_go(body)
        except (ValueError, RecursionError) as error:
            raise EventsUnreadable(pubsub, topic, app_id, str(error)) from None
    try:
        return [_entry(one, topic, metadata) for one in found]
    except _Unfit as error:
        raise EventUnfit(pubsub, topic, app_id, str(error)) from None


def _entry(one: _Event, topic: str, metadata: Mapping[str, str]) -> Entry:
    """As in the original, an event without metadata of its own does not have those of the request either."""
    own = NO_METADATA if one.metadata is None else {**metadata, **one.metadata}
    content_type = one.contentType or ""
    return Entry(one.entryId or "", Message(topic, _content(bytes(one.event), content_type), own, content_type))


def _content(event: bytes, content_type: str) -> bytes:
    """The bytes that an event stands for. Raises `_Unfit`."""
    kind = content_type.partition(";")[0].lower()
    if kind in (cloudevents.JSON, cloudevents.CLOUD_EVENT):
        return event
    is_binary = kind == cloudevents.BINARY
    if not is_binary and kind != "application/xml" and not content_type.lower().startswith("text/"):
        raise _Unfit(_MISMATCH)
    if not event.startswith(b'"'):
        raise _Unfit(_MISMATCH)
    text: str = json.loads(event)
    if not is_binary:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    try:
        return b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        place = next((place for place, char in enumerate(text) if char not in _BASE64), len(text.rstrip("=")))
        told = (
            f"error: unable to decode base64 application/octect-stream data: illegal base64 data at input byte {place}"
        )
        raise _Unfit(told) from None


_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


def _as_go(body: bytes) -> list[_Event]:
    """The events in the first document of a body: names without regard to case, unknown ones passed over.

    Raises `ValueError` in Go's words.
    """
    try:
        document = cloudevents.json_document(body)
    except (ValueError, RecursionError):
        raise ValueError(cloudevents.words(body)) from None
    if document is None:
        return []
    if not isinstance(document, list):
        raise ValueError(f"json: cannot unmarshal {_kind(document)} into Go value of type []http.{_TYPE}")
    return [_event(one) for one in document]


def _event(document: Any) -> _Event:
    if document is None:
        return _Event()
    if not isinstance(document, dict):
        raise ValueError(f"json: cannot unmarshal {_kind(document)} into Go value of type http.{_TYPE}")
    fields = {name.lower(): one for name, one in document.items()}
    metadata = fields.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _wrong(metadata, "metadata", "map[string]string")
    for value in (metadata or {}).values():
        _text(value, "metadata")
    event = json.dumps(fields.get("event"), ensure_ascii=False, separators=(",", ":"))
    return _Event(
        _text(fields.get("entryid"), "entryId"),
        msgspec.Raw(event.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()),
        _text(fields.get("contenttype"), "contentType"),
        None if metadata is None else {name: value or "" for name, value in metadata.items()},
    )


def _text(value: Any, field: str) -> str:
    if value is not None and not isinstance(value, str):
        raise _wrong(value, field, "string")
    return value or ""


def _wrong(value: Any, field: str, type_: str) -> ValueError:
    return ValueError(f"json: cannot unmarshal {_kind(value)} into Go struct field {_TYPE}.{field} of type {type_}")


def _kind(value: Any) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")
