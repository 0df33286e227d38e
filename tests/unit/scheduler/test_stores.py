"""What the contract of stores promises, of each of them: SQLite, and etcd's client, to our own server of etcd's API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from pydapr.net import etcd, server
from pydapr.scheduler.etcd_api import EtcdApi, Place
from pydapr.scheduler.store import Change, Expect, LeasedStore, StoreError, Write
from pydapr.scheduler.stores.etcd import EtcdStore
from pydapr.scheduler.stores.sqlite import SqliteStore

SECONDS = 20
PLACE = Place("one", "http://localhost:2380", "http://localhost:2379", 10_000)


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[LeasedStore]:
    store = SqliteStore(str(folder / "jobs"))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def by_api(folder: Path) -> AsyncIterator[LeasedStore]:
    async with sqlite(folder) as kept:
        assert isinstance(kept, SqliteStore)
        one = server.Server(EtcdApi(kept, PLACE).methods())
        store = EtcdStore(etcd.Client([f"127.0.0.1:{await one.listen('127.0.0.1', 0)}"]))
        await store.open()
        try:
            yield store
        finally:
            await store.close()
            await one.stop(1)


@pytest.fixture(params=[sqlite, by_api], ids=["sqlite", "etcd"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LeasedStore]:
    async with request.param(tmp_path) as one:
        yield one


class Told:
    """What was told, and waiting for more of it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._more = asyncio.Event()

    def __call__(self, changes: Sequence[Change]) -> None:
        self.changes += changes
        self._more.set()

    @property
    def pairs(self) -> list[tuple[str, bytes | None]]:
        return [(one.key, one.value) for one in self.changes]

    async def until(self, has: Callable[["Told"], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not has(self):
                self._more.clear()
                await self._more.wait()


async def put(store: LeasedStore, *keys: str, value: bytes = b"v", lease: int = 0) -> int:
    revision = await store.commit([Write(key, value, lease) for key in keys])
    assert revision is not None
    return revision


async def test_what_is_committed_is_there_with_its_revision(store: LeasedStore) -> None:
    revision = await put(store, "dapr/jobs/a", "dapr/jobs/b", value=b"1")

    found = await store.get("dapr/jobs/b")

    assert found is not None and (found.value, found.revision) == (b"1", revision)
    assert await store.get("dapr/jobs/c") is None
    assert await put(store, "dapr/jobs/a") == revision + 1


async def test_a_commit_whose_expectation_is_not_met_changes_nothing(store: LeasedStore) -> None:
    first = await put(store, "a")
    second = await put(store, "a")

    assert await store.commit([Write("a", b"x"), Write("b", b"x")], [Expect("a", first)]) is None
    assert await store.commit([Write("b", b"x")], [Expect("a", second), Expect("a", 0)]) is None
    assert await store.get("b") is None
    assert await store.commit([Write("a", None), Write("b", b"y")], [Expect("a", second), Expect("b", 0)]) is not None
    assert [one.key for one in await store.scan("")] == ["b"]


async def test_a_scan_begins_behind_a_key_and_ends_with_the_prefix(store: LeasedStore) -> None:
    await put(store, "dapr/jobs/a", "dapr/jobs/b", "dapr/jobs/b2", "dapr/jobs/c", "dapr/jobz")

    assert [one.key for one in await store.scan("dapr/jobs/", "dapr/jobs/a", 2)] == ["dapr/jobs/b", "dapr/jobs/b2"]
    assert [one.key for one in await store.scan("dapr/jobs/b")] == ["dapr/jobs/b", "dapr/jobs/b2"]
    assert not await store.scan("dapr/jobs/d")


async def test_prefixes_are_removed_in_one_commit(store: LeasedStore) -> None:
    await put(store, "jobs/a||1", "jobs/a||2", "jobs/ab", "counters/a||1")

    assert await store.delete_prefix("jobs/a||", "counters/a||") == 3
    assert [one.key for one in await store.scan("")] == ["jobs/ab"]
    assert await store.delete_prefix("jobs/a||") == 0


async def test_who_follows_is_told_what_is_there_and_then_every_change_in_order(store: LeasedStore) -> None:
    await put(store, *(f"jobs/{number:04}" for number in range(2500)))  # more than a portion
    told = Told()

    await store.follow("jobs/", told)
    assert [one.key for one in told.changes] == [f"jobs/{number:04}" for number in range(2500)]
    told.changes.clear()
    await asyncio.gather(*(put(store, f"jobs/{number:04}", value=b"%d" % number) for number in range(50)))
    await put(store, "others/1")
    await store.commit([Write("jobs/0007", None)])

    await told.until(lambda told: len(told.changes) == 51)
    assert told.pairs[-1] == ("jobs/0007", None)
    assert sorted(told.pairs[:50]) == [(f"jobs/{number:04}", b"%d" % number) for number in range(50)]
    revisions = [one.revision for one in told.changes]
    assert revisions == sorted(set(revisions))


async def test_the_keys_of_a_lease_go_with_it(store: LeasedStore) -> None:
    lease, told = await store.grant(60), Told()
    await put(store, "leadership/a", "leadership/b", lease=lease)
    await store.follow("leadership/", told)

    assert await store.keep(lease)
    await store.revoke(lease)

    assert not await store.scan("leadership/")
    await told.until(lambda told: len(told.changes) == 4)
    assert {key for key, value in told.pairs if value is None} == {"leadership/a", "leadership/b"}
    assert not await store.keep(lease)
    await store.revoke(lease)
    with pytest.raises(StoreError, match="lease not found"):
        await put(store, "leadership/c", lease=lease)


async def test_a_lease_that_is_not_kept_ends(store: LeasedStore) -> None:
    lease, told = await store.grant(2), Told()
    await put(store, "leadership/a", lease=lease)
    await store.follow("leadership/", told)

    await told.until(lambda told: told.pairs[-1:] == [("leadership/a", None)])

    assert not await store.keep(lease)


async def test_keys_and_values_may_hold_any_bytes(store: LeasedStore) -> None:
    await put(store, "jobs/ä||\udcff", value=bytes(range(256)))

    (found,) = await store.scan("jobs/")
    assert (found.key, found.value) == ("jobs/ä||\udcff", bytes(range(256)))


async def test_a_watch_goes_on_after_a_lost_connection_without_a_gap(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as kept:
        assert isinstance(kept, SqliteStore)
        first, told = server.Server(EtcdApi(kept, PLACE).methods()), Told()
        port = await first.listen("127.0.0.1", 0)
        store = EtcdStore(etcd.Client([f"127.0.0.1:{port}"]))
        await store.follow("jobs/", told)
        await put(kept, "jobs/1")
        await told.until(lambda told: len(told.changes) == 1)

        await first.stop(0)
        await put(kept, "jobs/2", "jobs/3")
        second = server.Server(EtcdApi(kept, PLACE).methods())
        await second.listen("127.0.0.1", port)

        await told.until(lambda told: len(told.changes) == 3)
        assert told.pairs == [("jobs/1", b"v"), ("jobs/2", b"v"), ("jobs/3", b"v")]
        await store.close()
        await second.stop(1)


async def test_what_was_removed_while_nobody_could_watch_is_told_though_history_is_gone(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as kept:
        assert isinstance(kept, SqliteStore)
        first, told = server.Server(EtcdApi(kept, PLACE).methods()), Told()
        port = await first.listen("127.0.0.1", 0)
        store = EtcdStore(etcd.Client([f"127.0.0.1:{port}"]))
        await put(kept, "jobs/1", "jobs/2")
        await store.follow("jobs/", told)

        await first.stop(0)
        await kept.delete_prefix("jobs/1")
        await put(kept, "jobs/3")
        kept.compact(kept.revision)
        second = server.Server(EtcdApi(kept, PLACE).methods())
        await second.listen("127.0.0.1", port)

        await told.until(lambda told: ("jobs/1", None) in told.pairs and ("jobs/3", b"v") in told.pairs)
        await put(kept, "jobs/4")
        await told.until(lambda told: told.pairs[-1] == ("jobs/4", b"v"))
        await store.close()
        await second.stop(1)
