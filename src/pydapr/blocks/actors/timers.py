"""Timers of actors: kept in the memory of the sidecar where they were made, and gone with it.

Called by the faces; what is due goes to `call.Actors`, which finds the actor, here or elsewhere. All timers stand in
one heap, and one call of the loop waits for the first of them. The timers of one actor are carried out one after
another, as they are due; those of others do not wait for them. The next time of a timer is counted from when it was
due, not from when it was done: what a slow callback has missed is made up for. Like the original's (v1.18.3,
`pkg/actors/internal/timers/inmemory`), they outlive a deactivation, and bring the actor back; unlike with it, an answer
of the app that cancels a timer ends it.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable

from pydapr.blocks.actors.errors import TimerNotCreated
from pydapr.blocks.actors.reminders import Calls, check_name
from pydapr.blocks.actors.state import refuse_reserved
from pydapr.lib import periods
from pydapr.lib.actors import Actor, Packed, Reminder
from pydapr.net import tasks
from pydapr.observe import logging
from pydapr.observe.metrics_actors import ActorMetrics

log = logging.get("dapr.runtime.actors.timers.inmemory")

Key = tuple[str, str, str]

CLOSEST = 0.0005
"""Seconds that are added to what the loop is to wait: it rounds to milliseconds, and a timer is never early."""

FEWEST = 64
"""Timers that were taken back stay in the heap while there are no more than these, or as many as others."""


class _Timer:
    __slots__ = ("at", "expires", "key", "left", "period", "reminder", "shift")

    def __init__(self, reminder: Reminder, period: periods.Period, at: int, expires: int | None, shift: int) -> None:
        self.reminder, self.period = reminder, period
        self.key: Key = (reminder.actor.type, reminder.actor.id, reminder.name)
        self.at = at
        """When it is due, in nanoseconds since 1970."""
        self.expires = expires
        self.shift = shift
        """From that to the clock that no one sets."""
        self.left = period.repeats


class Timers:
    """All timers of a sidecar. `clock` and `ticks` tell nanoseconds since 1970 and of a clock that only goes on."""

    def __init__(
        self,
        calls: Calls,
        hosts: Callable[[str], bool],
        metrics: ActorMetrics | None = None,
        clock: Callable[[], int] = time.time_ns,
        ticks: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._calls, self._hosts, self._metrics = calls, hosts, metrics
        self._clock, self._ticks = clock, ticks
        self._timers: dict[Key, _Timer] = {}
        self._heap: list[tuple[int, int, _Timer]] = []
        self._pushed = 0
        self._armed: asyncio.TimerHandle | None = None
        self._armed_for = 0
        self._due: dict[Actor, deque[_Timer]] = {}
        """What is due of actors that have something to do."""
        self._running: set[asyncio.Task[None]] = set()
        self._counts: dict[str, int] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._timers)

    async def register(
        self, actor: Actor, name: str, due: str, period: str, ttl: str, callback: str, data: Packed | None
    ) -> None:
        """Makes a timer, in place of one of the same name. Raises `DaprError`."""
        refuse_reserved(actor.type)
        await self._calls.ready()
        check_name(name)
        if not self._hosts(actor.type):
            raise TimerNotCreated(f"can't create timer for actor {actor.key}: actor type not registered")
        now = self._clock()
        reminder = Reminder(actor, name, data, due, period, callback, is_timer=True)
        timer = _timer(reminder, ttl, now, self._ticks() - now)
        if self._is_closed:
            return
        self._forget(timer.key)
        if timer.expires is not None and timer.at >= timer.expires:
            log.info(f"Timer {'||'.join(timer.key)} has expired")
            return
        self._timers[timer.key] = timer
        self._count(actor.type, 1)
        self._push(timer)
        self._tidy()

    async def unregister(self, actor: Actor, name: str) -> None:
        """Takes a timer back, also one that is due and waits for another; it is no error that there is none. Raises
        `DaprError`."""
        refuse_reserved(actor.type)
        await self._calls.ready()
        self._forget((actor.type, actor.id, name))
        self._tidy()

    async def close(self) -> None:
        """Ends all timers; callbacks under way are broken off."""
        self._is_closed = True
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._heap.clear()
        self._timers.clear()
        self._due.clear()
        await tasks.stop(list(self._running))

    # -- when --

    def _push(self, timer: _Timer) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (timer.at + timer.shift, self._pushed, timer))
        self._arm()

    def _tidy(self) -> None:
        """Takes those out of the heap that were taken back, once they are many."""
        if len(self._heap) > FEWEST + 2 * len(self._timers):
            self._heap = [entry for entry in self._heap if self._timers.get(entry[2].key) is entry[2]]
            heapq.heapify(self._heap)

    def _arm(self) -> None:
        """Has the loop call when the first timer is due."""
        if not self._heap:
            return
        first = self._heap[0][0]
        if self._armed is not None:
            if self._armed_for <= first:
                return
            self._armed.cancel()
        self._armed_for = first
        seconds = max(first - self._ticks(), 0) / periods.SECOND
        # A loop counts milliseconds: what is years ahead is looked at again before.
        self._armed = asyncio.get_running_loop().call_later(min(seconds + CLOSEST, 86_400.0), self._look)

    def _look(self) -> None:
        """Begins what is due."""
        self._armed = None
        now = self._ticks()
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if self._timers.get(timer.key) is timer:
                self._begin(timer)
        self._arm()

    def _begin(self, timer: _Timer) -> None:
        actor = timer.reminder.actor
        waiting = self._due.get(actor)
        if waiting is not None:
            waiting.append(timer)
            return
        self._due[actor] = deque((timer,))
        task = asyncio.create_task(self._run(actor))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # -- what --

    async def _run(self, actor: Actor) -> None:
        """Carries out what is due of one actor, until nothing is."""
        waiting = self._due[actor]
        try:
            while waiting:
                timer = waiting.popleft()
                if self._timers.get(timer.key) is timer:  # it may have been taken back while it waited
                    self._advance(timer, await self._carry_out(timer.reminder))
        finally:
            if self._due.get(actor) is waiting:
                del self._due[actor]

    async def _carry_out(self, reminder: Reminder) -> bool:
        """Whether the timer is to go on; one that fails is."""
        goes_on, is_success = True, False
        try:
            is_success = goes_on = await self._calls.remind(reminder)
        except Exception as error:  # whatever it is, other timers have nothing to do with it
            log.error(f"Error executing timer: {error}")
        if self._metrics is not None:
            self._metrics.timer_fired(reminder.actor.type, is_success)
        return goes_on

    def _advance(self, timer: _Timer, goes_on: bool) -> None:
        if self._timers.get(timer.key) is not timer:
            return
        if timer.left > 0:
            timer.left -= 1
        end = ""
        if not goes_on:
            end = "cancelled"
        elif timer.left == 0 or timer.period.is_empty:
            end = "completed"
        else:
            timer.at = timer.period.after(timer.at)
            if timer.expires is not None and timer.at >= timer.expires:
                end = "expired"
        if not end:
            self._push(timer)
            return
        self._forget(timer.key)
        log.info(f"Timer {'||'.join(timer.key)} has {'expired' if end == 'expired' else f'been {end}'}")

    def _forget(self, key: Key) -> None:
        if self._timers.pop(key, None) is not None:
            self._count(key[0], -1)

    def _count(self, actor_type: str, by: int) -> None:
        present = self._counts[actor_type] = self._counts.get(actor_type, 0) + by
        if self._metrics is not None:
            self._metrics.timers(actor_type, present)


def _timer(reminder: Reminder, ttl: str, now: int, shift: int) -> _Timer:
    """Raises `TimerNotCreated`."""
    at, expires = now, None
    if reminder.due_time:
        try:
            at = periods.moment(reminder.due_time, now)
        except ValueError as error:
            raise TimerNotCreated(f"error parsing timer due time: {error}") from None
    period = periods.Period()
    if reminder.period:
        try:
            period = periods.parse(reminder.period)
        except ValueError as error:
            raise TimerNotCreated(f"invalid timer period: parse error: {error}") from None
        if period.repeats == 0:
            raise TimerNotCreated("invalid timer period: has zero repetitions")
        if not period.is_empty and period.after(at) <= at:
            # With the original it is due again at once, without end.
            raise TimerNotCreated(f"invalid timer period: {reminder.period} does not lead into the future")
    if ttl:
        try:
            expires = periods.moment(ttl, at)
        except ValueError as error:
            raise TimerNotCreated(f"error parsing timer TTL: {error}") from None
        if now > expires or at > expires:
            key = f"{reminder.actor.key}||{reminder.name}"
            raise TimerNotCreated(f"timer {key} has already expired: dueTime: {periods.shown(at)} TTL: {ttl}")
    return _Timer(reminder, period, at, expires, shift)
