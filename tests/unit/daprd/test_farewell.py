"""What is sent at the end: at the same time, within what is left of it."""

import asyncio

import pytest

from pydapr.daprd import farewell


@pytest.mark.parametrize(("grace", "given"), [(None, 5.0), (0.0, 5.0), (60.0, 5.0), (5.0, 4.5), (1.0, 0.5), (0.2, 0.1)])
async def test_all_have_what_is_left_of_the_time(grace: float | None, given: float) -> None:
    told: list[float] = []
    met = asyncio.Barrier(2)

    async def send(seconds: float) -> None:
        told.append(seconds)
        await met.wait()

    made = farewell.Farewell()
    made.add(send)
    made.add(send)
    if grace is not None:
        made.end_within(grace)
    async with asyncio.timeout(10):
        await made.say()
    assert told == [pytest.approx(given, abs=0.05)] * 2


async def test_a_fault_of_one_keeps_nobody_from_sending() -> None:
    sent = asyncio.Event()

    async def fail(_: float) -> None:
        raise ValueError("oops")

    async def send(_: float) -> None:
        await asyncio.sleep(0)
        sent.set()

    made = farewell.Farewell()
    made.add(fail)
    made.add(send)
    await made.say()
    assert sent.is_set()
