"""The CloudEvent around what an app publishes (CloudEvents 1.0, JSON format). Pure; called by `publish`.

What the envelope has, and what of it a request can override, is the original's (v1.18.3, components-contrib
`pubsub/envelope.go`, `pkg/runtime/pubsub/cloudevents.go`); JSON data goes in as the bytes that came, if they are a
document.
"""

import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from pydapr.lib import durations
from pydapr.wire import invocation

CLOUD_EVENT, JSON, BINARY = "application/cloudevents+json", "application/json", "application/octet-stream"
_EVENT_IN_PROTOBUF, _PROTOBUF = "application/cloudevents+protobuf", "application/x-protobuf"
SOURCE, TYPE = "Dapr", "com.dapr.event.sent"
"""What an event has that does not say so itself."""

_PLAIN = "text/plain"
_OVERRIDES = "id", "source", "type", "traceid", "traceparent", "tracestate", "subject"
_AT_A_TIME = 64
"""Ids that are made together."""

_TEXTS = (1, 2, 3, 4, 7)
"""Fields of io.cloudevents.v1.CloudEvent that are text."""

_LONGEST_TTL = (1 << 63) - 1

_string = msgspec.json.Encoder().encode
_sorted = msgspec.json.Encoder(order="sorted").encode
_document = msgspec.json.Decoder(msgspec.Raw).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class NotAnEvent(ValueError):
    """What is said to be a CloudEvent is none; the message is the reason."""


class Ids:
    """Version 4 UUIDs as text. The standard library's take five times as long."""

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def __call__(self) -> bytes:
        try:
            return self._ready.pop()
        except IndexError:
            self._ready = [_uuid(os.urandom(16)) for _ in range(_AT_A_TIME)]
            return self._ready.pop()


def _uuid(number: bytes) -> bytes:
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[number[8] & 3]}{text[17:20]}-{text[20:]}".encode()


class Clock:
    """The time of day as text, RFC 3339 in whole seconds; it is written once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, moment(second)
        return self._text


def moment(seconds: float) -> bytes:
    """A Unix time in RFC 3339, in whole seconds; the last there is for what lies beyond."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(seconds, 253402300799))).encode()
    except (ValueError, OverflowError, OSError):
        return b"9999-12-31T23:59:59Z"


class Envelope:
    """Makes the events of one app, topic and content type."""

    __slots__ = (
        "_about", "_clock", "_content_type", "_ids", "_is_binary", "_is_event", "_is_json", "_is_protobuf", "_rest",
        "_where",
    )  # fmt: skip

    def __init__(self, ids: Ids, clock: Clock, app_id: str, pubsub: str, topic: str, content_type: str) -> None:
        kind = content_type.partition(";")[0].lower()
        self._ids, self._clock = ids, clock
        self._is_event = kind == CLOUD_EVENT
        self._is_json = kind == JSON
        self._is_binary = kind in (BINARY, _EVENT_IN_PROTOBUF)
        self._is_protobuf = kind == _PROTOBUF
        content_type = content_type or _PLAIN
        self._content_type = b',"datacontenttype":%b,"id":"' % _string(content_type)
        self._about = b'","pubsubname":%b,"source":%b,"specversion":"1.0","time":"' % (
            _string(pubsub), _string(app_id),
        )  # fmt: skip
        self._where = b'","topic":%b,"traceid":"' % _string(topic)
        self._rest = {
            "datacontenttype": content_type, "pubsubname": pubsub, "source": app_id, "specversion": "1.0",
            "topic": topic, "type": TYPE,
        }  # fmt: skip

    def around(
        self,
        data: bytes,
        parent: bytes,
        state: bytes,
        metadata: Mapping[str, str],
        has_ttl: bool,
        at: float | None = None,
    ) -> bytes:
        """The event for `data`. `parent` and `state` are those of the request's trace.

        `has_ttl`: the broker ends messages itself, and the event need not say when; `at`, in Unix seconds, is when it
        is due, if not now. Raises `NotAnEvent`.
        """
        if self._is_event:
            return self._passed(data, parent, state, expiration(metadata, at) if metadata and not has_ttl else "")
        start = b'{"data":'
        if self._is_json:
            content = json_of(data)
        elif self._is_binary or (self._is_protobuf and _is_message(data)):
            start, content = b'{"data_base64":', b'"%b"' % b64encode(data)
        else:
            content = _string(data.decode("utf-8", "replace"))
        if metadata:
            ends = "" if has_ttl else expiration(metadata, at)
            given = _given(metadata)
            if given or ends:
                return self._with(start, content, parent, state, given, ends)
        if state:
            state = _string(state.decode("latin-1"))[1:-1]
        return b'%b%b%b%b%b%b%b%b","traceparent":"%b","tracestate":"%b","type":"com.dapr.event.sent"}' % (
            start, content, self._content_type, self._ids(), self._about, self._clock(), self._where,
            parent, parent, state,
        )  # fmt: skip

    def _with(
        self, start: bytes, content: bytes, parent: bytes, state: bytes, given: dict[str, str], ends: str
    ) -> bytes:
        """The event in which the request overrides something, or which ends."""
        trace = given.pop("traceparent", "") or given.get("traceid") or parent.decode()
        fields: dict[str, Any] = {
            **self._rest,
            "id": self._ids().decode(),
            "time": self._clock().decode(),
            "tracestate": state.decode("latin-1"),
            **given,
            "traceid": trace,
            "traceparent": trace,
            start[2:-2].decode(): msgspec.Raw(content),
        }
        if ends:
            fields["expiration"] = ends
        return _sorted(fields)

    def _passed(self, data: bytes, parent: bytes, state: bytes, ends: str) -> bytes:
        """The event that `data` is, with what every event of Dapr has. Raises `NotAnEvent`."""
        fields = fields_of(data)
        rest = self._rest
        if "time" not in fields:
            fields["time"] = msgspec.Raw(b'"%b"' % self._clock())
        if "traceid" not in fields:
            fields["traceid"] = fields["traceparent"] = msgspec.Raw(b'"%b"' % parent)
        if "tracestate" not in fields:
            fields["tracestate"] = _raw(state.decode("latin-1"))
        fields["topic"], fields["pubsubname"] = _raw(rest["topic"]), _raw(rest["pubsubname"])
        for name, value in (("source", SOURCE), ("type", TYPE), ("specversion", "1.0")):
            if bytes(fields.get(name, b"null")) == b"null":
                fields[name] = _raw(value)
        if ends:
            fields["expiration"] = _raw(ends)
        return _sorted(fields)


def made(fields: dict[str, Any], data: bytes) -> bytes:
    """The event of `fields`, among them `datacontenttype`, with `data`."""
    content_type = fields["datacontenttype"] = fields.get("datacontenttype") or _PLAIN
    kind = content_type.partition(";")[0].lower()
    if kind == JSON:
        return _sorted({**fields, "data": msgspec.Raw(json_of(data))})
    if kind in (BINARY, _EVENT_IN_PROTOBUF):
        return _sorted({**fields, "data_base64": b64encode(data).decode()})
    return _sorted({**fields, "data": data.decode("utf-8", "replace")})


def with_fields(event: bytes, more: Mapping[str, str]) -> bytes:
    """An event in JSON with these attributes, whatever it has of them. Raises `NotAnEvent`."""
    return _sorted({**fields_of(event), **more})


def _is_message(data: bytes) -> bool:
    """Whether `data` can be a CloudEvent in protobuf: the fields that are text in it are text."""
    try:
        for number, value in invocation.fields(data):
            if number in _TEXTS and isinstance(value, bytes):
                value.decode()
    except (invocation.Invalid, UnicodeDecodeError):
        return False
    return True


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(_string(text))


def _given(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a request overrides, without what it leaves empty."""
    found = {}
    for name, value in metadata.items():
        if value and name[:11].lower() == "cloudevent.":
            attribute = name[11:].lower()
            if attribute in _OVERRIDES:
                found[attribute] = value
    return found


def json_of(data: bytes) -> bytes:
    """`data` as a value of JSON: the document that it begins with, or a string."""
    try:
        if _is_usual(data):
            _document(data)
            return data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _lenient(data)
    except (ValueError, RecursionError):
        return _string(data.decode("utf-8", "replace"))


def fields_of(data: bytes) -> dict[str, msgspec.Raw]:
    """The attributes of a CloudEvent in JSON. Raises `NotAnEvent`."""
    try:
        if _is_usual(data):
            return _object(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _object(_lenient(data))
    except msgspec.ValidationError as error:
        kind = str(error).rpartition("got ")[2].strip("`")
        kind = {"str": "string", "int": "number", "float": "number"}.get(kind, kind)
        raise NotAnEvent(f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}") from None
    except (ValueError, RecursionError) as wrong:
        raise NotAnEvent(_words(wrong, data)) from None


def _is_usual(data: bytes) -> bool:
    """Whether `data` has no escape of half a character in it. Raises `UnicodeDecodeError` for what is no text."""
    if not data.isascii():
        data.decode()
    return b"\\ud" not in data and b"\\uD" not in data


_escapes = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_reader = json.JSONDecoder(parse_constant=_refuse)


def _lenient(data: bytes) -> bytes:
    """The document that `data` begins with, written anew: what is no UTF-8 in it is replaced, as Go does it.

    Raises `ValueError`.
    """
    text = data.decode("utf-8", "replace").lstrip(" \t\r\n")
    end = _reader.raw_decode(text)[1]
    text = _escapes.sub(lambda found: "\\ufffd" if found["half"] else found[0], text[:end])
    return text.encode()


def _words(error: Exception, data: bytes) -> str:
    """Go's words for why a document cannot be read."""
    text = data.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        return "EOF"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    return f"invalid character {text[error.pos]!r} looking for beginning of value"


def json_document(data: bytes) -> Any:
    """The document that `data` begins with. Raises `ValueError`."""
    return _reader.raw_decode(data.decode("utf-8", "replace").lstrip(" \t\r\n"))[0]


def words(data: bytes) -> str:
    """Go's words for why `data` does not begin with a document; "" if it does."""
    try:
        _lenient(data)
    except (ValueError, RecursionError) as error:
        return _words(error, data)
    return ""


def ttl(metadata: Mapping[str, str]) -> float | None:
    """How many seconds a message lasts by its metadata; None for ever, and for what cannot be understood."""
    text = ""
    for wanted in ("ttl", "ttlinseconds"):
        text = next((value for name, value in metadata.items() if name.lower() == wanted), "")
        if text:
            break
    if not text:
        return None
    try:
        return max(durations.parse(text), 0.0)
    except ValueError:
        pass
    number = text.removeprefix("+")
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) <= _LONGEST_TTL:
        return None
    return float(number)


def expiration(metadata: Mapping[str, str], at: float | None = None) -> str:
    """When a message that is due `at`, or now, ends by its metadata, in RFC 3339, "" for never."""
    seconds = ttl(metadata)
    return "" if seconds is None else moment((time.time() if at is None else at) + seconds).decode()
