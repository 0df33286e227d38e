"""The outbox: what is written in place of a transaction, and what becomes of its events."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.errors import OutboxFailed
from pydapr.blocks.pubsub.outbox import Outbox, Wanted
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import Handler, Message, NotProcessed, PubSub, PubSubError, Subscription
from pydapr.components.state import Delete, Set, StateError
from pydapr.components.state.in_memory import InMemory, Options
from pydapr.wire.tracecontext import Trace

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Fake(PubSub):
    def __init__(self) -> None:
        self.got: list[Message] = []
        self.is_down = False

    async def publish(self, message: Message) -> None:
        if self.is_down:
            raise PubSubError("down")
        self.got.append(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        raise NotImplementedError


class Store(InMemory):
    is_down = is_silent = False

    async def get(self, key: str, **more: Any) -> Any:
        if self.is_silent:
            raise StateError("away")
        return await super().get(key, **more)

    async def delete(self, request: Delete) -> None:
        if self.is_down:
            raise StateError("down")
        await super().delete(request)


class World:
    """An outbox whose pauses take no time: `on_pause` is called instead."""

    def __init__(self, *, discards: bool = False) -> None:
        self.inner, self.outer, self.store = Fake(), Fake(), Store(Options())
        self.pauses = 0
        self.on_pause: Any = None
        brokers = {"in": Broker("in", self.inner), "out": Broker("out", self.outer)}
        wanted = Wanted("out", "orders", "in", discards)
        self.outbox = Outbox(
            "app", "ns", {"store": wanted}, {"store": self.store}, Publisher("app", brokers), self._sleep
        )  # fmt: skip

    async def _sleep(self, seconds: float) -> None:
        self.pauses += 1
        if self.on_pause is not None:
            await self.on_pause()

    async def begin(self, *operations: Set | Delete, is_over: bool = True) -> list[Set | Delete]:
        planned, found = self.outbox.plan("store", operations, Trace(PARENT, b"s=t"))
        await self.outbox.put_aside("store", found)
        if is_over:
            self.outbox.over(planned)
        return planned

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(one.data) for one in self.outer.got]


def upsert(key: str, value: str, **metadata: str) -> Set:
    given = {name.replace("_", "."): text for name, text in metadata.items()}
    return Set(key, value.encode(), is_json=True, metadata=given)


async def test_an_event_is_published_when_its_transaction_is_done() -> None:
    world = World()
    planned = await world.begin(upsert("k", '"v"', x="y", id="no", data="no"), Delete("gone"))
    [aside] = world.inner.got
    event = json.loads(aside.data)
    assert aside.topic == "nsappordersoutbox"
    assert [type(one).__name__ for one in planned] == ["Set", "Delete", "Set"]
    assert planned[2].key == event["id"]
    assert event["id"].startswith("outbox-")

    await world.store.transact(planned)
    await world.outbox.forward("store", aside)
    [told] = world.told
    assert told == {**event, "topic": "orders", "pubsubname": "out"}
    assert (told["data"], told["x"], told["source"], told["datacontenttype"]) == ("v", "y", "app", "text/plain")
    assert (told["traceid"], told["traceparent"], told["tracestate"]) == (PARENT.decode(), "", "s=t")
    assert (world.outer.got[0].topic, world.outer.got[0].content_type) == ("orders", "text/plain")
    assert await world.store.get(event["id"]) is None
    assert world.pauses == 0


@pytest.mark.parametrize(
    ("written", "data"),
    [
        (upsert("k", "5.50"), "5.50"),
        (upsert("k", '{"a":1}'), '{"a":1}'),
        (upsert("k", '{"a":1}', contentType="application/json"), {"a": 1}),
        (upsert("k", '"v"', contentType="application/json"), "v"),
        (Set("k", b"\xffbytes"), "\ufffdbytes"),
        (Set("k", b'"quoted"'), '"quoted"'),
    ],
)
async def test_data_of_events(written: Set, data: object) -> None:
    world = World()
    await world.begin(written)

    assert json.loads(world.inner.got[0].data)["data"] == data


async def test_a_projection_is_published_and_not_written() -> None:
    world = World()
    projection = upsert("k", '"shown"', outbox_projection="true")
    planned = await world.begin(upsert("k", '"kept"'), projection, upsert("other", '"o"'))

    assert [one.key for one in planned[:2]] == ["k", "other"]
    assert isinstance(planned[0], Set)
    assert planned[0].value == b'"kept"'
    assert [json.loads(one.data)["data"] for one in world.inner.got] == ["shown", "o"]


async def test_the_mark_may_come_later_than_the_event() -> None:
    world = World()
    planned = await world.begin(upsert("k", "1"))

    async def commit() -> None:
        if world.pauses == 3:
            await world.store.transact(planned)

    world.on_pause = commit
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1


@pytest.mark.parametrize("discards", [True, False])
async def test_an_event_without_its_mark_is_not_published(discards: bool) -> None:
    world = World(discards=discards)
    await world.begin(upsert("k", "1"))
    if discards:
        await world.outbox.forward("store", world.inner.got[0])
    else:
        with pytest.raises(NotProcessed, match="outbox state not found"):
            await world.outbox.forward("store", world.inner.got[0])
    assert world.told == []


async def test_an_event_is_not_discarded_while_its_transaction_is_under_way() -> None:
    world = World(discards=True)
    planned = await world.begin(upsert("k", "1"), is_over=False)
    with pytest.raises(NotProcessed, match="outbox state not found"):
        await world.outbox.forward("store", world.inner.got[0])
    await world.store.transact(planned, metadata={})
    world.outbox.over(planned)
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1


async def test_an_event_is_not_discarded_because_the_store_does_not_answer() -> None:
    world = World(discards=True)
    await world.store.transact(await world.begin(upsert("k", "1")), metadata={})
    world.store.is_silent = True
    with pytest.raises(NotProcessed, match="away"):
        await world.outbox.forward("store", world.inner.got[0])
    world.store.is_silent = False
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1


async def test_an_old_event_without_its_mark_holds_up_no_other() -> None:
    world = World()
    await world.begin(upsert("k", "1"))
    [aside] = world.inner.got
    with pytest.raises(NotProcessed):
        await world.outbox.forward("store", aside)
    young, world.pauses = world.pauses, 0
    old = json.dumps({**json.loads(aside.data), "time": "2020-01-01T00:00:00Z"}).encode()
    with pytest.raises(NotProcessed):
        await world.outbox.forward("store", Message(aside.topic, old))
    assert world.pauses < young / 2


async def test_an_event_that_cannot_be_published_comes_again() -> None:
    world = World()
    planned = await world.begin(upsert("k", "1"))
    await world.store.transact(planned)
    world.outer.is_down = True
    with pytest.raises(NotProcessed, match="down"):
        await world.outbox.forward("store", world.inner.got[0])
    world.outer.is_down = False
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1


async def test_an_event_is_not_published_twice_because_its_mark_stays() -> None:
    world = World()
    planned = await world.begin(upsert("k", "1"))
    await world.store.transact(planned)
    world.store.is_down = True
    with pytest.raises(NotProcessed, match="could not be removed"):
        await world.outbox.forward("store", world.inner.got[0])
    world.store.is_down = False
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1
    assert await world.store.get(planned[1].key) is None
    await world.outbox.forward("store", world.inner.got[0])
    assert len(world.told) == 1


async def test_nothing_is_begun_when_an_event_cannot_be_put_aside() -> None:
    world = World()
    world.inner.is_down = True
    with pytest.raises(OutboxFailed, match="error while publishing outbox message: down"):
        await world.begin(upsert("k", "1"))


async def test_the_end_of_the_sidecar_waits_for_no_mark() -> None:
    world = World()
    await world.begin(upsert("k", "1"))
    world.outbox.is_ending = True
    with pytest.raises(NotProcessed, match="stops"):
        await world.outbox.forward("store", world.inner.got[0])
    assert world.pauses == 0


async def test_what_is_no_event_goes_back() -> None:
    with pytest.raises(NotProcessed, match="none"):
        await World().outbox.forward("store", Message("t", b"[]"))
