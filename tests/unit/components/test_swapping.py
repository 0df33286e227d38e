"""One component in the place of another: no call is lost, and the old one rests when its last call has ended."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydapr.components import Part
from pydapr.components.bindings import Event, InputBinding, OutputBinding, Reading, Request
from pydapr.components.configuration import ConfigurationStore, Item
from pydapr.components.configuration import Handler as Told
from pydapr.components.middleware import Middleware
from pydapr.components.pubsub import Handler, Message, PubSub, PubSubError, Subscription
from pydapr.components.state import Delete, Set, StateStore
from pydapr.components.state import Item as Value
from pydapr.components.swapping import Swap
from pydapr.net.exchange import Exchange
from pydapr.net.exchange import Handler as Inner

ANY: Any = None
"""An exchange, which nobody here looks at."""


async def replace(swap: Swap, new: Part) -> bool:
    """As `daprd.reopening` does it."""
    old = swap.put(new)
    await swap.move()
    await swap.rest(old)
    return swap.has_moved


class Store(StateStore):
    """Answers with its name, once it may."""

    def __init__(self, name: str, *features: str) -> None:
        self.name, self.features = name, features
        self.may = asyncio.Event()
        self.may.set()
        self.scrub = lambda text: text.replace(name, "***")

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] | None = None) -> Value | None:
        await self.may.wait()
        return Value(self.name.encode())

    async def set(self, request: Set) -> None: ...

    async def delete(self, request: Delete) -> None: ...


async def test_calls_go_to_the_one_in_place() -> None:
    swap = Swap(Store("old"))
    face = swap.face
    assert isinstance(face, StateStore)
    item = await face.get("k")
    assert item is not None and item.value == b"old"

    swap.put(Store("new"))

    item = await face.get("k")
    assert item is not None and item.value == b"new"


async def test_what_was_begun_ends_with_the_old_one() -> None:
    old = Store("old")
    old.may.clear()
    swap = Swap(old)
    face = swap.face
    assert isinstance(face, StateStore)
    under_way = asyncio.create_task(face.get("k"))
    await asyncio.sleep(0)
    resting = asyncio.create_task(swap.rest(swap.put(Store("new"))))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not resting.done()

    old.may.set()

    await resting
    item = await under_way
    assert item is not None and item.value == b"old"


async def test_features_and_the_rest_are_those_of_the_one_in_place() -> None:
    swap = Swap(Store("old", "ETAG"))
    face = swap.face
    assert isinstance(face, StateStore)
    swap.put(Store("new", "ETAG", "TRANSACTIONAL"))

    assert tuple(face.features) == ("ETAG", "TRANSACTIONAL")
    assert tuple(face.capabilities) == ("ETAG", "TRANSACTIONAL", "ACTOR")
    assert face.scrub("new one") == "*** one"
    assert await face.most_operations() == 0
    await face.close()


class Topic(Subscription):
    def __init__(self, broker: "Broker", handler: Handler) -> None:
        self.broker, self.handler = broker, handler

    async def close(self) -> None:
        self.broker.topics.remove(self)


class Broker(PubSub):
    """Gives what is published to all who subscribe at that time."""

    def __init__(self, is_broken: bool = False) -> None:
        self.topics: list[Topic] = []
        self._is_broken = is_broken
        self.may = asyncio.Event()
        self.may.set()

    async def publish(self, message: Message) -> None:
        for topic in list(self.topics):
            await topic.handler(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if self._is_broken:
            raise PubSubError("nobody is there")
        await self.may.wait()
        self.topics.append(Topic(self, handler))
        return self.topics[-1]


async def test_subscriptions_go_over() -> None:
    old, new, seen = Broker(), Broker(), list[bytes]()

    async def take(message: Message) -> None:
        seen.append(message.data)

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, PubSub)
    subscription = await face.subscribe("t", {}, take)
    assert await replace(swap, new)
    await face.publish(Message("t", b"after"))

    assert seen == [b"after"]
    assert not old.topics and len(new.topics) == 1
    await subscription.close()
    assert not new.topics


async def test_a_subscription_that_cannot_go_over_stays() -> None:
    old, seen = Broker(), list[bytes]()

    async def take(message: Message) -> None:
        seen.append(message.data)

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, PubSub)
    await face.subscribe("t", {}, take)

    assert not await replace(swap, Broker(is_broken=True))

    await old.publish(Message("t", b"still"))
    assert seen == [b"still"]


async def test_a_subscription_that_begins_while_its_broker_is_replaced_goes_over() -> None:
    old, new = Broker(), Broker()
    old.may.clear()

    async def take(message: Message) -> None: ...

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, PubSub)
    beginning = asyncio.create_task(face.subscribe("t", {}, take))
    await asyncio.sleep(0)
    replacing = asyncio.create_task(replace(swap, new))
    await asyncio.sleep(0)
    old.may.set()

    subscription = await beginning
    assert await replacing
    assert not old.topics and len(new.topics) == 1

    assert await replace(swap, new)
    assert len(new.topics) == 1, "it is there already"
    await subscription.close()
    assert not new.topics


class Both(InputBinding, OutputBinding):
    """A binding in both directions."""

    operations = ("create",)

    def __init__(self) -> None:
        self.readings: list[object] = []

    async def invoke(self, request: Request) -> None: ...

    async def read(self, handler: object) -> Reading:
        binding = self

        class One(Reading):
            async def close(self) -> None:
                binding.readings.remove(self)

        self.readings.append(One())
        made = self.readings[-1]
        assert isinstance(made, Reading)
        return made


async def test_readings_go_over_and_both_directions_stay() -> None:
    old, new = Both(), Both()

    async def take(event: Event) -> bytes:
        return b""

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, InputBinding) and isinstance(face, OutputBinding)
    assert tuple(face.operations) == ("create",)
    await face.read(take)

    assert await replace(swap, new)

    assert not old.readings and len(new.readings) == 1


class Configured(ConfigurationStore):
    def __init__(self, name: str) -> None:
        self.name = name
        self.handlers: dict[str, Told] = {}
        self.may, self.asked = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def get(self, keys: object, metadata: object) -> Mapping[str, Item]:
        return {}

    async def subscribe(self, keys: object, metadata: object, handler: Told) -> str:
        id_ = f"{self.name}-{len(self.handlers)}"
        self.handlers[id_] = handler
        self.asked.set()
        await self.may.wait()
        return id_

    async def unsubscribe(self, subscription: str) -> None:
        del self.handlers[subscription]


async def test_a_subscription_to_configuration_keeps_its_id() -> None:
    old, new, told = Configured("old"), Configured("new"), list[str]()

    async def handler(id_: str, items: Mapping[str, Item]) -> None:
        told.append(id_)

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, ConfigurationStore)
    id_ = await face.subscribe((), {}, handler)
    assert await replace(swap, new)

    await new.handlers["new-0"]("new-0", {})

    assert told == [id_] and not old.handlers
    await face.unsubscribe(id_)
    assert not new.handlers


async def test_a_subscription_to_configuration_that_ends_while_it_goes_over_leaves_nothing() -> None:
    old, new = Configured("old"), Configured("new")
    new.may.clear()

    async def handler(id_: str, items: Mapping[str, Item]) -> None: ...

    swap = Swap(old)
    face = swap.face
    assert isinstance(face, ConfigurationStore)
    id_ = await face.subscribe((), {}, handler)
    replacing = asyncio.create_task(replace(swap, new))
    await new.asked.wait()
    ending = asyncio.create_task(face.unsubscribe(id_))
    await asyncio.sleep(0)
    new.may.set()

    await ending
    assert await replacing
    assert not old.handlers and not new.handlers


class Station(Middleware):
    def __init__(self, name: str, passed: list[str]) -> None:
        self._name, self._passed = name, passed

    def wrap(self, inner: Inner) -> Inner:
        async def handle(exchange: Exchange) -> None:
            self._passed.append(self._name)
            await inner(exchange)

        return handle


async def test_a_pipeline_that_is_built_already_has_the_new_middleware() -> None:
    passed: list[str] = []

    async def end(exchange: Exchange) -> None:
        passed.append("end")

    swap = Swap(Station("old", passed))
    face = swap.face
    assert isinstance(face, Middleware)
    handler = face.wrap(end)
    await handler(ANY)
    swap.put(Station("new", passed))

    await handler(ANY)

    assert passed == ["old", "end", "new", "end"]
