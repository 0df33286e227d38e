"""Events for apps that speak gRPC: `runtime.v1.TopicEventRequest` and `TopicEventResponse`, and what such an app is
subscribed to, `ListTopicSubscriptionsResponse`.

Written and read by hand like `wire.appcalls`: it stands on the hot path of deliveries, and a sidecar needs no protobuf
library for it. Called by `blocks.pubsub`; tests hold it against what protobuf itself makes of it.
"""

from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any

from pydapr.wire.invocation import Invalid, field, fields, given_text, octets, text, text_field

__all__ = ["Invalid", "TopicSubscription", "event", "status", "struct", "subscriptions"]

SUCCESS, RETRY, DROP = 0, 1, 2
"""`TopicEventResponse.TopicEventResponseStatus`."""

_DEPTH = 100
"""How deep values may be nested in a `Struct`; protobuf's own readers stop there, too."""


class TopicSubscription:
    """`TopicSubscription`. `rules` are pairs of match and path, `bulk` is count and milliseconds, None without."""

    __slots__ = ("bulk", "dead_letter", "default", "metadata", "pubsub", "rules", "topic")

    def __init__(self) -> None:
        self.pubsub = ""
        self.topic = ""
        self.metadata: dict[str, str] = {}
        self.rules: list[tuple[str, str]] = []
        self.default = ""
        self.dead_letter = ""
        self.bulk: tuple[int, int] | None = None


def event(texts: Sequence[tuple[bytes, str]], data: bytes, extensions: Mapping[str, Any]) -> bytes:
    """A `TopicEventRequest`; `texts` are tags and values of its other fields. Raises `Invalid`."""
    out = [text_field(tag, said) for tag, said in texts]
    if data:
        out.append(field(b"\x3a", data))
    out.append(field(b"\x52", struct(extensions)))
    return b"".join(out)


ID, SOURCE, TYPE, SPEC_VERSION, CONTENT_TYPE = b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a"
TOPIC, PUBSUB, PATH = b"\x32", b"\x42", b"\x4a"
"""Tags of a `TopicEventRequest`."""


def struct(values: Mapping[str, Any], depth: int = 0) -> bytes:
    """A `google.protobuf.Struct` of what JSON can say. Raises `Invalid` for what it cannot."""
    out = []
    for name, value in values.items():
        key = given_text(b"\x0a", name)
        if isinstance(value, str):
            inner = given_text(b"\x1a", value)
        else:
            inner = _value(value, depth)
        out.append(field(b"\x0a", key + field(b"\x12", inner)))
    return b"".join(out)


def _value(value: Any, depth: int) -> bytes:
    if depth > _DEPTH:
        raise Invalid("values are nested too deeply")
    if value is None:
        return b"\x08\x00"
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, (int, float)):
        try:
            return b"\x11" + pack("<d", float(value))
        except OverflowError:
            raise Invalid("a number is too large") from None
    if isinstance(value, str):
        return given_text(b"\x1a", value)
    if isinstance(value, Mapping):
        return field(b"\x2a", struct(value, depth + 1))
    if isinstance(value, (list, tuple)):
        listed = b"".join([field(b"\x0a", _value(item, depth + 1)) for item in value])
        return field(b"\x32", listed)
    raise Invalid(f"{type(value).__name__} cannot be said in JSON")


def status(message: bytes) -> int:
    """What an app says in a `TopicEventResponse`. Raises `Invalid`."""
    if not message:
        return SUCCESS
    found = SUCCESS
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            found = value
    return found


def subscriptions(message: bytes) -> list[TopicSubscription]:
    """Those of a `ListTopicSubscriptionsResponse`. Raises `Invalid`."""
    return [_subscription(octets(value)) for number, value in fields(message) if number == 1]


def _subscription(data: bytes) -> TopicSubscription:
    out = TopicSubscription()
    for number, value in fields(data):
        if number == 1:
            out.pubsub = text(value)
        elif number == 2:
            out.topic = text(value)
        elif number == 3:
            key, item = _pair(octets(value))
            out.metadata[key] = item
        elif number == 5:
            for inner, one in fields(octets(value)):
                if inner == 1:
                    out.rules.append(_pair(octets(one)))
                elif inner == 2:
                    out.default = text(one)
        elif number == 6:
            out.dead_letter = text(value)
        elif number == 7:
            numbers = {inner: one for inner, one in fields(octets(value)) if isinstance(one, int)}
            if numbers.get(1):
                out.bulk = (_int32(numbers.get(2, 0)), _int32(numbers.get(3, 0)))
    return out


def _pair(data: bytes) -> tuple[str, str]:
    first = second = ""
    for number, value in fields(data):
        if number == 1:
            first = text(value)
        elif number == 2:
            second = text(value)
    return first, second


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value
