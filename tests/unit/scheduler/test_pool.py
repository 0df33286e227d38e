"""Who gets which job, and what of it is still sent when it is gone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.scheduler.world import JOB, World

from pydapr.scheduler import engine, metrics, pool


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).open()
    yield made
    await made.close()


async def test_streams_take_turns_with_what_has_waited_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_UNANSWERED", 5)
    sidecars = [world.sidecar() for _ in range(2)]
    for number in range(30):
        await world.put(f"job{number:02}")
    await world.until(lambda: len(world.engine.pool._kinds) == 20)

    monkeypatch.setattr(pool, "MOST_UNANSWERED", 100)
    world.engine.pool.pump(world.engine.pool._waiting)

    assert [len(one.taker.unanswered) for one in sidecars] == [15, 15]


async def test_what_is_removed_before_it_is_sent_is_not_sent(world: World) -> None:
    sidecar = world.sidecar()
    gone, changed = await world.put("gone"), await world.put("changed")
    await world.put("stays")
    await world.until(lambda: len(sidecar.taker.unanswered) == 3)

    await world.store.delete_prefix(gone)
    await world.put("changed", due_time="1h")

    assert (await sidecar.next()).name == "stays"
    assert len(sidecar.taker.unanswered) == 1
    assert changed in world.engine.jobs


async def test_what_is_removed_before_it_is_sent_leaves_its_gate(world: World) -> None:
    sidecar = world.sidecar(("actor", "ns", "T"), T=1)
    gone = await world.put("gone", actor="T")
    await world.put("next", actor="T")
    await world.until(lambda: world.counts.pending.get("T").value == 1)

    await world.store.delete_prefix(gone)

    assert (await sidecar.next()).name == "next"
    assert world.counts.in_flight.get("T").value == 1


async def test_little_is_on_its_way_to_a_stream_that_is_slow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_AT_A_TIME", 100)
    sidecar = world.sidecar()
    for number in range(10):
        await world.put(f"job{number}")
    await world.until(lambda: len(sidecar.taker.unanswered) == 10)

    assert len(await world.engine.pool.next_frames(sidecar.taker)) < 200


async def test_an_answer_to_what_was_not_sent_yet_is_none(world: World) -> None:
    sidecar = world.sidecar()
    key = await world.put("job")
    await world.until(lambda: sidecar.taker.unanswered)

    assert not world.engine.pool.answered(sidecar.taker, 1, True)

    sidecar.answer(await sidecar.next())
    await world.until_gone(key)


async def test_many_that_wait_for_one_app_hold_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SOON_BYTES", 0)
    for number in range(2000):
        await world.put(f"job{number:04}")
    await world.put("reminder", actor="T")
    await world.until(lambda: len(world.engine.pool._kinds) == 2001)

    sidecar, other = world.sidecar(), world.sidecar(("actor", "ns", "T"))
    count = 0
    while not other.taker.unsent:
        sidecar.answer(await sidecar.next())
        count += 1

    assert count < 1000


class _Held:
    is_gone = False


async def test_as_many_as_there_are_wait_without_a_price_for_each() -> None:
    count = 200_000
    sent: list[pool.Held] = []
    many = pool.Pool(metrics.Counts(), sent.append, lambda: False, lambda job, is_success: None)
    for _ in range(count):
        many.deliver(pool.Delivery(_Held(), JOB, b"", (), 0.0))
    many.add(pool.Taker([JOB], {}))

    async with asyncio.timeout(10):  # it took 25 s when each cost more than the one before
        while len(sent) < count:
            many.pump([JOB])
            await asyncio.sleep(0)
