"""bindings.cron calls the app at times that a schedule says, by the clock of this machine.

Each sidecar has its own schedule: of an app in several instances all are called. Events are not made up for afterwards
when the sidecar was not running.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from pydapr.components import Wrong, component, option, options
from pydapr.components.bindings import Event, Handler, InputBinding, NotProcessed, Reading
from pydapr.components.drivers.deliveries import Deliveries
from pydapr.lib import schedule
from pydapr.net import tasks

LONGEST_NAP = 600.0
"""Seconds after which the clock is looked at again, since it may have been set."""

STEP = timedelta(seconds=1)
"""By how much a clock may go back before what is due is asked for anew."""

MOST = 100
"""Calls of the app that may be under way; an app that is slower than its schedule misses times."""


def _now() -> datetime:
    return datetime.now(UTC)


@options
class Options:
    schedule: str = option(
        "When: `*/15 * * * *`, `0 30 3 * * *` with seconds, `@daily`, `@every 15m`; `TZ=Asia/Tokyo ` may stand before.",
        default="",
    )


@component("bindings.cron", Options)
class Cron(InputBinding):
    most = MOST
    clock = staticmethod(_now)

    def __init__(self, given: Options) -> None:
        if not given.schedule:
            raise Wrong("schedule not set")
        try:
            self._schedule = schedule.parse(given.schedule)
        except ValueError as error:
            raise Wrong(f"invalid schedule format '{given.schedule}': {error}") from None

    async def read(self, handler: Handler) -> Reading:
        return _Times(self._schedule, handler, self.most, self.clock)


class _Times(Reading):
    def __init__(self, wanted: schedule.Schedule, handler: Handler, most: int, clock: Callable[[], datetime]) -> None:
        self._schedule, self._handler, self._clock = wanted, handler, clock
        self._calls: Deliveries[datetime] = Deliveries(self._call, is_parallel=True)
        self._free = most
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await tasks.stop((self._task,))
        try:
            await self._calls.finish()
        except asyncio.CancelledError:
            await self._calls.stop()
            raise

    async def _run(self) -> None:
        zone = _local()

        def after(moment: datetime) -> datetime | None:
            found = self._schedule.after(moment.astimezone(zone))
            return found.astimezone(UTC) if found is not None else None

        seen = self._clock()
        due = after(seen)
        while due is not None:
            now = self._clock()
            if seen - now > STEP:  # the clock was set back, by years maybe
                due = after(now)
            elif due > now:
                await asyncio.sleep(min((due - now).total_seconds(), LONGEST_NAP))
            else:
                if self._free:
                    self._free -= 1
                    self._calls.put(due)
                following = after(due)
                due = following if following is not None and following > now else after(now)
            seen = now

    async def _call(self, due: datetime) -> None:
        text = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
        try:
            await self._handler(Event(b"", {"timeZone": "Local", "readTimeUTC": text}))
        except NotProcessed:
            pass  # the next time is another event
        finally:
            self._free += 1


def _local() -> tzinfo:
    """The zone of this machine, which knows when its clocks change."""
    from zoneinfo import ZoneInfo

    named = os.environ.get("TZ")
    try:
        if named == "":
            return UTC
        if named is not None and not named.removeprefix(":").startswith("/"):
            return ZoneInfo(named.removeprefix(":"))
        with open(named.removeprefix(":") if named is not None else "/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, KeyError):
        return datetime.now().astimezone().tzinfo or UTC
