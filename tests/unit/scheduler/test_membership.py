"""Several schedulers on one store agree who has which jobs: each job has one owner, and after a death another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pydapr.net import keepalive
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import membership
from pydapr.scheduler.membership import FOLDER, Elected
from pydapr.scheduler.store import StoreError, Write
from pydapr.scheduler.stores.sqlite import SqliteStore

SECONDS = 20
PARTITIONS = range(60)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(str(tmp_path))
    await made.open()
    yield made
    await made.close()


class Scheduler:
    """A member, and what it has been told to have, one after the other."""

    def __init__(self, store: SqliteStore, id: str, seconds: int = 10, host: str = "") -> None:
        self.member = Elected(store, id, host or f"{id}:50006", seconds)
        self.member.on_change = self._changed
        self.shares: list[set[int]] = []
        self.settled = 0
        self.member.settle = self._settle
        self._more = asyncio.Event()

    def _changed(self) -> None:
        self.shares.append(self.owned)
        self._more.set()

    async def _settle(self) -> None:
        assert not self.owned
        self.settled += 1

    @property
    def owned(self) -> set[int]:
        return {one for one in PARTITIONS if self.member.owns(one)}

    async def until(self, has: Callable[[set[int]], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not has(self.owned):
                self._more.clear()
                await self._more.wait()


@contextlib.asynccontextmanager
async def joined(*schedulers: Scheduler) -> AsyncIterator[None]:
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(one.member.join() for one in schedulers))
    try:
        yield
    finally:
        for one in schedulers:
            await one.member.leave()


async def test_a_single_one_has_all_and_shows_its_key(store: SqliteStore) -> None:
    one = Scheduler(store, "s-0")

    async with joined(one):
        assert one.owned == set(PARTITIONS)
        assert one.member.hosts() == ["s-0:50006"]
        found = await store.get(f"{FOLDER}/s-0")
        assert found is not None and cron_pb2.Leadership.FromString(found.value).total == 1

    assert await store.get(f"{FOLDER}/s-0") is None
    assert not one.owned


async def test_each_partition_has_one_owner_in_the_order_of_keys(store: SqliteStore) -> None:
    members = [Scheduler(store, f"s-{number}") for number in (2, 0, 1)]

    async with joined(*members):
        for one, place in zip(members, (2, 0, 1), strict=True):
            await one.until(lambda owned, place=place: owned == set(PARTITIONS[place::3]))  # type: ignore[misc]
            assert one.member.hosts() == ["s-0:50006", "s-1:50006", "s-2:50006"]


async def test_who_was_there_before_lets_go_and_settles_before_another_begins(store: SqliteStore) -> None:
    first, second = Scheduler(store, "s-0"), Scheduler(store, "s-1")

    async with joined(first):
        async with joined(second):
            assert first.settled >= 1
            await first.until(lambda owned: owned == set(PARTITIONS[0::2]))
            assert first.shares[:3] == [set(PARTITIONS), set(), set(PARTITIONS[0::2])]
        await first.until(lambda owned: owned == set(PARTITIONS))


async def test_the_jobs_of_one_that_does_not_keep_its_lease_go_to_the_others(store: SqliteStore) -> None:
    first, second = Scheduler(store, "s-0", seconds=2), Scheduler(store, "s-1", seconds=2)

    async with joined(first, second):
        await first.until(lambda owned: len(owned) == 30)
        running, second.member._tasks = second.member._tasks, []
        for task in running:
            task.cancel()  # as if its process had stopped

        await first.until(lambda owned: owned == set(PARTITIONS))

        assert not second.owned  # it let go by itself, without the store


async def test_one_whose_machine_slept_has_nothing_when_it_wakes(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Scheduler(store, "s-0")
    async with joined(one):
        slept = 60.0  # in which timers and the loop's clock stood still
        monkeypatch.setattr(membership, "now", lambda: keepalive.now() + slept)
        assert one.owned == set()


async def test_a_listener_that_fails_does_not_end_the_membership(store: SqliteStore) -> None:
    one = Scheduler(store, "s-0")

    def failing() -> None:
        one._changed()
        raise ValueError

    async with joined(one):
        one.member.on_change = failing
        (lease,) = store.leases.all()
        await store.revoke(lease)
        await one.until(lambda owned: not owned)
        await one.until(lambda owned: owned == set(PARTITIONS))
        assert not one.member._tasks[0].done()


async def test_one_whose_lease_is_taken_away_joins_anew(store: SqliteStore) -> None:
    one = Scheduler(store, "s-0")

    async with joined(one):
        (lease,) = store.leases.all()
        await store.revoke(lease)

        await one.until(lambda owned: owned == set(PARTITIONS))
        assert one.shares == [set(PARTITIONS), set(), set(PARTITIONS)]
        (other,) = store.leases.all()
        assert other != lease


async def test_one_whose_key_is_removed_writes_it_again(store: SqliteStore) -> None:
    one = Scheduler(store, "s-0")

    async with joined(one):
        await store.delete_prefix(FOLDER)

        await one.until(lambda owned: owned == set(PARTITIONS))
        assert await store.get(f"{FOLDER}/s-0") is not None


def left_behind(host: str, total: int = 1) -> bytes:
    made = cron_pb2.Leadership(total=total, uid=7)
    made.replica_data.Pack(scheduler_pb2.Host(address=host))
    return made.SerializeToString()


async def test_a_key_that_we_left_behind_when_we_were_killed_is_taken_over(store: SqliteStore) -> None:
    lease = await store.grant(3600)
    await store.commit([Write(f"{FOLDER}/s-0", left_behind("s-0:50006"), lease)])

    async with joined(Scheduler(store, "s-0")):
        await store.revoke(lease)  # it is ours now, and not of the lease from before
        assert await store.get(f"{FOLDER}/s-0") is not None


async def test_a_key_of_another_with_our_id_is_waited_for(store: SqliteStore) -> None:
    lease = await store.grant(3600)
    await store.commit([Write(f"{FOLDER}/s-0", left_behind("elsewhere:50006"), lease)])
    one = Scheduler(store, "s-0")

    joining = asyncio.create_task(one.member.join())
    await asyncio.sleep(0.1)
    assert not joining.done()
    await store.revoke(lease)

    async with asyncio.timeout(SECONDS):
        await joining
    await one.member.leave()


async def test_a_member_of_the_original_is_agreed_with_by_the_number_alone(store: SqliteStore) -> None:
    lease, one = await store.grant(3600), Scheduler(store, "s-0")
    await store.commit([Write(f"{FOLDER}/s-1", left_behind("s-1:50006"), lease)])

    joining = asyncio.create_task(one.member.join())
    await asyncio.sleep(0.1)
    assert not one.owned
    await store.commit([Write(f"{FOLDER}/s-1", left_behind("s-1:50006", total=2), lease)])

    async with asyncio.timeout(SECONDS):
        await joining
    assert one.owned == set(PARTITIONS[0::2])
    await one.member.leave()


async def test_one_that_comes_for_another_at_one_moment_is_no_member_before_all_know(store: SqliteStore) -> None:
    members = [Scheduler(store, f"s-{number}") for number in (1, 2, 3)]

    async with joined(*members[1:]):
        await members[0].member.join()
        await members[0].until(lambda owned: owned == set(PARTITIONS[0::3]))
        await members[1].until(lambda owned: owned == set(PARTITIONS[1::3]))
        last = Scheduler(store, "s-4")
        await asyncio.gather(members[0].member.leave(), last.member.join())

        await last.until(lambda owned: owned == set(PARTITIONS[2::3]))
        await members[1].until(lambda owned: owned == set(PARTITIONS[0::3]))
        await members[2].until(lambda owned: owned == set(PARTITIONS[1::3]))
        await last.member.leave()


async def test_a_store_that_fails_for_a_while_is_tried_again(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Scheduler(store, "s-0")
    commit, failures = store.commit, [StoreError("not now")]

    async def failing(*given: object) -> int | None:
        if failures:
            raise failures.pop()
        return await commit(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "commit", failing)
    async with joined(one):
        assert one.owned == set(PARTITIONS)
