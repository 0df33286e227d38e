"""Timers: when they are due, in which order, and until when. The time is given."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.blocks.actors import given_time

from pydapr.blocks.actors.errors import TimerNotCreated
from pydapr.blocks.actors.timers import Timers
from pydapr.errors import ActorTypeReserved, BadRequest
from pydapr.lib import periods
from pydapr.lib.actors import Actor, Reminder
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_actors import ActorMetrics

CAT = Actor("Cat", "c1")
BEGIN = 1_800_000_000 * periods.SECOND
"""The present, at the start of a test."""


class World:
    """Timers, and what was called of them: names and seconds since the start."""

    def __init__(self, slow: dict[str, float] | None = None) -> None:
        self.fired: list[tuple[str, float]] = []
        self.last: Reminder | None = None
        self.goes_on = True
        self.fails = False
        self._slow = slow or {}
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.registry = Registry({"app_id": "app"})
        self.timers = Timers(
            self,
            lambda name: name == "Cat",
            ActorMetrics(self.registry),
            clock=lambda: BEGIN + self._ticks(),
            ticks=self._ticks,
        )

    def _ticks(self) -> int:
        return round((self._loop.time() - self._began) * periods.SECOND)

    async def ready(self) -> None:
        pass

    async def remind(self, reminder: Reminder) -> bool:
        self.last = reminder
        self.fired.append((reminder.name, self._loop.time() - self._began))
        await asyncio.sleep(self._slow.get(reminder.name, 0))
        if self.fails:
            raise RuntimeError("the app has failed")
        return self.goes_on

    async def register(self, name: str, due: str = "", period: str = "", ttl: str = "", actor: Actor = CAT) -> None:
        await self.timers.register(actor, name, due, period, ttl, "", None)

    def named(self, name: str) -> list[float]:
        """When a timer was called, in whole seconds."""
        return [float(round(at)) for one, at in self.fired if one == name]


def lived(work: Callable[[World], Awaitable[None]], slow: dict[str, float] | None = None) -> World:
    async def live() -> World:
        world = World(slow)
        await work(world)
        await world.timers.close()
        return world

    return given_time.run(live())


def test_a_timer_is_called_once_and_never_early() -> None:
    async def work(world: World) -> None:
        await world.register("a", "2s")
        await world.register("b")
        await asyncio.sleep(10)

    world = lived(work)
    assert [name for name, _ in world.fired] == ["b", "a"]
    (_, at_b), (_, at_a) = world.fired
    assert 0 <= at_b < 0.01
    assert 2 <= at_a < 2.01
    assert len(world.timers) == 0


@pytest.mark.parametrize(
    ("due", "period", "ttl", "times"),
    [
        ("1s", "R3/PT2S", "", [1, 3, 5]),
        ("", "5s", "", [0, 5, 10, 15, 20]),
        ("PT1S", "R1/PT1S", "", [1]),
        ("1s", "R3", "", [1]),
        ("0s", "5s", "12s", [0, 5, 10]),
        ("2s", "5s", "10s", [2, 7]),
        ("3s", "", "1h", [3]),
        ("2027-01-15T08:00:04Z", "", "", [4]),
    ],
)
def test_periods_repeats_and_ends_count(due: str, period: str, ttl: str, times: list[int]) -> None:
    async def work(world: World) -> None:
        await world.register("a", due, period, ttl)
        await asyncio.sleep(22)

    assert lived(work).named("a") == times


def test_months_are_those_of_the_calendar() -> None:
    async def work(world: World) -> None:
        await world.register("a", "", "R2/P1M")
        await asyncio.sleep(40 * 86_400)

    assert lived(work).named("a") == [0, 31 * 86_400]  # from the middle of January


def test_what_a_slow_callback_has_missed_is_made_up_for() -> None:
    async def work(world: World) -> None:
        await world.register("a", "1s", "R4/PT1S")
        await asyncio.sleep(30)

    assert lived(work, {"a": 3}).named("a") == [1, 4, 7, 10]


def test_timers_of_one_actor_wait_for_each_other_and_those_of_others_do_not() -> None:
    async def work(world: World) -> None:
        await world.register("slow", "1s")
        await world.register("second", "2s")
        await world.register("other", "2s", actor=Actor("Cat", "c2"))
        await asyncio.sleep(30)

    world = lived(work, {"slow": 10})
    assert [name for name, _ in world.fired] == ["slow", "other", "second"]
    assert world.named("other") == [2]
    assert world.named("second") == [11]


def test_a_timer_that_fails_goes_on() -> None:
    async def work(world: World) -> None:
        world.fails = True
        await world.register("a", "1s", "R3/PT1S")
        await asyncio.sleep(10)

    world = lived(work)
    assert world.named("a") == [1, 2, 3]
    text = world.registry.text()
    assert 'dapr_runtime_actor_timers_fired_total{actor_type="Cat",app_id="app",success="false"} 3' in text
    assert 'dapr_runtime_actor_timers{actor_type="Cat",app_id="app"} 0' in text


def test_a_timer_that_the_app_cancels_ends() -> None:
    async def work(world: World) -> None:
        world.goes_on = False
        await world.register("a", "1s", "1s")
        await asyncio.sleep(10)

    assert lived(work).named("a") == [1]


def test_a_timer_is_replaced_by_one_of_its_name() -> None:
    async def work(world: World) -> None:
        await world.register("a", "1s", "1s")
        await asyncio.sleep(2.5)
        await world.register("a", "5s")
        await asyncio.sleep(30)

    assert lived(work).named("a") == [1, 2, 8]  # at 7.5


def test_a_timer_that_was_taken_back_is_not_called_any_more() -> None:
    async def work(world: World) -> None:
        await world.register("slow", "1s", "1s")
        await world.register("victim", "1s")
        await asyncio.sleep(2)
        await world.timers.unregister(CAT, "victim")  # due already, and waiting
        await world.timers.unregister(CAT, "slow")  # under way
        await world.timers.unregister(CAT, "nothing")
        await asyncio.sleep(30)

    world = lived(work, {"slow": 5})
    assert world.fired[0][0] == "slow"
    assert len(world.fired) == 1


def test_timers_that_were_taken_back_leave_the_heap() -> None:
    async def work(world: World) -> None:
        for number in range(1000):
            await world.register(str(number), "1h")
            await world.timers.unregister(CAT, str(number))
        assert len(world.timers) == 0
        assert len(world.timers._heap) < 200

    lived(work)


def test_timers_that_were_replaced_leave_the_heap() -> None:
    async def work(world: World) -> None:
        for _ in range(1000):
            await world.register("a", "1h")
        assert len(world.timers._heap) < 200
        await asyncio.sleep(3601)

    assert len(lived(work).fired) == 1


def test_what_is_under_way_ends_with_the_sidecar() -> None:
    async def work(world: World) -> None:
        await world.register("slow", "1s")
        await world.register("later", "2s")
        await asyncio.sleep(1.5)
        await world.timers.close()
        await world.register("too late")
        await asyncio.sleep(5)

    world = lived(work, {"slow": 1e9})
    assert [name for name, _ in world.fired] == ["slow"]


def test_the_app_hears_what_it_has_said() -> None:
    async def work(world: World) -> None:
        await world.timers.register(CAT, "a", "1s", "R1/PT1S", "", "onA", None)
        await asyncio.sleep(2)

    assert lived(work).last == Reminder(CAT, "a", None, "1s", "R1/PT1S", "onA", is_timer=True)


@pytest.mark.parametrize(
    ("due", "period", "ttl", "reason"),
    [
        ("x", "", "", "error parsing timer due time: unsupported time/duration format: x"),
        ("R1/PT1S", "", "", "error parsing timer due time: repetitions are not allowed"),
        ("", "x", "", "invalid timer period: parse error: unsupported duration format: x"),
        ("", "R0/PT1S", "", "invalid timer period: has zero repetitions"),
        ("", "-1s", "", "invalid timer period: -1s does not lead into the future"),
        ("", "", "x", "error parsing timer TTL: unsupported time/duration format: x"),
        (
            "10s", "", "2020-01-01T00:00:00Z",
            "timer Cat||c1||a has already expired: dueTime: 2027-01-15 08:00:10 +0000 UTC TTL: 2020-01-01T00:00:00Z",
        ),
    ],
)  # fmt: skip
def test_what_is_no_timer_is_refused(due: str, period: str, ttl: str, reason: str) -> None:
    async def work(world: World) -> None:
        with pytest.raises(TimerNotCreated) as refusal:
            await world.register("a", due, period, ttl)
        assert refusal.value.message == f"error creating actor timer: {reason}"

    lived(work)


def test_only_actors_of_the_app_have_timers() -> None:
    async def work(world: World) -> None:
        with pytest.raises(TimerNotCreated, match=r"can't create timer for actor Dog\|\|d1: actor type not registered"):
            await world.register("a", actor=Actor("Dog", "d1"))
        with pytest.raises(ActorTypeReserved):
            await world.register("a", actor=Actor("dapr.internal.default.app.workflow", "1"))
        with pytest.raises(BadRequest, match='invalid request: name contains forbidden character: "a/b"'):
            await world.register("a/b")

    lived(work)
