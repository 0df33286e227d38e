"""What becomes of a message: delivered, tried again, dropped, given back to the broker, or a dead letter."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from pydapr.blocks.pubsub import Broker, deliver, routing
from pydapr.blocks.pubsub.deliver import Around, Closed, Delivery, NotTaken, NotTakenByCode, Undeliverable
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components import Seconds
from pydapr.components.pubsub import Message, NotProcessed, Subscription
from pydapr.components.pubsub.in_memory import InMemory, Options
from pydapr.errors import DaprError
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_ingress import IngressMetrics
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry

GOOD = b'{"id":"1","type":"a"}'


class App:
    """A `deliver.Target` that answers with what is in `answers`, and with success after that."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.events: list[Event] = []
        self.gate: asyncio.Event | None = None
        self.has_one = asyncio.Event()

    async def deliver(self, event: Event) -> bool:
        self.events.append(event)
        self.has_one.set()
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """A subscription, the app behind it, and dead letters as far as they could be published."""

    def __init__(
        self,
        app: App,
        *,
        rules: tuple[routing.Rule, ...] = (routing.Rule("/a"),),
        dead_letter: str = "",
        metadata: Mapping[str, str] | None = None,
        prefix: str = "",
        policies: Resiliency | None = None,
        can_bury: bool = True,
        known: tuple[str, ...] = (),
    ) -> None:
        self.letters: list[tuple[str, str, bytes, Mapping[str, str], str]] = []
        self._can_bury = can_bury
        self.known = list(known)
        self.registry = Registry({"app_id": "x"}, 100, [])
        self.broker = InMemory(Options(redeliver_interval=Seconds(0)))
        around = Around(self._publish, policies, IngressMetrics(self.registry, (1,), ""), self)
        wanted = Subscribed("ps", "orders", rules, metadata or {}, dead_letter)
        self.delivery = Delivery(Broker("ps", self.broker, prefix=prefix), wanted, app, around, 0.0)

    async def _publish(self, name: str, topic: str, data: bytes, metadata: Mapping[str, str], kind: str) -> None:
        if not self._can_bury:
            raise DaprError("no way")
        self.letters.append((name, topic, data, metadata, kind))

    async def is_new(self, wanted: Subscribed, event: Event) -> bool:
        return event.fields["id"] not in self.known

    async def delivered(self, wanted: Subscribed, event: Event) -> None:
        self.known.append(event.fields["id"])

    async def begin(self, wanted: Subscribed, event: Event) -> bool:
        return await self.is_new(wanted, event)

    def end(self, wanted: Subscribed, event: Event) -> None: ...

    async def give(self, data: bytes = GOOD, topic: str = "orders", **metadata: str) -> str:
        """The reason why the message goes back to the broker; "" when it does not."""
        try:
            await self.delivery.deliver(Message(topic, data, metadata))
        except NotProcessed as reason:
            return str(reason) or "?"
        return ""

    @property
    def counted(self) -> list[str]:
        """Outcomes that no app told."""
        lines = "".join(self.registry.pieces()).splitlines()
        found = [line for line in lines if line.startswith("dapr_component_pubsub_ingress_count{")]
        return [f"{part(line, 'process_status')} {part(line, ',status')} {line.rpartition(' ')[2]}" for line in found]


def part(line: str, name: str) -> str:
    return line.split(f'{name}="')[1].split('"')[0]


async def test_an_event_goes_where_its_rule_says() -> None:
    app = App()
    world = World(app, rules=(routing.rule("event.type == 'a'", "/a"), routing.Rule("/b")))
    assert await world.give() == ""
    assert await world.give(b'{"type":"b"}') == ""
    assert [(event.path, event.pubsub, event.topic) for event in app.events] == [
        ("/a", "ps", "orders"), ("/b", "ps", "orders"),
    ]  # fmt: skip


async def test_the_namespace_is_no_part_of_the_topic_that_the_app_knows() -> None:
    app = App()
    world = World(app, prefix="ns")
    await world.give(topic="nsorders")
    await world.give(topic="")
    assert [event.topic for event in app.events] == ["orders", "orders"]


@pytest.mark.parametrize("failure", [NotTaken("later"), NotTakenByCode(500, "later", "x"), Undeliverable("later")])
async def test_what_the_app_does_not_take_goes_back(failure: Exception) -> None:
    world = World(App(failure))
    assert await world.give() == "later"
    assert world.counted == ["retry retry 1"]


async def test_what_the_app_does_not_take_becomes_a_dead_letter_where_there_are_some() -> None:
    world = World(App(NotTaken("later")), dead_letter="dead")
    assert await world.give(a="b") == ""
    assert world.letters == [("ps", "dead", GOOD, {"a": "b"}, "")]
    assert world.counted == ["drop drop 1"]


async def test_a_dead_letter_that_cannot_be_published_goes_back() -> None:
    world = World(App(NotTaken("later")), dead_letter="dead", can_bury=False)
    assert await world.give() == "later"
    assert world.counted == ["retry retry 1"]


async def test_what_the_app_drops_is_done_with() -> None:
    world = World(App(False))
    assert await world.give() == ""
    assert world.counted == []


async def test_what_the_app_drops_becomes_a_dead_letter_where_there_are_some() -> None:
    world = World(App(False), dead_letter="dead")
    assert await world.give() == ""
    assert [letter[1] for letter in world.letters] == ["dead"]
    assert await World(App(False), dead_letter="dead", can_bury=False).give() == "pubsub message dropped"


async def test_what_is_no_event_goes_back_or_becomes_a_dead_letter() -> None:
    app = App()
    assert "malformed" in await World(app).give(b"nothing")
    world = World(app, dead_letter="dead")
    assert await world.give(b"nothing") == ""
    assert [letter[2] for letter in world.letters] == [b"nothing"]
    assert app.events == []


async def test_an_event_that_no_rule_is_for_is_done_with() -> None:
    app = App()
    world = World(app, rules=(routing.rule("event.type == 'z'", "/z"),), dead_letter="dead")
    assert await world.give() == ""
    assert (len(world.letters), app.events, world.counted) == (1, [], ["drop success 1"])


async def test_an_event_that_a_rule_cannot_judge_goes_back() -> None:
    assert await World(App(), rules=(routing.rule("event.n > 1", "/z"),)).give() == "no such key: n"


async def test_an_expired_event_is_dropped() -> None:
    app = App()
    world = World(app, dead_letter="dead")
    assert await world.give(b'{"id":"1","expiration":"2001-01-01T00:00:00Z"}') == ""
    assert (len(world.letters), app.events, world.counted) == (1, [], ["drop drop 1"])


async def test_metadata_that_make_no_sense_show_with_each_message() -> None:
    world = World(App(), metadata={"rawPayload": "maybe"})
    assert await world.give() == "rawPayload value must be a valid boolean: actual is 'maybe'"


async def test_an_event_that_was_delivered_is_not_delivered_again_where_that_is_asked_for() -> None:
    app = App()
    world = World(app, metadata={"dedup": "10m"}, known=("1",))
    assert await world.give() == ""
    assert await world.give(b'{"id":"2"}') == ""
    assert await world.give(b'{"id":"2"}') == ""
    assert [event.fields["id"] for event in app.events] == ["2"]
    assert await World(app, known=("1",)).give() == ""
    assert len(app.events) == 2


async def test_an_event_that_the_app_did_not_take_is_new_still() -> None:
    app = App(NotTaken("later"))
    world = World(app, metadata={"dedup": "10m"})
    assert await world.give() == "later"
    assert await world.give() == ""
    assert await world.give() == ""
    assert len(app.events) == 2


def retries(max_retries: int) -> Resiliency:
    made = Resiliency()
    made.retries["again"] = Retry(duration=0.0, max_retries=max_retries)
    made.add_component("ps", Names(retry="again"), Names())
    return made


async def test_policies_have_it_tried_again() -> None:
    app = App(NotTaken("1"), NotTaken("2"))
    assert await World(app, policies=retries(max_retries=2)).give() == ""
    assert len(app.events) == 3
    app = App(*[NotTaken(str(number)) for number in range(5)])
    assert await World(app, policies=retries(max_retries=2)).give() == "2"


async def test_the_app_may_drop_it_at_a_later_try() -> None:
    world = World(App(NotTaken("1"), False), policies=retries(max_retries=2), dead_letter="dead")
    assert await world.give() == ""
    assert len(world.letters) == 1


class Bringing(Subscription):
    """A broker's subscription with messages under way; cancelling its end cancels them, as the contract says."""

    def __init__(self, *under_way: "asyncio.Task[str]") -> None:
        self.under_way = under_way

    async def close(self) -> None:
        try:
            await asyncio.wait(self.under_way)
        finally:
            for task in self.under_way:
                task.cancel()


async def closing(world: World, app: App, then: Callable[[], None]) -> "asyncio.Task[str]":
    """Ends a subscription while the app has a message; `then` lets the app answer."""
    app.gate = asyncio.Event()
    given = asyncio.ensure_future(world.give())
    await app.has_one.wait()
    ending = asyncio.ensure_future(world.delivery.close(Bringing(given)))
    await asyncio.sleep(0)
    assert not ending.done()
    then()
    app.gate.set()
    async with asyncio.timeout(10):
        await ending
    await asyncio.wait((given,))
    return given


async def test_the_end_waits_for_what_the_app_has() -> None:
    app = App()
    world = World(app)
    assert (await closing(world, app, lambda: None)).result() == ""


async def test_what_fails_during_the_end_stays_with_the_broker_and_becomes_no_dead_letter() -> None:
    app = App(NotTaken("later"))
    world = World(app, dead_letter="dead", policies=retries(max_retries=-1))
    assert (await closing(world, app, lambda: None)).cancelled()
    assert (world.letters, len(app.events)) == ([], 1)


async def test_what_comes_during_the_end_is_left() -> None:
    app = App()
    world = World(app)
    late: list[asyncio.Task[str]] = []
    first = await closing(world, app, lambda: late.append(asyncio.ensure_future(world.give())))
    assert first.result() == ""
    await asyncio.sleep(0)
    assert not late[0].done()
    assert len(app.events) == 1
    late[0].cancel()


async def test_a_stream_that_is_closed_leaves_its_messages() -> None:
    world = World(App(Closed()), dead_letter="dead")
    given = asyncio.ensure_future(world.give())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not given.done()
    async with asyncio.timeout(10):
        await world.delivery.close(Bringing(given))
    assert world.letters == []


async def test_an_app_that_never_answers_does_not_hold_the_end_up_for_ever() -> None:
    app = App()
    app.gate = asyncio.Event()
    world = World(app)
    given = asyncio.ensure_future(world.give())
    await app.has_one.wait()
    async with asyncio.timeout(10):
        await world.delivery.close(Bringing(given), patience=0.01)
    await asyncio.wait((given,))
    assert given.cancelled()


class Slow(Subscription):
    """A broker's subscription that takes its time to end, though nothing is under way."""

    has_ended = False

    async def close(self) -> None:
        await asyncio.sleep(deliver.SETTLE_SECONDS + 0.1)
        self.has_ended = True


async def test_a_broker_has_the_time_it_needs_to_end_a_subscription() -> None:
    slow = Slow()
    await World(App()).delivery.close(slow)
    assert slow.has_ended


async def test_a_fault_of_ours_gives_the_message_back() -> None:
    assert "KeyError" in await World(App(KeyError("x"))).give()
