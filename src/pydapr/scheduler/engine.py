"""Triggers jobs when they are due: knows of each when that is, and little else, and writes down what became of it.

Opened by `runtime`; goes on to `pool`. Of a job that is not due for long, memory has the key, revision and time; what
it carries is read when it is due. A result is in the store before the next time of the job counts, and belongs to
the revision that was triggered: what was overwritten or removed meanwhile is not touched. So each time is triggered
at least once, whenever the process dies.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence, Set
from heapq import heapify, heappop, heappush

from google.protobuf.message import DecodeError

from pydapr.net import tasks
from pydapr.observe import logging
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import metrics, names, pool, timing
from pydapr.scheduler.store import Change, Entry, Expect, Store, StoreError, Write

log = logging.get("dapr.scheduler.server.cron")

LOOK_SECONDS = 60.0
"""The clock of the wall is looked at so often: it may have been set, or the machine have slept."""

SOON = 60 * timing.SECOND
"""What a job carries that is due so soon stays in memory,"""
SOON_BYTES = 64 << 20
"""up to so much."""

RETRY_SECONDS = 1.0
"""Between two attempts at what the store did not do."""

CLOSE_SECONDS = 5.0
"""How long results have to be written when it ends."""

READERS = 32
BURST = 256
"""Jobs that are triggered before others have their turn."""

PAGE = 1000

MANY = 20_000
"""Whenever there are so many jobs more, the collector is told to leave out what is there: it would go over all jobs
each time, 0.3 µs each, while nothing is triggered. Jobs are in no cycles."""


class Job:
    """A job in memory. One that is overwritten has another object."""

    __slots__ = ("count", "counter_revision", "due", "is_gone", "is_queued", "key", "plan", "revision", "value")

    def __init__(self, key: str, revision: int, due: int, count: timing.Count, counter_revision: int) -> None:
        self.key, self.revision, self.due = key, revision, due
        self.count, self.counter_revision = count, counter_revision
        self.is_gone = False
        self.is_queued = False
        """Whether it waits for its time; one that does not is on its way, or its result is."""
        self.value: bytes | None = None
        self.plan: _Underway | None = None

    def __lt__(self, other: "Job") -> bool:
        return self.key < other.key


class _Underway:
    """What is known of a job that has been triggered."""

    __slots__ = ("partition", "plan")

    def __init__(self, plan: timing.Plan, partition: int) -> None:
        self.plan, self.partition = plan, partition


class Engine:
    """All jobs that are ours. `owns` says of a partition whether it is."""

    def __init__(
        self,
        store: Store,
        owns: Callable[[int], bool],
        counts: metrics.Counts,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._owns = owns
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.jobs: dict[str, Job] = {}
        self.pool = pool.Pool(counts, self._send, self._has_backlog, self._finished)
        self._heap: list[tuple[int, Job]] = []
        self._queued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0
        self._kept = 0
        self._left_out = 0
        self._counters: dict[str, Entry] | None = None
        self._touched: dict[str, int] | None = None
        self._to_read: deque[Job] = deque()
        self._readers: set[asyncio.Task[None]] = set()
        self._reading = 0
        self._writers: set[asyncio.Task[None]] = set()
        self._is_paused = False
        self._is_stale = asyncio.Event()
        self._was_lost = False

    # -- beginning and end --

    async def open(self) -> None:
        """Learns of all jobs, and triggers from now on. Raises `StoreError`."""
        self._counters = {}
        async for page in self._pages(names.COUNTERS):
            self._counters.update((entry.key, entry) for entry in page)
        await self._store.follow(names.JOBS, self._told)
        self._counters = None
        self._arm()

    async def run(self) -> None:
        """Keeps what is open going, until cancelled."""
        looking = asyncio.create_task(self.pool.look())
        try:
            while True:
                await self._is_stale.wait()
                self._is_stale.clear()
                await self._reload()
        finally:
            await tasks.stop((looking,))

    async def close(self) -> None:
        """Triggers nothing any more; results that have come are written."""
        self._is_paused = True
        if self._timer is not None:
            self._timer.cancel()
        await tasks.stop(list(self._readers))
        if self._writers:
            await asyncio.wait(list(self._writers), timeout=CLOSE_SECONDS)
        await tasks.stop(list(self._writers))

    async def settle(self) -> None:
        """Returns when the results that have come are written."""
        while self._writers:
            await asyncio.wait(list(self._writers))

    def reconsider(self, is_lost: bool = False) -> None:
        """Other jobs are ours than before: nothing is triggered until it is known which.

        With `is_lost` none is for a moment. What sidecars have been given and not answered by then they are given again
        as soon as it is ours again, as with the original: others may have had it meanwhile."""
        self._was_lost = self._was_lost or is_lost
        self._is_paused = True
        self._is_stale.set()

    async def _reload(self) -> None:
        """Drops the jobs that are not ours any more, and learns of those that are now."""
        was_lost, self._was_lost = self._was_lost, False
        while True:
            self._touched = {}
            try:
                self._counters = {}
                async for page in self._pages(names.COUNTERS):
                    self._counters.update((entry.key, entry) for entry in page)
                async for page in self._pages(names.JOBS):
                    given = self.pool.given() if was_lost else set()
                    for entry in page:
                        if self._touched.get(entry.key, 0) < entry.revision:
                            self._reconsider(entry, given)
                break
            except StoreError as error:
                log.error(f"Failed to read the jobs, trying again: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                self._counters = self._touched = None
        if not self._is_stale.is_set():
            self._is_paused = False
            self._tick()
            self._read_more()

    def _reconsider(self, entry: Entry, given: Set[pool.Held]) -> None:
        known = self.jobs.get(entry.key)
        if known is not None and known.revision >= entry.revision:
            if known.revision == entry.revision and known in given:
                self._put(entry.key, entry.value, entry.revision)
                return
            try:
                is_ours = self._owns(cron_pb2.StoredJob.FromString(entry.value).partition_id)
            except DecodeError:
                is_ours = False
            if is_ours:
                return
        self._put(entry.key, entry.value, entry.revision)

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[Entry]]:
        after = ""
        while page := await self._store.scan(prefix, after, PAGE):
            yield page
            after = page[-1].key

    # -- what there is --

    def _told(self, changes: Sequence[Change]) -> None:
        for change in changes:
            known = self.jobs.get(change.key)
            if self._touched is not None:
                self._touched[change.key] = change.revision
            if known is not None and known.revision >= change.revision:
                continue  # told twice, or late
            if change.value is not None:
                self._put(change.key, change.value, change.revision)
            elif known is not None:
                self._drop(known)

    def _put(self, key: str, value: bytes, revision: int, counter: Entry | None = None) -> None:
        """A job as it is now, and its counter, if it may have one."""
        known = self.jobs.get(key)
        if known is not None:
            self._drop(known)
        try:
            stored = cron_pb2.StoredJob.FromString(value)
            if not self._owns(stored.partition_id):
                return
            plan = timing.Plan(stored)
        except (DecodeError, ValueError) as error:
            log.error(f"The job {key} cannot be read and is left alone: {error}")
            return
        count, counter_revision = timing.NEVER_TRIGGERED, 0
        if counter is None and self._counters:
            counter = self._counters.get(names.counter_key(key))
        if counter is not None:
            count, counter_revision = _count(counter, stored.partition_id), counter.revision
        due = plan.due(count)
        if len(self.jobs) >= self._left_out + MANY:
            self._left_out = len(self.jobs)
            gc.collect()
            gc.freeze()
        job = self.jobs[key] = Job(key, revision, 0 if due is None else due, count, counter_revision)
        if due is None:
            job.plan = _Underway(plan, stored.partition_id)
            self._write(job, count, None)
            return
        if due - self._clock() < SOON and self._kept + len(value) <= SOON_BYTES:
            job.value = value
            self._kept += len(value)
        self._push(job)

    def _drop(self, job: Job) -> None:
        job.is_gone = True
        if self.jobs.get(job.key) is job:
            del self.jobs[job.key]
        self._let_go(job)
        if job.is_queued:
            job.is_queued = False
            self._queued -= 1
            if len(self._heap) > 2 * self._queued + 1000:
                self._heap[:] = [entry for entry in self._heap if entry[1].is_queued]
                heapify(self._heap)
        else:
            self.pool.forget(job)

    def _let_go(self, job: Job) -> None:
        if job.value is not None:
            self._kept -= len(job.value)
            job.value = None

    # -- time --

    def _push(self, job: Job) -> None:
        """Has `job` wait for its time."""
        job.is_queued = True
        self._queued += 1
        heappush(self._heap, (job.due, job))
        if job.due < self._armed:
            self._arm()

    def _arm(self) -> None:
        """Wakes up when the next job is due, or to look at the clock."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock()
        latest = now + int(LOOK_SECONDS * timing.SECOND)
        self._armed = min(self._heap[0][0], latest) if self._heap else latest
        self._timer = self._loop.call_later(max(self._armed - now, 0) / timing.SECOND, self._tick)

    def _tick(self) -> None:
        """Triggers what is due."""
        if self._is_paused:
            return  # whoever ends the pause calls again
        heap, now = self._heap, self._clock()
        try:
            for _ in range(BURST):
                if not heap or heap[0][0] > now:
                    break
                job = heappop(heap)[1]
                if job.is_queued:
                    job.is_queued = False
                    self._queued -= 1
                    self._send(job)
        finally:  # whatever is wrong with one of them, the others have their time
            self._arm()

    # -- on the way out --

    def _send(self, job: pool.Held) -> None:
        """Delivers a job whose time has come."""
        assert isinstance(job, Job)
        if job.value is not None and not self._is_paused:
            self._deliver(job, job.value)
        else:
            self._to_read.append(job)
            self._read_more()

    def _has_backlog(self) -> bool:
        return self._is_paused or len(self._to_read) >= pool.MOST_AT_ONCE

    def _read_more(self) -> None:
        while not self._is_paused and self._reading < min(READERS, len(self._to_read)):
            self._reading += 1
            task = asyncio.create_task(self._read())
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)

    async def _read(self) -> None:
        """Reads what jobs carry that are due, as long as there are some."""
        try:
            while not self._is_paused:
                if not self._to_read:
                    self.pool.pump()
                if not self._to_read:
                    return
                await self._read_one(self._to_read.popleft())
        finally:
            self._reading -= 1

    async def _read_one(self, job: Job) -> None:
        if job.is_gone:
            return
        try:
            entry = await self._store.get(job.key)
        except StoreError as error:
            log.error(f"Failed to read the job {job.key}, trying again: {error}")
            self._to_read.append(job)
            await asyncio.sleep(RETRY_SECONDS)
            return
        if job.is_gone:
            return
        if entry is None:
            self._drop(job)
        elif entry.revision != job.revision:
            self._put(entry.key, entry.value, entry.revision)
        elif self._is_paused:
            self._to_read.append(job)
        else:
            self._deliver(job, entry.value)

    def _deliver(self, job: Job, value: bytes) -> None:
        stored = cron_pb2.StoredJob.FromString(value)
        if not self._owns(stored.partition_id):
            self._to_read.append(job)  # which jobs are ours is about to be seen
            self.reconsider()
            return
        metadata = scheduler_pb2.JobMetadata()
        try:
            stored.job.metadata.Unpack(metadata)
            name = names.own_name(job.key[len(names.JOBS) :], metadata)
            message = scheduler_pb2.WatchJobsResponse(name=name, metadata=metadata)
        except (DecodeError, ValueError, names.Wrong) as error:
            log.error(f"The job {job.key!r} cannot be delivered: {error}")
            return
        if stored.job.HasField("payload"):
            message.data.CopyFrom(stored.job.payload)
        job.plan = _Underway(timing.Plan(stored), stored.partition_id)
        namespace, actor = metadata.namespace, metadata.target.actor.type
        keys: Sequence[tuple[str, str]] = ()
        if actor:
            keys = ((namespace, actor),)
            if metadata.HasField("concurrency_key"):
                keys = (*keys, (namespace, f"{actor}:{metadata.concurrency_key}"))
        is_job = metadata.target.WhichOneof("type") == "job"
        kind = ("job", namespace, metadata.app_id) if is_job else ("actor", namespace, actor)
        self.pool.deliver(pool.Delivery(job, kind, message.SerializeToString(), keys, self._loop.time()))

    # -- on the way back --

    def _finished(self, job: pool.Held, is_success: bool) -> None:
        assert isinstance(job, Job) and job.plan is not None
        plan = job.plan.plan
        if is_success:
            count = plan.succeeded(job.count)
            self._write(job, count, plan.due(count))
            return
        count, again = plan.failed(job.count, job.due)
        self._write(job, count, plan.due(count) if again is None else again)

    def _write(self, job: Job, count: timing.Count, due: int | None) -> None:
        task = asyncio.create_task(self._written(job, count, due))
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    async def _written(self, job: Job, count: timing.Count, due: int | None) -> None:
        """Writes the counter, or removes the job that is over; then its next time counts."""
        counter = names.counter_key(job.key)
        is_told = False
        assert job.plan is not None
        partition = job.plan.partition
        while not job.is_gone:
            writes, expects = [Write(job.key, None), Write(counter, None)], [Expect(job.key, job.revision)]
            if due is not None:
                writes = [Write(counter, timing.write_count(count, partition))]
                expects.append(Expect(counter, job.counter_revision))
            try:
                revision = await self._store.commit(writes, expects)
                if revision is None and not job.is_gone:
                    await self._learn(job, counter, partition)
                    continue
            except StoreError as error:
                if not is_told:
                    log.error(f"Failed to write what became of the job {job.key}, trying until it is: {error}")
                is_told = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if job.is_gone:
                return
            job.plan = None
            if due is None:
                self._drop(job)
                return
            job.count, job.due, job.counter_revision = count, due, revision or 0
            if due - self._clock() >= SOON:
                self._let_go(job)
            self._push(job)
            return

    async def _learn(self, job: Job, counter: str, partition: int) -> None:
        """Somebody else has written to the job or to its counter. Raises `StoreError`."""
        found, kept = await self._store.get(job.key), await self._store.get(counter)
        if job.is_gone:
            return
        if found is None:
            self._drop(job)
            return
        is_same = found.revision == job.revision
        if is_same and (kept is None or _partition(kept) != partition):
            job.counter_revision = 0 if kept is None else kept.revision  # of a job that was overwritten
            return
        # Whoever triggered it after us, or we ourselves, when the store did what it said it might not have done.
        self._put(found.key, found.value, found.revision, kept)


def _partition(entry: Entry) -> int:
    try:
        return cron_pb2.Counter.FromString(entry.value).job_partition_id
    except DecodeError:
        return -1


def _count(entry: Entry, partition: int) -> timing.Count:
    """What a counter says of the job with this partition; that of another job is nothing to it."""
    try:
        counter = cron_pb2.Counter.FromString(entry.value)
    except DecodeError:
        return timing.NEVER_TRIGGERED
    return timing.read_count(counter) if counter.job_partition_id == partition else timing.NEVER_TRIGGERED
