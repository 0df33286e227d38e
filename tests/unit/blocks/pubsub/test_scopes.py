"""Which topics an app may publish to and subscribe to."""

import pytest

from pydapr.blocks.pubsub import Broker, scopes
from pydapr.components.pubsub.in_memory import InMemory, Options

WIDE = {"publishingScopes": "app=a, b; other = c ;lone", "SubscriptionScopes": "app=", "allowedtopics": "a,b,c"}


@pytest.mark.parametrize(
    ("metadata", "topic", "can_publish", "can_subscribe"),
    [
        ({}, "any", True, True),
        (WIDE, "a", True, False),
        (WIDE, "c", False, False),
        ({"allowedTopics": "a"}, "b", False, False),
        ({"allowedTopics": ""}, "b", True, True),
        ({"protectedTopics": "p"}, "p", False, False),
        ({"protectedTopics": "p"}, "other", True, True),
        ({"protectedTopics": "p", "publishingScopes": "app=p"}, "p", True, False),
        ({"publishingScopes": "other=a"}, "b", True, True),
        ({"allowedTopics": "a", "publishingScopes": "app=b"}, "b", False, False),
    ],
)
def test_rules(metadata: dict[str, str], topic: str, can_publish: bool, can_subscribe: bool) -> None:
    found = scopes.read(metadata, "app")

    assert (found.can_publish(topic), found.can_subscribe(topic)) == (can_publish, can_subscribe)


def test_a_broker_of_a_namespace_has_its_own_names_for_topics() -> None:
    assert Broker("ps", InMemory(Options()), prefix="ns").topic("orders") == "nsorders"
