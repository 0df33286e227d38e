"""Jobs are triggered when they are due, at least once each time, and the store knows what became of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.scheduler.world import JOB, World

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import engine, names, pool
from pydapr.scheduler.store import Write
from pydapr.scheduler.timing import SECOND


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).open()
    yield made
    await made.close()


def policy(interval_ms: int, retries: int) -> cron_pb2.FailurePolicy:
    made = cron_pb2.FailurePolicy()
    made.constant.interval.nanos = interval_ms * 1_000_000
    made.constant.max_retries = retries
    return made


async def test_a_job_is_delivered_with_what_it_carries_and_is_over(world: World) -> None:
    sidecar = world.sidecar()
    payload = cron_pb2.Job()
    payload.payload.type_url, payload.payload.value = "x/y", b"data"
    key = await world.put("once", payload=payload.payload)

    job = await sidecar.next()

    assert (job.name, job.id, job.data.type_url, job.data.value) == ("once", 1, "x/y", b"data")
    assert (job.metadata.namespace, job.metadata.app_id) == ("ns", "app")
    assert await world.store.get(key) is not None
    sidecar.answer(job)
    await world.until_gone(key)
    assert await world.count(key) is None
    assert world.counts.triggered["job"].value == 1


async def test_never_early_and_soon(world: World) -> None:
    sidecar = world.sidecar()
    for _ in range(5):
        due = time.time_ns() + 30_000_000
        await world.put("soon", due_time="30ms")
        job = await sidecar.next()
        late = time.time_ns() - due
        sidecar.answer(job)
        assert 0 <= late < 5 * SECOND


async def test_the_counter_is_kept_before_the_next_time(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("again", schedule="@every 1ms", repeats=3)
    for number in range(3):
        job = await sidecar.next()
        kept = await world.count(key)
        assert (kept.count if kept else 0) == number
        sidecar.answer(job)
    await world.until_gone(key)
    assert await world.count(key) is None


async def test_a_failed_job_is_tried_again_and_given_up(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("fails", failure_policy=policy(1, 2))
    for attempt in range(3):
        job = await sidecar.next()
        if attempt:
            kept = await world.count(key)
            assert kept is not None and (kept.count, kept.attempts) == (0, attempt)
        sidecar.answer(job, is_success=False)
    await world.until_gone(key)
    assert world.counts.failed["job"].value == 3


async def test_what_nobody_takes_waits_and_goes_at_once(world: World) -> None:
    await world.put("staged")
    await world.until(lambda: world.counts.undelivered["job"].value)
    others = world.sidecar(("job", "ns", "other"), ("actor", "ns", "app"))

    sidecar = world.sidecar()

    assert (await sidecar.next()).name == "staged"
    assert not others.taker.unsent


async def test_a_removed_job_is_not_delivered_when_somebody_comes(world: World) -> None:
    key = await world.put("gone")
    await world.put("stays")
    await world.until(lambda: world.counts.undelivered["job"].value == 2)
    await world.store.delete_prefix(key)

    assert await world.sidecar().names(1) == ["stays"]


async def test_a_stream_that_ends_gives_back_what_it_has_not_answered(world: World) -> None:
    first, second = world.sidecar(), world.sidecar()
    for number in range(4):
        await world.put(f"job{number}")
    mine = await first.names(2)
    theirs = [await second.next() for _ in range(2)]

    first.leave()

    assert sorted(await second.names(2)) == sorted(mine)
    assert {job.id for job in theirs} == {1, 2}


async def test_streams_take_turns(world: World) -> None:
    sidecars = [world.sidecar() for _ in range(3)]
    for number in range(9):
        await world.put(f"job{number}")
    await world.until(lambda: sum(len(one.taker.unanswered) for one in sidecars) == 9)

    assert [len(one.taker.unanswered) for one in sidecars] == [3, 3, 3]


async def test_a_stream_that_does_not_read_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_UNSENT", 1000)
    stuck, reads = world.sidecar(), world.sidecar()
    payload = cron_pb2.Job()
    payload.payload.value = b"x" * 600
    for number in range(20):
        await world.put(f"job{number:02}", payload=payload.payload)
    await world.until(lambda: not stuck.taker.has_room)
    taken = len(stuck.taker.unanswered)

    for _ in range(20 - taken):
        reads.answer(await reads.next())

    assert taken == 2
    stuck.leave()
    assert len(set(await reads.names(2))) == 2


async def test_a_result_of_a_job_that_was_overwritten_is_of_no_interest(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("changed")
    old = await sidecar.next()
    await world.put("changed", due_time="1h")

    sidecar.answer(old)
    await world.engine.settle()

    assert await world.store.get(key) is not None
    assert key in world.engine.jobs
    assert world.counts.triggered["job"].value == 0


async def test_a_job_that_is_overwritten_counts_from_the_beginning(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("again", schedule="@every 1ms", repeats=2)
    sidecar.answer(await sidecar.next())
    await sidecar.next()
    await world.put("again", partition=2, schedule="@every 1ms", repeats=2)

    for _ in range(2):
        sidecar.answer(await sidecar.next())
    await world.until_gone(key)

    assert world.counts.triggered["job"].value == 3


async def test_a_new_process_goes_on_where_the_store_says(tmp_path: Path) -> None:
    world = await World(tmp_path).open()
    sidecar = world.sidecar()
    key = await world.put("again", schedule="@every 1ms", repeats=3)
    sidecar.answer(await sidecar.next())
    await sidecar.next()  # triggered and not answered: the process dies
    await world.close()

    world = await World(tmp_path).open()
    sidecar = world.sidecar()
    for _ in range(2):
        sidecar.answer(await sidecar.next())
    await world.until_gone(key)
    assert world.counts.triggered["job"].value == 2
    await world.close()


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_result_is_written_even_if_the_store_fails(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    sidecar = world.sidecar()
    once = await world.put("once")
    twice = await world.put("twice", schedule="@every 1ms", repeats=2)
    world.store.faults = [fault] * 3
    for _ in range(3):
        sidecar.answer(await sidecar.next())

    await world.until_gone(once)
    await world.until_gone(twice)
    assert world.counts.triggered["job"].value == 3


async def test_what_is_due_later_is_not_kept_in_memory(world: World) -> None:
    later = await world.put("later", due_time="2m")
    soon = await world.put("soon", due_time="30s")

    assert world.engine.jobs[later].value is None
    assert world.engine.jobs[soon].value is not None


async def test_many_are_read_when_they_are_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SOON_BYTES", 0)
    for number in range(700):
        await world.put(f"job{number:03}")
    await world.until(lambda: world.counts.undelivered["job"].value == 700)
    sidecar = world.sidecar()

    assert sorted(await sidecar.names(700)) == [f"job{number:03}" for number in range(700)]
    assert world.store.reads >= 1400


async def test_limits_hold_reminders_back(world: World) -> None:
    sidecar = world.sidecar(("actor", "ns", "T"), T=2, T_mail=1)
    for name, key in (("a", "mail"), ("b", "mail"), ("c", ""), ("d", "")):
        await world.put(name, actor="T", key=key)
        await asyncio.sleep(0)
    first, second = [await sidecar.next() for _ in range(2)]
    assert [first.name, second.name] == ["a", "c"]
    assert world.counts.pending.get("T").value == 2

    sidecar.answer(second)
    third = await sidecar.next()
    assert third.name == "d"
    sidecar.answer(first, is_success=False)
    assert (await sidecar.next()).name in ("b", "a")


async def test_jobs_at_a_gate_go_on_when_the_limit_goes(world: World) -> None:
    limited = world.sidecar(("actor", "ns", "T"), T=1)
    free = world.sidecar(("actor", "ns", "T"))
    for number in range(3):
        await world.put(f"r{number}", actor="T")
    await world.until(lambda: world.counts.pending.get("T").value == 2)
    limited.leave()

    assert len(set(await free.names(3))) == 3


async def test_what_waits_at_a_gate_for_a_stream_without_room_waits_for_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST_UNSENT", 1)
    sidecar = world.sidecar(("actor", "ns", "T"), T=1)
    count = 2000  # more than a stack is deep
    for number in range(count):
        await world.put(f"r{number:04}", actor="T")
    await world.until(lambda: world.counts.pending.get("T").value == count - 1)
    first = await sidecar.next()
    assert first.name == "r0000"
    monkeypatch.setattr(pool, "MOST_UNSENT", 0)
    sidecar.answer(first)
    assert world.counts.pending.get("T").value == 0

    monkeypatch.setattr(pool, "MOST_UNSENT", 1)
    world.engine.pool.pump(world.engine.pool._waiting)
    seen = set()
    for _ in range(50):
        job = await sidecar.next()
        seen.add(job.name)
        sidecar.answer(job)
    assert len(seen) == 50


async def test_a_job_that_is_not_ours_is_left_alone_until_it_is(world: World) -> None:
    world.owned = lambda partition: partition % 2 == 0
    sidecar = world.sidecar()
    ours, others = await world.put("ours", partition=2, due_time="1h"), await world.put("others", partition=3)
    assert set(world.engine.jobs) == {ours}

    world.owned = lambda partition: partition % 2 == 1
    world.engine.reconsider()

    assert (await sidecar.next()).name == "others"
    assert set(world.engine.jobs) == {others}


@pytest.mark.parametrize("is_lost", [True, False])
async def test_what_sidecars_have_comes_again_after_a_moment_in_which_nothing_was_ours(
    world: World, is_lost: bool
) -> None:
    sidecar = world.sidecar()
    given, queued = await world.put("given", schedule="@every 1h"), await world.put("queued", due_time="1h")
    first = await sidecar.next()
    before = dict(world.engine.jobs)

    world.engine.reconsider(is_lost)  # and all is ours again before anybody has looked

    if not is_lost:
        sidecar.answer(first)
        assert world.engine.jobs[given] is before[given]
        return
    second = await sidecar.next()
    assert (second.name, second.id) == ("given", 2)
    assert world.engine.jobs[queued] is before[queued]
    sidecar.answer(first)
    assert await world.count(given) is None, "who has the job by then says what became of it"
    sidecar.answer(second)
    await world.until(lambda: world.engine.jobs[given].is_queued)
    count = await world.count(given)
    assert count is not None and count.count == 1


async def test_counters_come_along_with_jobs_of_others(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("again", schedule="@every 1ms", repeats=2)
    sidecar.answer(await sidecar.next())
    await sidecar.next()
    world.owned = lambda partition: False
    world.engine.reconsider()
    await world.until(lambda: not world.engine.jobs)
    world.owned = lambda partition: True
    world.engine.reconsider()

    sidecar.answer(await sidecar.next())
    await world.until_gone(key)
    assert world.counts.triggered["job"].value == 2


async def test_a_late_result_does_not_count_what_another_scheduler_has_counted(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("again", schedule="@every 1h", due_time="0s")
    job = await sidecar.next()
    counted = cron_pb2.Counter(job_partition_id=1, count=5)
    counted.last_trigger.seconds = time.time_ns() // SECOND
    await world.store.commit([Write(names.counter_key(key), counted.SerializeToString())])

    sidecar.answer(job)
    await world.engine.settle()

    kept = await world.count(key)
    assert kept is not None and kept.count == 5
    assert world.engine.jobs[key].count.count == 5


async def test_what_cannot_be_read_harms_nothing(world: World) -> None:
    await world.store.commit([Write(names.JOBS + "app||ns||app||broken", b"\xff\xff")])
    strange = cron_pb2.StoredJob(partition_id=1)
    strange.due_time.seconds = 1
    await world.store.commit([Write(names.JOBS + "app||ns||app||strange", strange.SerializeToString())])
    foreign = cron_pb2.StoredJob.FromString(strange.SerializeToString())
    foreign.job.metadata.Pack(scheduler_pb2.JobMetadata(namespace="ns", app_id="other", target={"job": {}}))
    await world.store.commit([Write(names.JOBS + "app||ns||app||foreign", foreign.SerializeToString())])
    foreign.job.metadata.Pack(scheduler_pb2.JobMetadata(namespace="ns", app_id="app", target={"job": {}}))
    await world.store.commit([Write(names.JOBS + "app||ns||app||\udcff", foreign.SerializeToString())])
    await world.put("fine")

    assert (await world.sidecar().next()).name == "fine"


async def test_a_clock_that_is_set_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOOK_SECONDS", 0.01)
    now = time.time_ns()
    world = await World(tmp_path, lambda: now).open()
    sidecar = world.sidecar()
    await world.put("later", due_time="1h")
    assert not sidecar.taker.unsent
    now += 3600 * SECOND

    assert (await sidecar.next()).name == "later"
    await world.close()


async def test_memory_is_given_back(world: World) -> None:
    for number in range(3000):
        await world.put(f"job{number % 3}", due_time="30s")

    assert len(world.engine.jobs) == 3
    assert len(world.engine._heap) < 1100
    for key in list(world.engine.jobs):
        await world.store.delete_prefix(key)
    assert (world.engine.jobs, world.engine._kept, world.engine._queued) == ({}, 0, 0)
    assert JOB not in world.engine.pool._waiting


async def test_results_that_have_come_are_written_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    sidecar = world.sidecar()
    key = await world.put("once")
    job = await sidecar.next()
    world.store.faults = ["before"] * 5

    sidecar.answer(job)
    await world.engine.close()

    assert await world.store.get(key) is None
