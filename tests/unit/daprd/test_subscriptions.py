"""When messages come: while the app is there, and from brokers that can be had, at once or later."""

import asyncio
from collections.abc import Mapping

import pytest

from pydapr.app import channel
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.app.grpc import GrpcApp
from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.deliver import Around, Target
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.scopes import Scopes
from pydapr.blocks.pubsub.subscriptions import Bulk
from pydapr.components.pubsub import Handler, Message, PubSub, PubSubError, Subscription
from pydapr.daprd import flags, subscriptions
from pydapr.net.body import Body
from pydapr.policy.retry import Retry
from pydapr.resources import subscription as resource

ANSWER = b'[{"pubsubname":"ps","topic":"b","route":"/b"},{"pubsubname":"other","topic":"c","route":"/c"},{"topic":"d"}]'


class Line(Subscription):
    def __init__(self, broker: "Fake", topic: str) -> None:
        self._broker, self._topic = broker, topic

    async def close(self) -> None:
        del self._broker.handlers[self._topic]


class Fake(PubSub):
    """A broker that refuses the first subscriptions."""

    def __init__(self, refusals: int = 0) -> None:
        self.handlers: dict[str, Handler] = {}
        self.refusals = refusals
        self.has_all = asyncio.Event()

    async def publish(self, message: Message) -> None: ...

    async def close(self) -> None: ...

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if self.refusals:
            self.refusals -= 1
            raise PubSubError("not now")
        self.handlers[topic] = handler
        if len(self.handlers) == 2:
            self.has_all.set()
        return Line(self, topic)


class Channel(AppChannel):
    """Answers with `answers` in turn, the last of them again and again."""

    def __init__(self, *answers: "tuple[int, bytes] | Exception") -> None:
        self._answers = list(answers)
        self.asked = 0

    async def invoke(self, call: Call) -> Answer:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer[0], (), Body.of(answer[1]))

    def close(self) -> None: ...

    def retire(self) -> None: ...


class Nobody(Target):
    async def deliver(self, event: Event) -> bool:
        return True


async def publish(name: str, topic: str, data: bytes, metadata: Mapping[str, str], kind: str) -> None: ...


def settings(*arguments: str) -> flags.Settings:
    return flags.parse(["--app-id", "x", "--app-port", "1", *arguments], {})


def source(
    broker: Fake, app: channel.AppChannel, *arguments: str, scopes: Scopes | None = None
) -> subscriptions.Subscriptions:
    rpc = GrpcApp("127.0.0.1", 1, False, "", 1 << 20)
    asked = subscriptions.App(settings(*arguments), lambda: app, rpc, None)
    declarative = subscriptions.declared([resource.Subscription(name="a", pubsubname="ps", topic="a", default="/a")])
    brokers = {"ps": Broker("ps", broker, scopes or Scopes())}
    again = Retry(duration=0.0)
    return subscriptions.Subscriptions(brokers, declarative, asked, Nobody, lambda: Around(publish), again=again)


def topics(found: "subscriptions.Subscriptions") -> list[tuple[str, str, str]]:
    return [(one.pubsub, one.topic, one.kind) for one in found.subscribed()]


async def test_messages_come_while_the_app_is_there() -> None:
    broker, app = Fake(), Channel((200, ANSWER))
    one = source(broker, app)
    assert topics(one) == [("ps", "a", "DECLARATIVE")]
    await one.begin()
    await one.begin()
    assert sorted(broker.handlers) == ["a", "b"]
    assert topics(one) == [
        ("ps", "a", "DECLARATIVE"), ("ps", "b", "PROGRAMMATIC"), ("other", "c", "PROGRAMMATIC"),
    ]  # fmt: skip
    await one.pause()
    assert broker.handlers == {}
    await one.begin()
    assert (sorted(broker.handlers), app.asked) == (["a", "b"], 1)
    await one.pause()


@pytest.mark.parametrize("answer", [(200, b"nonsense"), (500, b""), (404, b""), (200, b"")])
async def test_what_resources_say_holds_whatever_the_app_answers(answer: tuple[int, bytes]) -> None:
    broker = Fake()
    one = source(broker, Channel(answer))
    await one.begin()
    assert list(broker.handlers) == ["a"]
    await one.pause()


async def test_an_app_that_does_not_answer_is_asked_again() -> None:
    broker, app = Fake(), Channel(AppUnreachable("gone"), (200, ANSWER))
    one = source(broker, app)
    async with asyncio.timeout(20):
        await one.begin()
    assert (sorted(broker.handlers), app.asked) == (["a", "b"], 2)
    await one.pause()


async def test_an_app_that_answered_nonsense_is_asked_again_when_it_is_back() -> None:
    broker, app = Fake(), Channel((200, b"nonsense"), (200, ANSWER))
    one = source(broker, app)
    await one.begin()
    await one.pause()
    await one.begin()
    assert sorted(broker.handlers) == ["a", "b"]
    await one.pause()


async def test_the_app_is_not_asked_where_that_is_switched_off() -> None:
    broker, app = Fake(), Channel((200, ANSWER))
    one = source(broker, app, "--disable-init-endpoints", "subscribe")
    await one.begin()
    assert (list(broker.handlers), app.asked) == (["a"], 0)
    await one.pause()


async def test_a_subscription_that_cannot_be_had_is_tried_again() -> None:
    broker = Fake(refusals=5)
    one = source(broker, Channel((200, ANSWER)))
    await one.begin()
    async with asyncio.timeout(20):
        await broker.has_all.wait()
    assert (broker.refusals, sorted(broker.handlers)) == (0, ["a", "b"])
    await one.pause()


async def test_a_pause_ends_the_attempts() -> None:
    broker = Fake(refusals=1 << 30)
    one = source(broker, Channel((200, ANSWER)))
    await one.begin()
    await one.pause()
    refused = broker.refusals
    for _ in range(10):
        await asyncio.sleep(0)
    assert broker.refusals == refused


async def test_a_topic_that_is_not_allowed_is_never_tried_again() -> None:
    broker = Fake()
    one = source(broker, Channel((200, ANSWER)), scopes=Scopes(subscription=frozenset({"b"})))
    await one.begin()
    for _ in range(10):
        await asyncio.sleep(0)
    assert list(broker.handlers) == ["b"]
    await one.pause()


def test_of_several_resources_of_one_name_the_last_counts() -> None:
    def one(name: str, topic: str) -> resource.Subscription:
        return resource.Subscription(name=name, pubsubname="ps", topic=topic, default="/x")

    found = subscriptions.declared([one("a", "1"), one("b", "2"), one("a", "3")])
    assert [(each.name, each.topic) for each in found] == [("b", "2"), ("a", "3")]


def test_a_resource_whose_rule_is_none_is_told_by_its_name() -> None:
    bad = resource.Subscription(name="s", rules=(resource.Rule("event.", "/x"),))
    with pytest.raises(subscriptions.Unusable, match="Subscription s: Syntax error"):
        subscriptions.declared([bad])


def test_a_resource_is_a_subscription() -> None:
    given = resource.Subscription(
        name="s", pubsubname="p", topic="t", rules=(resource.Rule("event.type == 'x'", "/x"),), default="/y",
        dead_letter_topic="d", bulk_subscribe=resource.BulkSubscribe(True, 3, 4), metadata={"rawPayload": "true"},
    )  # fmt: skip
    [one] = subscriptions.declared([given])
    assert (one.name, one.bulk, one.is_raw) == ("s", Bulk(3, 4), True)
    assert one.document() == {
        "pubsubname": "p", "topic": "t", "metadata": {"rawPayload": "true"},
        "rules": [{"match": "event.type == 'x'", "path": "/x"}, {"path": "/y"}],
        "deadLetterTopic": "d", "type": "DECLARATIVE",
    }  # fmt: skip


class Faulty(Fake):
    """Has a fault of its own, once."""

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if topic == "a" and self.refusals:
            self.refusals -= 1
            raise KeyError("a fault")
        return await super().subscribe(topic, metadata, handler)


async def test_a_fault_of_a_component_does_not_keep_other_subscriptions_from_starting() -> None:
    broker = Faulty(refusals=1)
    one = source(broker, Channel((200, ANSWER)))
    await one.begin()
    assert next(iter(broker.handlers)) == "b"
    async with asyncio.timeout(20):
        await broker.has_all.wait()
    await one.pause()
