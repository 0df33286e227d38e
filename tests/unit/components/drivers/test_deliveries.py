"""What a broker pushes goes through its handler in order or side by side, and nothing is lost at the end."""

import asyncio

import pytest

from pydapr.components.drivers.deliveries import Deliveries


class Work:
    """Notes what begins and ends; goes on when it is told to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.cancelled: list[int] = []
        self.go = asyncio.Event()

    async def __call__(self, one: int) -> None:
        self.begun.append(one)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(one)
            raise
        self.done.append(one)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("is_parallel", "begun"), [(False, [1]), (True, [1, 2, 3])])
async def test_one_after_the_other_or_all_at_once(is_parallel: bool, begun: list[int]) -> None:
    work = Work()
    deliveries = Deliveries(work, is_parallel=is_parallel)
    for one in (1, 2, 3):
        deliveries.put(one)
    await turns()
    assert work.begun == begun

    work.go.set()
    await deliveries.drain()

    assert work.done == [1, 2, 3]


async def test_it_goes_on_when_more_comes_just_as_it_ends() -> None:
    work = Work()
    work.go.set()
    deliveries = Deliveries(work, is_parallel=False)

    for one in range(20):
        deliveries.put(one)
        for _ in range(one % 4):
            await asyncio.sleep(0)
    await deliveries.drain()

    assert work.done == list(range(20))


@pytest.mark.parametrize(("is_parallel", "left"), [(False, [2, 3]), (True, [3])])
async def test_the_end_waits_for_what_has_begun_and_gives_back_the_rest(is_parallel: bool, left: list[int]) -> None:
    work = Work()
    deliveries = Deliveries(work, is_parallel=is_parallel)
    deliveries.put(1)
    deliveries.put(2)
    await turns()
    ending = asyncio.create_task(deliveries.finish())
    await turns()
    deliveries.put(3)
    assert not ending.done()

    work.go.set()

    assert list(await ending) == left
    assert sorted([*work.done, *left]) == [1, 2, 3]


async def test_stopping_cancels_what_has_begun() -> None:
    work = Work()
    deliveries = Deliveries(work, is_parallel=True)
    deliveries.put(1)
    await turns()

    await deliveries.stop()
    deliveries.put(2)

    assert work.cancelled == [1]
    assert list(deliveries.take()) == [2]
    assert not deliveries.take()
