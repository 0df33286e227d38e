"""Messages that come one by one are delivered many at a time, and each has its own end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from pydapr.components.drivers import gathering
from pydapr.components.pubsub import (
    IMMEDIATE,
    BulkHandler,
    Entry,
    Handler,
    Limits,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)

HOUR = 3600.0


class Broker(PubSub):
    """Has its messages from the test, which gives them to `handlers`."""

    def __init__(self, features: Sequence[str] = (), fault: PubSubError | None = None) -> None:
        self.features = features
        self.fault = fault
        self.handler: Handler | None = None
        self.under_way: set[asyncio.Task[str]] = set()

    async def publish(self, message: Message) -> None:
        raise AssertionError

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        self.handler = handler
        if self.fault is not None:
            self.bring("early")
            await asyncio.sleep(0)
            raise self.fault
        return Opened(self)

    def bring(self, *texts: str) -> list["asyncio.Task[str]"]:
        """The fate of each message: empty when it is done with, or the reason why not."""
        made = [asyncio.create_task(self._fate(text)) for text in texts]
        self.under_way.update(made)
        return made

    async def _fate(self, text: str) -> str:
        assert self.handler is not None
        try:
            await self.handler(Message("orders", text.encode()))
        except NotProcessed as error:
            return str(error)
        return ""


class Opened(Subscription):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def close(self) -> None:
        try:
            await asyncio.gather(*self._broker.under_way)
        except asyncio.CancelledError:
            await asyncio.gather(*self._broker.under_way, return_exceptions=True)
            raise


class App:
    """Takes bulks when it is let: `bulks` are what came."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.bulks: list[list[str]] = []
        self.ids: list[str] = []
        self.failing = failing
        self.came = asyncio.Event()
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.is_cancelled = False

    async def handle(self, entries: Sequence[Entry]) -> Mapping[str, str]:
        texts = [entry.message.data.decode() for entry in entries]
        self.bulks.append(texts)
        self.ids += [entry.id for entry in entries]
        self.came.set()
        try:
            await self.may_go.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return {entry.id: f"no {text}" for entry, text in zip(entries, texts, strict=True) if text in self.failing}


async def open_(broker: Broker, handler: BulkHandler, most: int = 3, seconds: float = HOUR) -> Subscription:
    return await gathering.subscribe(broker, "orders", {}, Limits(most, seconds), handler)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(bounded())


def test_a_full_bulk_goes_at_once() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        await open_(broker, app.handle, most=3)
        assert await asyncio.gather(*broker.bring("a", "b", "c")) == ["", "", ""]
        assert app.bulks == [["a", "b", "c"]]
        assert len(set(app.ids)) == 3

    run(test)


def test_what_is_not_full_goes_in_time() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        await open_(broker, app.handle, most=3, seconds=0.01)
        assert await asyncio.gather(*broker.bring("a", "b")) == ["", ""]
        assert app.bulks == [["a", "b"]]

    run(test)


def test_each_message_learns_its_own_outcome() -> None:
    async def test() -> None:
        broker, app = Broker(), App(failing=["b"])
        await open_(broker, app.handle, most=3)
        assert await asyncio.gather(*broker.bring("a", "b", "c")) == ["", "no b", ""]

    run(test)


def test_bulks_follow_one_another_in_order_and_none_is_larger_than_allowed() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        app.may_go.clear()
        await open_(broker, app.handle, most=2, seconds=0.01)
        fates = broker.bring("a", "b", "c", "d", "e")
        await app.came.wait()
        await asyncio.sleep(0)
        assert app.bulks == [["a", "b"]]
        app.may_go.set()
        assert await asyncio.gather(*fates) == [""] * 5
        assert app.bulks == [["a", "b"], ["c", "d"], ["e"]]

    run(test)


def test_what_came_while_a_bulk_was_delivered_waits_no_longer_than_allowed() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        app.may_go.clear()
        await open_(broker, app.handle, most=2, seconds=0.01)
        first = broker.bring("a", "b")
        await app.came.wait()
        later = broker.bring("c")
        await asyncio.sleep(0.05)
        app.may_go.set()
        await asyncio.gather(*first, *later)
        assert app.bulks == [["a", "b"], ["c"]]

    run(test)


def test_a_broker_that_brings_one_after_the_other_is_not_made_to_wait() -> None:
    async def test() -> None:
        broker, app = Broker([IMMEDIATE]), App()
        await open_(broker, app.handle, most=100)
        for text in ("a", "b"):
            assert await asyncio.gather(*broker.bring(text)) == [""]
        assert app.bulks == [["a"], ["b"]]

    run(test)


def test_closing_delivers_what_waits() -> None:
    async def test() -> None:
        broker, app = Broker(), App(failing=["b"])
        subscription = await open_(broker, app.handle)
        fates = broker.bring("a", "b")
        await asyncio.sleep(0)
        await subscription.close()
        assert [fate.result() for fate in fates] == ["", "no b"]

    run(test)


def test_a_message_that_comes_during_the_end_does_not_wait_for_others() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        app.may_go.clear()
        subscription = await open_(broker, app.handle)
        early = broker.bring("a")
        await asyncio.sleep(0)
        closing = asyncio.create_task(subscription.close())
        await app.came.wait()
        late = broker.bring("b")
        await asyncio.sleep(0)
        app.may_go.set()
        assert await asyncio.gather(*early, *late) == ["", ""]
        await closing
        assert app.bulks == [["a"], ["b"]]

    run(test)


def test_cancelling_the_end_cancels_the_delivery() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        app.may_go.clear()
        subscription = await open_(broker, app.handle)
        fates = broker.bring("a")
        closing = asyncio.create_task(subscription.close())
        await app.came.wait()
        closing.cancel()
        await asyncio.wait((closing,))
        assert closing.cancelled()
        assert app.is_cancelled
        assert fates[0].cancelled()

    run(test)


def test_a_message_that_the_broker_takes_back_is_not_delivered() -> None:
    async def test() -> None:
        broker, app = Broker(), App()
        await open_(broker, app.handle, most=3)
        gone, *rest = broker.bring("a", "b")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait((gone,))
        assert await asyncio.gather(*rest, *broker.bring("c")) == ["", ""]
        assert app.bulks == [["b", "c"]]

    run(test)


def test_a_fault_of_the_handler_gives_the_messages_back_and_stops_nothing() -> None:
    async def test() -> None:
        bulks = []

        async def handle(entries: Sequence[Entry]) -> Mapping[str, str]:
            bulks.append(len(entries))
            if len(bulks) == 1:
                raise ValueError("broken")
            return {}

        broker = Broker()
        await open_(broker, handle, most=1)
        assert "broken" in (await asyncio.gather(*broker.bring("a")))[0]
        assert await asyncio.gather(*broker.bring("b")) == [""]

    run(test)


def test_a_subscription_that_fails_leaves_no_message_waiting() -> None:
    async def test() -> None:
        broker, app = Broker(fault=PubSubError("not today")), App()
        with pytest.raises(PubSubError, match="not today"):
            await open_(broker, app.handle)
        assert await asyncio.gather(*broker.under_way) != [""]

    run(test)
