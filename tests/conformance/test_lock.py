"""Every lock store runs through these cases; a new one needs its entry in `STORES`."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.conformance import redis_servers, servers

from pydapr import components
from pydapr.components.lock import LockStore, Unlocked


def sqlite(folder: Path) -> dict[str, str]:
    return {"connectionString": str(folder / "locks.db")}


def sqlite_without_wal(folder: Path) -> dict[str, str]:
    return {"connectionString": f"file:{folder / 'locks.db'}", "disableWAL": "true", "tableName": "mine"}


def redis(folder: Path) -> dict[str, str]:
    return dict(servers.shared(redis_servers.alone)[0])


def redis_with_tls(folder: Path) -> dict[str, str]:
    return dict(servers.shared(redis_servers.with_tls)[0])


def redis_with_sentinel(folder: Path) -> dict[str, str]:
    return dict(servers.shared(redis_servers.with_sentinel)[0])


STORES = {
    "lock.sqlite": [sqlite, sqlite_without_wal],
    "lock.redis": [redis, redis_with_tls, redis_with_sentinel],
}
CASES = [pytest.param(type_, fill, id=f"{type_}-{fill.__name__}") for type_, fills in STORES.items() for fill in fills]
pytestmark = pytest.mark.parametrize(("type_", "fill"), CASES)


class Stores:
    """Opens stores in one place, each as another sidecar would, and closes them."""

    def __init__(self, type_: str, metadata: dict[str, str]) -> None:
        self._type, self._metadata = type_, metadata
        self.made: list[LockStore] = []

    async def open(self) -> LockStore:
        found = components.find(self._type)
        assert found is not None
        made = found.make(components.read(found.options, self._metadata))
        assert isinstance(made, LockStore)
        await made.open()
        self.made.append(made)
        return made


@pytest.fixture
async def stores(type_: str, fill: Callable[[Path], dict[str, str]], tmp_path: Path) -> AsyncIterator[Stores]:
    made = Stores(type_, fill(tmp_path))
    yield made
    for store in made.made:
        await store.close()


@pytest.fixture
def r() -> str:
    """A resource that no other case has used: they may share a server."""
    return uuid.uuid4().hex


async def freed(store: LockStore, resource: str, owner: str) -> None:
    """Waits until `owner` gets what another holds."""
    async with asyncio.timeout(10):
        while not await store.try_lock(resource, owner, 60):  # noqa: ASYNC110  # a store tells nobody
            await asyncio.sleep(0.02)


async def test_one_owner_at_a_time(stores: Stores, r: str) -> None:
    one, two = await stores.open(), await stores.open()

    assert await one.try_lock(r, "a", 60)
    assert not await two.try_lock(r, "b", 60)
    assert not await one.try_lock(r, "a", 60)
    assert await two.try_lock(f"{r}-other", "b", 60)


async def test_what_becomes_of_giving_back(stores: Stores, r: str) -> None:
    one, two = await stores.open(), await stores.open()
    await one.try_lock(r, "a", 60)

    assert await two.unlock(r, "b") == Unlocked.OF_OTHERS
    assert await two.unlock(f"{r}-gone", "b") == Unlocked.NOT_THERE
    assert await two.unlock(r, "a") == Unlocked.SUCCESS
    assert await one.unlock(r, "a") == Unlocked.NOT_THERE
    assert await one.try_lock(r, "b", 60)


async def test_a_lock_ends_with_its_time_and_a_late_owner_gives_nothing_back(stores: Stores, r: str) -> None:
    one, two = await stores.open(), await stores.open()
    assert await one.try_lock(r, "a", 1)

    await freed(two, r, "b")

    assert await one.unlock(r, "a") == Unlocked.OF_OTHERS
    assert await two.unlock(r, "b") == Unlocked.SUCCESS


async def test_time_that_is_over_is_not_there(stores: Stores, r: str) -> None:
    store = await stores.open()
    assert await store.try_lock(r, "a", 1)

    async with asyncio.timeout(10):
        while not await store.try_lock(r, "probe", 1):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
        while await store.unlock(r, "nobody") == Unlocked.OF_OTHERS:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)

    assert await store.unlock(r, "probe") == Unlocked.NOT_THERE


async def test_of_many_at_once_one_gets_it(stores: Stores, r: str) -> None:
    opened = [await stores.open() for _ in range(4)]

    for turn in range(10):
        tries = [
            store.try_lock(f"{r}{turn}", f"{number}-{place}", 60)
            for number in range(10)
            for place, store in enumerate(opened)
        ]
        assert sum(await asyncio.gather(*tries)) == 1


async def test_a_lock_outlives_the_store_that_took_it(stores: Stores, r: str) -> None:
    one = await stores.open()
    assert await one.try_lock(r, "a", 600)
    await one.close()

    two = await stores.open()

    assert not await two.try_lock(r, "b", 60)
    assert await two.unlock(r, "a") == Unlocked.SUCCESS


@pytest.mark.parametrize("name", ["a b", "ü", "'; DROP TABLE locks", "lock||app||x", "x" * 1000, "\n"])
async def test_odd_names(stores: Stores, r: str, name: str) -> None:
    store = await stores.open()

    assert await store.try_lock(r + name, name, 60)
    assert not await store.try_lock(r + name, "b", 60)
    assert await store.unlock(r + name, name) == Unlocked.SUCCESS


async def test_the_longest_time_is_taken(stores: Stores, r: str) -> None:
    assert await (await stores.open()).try_lock(r, "a", 2**31 - 1)
