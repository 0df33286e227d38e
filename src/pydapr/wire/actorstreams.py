"""Actors hosted over a stream: `runtime.v1.SubscribeActorEventsRequestAlpha1` and `…ResponseAlpha1`.

Written and read by hand like `wire.topicstreams`: every call of such an actor is one message each way. Called by
`app.actor_stream`; what the app says first is read by `api.grpc.actor_events`.
"""

from collections.abc import Sequence

from pydapr.wire import headers as names
from pydapr.wire.invocation import Invalid, field, fields, octets, text_field

__all__ = [
    "DEACTIVATE",
    "FAILED",
    "GREETING",
    "INITIAL",
    "INVOKE",
    "REMINDER",
    "TIMER",
    "Invalid",
    "Reply",
    "deactivate",
    "invoke",
    "reminder",
    "reply",
    "timer",
]  # fmt: skip

Header = tuple[bytes, bytes]
Packed = tuple[bytes, bytes]
"""Type and value of a `google.protobuf.Any`."""

GREETING = b"\x0a\x00"
"""The response that says the types are hosted."""

INITIAL, INVOKE, REMINDER, TIMER, DEACTIVATE, FAILED = 1, 2, 3, 4, 5, 6
"""What a request is, by the number of its field; 2 to 5 are that of a response, too."""

_BOUND = 1024
_LONGEST = 512

_entries: dict[Header, bytes] = {}


class Reply:
    """A request of the app that answers something. `kind` is what it is about, `is_set` its one flag: that the answer
    is an error, or that no reminder is wanted any more."""

    __slots__ = ("code", "data", "id", "is_set", "kind", "message", "metadata")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.id = b""
        self.data = b""
        self.metadata: list[Header] = []
        self.is_set = False
        self.code = 0
        self.message = ""


# -- writing --


def invoke(id: bytes, actor_type: str, actor_id: str, method: str, data: bytes, headers: Sequence[Header]) -> bytes:
    """The response that has a method called. `headers` are its metadata, in the letter case they are given in; of a
    name that stands twice the first counts, as in the original."""
    out = [
        field(b"\x0a", id),
        text_field(b"\x12", actor_type),
        text_field(b"\x1a", actor_id),
        text_field(b"\x22", method),
    ]
    if data:
        out.append(field(b"\x2a", data))
    seen: set[bytes] = set()
    for header in headers:
        if header[0] not in seen:
            seen.add(header[0])
            out.append(_entries.get(header) or _entry(header))
    return field(b"\x12", b"".join(out))


def reminder(id: bytes, actor_type: str, actor_id: str, name: str, due: str, period: str, data: Packed | None) -> bytes:
    """The response that has a reminder done."""
    out = _named(id, actor_type, actor_id, name, due, period)
    if data is not None:
        out += field(b"\x3a", _any(data))
    return field(b"\x1a", out)


def timer(
    id: bytes, actor_type: str, actor_id: str, name: str, due: str, period: str, callback: str, data: Packed | None
) -> bytes:
    """The response that has a timer done."""
    out = _named(id, actor_type, actor_id, name, due, period) + text_field(b"\x3a", callback)
    if data is not None:
        out += field(b"\x42", _any(data))
    return field(b"\x22", out)


def deactivate(id: bytes, actor_type: str, actor_id: str) -> bytes:
    """The response that says that an actor is not needed any more."""
    return field(b"\x2a", field(b"\x0a", id) + text_field(b"\x12", actor_type) + text_field(b"\x1a", actor_id))


def _named(id: bytes, actor_type: str, actor_id: str, name: str, due: str, period: str) -> bytes:
    said = ((b"\x12", actor_type), (b"\x1a", actor_id), (b"\x22", name), (b"\x2a", due), (b"\x32", period))
    return field(b"\x0a", id) + b"".join([text_field(tag, text) for tag, text in said])


def _any(data: Packed) -> bytes:
    type_url, value = data
    return (field(b"\x0a", type_url) if type_url else b"") + (field(b"\x12", value) if value else b"")


def _entry(header: Header) -> bytes:
    """A field of the metadata; what is no UTF-8 is read as Latin-1, since no text of protobuf may hold it."""
    name, value = header
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError:
            value = value.decode("latin-1").encode()
    entry = field(b"\x32", field(b"\x0a", name) + field(b"\x12", value))
    if len(entry) <= _LONGEST and name.lower() not in names.VOLATILE:
        if len(_entries) >= _BOUND:
            _entries.clear()
        _entries[header] = entry
    return entry


# -- reading --


def reply(message: bytes) -> Reply | None:
    """What a request answers, None when it answers nothing. Raises `Invalid`."""
    found: Reply | None = None
    for number, value in fields(message):
        if INVOKE <= number <= FAILED:
            found = Reply(number)
            _fill(found, octets(value))
        elif number == INITIAL:
            found = None
    return found


def _fill(out: Reply, data: bytes) -> None:
    is_failed = out.kind == FAILED
    for number, value in fields(data):
        if number == 1:
            out.id = octets(value)
        elif number == 2 and out.kind == INVOKE:
            out.data = octets(value)
        elif number == 2:
            if not isinstance(value, int):
                raise Invalid("bytes where a number is due")
            if is_failed:
                out.code = value
            else:
                out.is_set = value != 0
        elif number == 3 and out.kind == INVOKE:
            out.metadata.append(_pair(octets(value)))
        elif number == 3 and is_failed:
            out.message = octets(value).decode("utf-8", "replace")
        elif number == 4 and out.kind == INVOKE:
            out.is_set = value != 0


def _pair(entry: bytes) -> Header:
    key = value = b""
    for number, part in fields(entry):
        if number == 1:
            key = octets(part)
        elif number == 2:
            value = octets(part)
    return names.LOWER.get(key) or names.lower(key), value
