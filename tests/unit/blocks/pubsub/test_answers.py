"""What the app is subscribed to, from what it answers."""

import json

import pytest

from pydapr.blocks.pubsub import answers, routing
from pydapr.blocks.pubsub.subscriptions import Bulk, Invalid, Subscribed
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2 as pb


def paths(one: Subscribed) -> list[tuple[str, str]]:
    return [(rule.match, rule.path) for rule in one.rules]


def test_an_app_answers_over_http() -> None:
    answer = [
        {"pubsubname": "p", "topic": "a", "route": "/a", "metadata": {"RawPayload": "x"}, "deadLetterTopic": "d"},
        {
            "pubsubname": "p",
            "topic": "b",
            "routes": {"rules": [{"match": "event.type == 'x'", "path": "/x"}], "default": "/y"},
            "route": "/unused",
            "bulkSubscribe": {"enabled": True, "maxMessagesCount": 5},
        },
        {"topic": "c", "bulkSubscribe": {"enabled": False, "maxMessagesCount": 5}},
    ]
    a, b, c = answers.from_http(json.dumps(answer).encode())
    assert (a.pubsub, a.topic, paths(a), a.metadata, a.dead_letter) == (
        "p",
        "a",
        [("", "/a")],
        {"RawPayload": "x"},
        "d",
    )
    assert (paths(b), b.bulk) == ([("event.type == 'x'", "/x"), ("", "/y")], Bulk(5, 0))
    assert (c.rules, c.bulk) == ((), None)


def test_names_are_known_in_any_case_and_null_is_nothing() -> None:
    answer = b'[{"PubSubName":"p","TOPIC":"t","Routes":{"Default":"/x","rules":null},"metadata":null,"route":null}]'
    [one] = answers.from_http(answer)
    assert (one.pubsub, one.topic, paths(one), one.metadata) == ("p", "t", [("", "/x")], {})


@pytest.mark.parametrize("answer", [b"", b" \n", b"null", b"[]"])
def test_an_app_may_be_subscribed_to_nothing(answer: bytes) -> None:
    assert answers.from_http(answer) == []


@pytest.mark.parametrize("answer", [b"hello", b'{"a":1}', b'[{"topic":5}]', b"[" * 5000])
def test_an_answer_that_makes_no_sense_is_refused(answer: bytes) -> None:
    with pytest.raises(Invalid, match="error getting topics from app"):
        answers.from_http(answer)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(routing.Invalid):
        answers.from_http(b'[{"routes":{"rules":[{"match":"event.","path":"/x"}]}}]')


def test_an_app_answers_over_grpc() -> None:
    answer = pb.ListTopicSubscriptionsResponse()
    one = answer.subscriptions.add(pubsub_name="p", topic="a", dead_letter_topic="d", metadata={"k": "v"})
    one.routes.rules.add(match="event.type == 'x'", path="/x")
    answer.subscriptions.add(pubsub_name="p", topic="b")
    first, second = answers.from_grpc(answer.SerializeToString())
    assert (first.topic, paths(first), first.metadata) == ("a", [("event.type == 'x'", "/x")], {"k": "v"})
    assert paths(second) == [("", "")]  # without routes all events come, on no path
    with pytest.raises(Invalid):
        answers.from_grpc(b"\xff")


def test_text_that_is_none_does_not_spoil_an_answer() -> None:
    [one] = answers.from_http(b'[{"pubsubname":"p","topic":"\xff","route":"/a"}]')
    assert one.topic == "\ufffd"


def test_an_answer_that_is_nested_too_deeply_is_invalid() -> None:
    with pytest.raises(Invalid):
        answers.from_http(b"[" * 100_000)
