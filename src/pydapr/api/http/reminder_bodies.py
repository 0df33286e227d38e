"""The bodies of reminders and timers over HTTP. Used by `reminders`, which imports this with its first request."""

import json
from typing import Any

import msgspec

from pydapr.blocks.actors.reminders import Wanted
from pydapr.errors import MalformedRequest
from pydapr.lib.actors import Packed
from pydapr.lib.record import Record
from pydapr.peers.scheduling import FailurePolicy
from pydapr.wire import anyvalues

BEFORE = "failed deserializing HTTP body: "
_BLANKS = " \t\r\n"

_decoder = json.JSONDecoder()
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class WantedTimer(Record):
    """A timer as the app wants it."""

    due: str
    period: str
    ttl: str
    callback: str
    data: Packed | None


def reminder(body: bytes) -> Wanted:
    """Raises `MalformedRequest`."""
    fields = _fields(body)
    overwrite = _value(fields, "overwrite")
    if overwrite is not None and not isinstance(overwrite, bool):
        raise MalformedRequest(f"{BEFORE}json: overwrite must be true or false")
    return Wanted(
        _text(fields, "dueTime"),
        _text(fields, "period"),
        _text(fields, "ttl"),
        _data(fields),
        overwrite is not False,
        _policy(_value(fields, "failure_policy") or _value(fields, "failurePolicy")),
    )


def timer(body: bytes) -> WantedTimer:
    """Raises `MalformedRequest`."""
    fields = _fields(body)
    return WantedTimer(
        _text(fields, "dueTime"),
        _text(fields, "period"),
        _text(fields, "ttl"),
        _text(fields, "callback"),
        _data(fields),
    )


def _fields(body: bytes) -> dict[str, bytes]:
    """The values of a document by their names in lower case, each as it stands there."""
    text = body.decode("utf-8", "replace").lstrip(_BLANKS)
    if not text:
        raise MalformedRequest(f"{BEFORE}EOF")
    try:
        end = _decoder.raw_decode(text)[1]
        found = _read_fields(text[:end])
    except msgspec.ValidationError:
        if text[:end] == "null":
            return {}
        raise MalformedRequest(f"{BEFORE}json: the body must be an object") from None
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"{BEFORE}invalid JSON: {error}") from None
    return {name.lower(): bytes(value) for name, value in found.items()}


def _value(fields: dict[str, bytes], name: str) -> Any:
    raw = fields.get(name.lower())
    return json.loads(raw) if raw is not None else None


def _text(fields: dict[str, bytes], name: str) -> str:
    value = _value(fields, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedRequest(f"{BEFORE}json: {name} must be a string")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _data(fields: dict[str, bytes]) -> Packed | None:
    raw = fields.get("data")
    return Packed(anyvalues.BYTES, anyvalues.bytes_value(raw)) if raw is not None else None


def _policy(given: Any) -> FailurePolicy | None:
    """A policy in protobuf's form of JSON; the original passes it over here."""
    if given is None:
        return None
    from google.protobuf import json_format

    from pydapr.api import jobs
    from pydapr.proto.dapr.proto.common.v1 import common_pb2

    try:
        found = json_format.ParseDict(given, common_pb2.JobFailurePolicy(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError) as error:
        raise MalformedRequest(f"{BEFORE}failure_policy: {error}") from None
    return jobs.policy(found)
