"""The event around what an app publishes. Expectations are what the original (v1.18.3) makes of the same requests."""

import datetime
import json
import uuid
from typing import Any

import pytest

from pydapr.blocks.pubsub import cloudevents

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BINARY = "application/octet-stream"


def event(
    data: bytes, content_type: str = "", metadata: dict[str, str] | None = None, *, state: bytes = b"", **options: Any
) -> dict[str, Any]:
    made = cloudevents.Envelope(cloudevents.Ids(), cloudevents.Clock(), "app", "ps", "orders", content_type)
    found = json.loads(made.around(data, TRACE, state, metadata or {}, options.pop("has_ttl", False), **options))
    assert isinstance(found, dict)
    return found


def test_attributes_of_a_new_event() -> None:
    made = event(b"text", state=b"a=b")

    assert uuid.UUID(made.pop("id")).version == 4
    assert datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(made.pop("time")) < datetime.timedelta(
        seconds=20
    )
    assert made == {
        "data": "text", "datacontenttype": "text/plain", "pubsubname": "ps", "source": "app", "specversion": "1.0",
        "topic": "orders", "traceid": TRACE.decode(), "traceparent": TRACE.decode(), "tracestate": "a=b",
        "type": "com.dapr.event.sent",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "content_type", "field", "content"),
    [
        (b'{"a": [1, 2.50]}', "application/json", "data", {"a": [1, 2.5]}),
        (b'{"a":1} and more', "application/json", "data", {"a": 1}),
        (b"null", "application/JSON; charset=utf-8", "data", None),
        (b"no document", "application/json", "data", "no document"),
        (b"", "application/json", "data", ""),
        (b'{"a":1}', "application/vnd.x+json", "data", '{"a":1}'),
        (b"<a/>", "text/xml", "data", "<a/>"),
        (b"\xff", "text/plain", "data", "\ufffd"),
        (b"abc", BINARY, "data_base64", "YWJj"),
        (b"abc", "application/cloudevents+protobuf", "data_base64", "YWJj"),
        (b"abc", "application/x-protobuf", "data", "abc"),
        (b"\x0a\x01i", "application/x-protobuf", "data_base64", "CgFp"),
    ],
)
def test_data_by_content_type(data: bytes, content_type: str, field: str, content: object) -> None:
    made = event(data, content_type)

    assert (made[field], made["datacontenttype"]) == (content, content_type)
    assert ("data" in made) != ("data_base64" in made)


def test_json_goes_in_as_the_bytes_that_came() -> None:
    assert cloudevents.json_of(b'{"n":12345678901234567890123, "x":1e400}') == (
        b'{"n":12345678901234567890123, "x":1e400}'
    )


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\ud800"', "\ufffd"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xff"', "\ufffd"),
        (b'{"a":1e2,"b":"\\uD800x"}', {"a": 100.0, "b": "\ufffdx"}),
    ],
)
def test_halves_of_characters_and_bytes_that_are_no_text_are_replaced(data: bytes, content: object) -> None:
    assert json.loads(cloudevents.json_of(data)) == content


def test_deep_documents_are_text() -> None:
    deep = b"[" * 100_000

    assert json.loads(cloudevents.json_of(deep)) == deep.decode()


def test_a_request_overrides_attributes() -> None:
    given = {
        "cloudevent.id": "i", "CloudEvent.Source": "s", "cloudevent.type": "t", "cloudevent.subject": "u",
        "cloudevent.traceid": "x", "cloudevent.tracestate": "y=z", "cloudevent.data": "no", "other": "o",
    }  # fmt: skip
    made = event(b"{}", "application/json", given)

    assert [made[name] for name in ("id", "source", "type", "subject", "tracestate")] == ["i", "s", "t", "u", "y=z"]
    assert (made["traceid"], made["traceparent"], made["data"]) == ("x", "x", {})
    assert event(b"", "", {**given, "cloudevent.traceparent": "p"})["traceid"] == "p"


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ({"ttlInSeconds": "10"}, 10.0),
        ({"TTLINSECONDS": "2m"}, 120.0),
        ({"ttl": "1h", "ttlInSeconds": "1"}, 3600.0),
        ({"ttl": "-1h"}, 0.0),
        ({"ttlInSeconds": "0"}, 0.0),
        ({"ttlInSeconds": "-3"}, None),
        ({"ttlInSeconds": "soon"}, None),
        ({"ttlInSeconds": ""}, None),
        ({}, None),
    ],
)
def test_time_to_live(metadata: dict[str, str], seconds: float | None) -> None:
    assert cloudevents.ttl(metadata) == seconds


def test_an_event_ends_where_the_broker_does_not_see_to_it() -> None:
    assert event(b"", "", {"ttlInSeconds": "60"}, at=1_000_000_000.0)["expiration"] == "2001-09-09T01:47:40Z"
    assert "expiration" not in event(b"", "", {"ttlInSeconds": "60"}, has_ttl=True)
    assert cloudevents.moment(1e300) == b"9999-12-31T23:59:59Z"


def test_a_cloud_event_passes_with_what_it_lacks() -> None:
    made = event(b'{"data":1}', cloudevents.CLOUD_EVENT)

    assert made.pop("time").endswith("Z")
    assert made == {
        "data": 1, "pubsubname": "ps", "source": "Dapr", "specversion": "1.0", "topic": "orders",
        "traceid": TRACE.decode(), "traceparent": TRACE.decode(), "tracestate": "", "type": "com.dapr.event.sent",
    }  # fmt: skip


def test_a_cloud_event_keeps_what_it_has() -> None:
    given = {"id": "x", "time": "z", "source": "s", "type": 7, "traceid": "t", "tracestate": "u", "ext": {"b": [1]}}
    body = json.dumps({**given, "topic": "other", "specversion": None}).encode()
    made = event(body, "application/cloudevents+json; charset=utf-8", {"cloudevent.id": "no", "ttl": "60s"})

    assert {name: made[name] for name in given} == given
    assert (made["topic"], made["specversion"], "traceparent" in made) == ("orders", "1.0", False)
    assert "expiration" in made


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[1]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b'"x"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (b"1.5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (b"", "EOF"),
        (b'{"}', "unexpected EOF"),
        (b'{"a":', "unexpected EOF"),
        (b"{x}", "invalid character 'x'"),
    ],
)
def test_what_is_no_cloud_event_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(cloudevents.NotAnEvent) as raised:
        event(body, cloudevents.CLOUD_EVENT)

    assert str(raised.value).startswith(reason)


def test_ids_are_never_the_same() -> None:
    ids = cloudevents.Ids()

    assert len({ids() for _ in range(1000)}) == 1000
