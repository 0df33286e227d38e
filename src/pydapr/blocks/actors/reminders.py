"""Reminders of actors: kept by the scheduler, which tells when they are due to a sidecar that hosts their type.

Called by the faces, and with what is due by `peers.scheduler`; goes on to `peers.scheduling`, and to `call.Actors`,
which finds the actor. Rules and words are the original's (v1.18.3, `pkg/actors/reminders`,
`pkg/actors/internal/scheduler`, `pkg/runtime/scheduler/internal/cluster/streamer.go`); what the app cancels is deleted,
which the original leaves undone.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from pydapr.app import paths
from pydapr.blocks.actors import Moved
from pydapr.blocks.actors.errors import (
    NotHosted,
    ReminderExists,
    ReminderNotCreated,
    ReminderNotDeleted,
    ReminderNotFound,
    ReminderNotListed,
    ReminderNotRead,
)
from pydapr.blocks.actors.state import refuse_reserved
from pydapr.errors import BadRequest, Code, DaprError, RpcError
from pydapr.lib import durations, periods
from pydapr.lib.actors import Actor, Packed, Reminder
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.observe.metrics_actors import ActorMetrics
from pydapr.peers.scheduling import Due, FailurePolicy, Job, Owner, Scheduling

log = logging.get("dapr.runtime.actor.reminders.scheduler")
due_log = logging.get("dapr.runtime.scheduler.cluster")

DISABLED = "scheduler clients are disabled"
"""Why nothing can be done where no scheduler is configured."""


class Calls(Protocol):
    """Who calls actors, wherever they are (`call.Actors`). Raises `DaprError` and `RpcError`."""

    async def ready(self) -> None: ...

    async def remind(self, reminder: Reminder) -> bool: ...


class Wanted(Record):
    """A reminder as the app wants it."""

    due: str = ""
    period: str = ""
    ttl: str = ""
    data: Packed | None = None
    overwrite: bool = True
    failure_policy: FailurePolicy | None = None


class Kept(Record):
    """A reminder as the scheduler has it; what it has not is empty."""

    name: str
    actor: Actor
    due: str
    period: str
    ttl: str
    data: Packed | None


class Reminders:
    """The reminders of actors of hosted types. `scheduling` is None where no scheduler is configured."""

    def __init__(
        self,
        calls: Calls,
        hosts: Callable[[str], bool],
        scheduling: Scheduling | None,
        metrics: ActorMetrics | None = None,
    ) -> None:
        self._calls, self._hosts, self._scheduling, self._metrics = calls, hosts, scheduling, metrics
        self._under_way: dict[tuple[Actor, str], bool] = {}
        """What is being done, and whether it has been registered anew meanwhile."""
        log.info("Using Scheduler service for reminders.")

    # -- for the app --

    async def register(self, actor: Actor, name: str, wanted: Wanted) -> None:
        """Keeps a reminder. When this returns it is stored. Raises `DaprError`."""
        if not name:
            raise BadRequest("reminder name cannot be empty")
        check_name(name)
        await self._check(actor.type)
        schedule, repeats = _schedule(wanted.period)
        job = Job(schedule, repeats, wanted.due or None, wanted.ttl or None, wanted.data, wanted.failure_policy)
        try:
            await self._scheduler().schedule(name, job, _owner(actor), wanted.overwrite)
        except RpcError as error:
            if error.code == Code.ALREADY_EXISTS:
                raise ReminderExists(name) from None
            log.error(f"Error scheduling reminder job {name} due to: {_told(error)}")
            raise ReminderNotCreated(_told(error)) from None
        if (actor, name) in self._under_way:
            self._under_way[actor, name] = True

    async def get(self, actor: Actor, name: str) -> Kept:
        """A reminder as it was given. Raises `DaprError`."""
        await self._check(actor.type)
        try:
            job = await self._scheduler().get(name, _owner(actor))
        except RpcError as error:
            if error.code == Code.NOT_FOUND:
                raise ReminderNotFound(name) from None
            raise ReminderNotRead(_told(error)) from None
        # What the scheduler has made of a ttl is not what was given, unless that was a moment.
        ttl = job.ttl if job.ttl and periods.point(job.ttl) is not None else ""
        return _kept(name, actor, job, ttl)

    async def list(self, actor_type: str, actor_id: str | None) -> Sequence[Kept]:
        """The reminders of an actor, or of all of its type. Raises `DaprError`."""
        await self._check(actor_type)
        try:
            found = await self._scheduler().list(Owner(actor_type, actor_id or ""))
        except RpcError as error:
            raise ReminderNotListed(error.code if error.message != DISABLED else Code.UNKNOWN, error.message) from None
        return [
            _kept(one.name, Actor(one.owner.actor_type, one.owner.actor_id), one.job, "")
            for one in found
            if one.owner is not None
        ]

    async def unregister(self, actor: Actor, name: str) -> None:
        """Forgets a reminder; it is no error that there is none. Raises `DaprError`."""
        await self._check(actor.type)
        try:
            await self._scheduler().delete(name, _owner(actor))
        except RpcError as error:
            log.error(f"Error deleting reminder job {name} due to: {_told(error)}")
            raise ReminderNotDeleted(_told(error)) from None

    async def unregister_all(self, actor_type: str, actor_id: str | None) -> None:
        """Forgets all reminders of an actor, or of all actors of a type. Raises `DaprError`."""
        await self._check(actor_type)
        try:
            await self._scheduler().delete_owned(Owner(actor_type, actor_id or ""), id_is_prefix=actor_id is None)
        except RpcError as error:
            log.error(f"Error deleting reminders of type {actor_type} due to: {_told(error)}")
            raise ReminderNotDeleted(_told(error)) from None

    async def _check(self, actor_type: str) -> None:
        refuse_reserved(actor_type)
        await self._calls.ready()
        if not self._hosts(actor_type):
            raise NotHosted

    def _scheduler(self) -> Scheduling:
        if self._scheduling is None:
            raise RpcError(Code.UNKNOWN, DISABLED)
        return self._scheduling

    # -- what is due --

    async def deliver(self, due: Due) -> bool:
        """Has a reminder done that is due; whether the scheduler is done with it for now. Else it tries again, as the
        reminder's policy has it."""
        owner = due.owner
        if owner is None:
            return False
        actor = Actor(owner.actor_type, owner.actor_id)
        self._under_way[actor, due.name] = False
        try:
            goes_on = await self._calls.remind(Reminder(actor, due.name, due.data))
        except (DaprError, RpcError, Moved) as error:
            self._count(actor.type, False)
            due_log.error(f"failed to invoke scheduled actor reminder named: {due.name} due to: {error}")
            return False
        except BaseException:
            self._count(actor.type, False)
            raise
        finally:
            is_new = self._under_way.pop((actor, due.name), False)
        self._count(actor.type, goes_on)
        if not goes_on and not is_new:
            await self._cancel(due.name, owner)
        return True

    async def _cancel(self, name: str, owner: Owner) -> None:
        """Forgets a reminder whose app wants no more of it; one that is left is due again, and cancelled again."""
        try:
            await self._scheduler().delete(name, owner)
        except RpcError as error:
            log.error(f"Error deleting cancelled reminder job {name} due to: {_told(error)}")

    def _count(self, actor_type: str, is_success: bool) -> None:
        if self._metrics is not None:
            self._metrics.reminder_fired(actor_type, is_success)


def _schedule(period: str) -> tuple[str | None, int | None]:
    """What the scheduler is told of a period, and how often it is due. Raises `ReminderNotCreated`."""
    if not period:
        return None, None
    try:
        found = periods.parse(period)
    except ValueError:
        found = None
    if found is None or found.years > 0 or found.months > 0 or found.days > 0:
        raise ReminderNotCreated(f"unsupported period format: {period}")
    return f"@every {durations.nanoseconds_text(found.nanoseconds)}", found.repeats if found.repeats > 0 else None


def check_name(name: str) -> None:
    """Raises `BadRequest` for a name that could not be told to an app."""
    if reason := paths.wrong_name(name):
        raise BadRequest(reason)


def _kept(name: str, actor: Actor, job: Job, ttl: str) -> Kept:
    return Kept(name, actor, job.due_time or "", job.schedule or "", ttl, job.data)


def _owner(actor: Actor) -> Owner:
    return Owner(actor.type, actor.id)


def _told(error: RpcError) -> str:
    """The original has its own refusal without a code around it."""
    return error.message if error.message == DISABLED else str(error)
