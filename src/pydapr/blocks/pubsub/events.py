"""From a broker's message to the CloudEvent that an app gets. Pure: the time is an argument.

Called by `deliver` for single messages and by who delivers many. What a message is taken for is the original's choice
(v1.18.3, `pkg/runtime/subscription/subscription.go`): raw bytes when the subscription says so, a binary event whose
attributes are in the metadata when its content type is `application/octet-stream`, a CloudEvent in JSON else.
"""

import contextlib
import json
import os
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from pydapr.components.pubsub import Message

CONTENT_TYPE, BINARY = "content-type", "application/octet-stream"

ID, EXPIRATION = "id", "expiration"
TRACE_PARENT, TRACE_ID, TRACE_STATE = "traceparent", "traceid", "tracestate"

_PREFIX = "ce_"
_is_time = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode

Fields = dict[str, Any]


class Unreadable(Exception):
    """The message is not what the subscription takes it for. The message is the reason."""


class Event:
    """A message on its way to the app: as it came from the broker, and as a CloudEvent."""

    __slots__ = ("body", "fields", "message", "path", "pubsub", "topic")

    def __init__(self, message: Message, pubsub: str, topic: str, fields: Fields, body: bytes) -> None:
        self.message = message
        self.pubsub = pubsub
        self.topic = topic
        """As the app calls it."""
        self.fields = fields
        self.body = body
        """What an app that speaks HTTP gets."""
        self.path = ""
        """Where the app wants it."""

    @property
    def shown_id(self) -> str:
        """The event's id for the log."""
        return shown(self.fields.get(ID))

    @property
    def trace(self) -> Any:
        """What it says of the trace it is part of: text, None when nothing, or anything else by mistake."""
        found = self.fields.get(TRACE_PARENT)
        return self.fields.get(TRACE_ID) if found is None else found


def read(message: Message, pubsub: str, topic: str, is_raw: bool) -> Event:
    """The event that a message is. Raises `Unreadable`."""
    data, metadata = message.data, message.metadata
    if is_raw:
        fields = raw(data, pubsub, topic)
        for name in (TRACE_ID, TRACE_PARENT, TRACE_STATE):
            if name in metadata:
                fields[name] = metadata[name]
        if TRACE_PARENT in metadata:
            fields[TRACE_ID] = metadata[TRACE_PARENT]
        return Event(message, pubsub, topic, fields, _encode(fields))
    kind = message.content_type or metadata.get(CONTENT_TYPE, "")
    if kind and is_binary(kind):
        fields = {name.lower()[3:]: value for name, value in metadata.items() if name.lower().startswith(_PREFIX)}
        fields["data"], fields["datacontenttype"] = data, kind
        return Event(message, pubsub, topic, fields, data)
    fields = decode(data)
    if TRACE_PARENT not in fields or TRACE_ID not in fields or TRACE_STATE not in fields:
        _take_trace(fields, metadata)
    return Event(message, pubsub, topic, fields, data)


def decode(data: bytes) -> Fields:
    """A CloudEvent in JSON. Raises `Unreadable`."""
    try:
        fields = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = decoded(data)
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise Unreadable(f"json: cannot unmarshal {_NAMES[type(fields)]} into a CloudEvent, which is an object")
    return fields


def decoded(data: bytes) -> Any:
    """A value in JSON. What is no UTF-8, and halves of surrogate pairs, are replaced, as Go does it; all else that is
    wrong is `Unreadable`."""
    try:
        try:
            return _decode(data)
        except UnicodeDecodeError:
            data = data.decode("utf-8", "replace").encode()
            return _decode(data)
    except RecursionError:
        raise Unreadable("exceeded max depth") from None
    except msgspec.DecodeError as error:
        if _may_be_half(data):
            with contextlib.suppress(msgspec.DecodeError):
                return _decode(_is_escape.sub(_whole, data.decode("utf-8", "replace").encode()))
        raise Unreadable(str(error)) from None


_may_be_half = re.compile(rb"\\u[dD][89a-fA-F]").search
_is_escape = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)


def _whole(escape: re.Match[bytes]) -> bytes:
    text = escape[0]
    return b"\\ufffd" if len(text) == 6 and b"d8" <= text[2:4].lower() <= b"df" else text


_NAMES = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def _take_trace(fields: Fields, metadata: Mapping[str, str]) -> None:
    """What the event does not say of its trace the metadata may; `traceparent` counts for `traceid`, too."""
    if TRACE_ID not in fields and TRACE_ID in metadata:
        fields[TRACE_ID] = metadata[TRACE_ID]
    if TRACE_PARENT not in fields and TRACE_PARENT in metadata:
        fields[TRACE_ID] = fields[TRACE_PARENT] = metadata[TRACE_PARENT]
    if TRACE_STATE not in fields and TRACE_STATE in metadata:
        fields[TRACE_STATE] = metadata[TRACE_STATE]


def raw(data: bytes, pubsub: str, topic: str) -> Fields:
    """The event around bytes that are none. Its id is new each time, since the bytes have none."""
    number = bytearray(os.urandom(16))
    number[6], number[8] = number[6] & 0x0F | 0x40, number[8] & 0x3F | 0x80
    text = number.hex()
    return {
        ID: f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        "specversion": "1.0",
        "datacontenttype": BINARY,
        "source": "Dapr",
        "type": "com.dapr.event.sent",
        "topic": topic,
        "pubsubname": pubsub,
        "data_base64": b64encode(data).decode(),
    }


def has_expired(fields: Fields, now: float) -> bool:
    """Whether the event's `expiration` lies before `now`, in Unix seconds. What is no time does not expire."""
    text = fields.get(EXPIRATION)
    if not isinstance(text, str) or not _is_time(text):
        return False
    try:
        return datetime.fromisoformat(text.replace(",", ".")).timestamp() < now
    except (ValueError, OverflowError):
        return False


def is_binary(content_type: str) -> bool:
    """Whether it is `application/octet-stream`, whatever its parameters."""
    return content_type.partition(";")[0].lower() == BINARY


def shown(value: Any) -> str:
    """A value of an event for the log, as Go prints it."""
    if isinstance(value, str):
        return value
    return "<nil>" if value is None else json.dumps(value, default=str)
