"""Events for apps that speak gRPC are what protobuf itself would make of them."""

import pytest
from google.protobuf import json_format

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2 as pb
from pydapr.wire import topicevents


def test_an_event_is_read_by_protobuf() -> None:
    extensions = {
        "topic": "t", "n": 1, "f": 1.5, "yes": True, "no": False, "none": None, "Ä": "ö",
        "deep": {"list": [1, "a", {"b": []}]},
    }  # fmt: skip
    texts = [
        (topicevents.ID, "1"), (topicevents.SOURCE, "s"), (topicevents.TYPE, "y"), (topicevents.SPEC_VERSION, "1.0"),
        (topicevents.CONTENT_TYPE, "text/plain"), (topicevents.TOPIC, "t" * 300), (topicevents.PUBSUB, "p"),
        (topicevents.PATH, ""),
    ]  # fmt: skip
    message = pb.TopicEventRequest.FromString(topicevents.event(texts, b"\x00data", extensions))
    assert (message.id, message.source, message.type, message.spec_version) == ("1", "s", "y", "1.0")
    assert (message.data_content_type, message.topic, message.pubsub_name) == ("text/plain", "t" * 300, "p")
    assert message.path == ""
    assert message.data == b"\x00data"
    assert json_format.MessageToDict(message.extensions) == extensions


def test_what_json_cannot_say_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value in (b"bytes", 10**400, endless):
        with pytest.raises(topicevents.Invalid):
            topicevents.struct({"x": value})


@pytest.mark.parametrize("status", [0, 1, 2, 7])
def test_a_status_is_read(status: int) -> None:
    message = pb.TopicEventResponse()
    message.status = status  # type: ignore[assignment]
    assert topicevents.status(message.SerializeToString()) == status


def test_subscriptions_are_read() -> None:
    given = pb.ListTopicSubscriptionsResponse()
    one = given.subscriptions.add(pubsub_name="p", topic="t", dead_letter_topic="d", metadata={"a": "b", "c": ""})
    one.routes.rules.add(match="event.type == 'x'", path="/x")
    one.routes.default = "/else"
    one.bulk_subscribe.enabled = True
    one.bulk_subscribe.max_messages_count = 7
    one.bulk_subscribe.max_await_duration_ms = -1
    given.subscriptions.add(topic="bare").bulk_subscribe.max_messages_count = 3
    first, second = topicevents.subscriptions(given.SerializeToString())
    assert (first.pubsub, first.topic, first.dead_letter, first.metadata) == ("p", "t", "d", {"a": "b", "c": ""})
    assert (first.rules, first.default, first.bulk) == ([("event.type == 'x'", "/x")], "/else", (7, -1))
    assert (second.pubsub, second.topic, second.rules, second.bulk) == ("", "bare", [], None)


@pytest.mark.parametrize("data", [b"\x0a\x05x", b"\x0a\x04\x0a\x02\xff\xfe", b"\x0a\x02\x08\x01"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(topicevents.Invalid):
        topicevents.subscriptions(data)
