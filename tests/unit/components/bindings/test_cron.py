"""Times come when they are due."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from pydapr import components
from pydapr.components.bindings import Event, InputBinding, NotProcessed, cron


def binding(schedule: str) -> InputBinding:
    return cron.Cron(components.read(cron.Options, {"schedule": schedule}))


async def test_an_event_comes_with_the_second_that_it_is_due_in() -> None:
    seen: list[datetime] = []
    came = asyncio.Event()

    async def handle(event: Event) -> bytes:
        seen.append(datetime.now(UTC))
        assert event.metadata["timeZone"] == "Local" and event.metadata["readTimeUTC"].endswith(" +0000 UTC")
        came.set()
        raise NotProcessed("the next time is another event")

    reading = await binding("* * * * * *").read(handle)
    await asyncio.wait_for(came.wait(), 10)
    await reading.close()

    assert seen[0].microsecond < 900_000


async def test_what_is_never_due_ends_and_can_be_closed() -> None:
    async def handle(event: Event) -> bytes:
        raise AssertionError("nothing is due")

    reading = await binding("0 0 30 2 *").read(handle)
    await asyncio.sleep(0)

    await reading.close()


async def test_an_app_that_is_slow_misses_times() -> None:
    class Two(cron.Cron):
        most = 2

    seen, is_open = 0, asyncio.Event()

    async def handle(event: Event) -> bytes:
        nonlocal seen
        seen += 1
        await is_open.wait()
        return b""

    reading = await Two(components.read(cron.Options, {"schedule": "@every 5ms"})).read(handle)
    await asyncio.sleep(0.1)
    held = seen
    is_open.set()
    await asyncio.wait_for(reading.close(), 10)

    assert held == 2


async def test_a_clock_that_is_set_back_by_years_does_not_silence_it() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    times = iter([start])
    early = datetime(2020, 1, 1, 11, 59, 59, 999_000, tzinfo=UTC)
    later = count()

    class Clocked(cron.Cron):
        clock = staticmethod(lambda: next(times, early + next(later) * timedelta(microseconds=500)))

    came = asyncio.Event()

    async def handle(event: Event) -> bytes:
        came.set()
        return b""

    reading = await Clocked(components.read(cron.Options, {"schedule": "TZ=UTC 0 12 * * *"})).read(handle)
    await asyncio.wait_for(came.wait(), 10)
    await reading.close()


@pytest.mark.parametrize(
    ("zone", "offset"), [("", 0), (":Asia/Tokyo", 9), ("Asia/Tokyo", 9), ("/usr/share/zoneinfo/Asia/Tokyo", 9)]
)
def test_whose_clock_it_is(zone: str, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if zone.startswith("/") and not Path(zone).exists():
        pytest.skip(f"there is no {zone}")
    monkeypatch.setenv("TZ", zone)

    assert datetime(2030, 1, 1, tzinfo=cron._local()).utcoffset() == timedelta(hours=offset)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [("", "schedule not set"), ("x", "invalid schedule format 'x': expected 5 to 6 fields, found 1: [x]")],
)
def test_faults(schedule: str, reason: str) -> None:
    with pytest.raises(components.Wrong) as raised:
        binding(schedule)

    assert str(raised.value) == reason
