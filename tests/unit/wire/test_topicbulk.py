"""What is written by hand is what protobuf itself reads, and the other way round."""

import pytest
from google.protobuf import json_format

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2
from pydapr.wire import topicbulk, topicevents


def test_a_request_is_what_protobuf_reads() -> None:
    event = topicbulk.cloud_event(
        ("1", "test", "kind", "1.0", "application/json"),
        b'{"a":1}',
        {"topic": "t", "n": 2, "deep": {"x": [True, None]}},
    )
    entries = [
        topicbulk.entry("e1", event, False, "application/cloudevents+json", {"key": "value"}),
        topicbulk.entry("e2", b"\x00raw", True, "", {}),
    ]
    data = topicbulk.request("id", entries, {"pubsubName": "mypub"}, "t", "mypub", "kind", "/path")
    read = appcallback_pb2.TopicEventBulkRequest.FromString(data)
    assert (read.id, read.topic, read.pubsub_name, read.type, read.path) == ("id", "t", "mypub", "kind", "/path")
    assert dict(read.metadata) == {"pubsubName": "mypub"}
    first, second = read.entries
    assert (first.entry_id, first.content_type, dict(first.metadata)) == (
        "e1",
        "application/cloudevents+json",
        {"key": "value"},
    )
    made = first.cloud_event
    assert (made.id, made.source, made.type, made.spec_version) == ("1", "test", "kind", "1.0")
    assert (made.data_content_type, made.data) == ("application/json", b'{"a":1}')
    assert made.extensions["topic"] == "t"
    assert made.extensions["n"] == 2
    assert json_format.MessageToDict(made.extensions)["deep"] == {"x": [True, None]}
    assert (second.entry_id, second.bytes, second.content_type) == ("e2", b"\x00raw", "")


def test_statuses_are_those_that_protobuf_writes() -> None:
    written = appcallback_pb2.TopicEventBulkResponse(
        statuses=[
            appcallback_pb2.TopicEventBulkResponseEntry(entry_id="a"),
            appcallback_pb2.TopicEventBulkResponseEntry(entry_id="b", status=1),  # type: ignore[arg-type]
            appcallback_pb2.TopicEventBulkResponseEntry(entry_id="c", status=2),  # type: ignore[arg-type]
        ]
    )
    assert topicbulk.statuses(written.SerializeToString()) == [
        ("a", topicevents.SUCCESS),
        ("b", topicevents.RETRY),
        ("c", topicevents.DROP),
    ]


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x08\x01", b"\x0a\x04\x0a\x02\xff\xfe"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(topicbulk.Invalid):
        topicbulk.statuses(data)
