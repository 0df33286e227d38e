"""Subscriptions over a stream: `runtime.v1.SubscribeTopicEventsRequestAlpha1` and `…ResponseAlpha1`.

Written and read by hand like `wire.topicevents`, whose events they carry. Called by `api.grpc.subscribe`.
"""

from pydapr.wire import topicevents
from pydapr.wire.invocation import Invalid, field, fields, octets, text

__all__ = ["GREETING", "Initial", "Invalid", "Processed", "event", "request"]

GREETING = b"\x0a\x00"
"""The response that says the subscription is there."""


class Initial:
    """The first request of a stream: what it wants."""

    __slots__ = ("dead_letter", "metadata", "pubsub", "topic")

    def __init__(self) -> None:
        self.pubsub = ""
        self.topic = ""
        self.metadata: dict[str, str] = {}
        self.dead_letter = ""


class Processed:
    """Each request after that: what became of the event of this id, as in `TopicEventResponse`."""

    __slots__ = ("id", "status")

    def __init__(self) -> None:
        self.id = ""
        self.status = topicevents.SUCCESS


def event(message: bytes) -> bytes:
    """The response with an event, a `TopicEventRequest`."""
    return field(b"\x12", message)


def request(message: bytes) -> Initial | Processed | None:
    """What a request says, None when nothing. Raises `Invalid`."""
    found: Initial | Processed | None = None
    for number, value in fields(message):
        if number == 1:
            found = _initial(octets(value))
        elif number == 2:
            found = _processed(octets(value))
    return found


def _initial(data: bytes) -> Initial:
    out = Initial()
    for number, value in fields(data):
        if number == 1:
            out.pubsub = text(value)
        elif number == 2:
            out.topic = text(value)
        elif number == 3:
            key = item = ""
            for inner, one in fields(octets(value)):
                if inner == 1:
                    key = text(one)
                elif inner == 2:
                    item = text(one)
            out.metadata[key] = item
        elif number == 4:
            out.dead_letter = text(value)
    return out


def _processed(data: bytes) -> Processed:
    out = Processed()
    for number, value in fields(data):
        if number == 1:
            out.id = text(value)
        elif number == 2:
            out.status = topicevents.status(octets(value))
    return out
