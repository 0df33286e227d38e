"""An engine on a store of its own, jobs for it, and sidecars that take them; time is the test's."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import engine, metrics, names, pool, timing
from pydapr.scheduler.store import Entry, Expect, StoreError, Write
from pydapr.scheduler.stores.sqlite import SqliteStore
from pydapr.wire import grpc

LIMIT = 10.0

JOB = ("job", "ns", "app")


class Faulty(SqliteStore):
    """Does not commit, or does without saying so, while it is told to."""

    faults: Sequence[str] = ()
    reads = 0

    async def commit(self, writes: Sequence[Write], expects: Sequence[Expect] = ()) -> int | None:
        fault, *rest = self.faults or ("",)
        if fault:
            self.faults = rest
        if fault == "before":
            raise StoreError("no")
        found = await super().commit(writes, expects)
        if fault == "after":
            raise StoreError("maybe")
        return found

    async def get(self, key: str) -> Entry | None:
        self.reads += 1
        return await super().get(key)


class Sidecar:
    """A stream that takes jobs."""

    def __init__(self, pool_: pool.Pool, kinds: Sequence[pool.Kind], limits: dict[tuple[str, str], int]) -> None:
        self._pool = pool_
        self.taker = pool.Taker(kinds, limits)
        self._reader = grpc.MessageReader(1 << 30)
        self._received: list[scheduler_pb2.WatchJobsResponse] = []
        pool_.add(self.taker)

    async def next(self) -> scheduler_pb2.WatchJobsResponse:
        """The next job that it is sent."""
        async with asyncio.timeout(LIMIT):
            while not self._received:
                frames = await self._pool.next_frames(self.taker)
                self._pool.sent(self.taker, len(frames))
                self._received += map(scheduler_pb2.WatchJobsResponse.FromString, self._reader.feed(frames))
        return self._received.pop(0)

    async def names(self, count: int) -> list[str]:
        return [(await self.next()).name for _ in range(count)]

    def answer(self, job: scheduler_pb2.WatchJobsResponse, is_success: bool = True) -> None:
        assert self._pool.answered(self.taker, job.id, is_success)

    def leave(self) -> None:
        self._pool.remove(self.taker)


class World:
    """Everything together."""

    def __init__(self, folder: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self.store = Faulty(str(folder))
        self.counts = metrics.Counts()
        self.owned: Callable[[int], bool] = lambda partition: True
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self.engine: engine.Engine

    async def open(self) -> "World":
        await self.store.open()
        self.engine = engine.Engine(self.store, lambda partition: self.owned(partition), self.counts, self._clock)
        await self.engine.open()
        self._tasks.append(asyncio.create_task(self.engine.run()))
        return self

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.engine.close()
        await self.store.close()

    def sidecar(self, *kinds: pool.Kind, **limits: int) -> Sidecar:
        given = {("ns", key.replace("_", ":")): limit for key, limit in limits.items()}
        return Sidecar(self.engine.pool, kinds or (JOB,), given)

    async def put(self, name: str, partition: int = 1, actor: str = "", key: str = "", **fields: object) -> str:
        """Keeps a job that is due now, unless `fields` say otherwise; its key."""
        metadata = scheduler_pb2.JobMetadata(namespace="ns", app_id="app")
        if actor:
            metadata.target.actor.type, metadata.target.actor.id = actor, "1"
        else:
            metadata.target.job.SetInParent()
        if key:
            metadata.concurrency_key = key
        job = cron_pb2.Job(**({"due_time": "0s"} | fields))  # type: ignore[arg-type]
        job.metadata.Pack(metadata)
        stored = timing.store(job, partition, self._clock())
        full = names.JOBS + names.name_prefix(metadata) + name
        await self.store.commit([Write(full, stored.SerializeToString())])
        return full

    async def count(self, key: str) -> cron_pb2.Counter | None:
        found = await self.store.get(names.counter_key(key))
        return None if found is None else cron_pb2.Counter.FromString(found.value)

    async def until_gone(self, key: str) -> None:
        """Waits until a job is over, in the store and in memory."""
        async with asyncio.timeout(LIMIT):
            while await self.store.get(key) is not None or key in self.engine.jobs:  # noqa: ASYNC110 - the store is asked
                await asyncio.sleep(0.001)

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not is_true():  # noqa: ASYNC110 - of anything
                await asyncio.sleep(0.001)
