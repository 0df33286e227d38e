"""What a broker's message is taken for: a CloudEvent, raw bytes, or a binary event; and when it has expired."""

import json
from base64 import b64decode

import pytest

from pydapr.blocks.pubsub import events
from pydapr.components.pubsub import Message


def read(data: bytes, *, is_raw: bool = False, content_type: str = "", **metadata: str) -> events.Event:
    return events.read(Message("orders", data, metadata, content_type), "ps", "orders", is_raw)


def test_a_cloud_event_reaches_an_http_app_as_it_came() -> None:
    data = b'{ "id": "1",\n "data": {"b":1, "a":1.0} }'
    event = read(data)
    assert event.body is data
    assert (event.fields["id"], event.fields["data"]) == ("1", {"b": 1, "a": 1.0})


def test_raw_bytes_become_the_data_of_an_event() -> None:
    event = read(b"\x00\xff", is_raw=True, traceparent="parent", tracestate="state")
    assert json.loads(event.body) == event.fields
    assert b64decode(event.fields["data_base64"]) == b"\x00\xff"
    assert event.fields["traceid"] == event.fields["traceparent"] == "parent"
    assert (event.fields["topic"], event.fields["pubsubname"], event.fields["source"]) == ("orders", "ps", "Dapr")
    assert read(b"", is_raw=True).fields["id"] != event.fields["id"]


def test_a_binary_event_has_its_attributes_in_the_metadata() -> None:
    event = events.read(
        Message("t", b"\x00", {"ce_id": "7", "CE_Type": "x", "other": "y"}, "application/octet-stream"),
        "ps",
        "t",
        False,
    )
    assert event.fields == {
        "id": "7", "type": "x", "data": b"\x00", "datacontenttype": "application/octet-stream",
    }  # fmt: skip
    assert event.body == b"\x00"


def test_metadata_tell_the_trace_of_an_event_that_does_not() -> None:
    assert read(b'{"id":"1"}', traceparent="a", tracestate="b").fields == {
        "id": "1", "traceparent": "a", "traceid": "a", "tracestate": "b",
    }  # fmt: skip
    assert read(b'{"traceparent":"own"}', traceparent="a").trace == "own"
    assert read(b'{"traceid":"old"}').trace == "old"
    assert read(b"{}").trace is None


@pytest.mark.parametrize("data", [b"nothing", b"", b"[1]", b'"text"', b"5", b"true", b'{"a":1} x', b"{" * 10_000])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(events.Unreadable):
        read(data)


def test_null_is_an_event_without_attributes_and_bad_letters_are_replaced() -> None:
    assert read(b"null").fields == {}
    assert read(b'{"id":"\xff"}').fields["id"] == "\ufffd"


@pytest.mark.parametrize(
    ("expiration", "has_expired"),
    [
        ("1970-01-01T00:16:39Z", True),
        ("1970-01-01T00:16:41Z", False),
        ("1970-01-01T01:16:39.9+01:00", True),
        ("soon", False),
        ("", False),
        (5, False),
        (None, False),
        ("1970-02-31T00:00:00Z", False),
    ],
)
def test_an_event_expires_at_its_time(expiration: object, has_expired: bool) -> None:
    assert events.has_expired({"expiration": expiration}, 1000.0) is has_expired


def test_values_are_shown_as_the_original_shows_them() -> None:
    assert [events.shown(value) for value in ("x", None, 5, True)] == ["x", "<nil>", "5", "true"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\udc00x\ud83d\ude00"', "\ufffdx\U0001f600"),
        (rb'"\\ud800 \ud800"', "\\ud800 \ufffd"),
        (b'"\\ud800 \xff"', "\ufffd \ufffd"),
        (b'"\xff"', "\ufffd"),
    ],
)
def test_what_is_no_text_is_replaced(data: bytes, text: str) -> None:
    assert events.decode(b'{"id":' + data + b"}") == {"id": text}


@pytest.mark.parametrize("data", [b'{"id":"\\ud800"', b'{"a":1e999}', b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b""])
def test_what_is_no_json_is_unreadable(data: bytes) -> None:
    with pytest.raises(events.Unreadable):
        events.decode(data)
