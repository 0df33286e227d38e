"""What counts when several speak of one topic, and what the metadata of a subscription say."""

import pytest

from pydapr.blocks.pubsub import subscriptions
from pydapr.blocks.pubsub.subscriptions import Subscribed


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
