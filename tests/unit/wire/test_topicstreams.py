"""Messages of a stream are those of protobuf, whichever side writes them."""

import pytest

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2, pubsub_pb2
from pydapr.wire import topicevents, topicstreams


def test_the_first_request_says_what_is_wanted() -> None:
    written = pubsub_pb2.SubscribeTopicEventsRequestAlpha1(
        initial_request=pubsub_pb2.SubscribeTopicEventsRequestInitialAlpha1(
            pubsub_name="mypub", topic="orders", metadata={"a": "1", "b": "2"}, dead_letter_topic="dead"
        )
    )
    read = topicstreams.request(written.SerializeToString())
    assert isinstance(read, topicstreams.Initial)
    assert (read.pubsub, read.topic, read.dead_letter) == ("mypub", "orders", "dead")
    assert read.metadata == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("number", "status"), [(0, topicevents.SUCCESS), (1, topicevents.RETRY), (2, topicevents.DROP), (7, 7)]
)
def test_later_requests_say_what_became_of_an_event(number: int, status: int) -> None:
    written = pubsub_pb2.SubscribeTopicEventsRequestAlpha1(
        event_processed=pubsub_pb2.SubscribeTopicEventsRequestProcessedAlpha1(
            id="event",
            status=appcallback_pb2.TopicEventResponse(status=number),  # type: ignore[arg-type]
        )
    )
    read = topicstreams.request(written.SerializeToString())
    assert isinstance(read, topicstreams.Processed)
    assert (read.id, read.status) == ("event", status)


def test_a_request_without_content_says_nothing() -> None:
    assert topicstreams.request(b"") is None


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x08\x01", b"\x0a\x04\x0a\x02\xff\xfe", b"\x12\x02\x10\x01"])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(topicstreams.Invalid):
        topicstreams.request(data)


def test_responses_are_what_protobuf_reads() -> None:
    greeting = pubsub_pb2.SubscribeTopicEventsResponseAlpha1.FromString(topicstreams.GREETING)
    assert greeting.WhichOneof("subscribe_topic_events_response_type") == "initial_response"
    inner = appcallback_pb2.TopicEventRequest(id="1", topic="orders").SerializeToString()
    event = pubsub_pb2.SubscribeTopicEventsResponseAlpha1.FromString(topicstreams.event(inner))
    assert (event.event_message.id, event.event_message.topic) == ("1", "orders")
