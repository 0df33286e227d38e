"""Reminders: what the scheduler is asked, and what becomes of what it tells."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from pydapr.blocks.actors import errors as words
from pydapr.blocks.actors.reminders import Kept, Reminders, Wanted
from pydapr.errors import ActorTypeReserved, BadRequest, Code, DaprError, NoAddress, RpcError
from pydapr.lib.actors import Actor, Packed, Reminder
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_actors import ActorMetrics
from pydapr.peers.scheduling import Due, FailurePolicy, Job, NamedJob, Owner, Scheduling

T = TypeVar("T")

CAT = Actor("Cat", "c1")
OWNER = Owner("Cat", "c1")
DATA = Packed("type", b"data")


class FakeScheduler(Scheduling):
    """A scheduler: keeps jobs, and says what is to go wrong."""

    def __init__(self, wrong: RpcError | None = None) -> None:
        self.jobs: dict[tuple[str, Owner | None], Job] = {}
        self.wrong = wrong
        self.asked: list[object] = []

    def _check(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    async def schedule(
        self, name: str, job: Job, owner: Owner | None, overwrite: bool, concurrency_key: str | None = None
    ) -> None:
        self._check()
        if not overwrite and (name, owner) in self.jobs:
            raise RpcError(Code.ALREADY_EXISTS, "job already exists")
        self.jobs[name, owner] = job

    async def get(self, name: str, owner: Owner | None) -> Job:
        self._check()
        if (name, owner) not in self.jobs:
            raise RpcError(Code.NOT_FOUND, f"job not found: {name}")
        return self.jobs[name, owner]

    async def delete(self, name: str, owner: Owner | None) -> None:
        self._check()
        self.jobs.pop((name, owner), None)

    async def list(self, owner: Owner | None) -> Sequence[NamedJob]:
        self._check()
        self.asked.append(owner)
        return [NamedJob(name, whose, job) for (name, whose), job in self.jobs.items()]

    async def delete_owned(self, owner: Owner, id_is_prefix: bool = False) -> None:
        self._check()
        self.asked.append((owner, id_is_prefix))

    async def delete_by_prefix(self, prefix: str) -> None:
        raise NotImplementedError


class World:
    def __init__(self, wrong: RpcError | None = None, with_scheduler: bool = True) -> None:
        self.scheduler = FakeScheduler(wrong)
        self.registry = Registry({"app_id": "app"})
        self.done: list[Reminder] = []
        self.answer: bool | Exception = True
        self.meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.reminders = Reminders(
            self,
            lambda name: name == "Cat",
            self.scheduler if with_scheduler else None,
            ActorMetrics(self.registry),
        )

    async def ready(self) -> None:
        pass

    async def remind(self, reminder: Reminder) -> bool:
        self.done.append(reminder)
        if self.meanwhile is not None:
            await self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.mark.parametrize(
    ("period", "schedule", "repeats"),
    [
        ("", None, None),
        ("1m", "@every 1m0s", None),
        ("PT1H", "@every 1h0m0s", None),
        ("R3/PT1S", "@every 1s", 3),
        ("R0/PT1S", "@every 1s", None),
        ("R4", "@every 0s", 4),
        ("500ms", "@every 500ms", None),
    ],
)
def test_a_reminder_is_kept_as_a_job(period: str, schedule: str | None, repeats: int | None) -> None:
    world = World()
    policy = FailurePolicy(True)
    wanted = Wanted("5s", period, "1h", DATA, True, policy)
    run(world.reminders.register(CAT, "eat", wanted))
    assert world.scheduler.jobs == {("eat", OWNER): Job(schedule, repeats, "5s", "1h", DATA, policy)}


def test_what_is_not_said_is_not_kept() -> None:
    world = World()
    run(world.reminders.register(CAT, "eat", Wanted("5s")))
    assert world.scheduler.jobs == {("eat", OWNER): Job(due_time="5s")}


@pytest.mark.parametrize("period", ["R3/P1D", "P1M", "P1Y", "P1W", "x", "5"])
def test_a_period_of_days_is_refused(period: str) -> None:
    with pytest.raises(words.ReminderNotCreated) as refusal:
        run(World().reminders.register(CAT, "eat", Wanted("", period)))
    assert refusal.value.message == f"error creating actor reminder: unsupported period format: {period}"


def test_a_reminder_is_told_as_it_is_kept() -> None:
    world = World()
    run(world.reminders.register(CAT, "eat", Wanted("5s", "1m", "1h", DATA)))
    assert run(world.reminders.get(CAT, "eat")) == Kept("eat", CAT, "5s", "@every 1m0s", "", DATA)
    run(world.reminders.register(CAT, "eat", Wanted("5s", ttl="2552-01-01T00:00:00Z")))
    assert run(world.reminders.get(CAT, "eat")).ttl == "2552-01-01T00:00:00Z"
    run(world.reminders.unregister(CAT, "eat"))
    with pytest.raises(words.ReminderNotFound, match="actor reminder not found: eat"):
        run(world.reminders.get(CAT, "eat"))


def test_reminders_are_listed_and_forgotten_by_actor_or_by_type() -> None:
    world = World()
    run(world.reminders.register(CAT, "eat", Wanted("5s")))
    assert run(world.reminders.list("Cat", "c1")) == [Kept("eat", CAT, "5s", "", "", None)]
    run(world.reminders.list("Cat", None))
    run(world.reminders.unregister_all("Cat", "c1"))
    run(world.reminders.unregister_all("Cat", None))
    assert world.scheduler.asked == [OWNER, Owner("Cat", ""), (OWNER, False), (Owner("Cat", ""), True)]


def test_a_reminder_may_be_protected() -> None:
    world = World()
    run(world.reminders.register(CAT, "eat", Wanted("5s", overwrite=False)))
    with pytest.raises(words.ReminderExists) as refusal:
        run(world.reminders.register(CAT, "eat", Wanted("6s", overwrite=False)))
    assert (refusal.value.status, refusal.value.message) == (409, "actor reminder already exists: eat")
    assert world.scheduler.jobs["eat", OWNER].due_time == "5s"


AWAY = RpcError(Code.UNAVAILABLE, "nobody is there")
GET = "error getting actor reminder: api error: code = Internal desc = failed to get job due to: "


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(AWAY, "rpc error: code = Unavailable desc = nobody is there"), (None, "scheduler clients are disabled")],
)
def test_a_scheduler_that_is_not_there_is_an_error_of_what_was_asked(wrong: RpcError | None, said: str) -> None:
    def refused(work: Coroutine[Any, Any, object]) -> DaprError:
        with pytest.raises(DaprError) as refusal:
            run(work)
        return refusal.value

    reminders = World(wrong, with_scheduler=wrong is not None).reminders
    creating = refused(reminders.register(CAT, "eat", Wanted("5s")))
    assert (creating.status, creating.code) == (500, "ERR_ACTOR_REMINDER_CREATE")
    assert creating.message == f"error creating actor reminder: {said}"
    assert refused(reminders.get(CAT, "eat")).message == GET + said
    for deleting in (reminders.unregister(CAT, "eat"), reminders.unregister_all("Cat", None)):
        assert refused(deleting).message == f"error deleting actor reminder: {said}"
    listing = refused(reminders.list("Cat", None))
    assert listing.message == ("nobody is there" if wrong is not None else said)
    assert listing.grpc == (Code.UNAVAILABLE if wrong is not None else Code.UNKNOWN)


def test_only_actors_of_the_app_have_reminders() -> None:
    reminders, dog = World().reminders, Actor("Dog", "d1")
    for work in (
        reminders.register(dog, "eat", Wanted("5s")),
        reminders.get(dog, "eat"),
        reminders.list("Dog", None),
        reminders.unregister(dog, "eat"),
        reminders.unregister_all("Dog", None),
    ):
        with pytest.raises(words.NotHosted) as refusal:
            run(work)
        assert (refusal.value.status, refusal.value.grpc) == (403, Code.PERMISSION_DENIED)
    with pytest.raises(ActorTypeReserved):
        run(reminders.get(Actor("dapr.internal.default.app.workflow", "1"), "eat"))


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a#b", "a?b", "a\0b", "a\nb", ".", ".."])
def test_a_name_that_no_app_could_be_told_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        run(World().reminders.register(CAT, name, Wanted("5s")))


def test_what_is_due_is_done_and_counted() -> None:
    world = World()
    assert run(world.reminders.deliver(Due("eat", OWNER, DATA)))
    assert world.done == [Reminder(CAT, "eat", DATA)]
    assert 'reminders_fired_total{actor_type="Cat",app_id="app",success="true"} 1' in world.registry.text()


@pytest.mark.parametrize("wrong", [AWAY, NoAddress("Cat", "c1")])
def test_what_fails_is_left_to_the_scheduler(wrong: Exception) -> None:
    world = World()
    world.answer = wrong
    assert not run(world.reminders.deliver(Due("eat", OWNER, None)))
    assert 'reminders_fired_total{actor_type="Cat",app_id="app",success="false"} 1' in world.registry.text()


def test_a_reminder_that_is_made_anew_while_the_app_cancels_it_stays() -> None:
    world = World()
    world.answer = False
    world.meanwhile = lambda: world.reminders.register(CAT, "eat", Wanted("1h"))
    assert run(world.reminders.deliver(Due("eat", OWNER, None)))
    assert [job.due_time for job in world.scheduler.jobs.values()] == ["1h"]


def test_a_reminder_that_the_app_cancels_is_forgotten() -> None:
    world = World()
    run(world.reminders.register(CAT, "eat", Wanted("5s", "1m")))
    world.answer = False
    assert run(world.reminders.deliver(Due("eat", OWNER, None)))
    assert world.scheduler.jobs == {}
