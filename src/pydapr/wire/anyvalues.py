"""What reminders, timers and jobs carry: a `google.protobuf.Any`, as the apps see it.

Dapr keeps what apps give it as `BytesValue`, whose bytes are a document of JSON; other types come from other programs.
Pure. Used by faces and by targets of actors.
"""

import json

from pydapr.wire.invocation import Invalid, field, fields, octets

__all__ = ["BYTES", "Invalid", "bytes_value", "document"]

BYTES = "type.googleapis.com/google.protobuf.BytesValue"


def bytes_value(data: bytes) -> bytes:
    """A `BytesValue`."""
    return field(b"\x0a", data) if data else b""


def document(type_url: str, value: bytes) -> bytes:
    """What an `Any` holds, as JSON without blanks; empty where it holds nothing. Raises `Invalid`."""
    if type_url != BYTES:
        return _shown(type_url, value)
    data = b""
    for number, part in fields(value):
        if number == 1:
            data = octets(part)
    if not data:
        return b""
    import msgspec  # not needed by an app without reminders

    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.MsgspecError as error:
        raise Invalid(f"the data are no JSON: {error}") from None


def _shown(type_url: str, value: bytes) -> bytes:
    """A message of a type that this process knows."""
    from google.protobuf import (  # noqa: F401  # types are known when they are imported
        any_pb2,
        duration_pb2,
        empty_pb2,
        json_format,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    packed = any_pb2.Any(type_url=type_url, value=value)
    try:
        found = json_format.MessageToDict(packed)
    except (TypeError, ValueError) as error:
        raise Invalid(f"the data cannot be shown as JSON: {error}") from None
    found.pop("@type", None)
    # Types with a form of their own in JSON, such as Duration, have it under this name.
    shown = found["value"] if set(found) == {"value"} and _is_special(type_url) else found
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _is_special(type_url: str) -> bool:
    return type_url.rpartition("/")[2].startswith("google.protobuf.")
