"""Many events at once for apps that speak gRPC: `runtime.v1.TopicEventBulkRequest` and `TopicEventBulkResponse`.

Written and read by hand like `wire.topicevents`. Called by `blocks.pubsub.bulk_grpc`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydapr.wire.invocation import Invalid, field, fields, given_text, text_field
from pydapr.wire.topicevents import struct

__all__ = ["Invalid", "cloud_event", "entry", "request", "statuses"]


def cloud_event(texts: Sequence[str], data: bytes, extensions: Mapping[str, Any]) -> bytes:
    """A `TopicEventCERequest`; `texts` are id, source, type, version of the specification and content type of the data.

    Raises `Invalid`.
    """
    out = [text_field(tag, text) for tag, text in zip(_TEXTS, texts, strict=True)]
    if data:
        out.append(field(b"\x32", data))
    out.append(field(b"\x3a", struct(extensions)))
    return b"".join(out)


_TEXTS = (b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a")


def entry(name: str, event: bytes, is_raw: bool, content_type: str, metadata: Mapping[str, str]) -> bytes:
    """A `TopicEventBulkRequestEntry` with bytes, or with a `TopicEventCERequest`."""
    out = [field(b"\x0a", name.encode()), field(b"\x12" if is_raw else b"\x1a", event)]
    out.append(text_field(b"\x22", content_type))
    out += _pairs(b"\x2a", metadata)
    return b"".join(out)


def request(
    name: str, entries: Sequence[bytes], metadata: Mapping[str, str], topic: str, pubsub: str, kind: str, path: str
) -> bytes:
    """A `TopicEventBulkRequest` with these entries."""
    out = [field(b"\x0a", name.encode())]
    out += [field(b"\x12", one) for one in entries]
    out += _pairs(b"\x1a", metadata)
    texts = (b"\x22", topic), (b"\x2a", pubsub), (b"\x32", kind), (b"\x3a", path)
    out += [text_field(tag, text) for tag, text in texts]
    return b"".join(out)


def _pairs(tag: bytes, values: Mapping[str, str]) -> list[bytes]:
    return [field(tag, given_text(b"\x0a", key) + given_text(b"\x12", value)) for key, value in values.items()]


def statuses(message: bytes) -> list[tuple[str, int]]:
    """Ids and statuses, as in `topicevents`, of the entries of a `TopicEventBulkResponse`. Raises `Invalid`."""
    found = []
    for number, value in fields(message):
        if number == 1:
            if isinstance(value, int):
                raise Invalid("a number where bytes are due")
            found.append(_status(value))
    return found


def _status(data: bytes) -> tuple[str, int]:
    name, status = b"", 0
    for number, value in fields(data):
        if number == 1 and not isinstance(value, int):
            name = value
        elif number == 2 and isinstance(value, int):
            status = value
    try:
        return name.decode(), status
    except UnicodeDecodeError:
        raise Invalid("text that is no UTF-8") from None
