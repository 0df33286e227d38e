"""The broker in memory, besides what every broker does: bounds, and what a subscription leaves behind."""

import asyncio

import pytest

from pydapr.components import Seconds
from pydapr.components.pubsub import Message, NotProcessed, PubSubError, in_memory
from pydapr.components.pubsub.in_memory import InMemory, Options
from pydapr.errors import Code


class App:
    """Takes messages when `gate` is open; refuses what says so, as often as it says."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_some = asyncio.Condition()

    async def take(self, message: Message) -> None:
        await self.gate.wait()
        async with self.has_some:
            self.got.append(message.data)
            self.has_some.notify_all()
        if message.data.startswith(b"refuse") and self.got.count(message.data) < 3:
            raise NotProcessed("no")
        if message.data == b"break":
            raise RuntimeError("a fault")

    async def await_all(self, count: int) -> list[bytes]:
        async with asyncio.timeout(20), self.has_some:
            await self.has_some.wait_for(lambda: len(self.got) >= count)
        return self.got


async def fill(bus: InMemory, *data: bytes, topic: str = "t") -> None:
    for one in data:
        await bus.publish(Message(topic, one))


async def test_what_nobody_took_is_gone_unless_it_is_to_come_again() -> None:
    app, bus = App(), InMemory(Options())
    await bus.subscribe("t", {}, app.take)
    await fill(bus, b"refuse", b"a", b"b")
    assert await app.await_all(3) == [b"refuse", b"a", b"b"]
    await bus.close()

    app, bus = App(), InMemory(Options(redeliver_interval=Seconds(0.001)))
    await bus.subscribe("t", {}, app.take)
    await fill(bus, b"refuse", b"a")
    assert sorted(await app.await_all(4)) == [b"a", b"refuse", b"refuse", b"refuse"]
    await bus.close()


async def test_a_fault_of_the_subscriber_does_not_end_the_deliveries() -> None:
    app, bus = App(), InMemory(Options())
    await bus.subscribe("t", {}, app.take)
    await fill(bus, b"break", b"a")
    assert await app.await_all(2) == [b"break", b"a"]
    await bus.close()


async def test_patterns_do_not_match_the_text_before_the_star() -> None:
    app, bus = App(), InMemory(Options())
    await bus.subscribe("order*", {}, app.take)
    await fill(bus, b"no", topic="order")
    await fill(bus, b"no", topic="other")
    await fill(bus, b"yes", topic="orders")
    await fill(bus, b"once", topic="order*")
    assert await app.await_all(2) == [b"yes", b"once"]
    await bus.close()


async def test_what_was_not_delivered_at_the_end_is_for_the_next_subscription() -> None:
    app, bus = App(), InMemory(Options())
    app.gate.clear()
    subscription = await bus.subscribe("t", {}, app.take)
    await fill(bus, b"a", b"b", b"c")
    await asyncio.sleep(0)
    closing = asyncio.create_task(subscription.close())
    await asyncio.sleep(0)
    app.gate.set()
    await closing
    assert app.got == [b"a"]
    await bus.subscribe("t", {}, app.take)
    assert await app.await_all(3) == [b"a", b"b", b"c"]
    await bus.close()


@pytest.mark.parametrize("bound", ["MOST_MESSAGES", "MOST_BYTES"])
async def test_who_publishes_waits_for_who_subscribes(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, bound, 2)
    app, bus = App(), InMemory(Options())
    app.gate.clear()
    await bus.subscribe("t", {}, app.take)
    await fill(bus, b"a", b"b", b"c") if bound == "MOST_MESSAGES" else await fill(bus, b"a", b"bb")
    filling = asyncio.create_task(fill(bus, b"last"))
    await asyncio.sleep(0.01)
    waits = not filling.done()
    app.gate.set()
    await filling
    assert waits
    assert (await app.await_all(3))[-1] == b"last"
    await bus.close()


async def test_who_publishes_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MOST_MESSAGES", 1)
    monkeypatch.setattr(in_memory, "PATIENCE_SECONDS", 0.01)
    app, bus = App(), InMemory(Options())
    app.gate.clear()
    await bus.subscribe("t", {}, app.take)
    with pytest.raises(PubSubError, match="does not keep up"):
        await fill(bus, b"a", b"b", b"c")
    await bus.close()


async def test_what_is_to_come_again_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MOST_MESSAGES", 3)
    monkeypatch.setattr(in_memory, "PATIENCE_SECONDS", 0.01)
    app, bus = App(), InMemory(Options(redeliver_interval=Seconds(3600)))
    await bus.subscribe("t", {}, app.take)
    with pytest.raises(PubSubError, match="does not keep up"):
        await fill(bus, *(b"refuse %d" % number for number in range(10)))
    assert len(app.got) < 6
    await bus.close()


async def test_a_closed_broker_takes_nothing() -> None:
    bus = InMemory(Options())
    await bus.close()
    with pytest.raises(PubSubError, match="component is closed") as raised:
        await fill(bus, b"a")
    assert raised.value.code == Code.FAILED_PRECONDITION
    with pytest.raises(PubSubError):
        await bus.subscribe("t", {}, App().take)
