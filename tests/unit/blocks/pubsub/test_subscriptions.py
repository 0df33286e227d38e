"""What the app is subscribed to, from what it answers."""

import json

import pytest

from pydapr.blocks.pubsub import subscriptions
from pydapr.blocks.pubsub.subscriptions import Bulk, Subscribed
from pydapr.lib import cel
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
    a, b, c = subscriptions.from_http(json.dumps(answer).encode())
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
    [one] = subscriptions.from_http(answer)
    assert (one.pubsub, one.topic, paths(one), one.metadata) == ("p", "t", [("", "/x")], {})


@pytest.mark.parametrize("answer", [b"", b" \n", b"null", b"[]"])
def test_an_app_may_be_subscribed_to_nothing(answer: bytes) -> None:
    assert subscriptions.from_http(answer) == []


@pytest.mark.parametrize("answer", [b"hello", b'{"a":1}', b'[{"topic":5}]', b"[" * 5000])
def test_an_answer_that_makes_no_sense_is_refused(answer: bytes) -> None:
    with pytest.raises(subscriptions.Invalid, match="error getting topics from app"):
        subscriptions.from_http(answer)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(cel.Invalid):
        subscriptions.from_http(b'[{"routes":{"rules":[{"match":"event.","path":"/x"}]}}]')


def test_an_app_answers_over_grpc() -> None:
    answer = pb.ListTopicSubscriptionsResponse()
    one = answer.subscriptions.add(pubsub_name="p", topic="a", dead_letter_topic="d", metadata={"k": "v"})
    one.routes.rules.add(match="event.type == 'x'", path="/x")
    answer.subscriptions.add(pubsub_name="p", topic="b")
    first, second = subscriptions.from_grpc(answer.SerializeToString())
    assert (first.topic, paths(first), first.metadata) == ("a", [("event.type == 'x'", "/x")], {"k": "v"})
    assert paths(second) == [("", "")]  # without routes all events come, on no path
    with pytest.raises(subscriptions.Invalid):
        subscriptions.from_grpc(b"\xff")


@pytest.mark.parametrize(("text", "is_raw"), [("", False), ("T", True), ("0", False), ("yes", None), (" true", None)])
def test_only_a_boolean_says_whether_messages_are_raw(text: str, is_raw: bool | None) -> None:
    assert Subscribed("p", "t", (), {"rawPayload": text}).is_raw is is_raw


def test_the_app_comes_before_resources_and_each_topic_counts_once() -> None:
    def one(topic: str, kind: str, dead_letter: str, pubsub: str = "p") -> Subscribed:
        return Subscribed(pubsub, topic, (), kind=kind, dead_letter=dead_letter)

    declarative = [one("a", "DECLARATIVE", "1"), one("a", "DECLARATIVE", "2"), one("b", "DECLARATIVE", "3")]
    programmatic = [one("b", "PROGRAMMATIC", "4"), one("b", "PROGRAMMATIC", "5"), one("b", "PROGRAMMATIC", "6", "q")]
    found = subscriptions.merged(declarative, programmatic)
    assert [(each.pubsub, each.topic, each.dead_letter) for each in found] == [
        ("p", "a", "1"), ("p", "b", "5"), ("q", "b", "6"),
    ]  # fmt: skip


def test_text_that_is_none_does_not_spoil_an_answer() -> None:
    [one] = subscriptions.from_http(b'[{"pubsubname":"p","topic":"\xff","route":"/a"}]')
    assert one.topic == "\ufffd"


def test_an_answer_that_is_nested_too_deeply_is_invalid() -> None:
    with pytest.raises(subscriptions.Invalid):
        subscriptions.from_http(b"[" * 100_000)
