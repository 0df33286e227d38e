"""The actors that live in this sidecar: activated by their first call, deactivated when idle or when they have to go.

Used by `call` for what comes to an actor, by `placed` when actors have to go, and by `state` for who may write. Goes on
to the `Target` of the type. An actor that is being deactivated is still here: a call for it waits for the end of that,
and then activates it anew. One timer serves all actors, and what it costs to have one is a few hundred bytes.

A turn is not over before the app has done with it, even if whoever asked for it has given up.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors import Hosting, Moved, Target, TypeOptions
from pydapr.blocks.actors.turns import CLOSED, Turns
from pydapr.errors import ActorInstanceMissing, DaprError, RpcError
from pydapr.lib.actors import Actor, Reminder
from pydapr.net import tasks
from pydapr.observe import logging
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics import Count
    from pydapr.observe.metrics_actors import ActorMetrics

T = TypeVar("T")

log = logging.get("dapr.runtime.actors.targets.app")
table_log = logging.get("dapr.runtime.actor")

REENTRANCY_ID = b"dapr-reentrancy-id"

_NONE: "Mapping[str, Active]" = {}

AT_A_TIME = 128
"""How many actors are deactivated together."""

DEACTIVATE_SECONDS = 60.0
"""How long the app may take to deactivate an actor. It is gone then, whatever the app does."""

HALT_SECONDS = 5.0
"""How long others wait for actors that move: with the usual drain less than the eight seconds that placement gives a
sidecar, which would have all its actors go."""

ABANDONED_SECONDS = 30.0
"""How long the app may go on with what nobody waits for any more. A chain of calls that waits for itself ends so."""

LEAST_IDLE = 0.05
"""Seconds; an idle time of nothing would look at an actor without end."""


class _Kind:
    """One type: how its actors are hosted, who carries out what they are to do, and those that are active."""

    __slots__ = ("active", "drain", "idle", "options", "pending", "target")

    def __init__(
        self, options: TypeOptions, target: Target, pending: "Count | None", active: "dict[str, Active]"
    ) -> None:
        self.options, self.target, self.pending = options, target, pending
        self.idle = max(options.idle_seconds, LEAST_IDLE)
        self.drain = options.drain_seconds if options.drains else 0.0
        self.active = active


class Active(Turns):
    """An actor that is active here."""

    __slots__ = ("actor", "due", "ending", "is_given_up", "kind", "left", "rested", "running", "used", "writes")

    def __init__(self, actor: Actor, kind: _Kind, now: float) -> None:
        super().__init__()
        self.actor = actor
        self.kind = kind
        self.used = now
        self.due = now + kind.idle
        """When to look whether it is idle."""
        self.ending: asyncio.Future[None] | None = None
        """Done when it is gone; None while it is not to go."""
        self.is_given_up = False
        """Whether others may have it although it is not gone."""
        self.running = set[_Running]()
        self.left: asyncio.Future[None] | None = None
        """Done when the last of them has left its turn; None while nobody waits for that."""
        self.writes = 0
        """Writes of its state under way."""
        self.rested: asyncio.Future[None] | None = None

    def leave(self) -> None:
        super().leave()
        if self.left is not None and self.is_free and not self.left.done():
            self.left.set_result(None)

    async def drain(self) -> None:
        """Has what the app does for it come to its end, by force after the time that there is for that."""
        loop = asyncio.get_running_loop()
        self.left = loop.create_future()
        bound = loop.call_later(self.kind.drain, self._break_off)
        try:
            await self.left
        finally:
            bound.cancel()

    def _break_off(self) -> None:
        for running in self.running:
            running.break_off()

    def __lt__(self, other: "Active") -> bool:
        return self.due < other.due


class _Running:
    """Something that has its turn: the task that waits for the app, and why that may have to end."""

    __slots__ = ("_bound", "_is_broken_off", "_loop", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = loop, task
        self._bound: asyncio.TimerHandle | None = None
        self._is_broken_off = False
        tasks.told_instead[task] = self._abandon

    def _abandon(self) -> None:
        """Nobody waits for the answer any more, but the app is at work."""
        self._bound = self._loop.call_later(ABANDONED_SECONDS, self._task.cancel)

    def end(self) -> None:
        """The app has done with it. If it was abandoned, its task is cancelled now, and this raises that."""
        del tasks.told_instead[self._task]
        if self._bound is not None:
            self._bound.cancel()
            self._task.cancel()
            raise asyncio.CancelledError

    def break_off(self) -> None:
        """The actor has to go."""
        self._is_broken_off = True
        self._task.cancel()

    @property
    def is_only_reason(self) -> bool:
        """Whether the task was cancelled by `break_off` and for nothing else; it is not any more then."""
        return self._is_broken_off and self._task.uncancel() == 0


class Here(Hosting):
    """Hosts types. `on_types` hears when others are hosted than before."""

    def __init__(self) -> None:
        self.on_types: Callable[[], None] = _nothing
        self.metrics: ActorMetrics | None = None
        self._kinds: dict[str, _Kind] = {}
        self._active: dict[str, dict[str, Active]] = {}
        """By type and id; some may be of types that are not hosted any more."""
        self.is_suspended = False
        """Whether there is no store for the state of actors, so that none can live here."""
        self._is_over = False
        self._idle: list[Active] = []
        """A heap by `due`."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- which types --

    def types(self) -> Sequence[str]:
        return () if self.is_suspended or self._is_over else sorted(self._kinds)

    def hosts(self, actor_type: str) -> bool:
        """Whether actors of a type can live here."""
        return actor_type in self._kinds and not self.is_suspended

    def drain(self, actor_type: str) -> float:
        kind = self._kinds.get(actor_type)
        if kind is None:  # it is not hosted any more, but some of its actors are still here
            for active in self._active.get(actor_type, _NONE).values():
                return active.kind.drain
            return 0.0
        return kind.drain

    def counts(self) -> Mapping[str, int]:
        """The types that were registered, and how many actors of each are active."""
        return {name: len(kind.active) for name, kind in sorted(self._kinds.items())}

    def register(self, types: Mapping[str, TypeOptions], target: Target) -> None:
        for name, options in types.items():
            pending = self.metrics.pending(name) if self.metrics is not None else None
            kind = self._kinds[name] = _Kind(options, target, pending, self._active.setdefault(name, {}))
            for active in kind.active.values():
                if active.ending is None:  # the app tells it again: its actors stay as they are
                    active.kind = kind
        self.on_types()

    async def unregister(self, types: Sequence[str]) -> None:
        gone = [kind for name in types if (kind := self._kinds.pop(name, None)) is not None]
        self.on_types()
        await self._halt([active for kind in gone for active in kind.active.values()])

    # -- what comes to an actor --

    async def invoke(self, actor: Actor, call: Call) -> Answer:
        """The answer of an actor that belongs here, in its turn. Raises `DaprError`, `RpcError` and `Moved`.

        A client that goes away (`tasks.abandon`) does not end the turn before the app has done with it."""
        active = self._find(actor) or await self._found(actor)
        kind = active.kind
        reentrancy, id = kind.options.reentrancy, ""
        if reentrancy.enabled:
            id = _reentrancy_id(call)
        deepest = reentrancy.max_stack_depth
        if not active.try_enter(id, deepest):
            await self._wait(active, id, deepest)
        return await self._carry_out(active, kind.target.invoke(actor, call, id))

    async def remind(self, reminder: Reminder) -> bool:
        """Has a reminder or timer done, in the turn of its actor; whether it is to go on. As `invoke`."""
        active = self._find(reminder.actor) or await self._found(reminder.actor)
        kind = active.kind
        reentrancy = kind.options.reentrancy
        id = _new_id() if reentrancy.enabled else ""
        if reminder.skips_turn:
            return await kind.target.remind(reminder, id)
        deepest = reentrancy.max_stack_depth
        if not active.try_enter(id, deepest):
            await self._wait(active, id, deepest)
        return await self._carry_out(active, kind.target.remind(reminder, id))

    def is_active(self, actor: Actor) -> bool:
        return actor.id in self._active.get(actor.type, _NONE)

    async def write(self, actor: Actor, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, which writes state of an actor: that stays here as long. Raises `ActorInstanceMissing`."""
        active = self._active.get(actor.type, _NONE).get(actor.id)
        if active is None or active.is_given_up:
            raise ActorInstanceMissing
        active.writes += 1
        try:
            return await work()
        finally:
            active.writes -= 1
            if active.writes == 0 and active.rested is not None and not active.rested.done():
                active.rested.set_result(None)

    async def _carry_out(self, active: Active, work: Awaitable[T]) -> T:
        """What the app answers to that which has its turn."""
        loop = asyncio.get_running_loop()
        active.used = loop.time()
        running = _Running(loop)
        active.running.add(running)
        try:
            return await work
        except asyncio.CancelledError:
            if running.is_only_reason:
                raise Moved(CLOSED) from None
            raise
        finally:
            active.used = loop.time()
            active.leave()
            active.running.discard(running)
            running.end()

    async def _wait(self, active: Active, id: str, deepest: int) -> None:
        pending = active.kind.pending
        if pending is None:
            await active.wait(id, deepest)
            return
        pending.value += 1
        try:
            await active.wait(id, deepest)
        finally:
            pending.value -= 1

    def _find(self, actor: Actor) -> Active | None:
        """The actor, activated if need be; None while it is being deactivated. Raises `Moved`."""
        kind = self._kinds.get(actor.type)
        if kind is None:
            raise Moved(f"failed to create actor: actor type {actor.type} not registered")
        if self.is_suspended or self._is_over:
            raise Moved("failed to create actor: actor hosting is suspended: no actor state store configured")
        active = kind.active.get(actor.id)
        if active is None:
            active = self._activate(actor, kind)
        return active if active.ending is None else None

    async def _found(self, actor: Actor) -> Active:
        while True:
            leaving = self._active.get(actor.type, _NONE).get(actor.id)
            if leaving is not None and leaving.ending is not None:
                await asyncio.shield(leaving.ending)
            found = self._find(actor)
            if found is not None:
                return found

    # -- activation, and what is idle --

    def _activate(self, actor: Actor, kind: _Kind) -> Active:
        made = kind.active[actor.id] = Active(actor, kind, asyncio.get_running_loop().time())
        heapq.heappush(self._idle, made)
        if self._idle[0] is made:
            self._set_timer()
        return made

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle and not self._is_over:
            self._timer = asyncio.get_running_loop().call_at(self._idle[0].due, self._look)

    def _look(self) -> None:
        """Deactivates what is idle, and looks again at what is not when that may be."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        idle = []
        while self._idle and self._idle[0].due <= now:
            active = heapq.heappop(self._idle)
            if active.ending is not None:
                continue
            if active.is_free and active.used + active.kind.idle <= now:
                idle.append(active)
                continue
            active.due = (active.used if active.is_free else now) + active.kind.idle
            heapq.heappush(self._idle, active)
        self._set_timer()
        if idle:
            for active in idle:
                self._close(active)
            self._begin(self._deactivate_all(idle))

    # -- deactivation --

    async def halt(self, stays: Callable[[Actor], bool]) -> None:
        """Gives up waiting after `HALT_SECONDS`: who hosts the others has a round to end."""
        leaving = [active for active in self._all() if not stays(active.actor)]
        try:
            async with asyncio.timeout(HALT_SECONDS):
                await self._halt(leaving)
        except TimeoutError:
            left = [active for active in leaving if active.kind.active.get(active.actor.id) is active]
            for active in left:
                active.is_given_up = True
            log.error(f"The app has not deactivated {len(left)} actors within {HALT_SECONDS:g}s; they go all the same")

    async def _halt(self, leaving: Sequence[Active]) -> None:
        """Returns when all of them are gone."""
        if not leaving:
            return
        mine = [active for active in leaving if active.ending is None]
        others = [active.ending for active in leaving if active.ending is not None]
        for active in mine:
            self._close(active)
        # A task of its own: what has begun ends, even when whoever waits for it does not any more.
        await asyncio.shield(self._begin(self._deactivate_all(mine)))
        if others:
            await asyncio.wait(others)
        self._idle = [active for active in self._idle if active.ending is None]
        heapq.heapify(self._idle)

    def _close(self, active: Active) -> None:
        active.ending = asyncio.get_running_loop().create_future()
        active.close()
        if self.metrics is not None:
            self.metrics.halted(active.actor.type)

    def _begin(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deactivate_all(self, leaving: Sequence[Active]) -> None:
        left = iter(leaving)

        async def work() -> None:
            for active in left:
                await self._deactivate(active)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_A_TIME, len(leaving))):
                group.create_task(work())

    async def _deactivate(self, active: Active) -> None:
        actor = active.actor
        reason = ""
        try:
            async with asyncio.timeout(DEACTIVATE_SECONDS):
                if not active.is_free:
                    await active.drain()
                try:
                    await active.kind.target.deactivate(actor)
                finally:
                    if active.writes:
                        active.rested = asyncio.get_running_loop().create_future()
                        await active.rested
        except TimeoutError:
            reason = "context deadline exceeded"
        except (DaprError, RpcError) as error:
            reason = str(error)
        except Exception as fault:
            reason = f"unexpected error: {fault!r}"
        finally:
            active.kind.active.pop(actor.id, None)
            if active.ending is not None and not active.ending.done():
                active.ending.set_result(None)
        if reason:
            log.error(f"Failed to halt actor {actor.key}: {reason}")
        if self.metrics is not None:
            self.metrics.deactivated(actor.type, not reason)

    def _all(self) -> Iterable[Active]:
        for active in self._active.values():
            yield from active.values()

    # -- end --

    async def end(self, seconds: float) -> None:
        """The sidecar stops: nothing is activated any more, and what is active gets its end within `seconds`."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            async with asyncio.timeout(seconds):
                await self._halt(list(self._all()))
        except TimeoutError:
            table_log.error("Failed to halt all actors during shutdown: context deadline exceeded")
        await tasks.stop(self._tasks)


def _reentrancy_id(call: Call) -> str:
    """The id that a call carries, or a new one that it carries from now on."""
    given = names.first(call.headers, REENTRANCY_ID)
    if given:
        return given.decode("latin-1")
    made = _new_id()
    call.headers = [*[header for header in call.headers if header[0] != REENTRANCY_ID], (REENTRANCY_ID, made.encode())]
    return made


def _new_id() -> str:
    import uuid

    return str(uuid.uuid4())


def _nothing() -> None:
    """Nobody wants to hear of types."""
