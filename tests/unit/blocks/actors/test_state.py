"""The state of actors: keys, who may write, and what the store is told."""

import pytest
from tests.unit.blocks.actors.test_call import FakeRemote
from tests.unit.blocks.actors.world import FakePlaced, FakeTarget, call, options

from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.hosting import Here
from pydapr.blocks.actors.state import ActorState
from pydapr.blocks.state import Store
from pydapr.components.state import Delete, Set, StateError
from pydapr.components.state.in_memory import InMemory, Options
from pydapr.errors import (
    ActorInstanceMissing,
    ActorRuntimeNotFound,
    ActorStateGetFailed,
    ActorStateSaveFailed,
    ActorTypeReserved,
)
from pydapr.lib.actors import Actor

CAT = Actor("Cat", "1")


class Backwards:
    """A cipher that even a test can read."""

    def encrypt(self, value: bytes) -> bytes:
        return b"!" + value[::-1]

    def decrypt(self, value: bytes) -> bytes:
        if not value.startswith(b"!"):
            raise ValueError("not mine")
        return value[:0:-1]


class World:
    def __init__(self, with_store: bool = True, with_ttl: bool = False) -> None:
        self.memory = InMemory(Options())
        self.store: Store | None = Store("st", self.memory, "prefix||") if with_store else None
        self.here = Here()
        self.here.register({"Cat": options()}, FakeTarget())
        actors = Actors(FakePlaced(), self.here, FakeRemote(), "app", "space")
        actors.open()
        self.state = ActorState("app", actors, self.here, lambda: self.store, None, with_ttl)

    async def active(self) -> "World":
        await self.here.invoke(CAT, call())
        return self


async def test_what_is_written_is_read_under_the_key_that_the_original_has() -> None:
    world = await World().active()
    await world.state.transact(CAT, [Set("k||x", b'{"a":1}', is_json=True), Set("old", b"1")])
    await world.state.transact(CAT, [Delete("old")])
    item = await world.state.get(CAT, "k||x")
    assert item is not None
    assert item.value == b'{"a":1}'
    assert await world.state.get(CAT, "old") is None
    assert await world.memory.get("app||Cat||1||k||x") is not None


async def test_only_an_active_actor_is_written_and_any_may_be_read() -> None:
    world = World()
    with pytest.raises(ActorInstanceMissing):
        await world.state.transact(CAT, [])
    with pytest.raises(ActorInstanceMissing):
        await world.state.require(CAT)
    assert await world.state.get(CAT, "k") is None
    await world.active()
    await world.state.require(CAT)
    await world.state.transact(CAT, [])


async def test_types_of_workflows_are_reserved() -> None:
    world = World()
    with pytest.raises(ActorTypeReserved):
        await world.state.get(Actor("dapr.internal.x", "1"), "k")
    with pytest.raises(ActorTypeReserved):
        await world.state.transact(Actor("dapr.internal.x", "1"), [])


async def test_without_a_store_and_with_one_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World(with_store=False).active()
    with pytest.raises(ActorRuntimeNotFound):
        await world.state.get(CAT, "k")
    with pytest.raises(ActorRuntimeNotFound):
        await world.state.transact(CAT, [])
    monkeypatch.setattr(world.memory, "features", ())
    world.store = Store("st", world.memory, "")
    with pytest.raises(ActorStateGetFailed, match="incorrectly configured"):
        await world.state.get(CAT, "k")


async def test_an_operation_that_is_none_has_nothing_written() -> None:
    world = await World().active()
    with pytest.raises(ActorStateSaveFailed, match="missing key"):
        await world.state.transact(CAT, [Set("a", b"1"), Delete("")])
    with pytest.raises(ActorStateSaveFailed, match="ActorStateTTL"):
        await world.state.transact(CAT, [Set("a", b"1", metadata={"ttlInSeconds": "5"})])
    with pytest.raises(ActorStateSaveFailed, match="etag"):
        await world.state.transact(CAT, [Set("b", b"1"), Set("a", b"1", etag="7")])
    assert await world.state.get(CAT, "a") is None
    assert await world.state.get(CAT, "b") is None


async def test_a_time_to_live_is_told_when_it_is_switched_on() -> None:
    world = await World(with_ttl=True).active()
    await world.state.transact(CAT, [Set("a", b"1", metadata={"ttlInSeconds": "500"})])
    item = await world.state.get(CAT, "a")
    assert item is not None
    assert item.metadata["ttlExpireTime"]


async def test_values_are_encrypted_and_readable_ones_are_read() -> None:
    world = await World().active()
    assert world.store is not None
    await world.state.transact(CAT, [Set("clear", b"abc")])
    world.store.cipher = Backwards()
    await world.state.transact(CAT, [Set("sealed", b"abc"), Set("text", b'"xyz"', is_json=True)])
    kept = await world.memory.get("app||Cat||1||sealed")
    assert kept is not None
    assert kept.value == b"!cba"
    for key, value in (("clear", b"abc"), ("sealed", b"abc"), ("text", b"xyz")):
        item = await world.state.get(CAT, key)
        assert item is not None
        assert item.value == value


async def test_a_store_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World().active()

    async def fail(*_: object, **__: object) -> None:
        raise StateError("broken")

    monkeypatch.setattr(world.memory, "transact", fail)
    monkeypatch.setattr(world.memory, "get", fail)
    with pytest.raises(ActorStateSaveFailed, match="error saving actor transaction state: broken"):
        await world.state.transact(CAT, [Set("a", b"1")])
    with pytest.raises(ActorStateGetFailed, match="error getting actor state: broken"):
        await world.state.get(CAT, "a")
