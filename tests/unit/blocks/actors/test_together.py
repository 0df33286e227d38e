"""Calls, turns, tables and callers that go away, all at once: nobody hangs, nothing is left behind."""

import asyncio
import random

import pytest
from tests.unit.blocks.actors.world import call, options

from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.hosting import Here
from pydapr.blocks.actors.placed import Placed
from pydapr.errors import DaprError, RpcError
from pydapr.lib.actors import Actor, Host, Reminder
from pydapr.net import tasks
from pydapr.net.body import Body

ME, OTHER = Host("127.0.0.1:1", "app"), Host("127.0.0.1:2", "app")
BOTH = {ME.address: "app", OTHER.address: "app"}
CALLS = 400


class App:
    """Here, and elsewhere. Knows how many calls an actor has at once here."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.busy: dict[Actor, int] = {}
        self.most = 0

    async def _work(self, actor: Actor) -> None:
        self.busy[actor] = self.busy.get(actor, 0) + 1
        self.most = max(self.most, self.busy[actor])
        try:
            for _ in range(self._chance.randrange(4)):
                await asyncio.sleep(0)
            if self._chance.random() < 0.1:
                raise RpcError(13, "broken")
        finally:
            self.busy[actor] -= 1

    async def invoke(self, actor: Actor, call: Call, reentrancy_id: str) -> Answer:
        await self._work(actor)
        return Answer(200, (), Body.of(b""))

    async def remind(self, reminder: Reminder, reentrancy_id: str) -> bool:
        await self._work(reminder.actor)
        return True

    async def deactivate(self, actor: Actor) -> None:
        await self._work(actor)


class Elsewhere:
    async def invoke(self, host: Host, actor: Actor, call: Call) -> Answer:
        await asyncio.sleep(0)
        return Answer(200, (), Body.of(b""))

    async def remind(self, host: Host, reminder: Reminder) -> bool:
        await asyncio.sleep(0)
        return True


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_hangs_and_nothing_is_left_behind(seed: int) -> None:
    chance = random.Random(seed)
    app, here = App(chance), Here()
    here.register({"Cat": options(idle=0.05, drain=0.005)}, app)
    placed = Placed(ME, here)
    actors = Actors(placed, here, Elsewhere(), "app", "space")
    actors.open()

    async def one() -> None:
        actor = Actor("Cat", str(chance.randrange(5)))
        try:
            if chance.random() < 0.3:
                await actors.remind(Reminder(actor, "r"))
            else:
                await actors.invoke(actor, call())
        except (DaprError, RpcError):
            pass

    async def change() -> None:
        what = chance.randrange(5)
        if what == 0:
            await placed.lost()
        elif what == 1:
            await here.unregister(["Cat"])
            here.register({"Cat": options(idle=0.05, drain=0.005)}, app)
        else:
            await placed.update({"Cat": chance.choice([BOTH, BOTH, {ME.address: "app"}])}, 10)
            placed.unlock()

    calls = []
    async with asyncio.timeout(30):
        for number in range(CALLS):
            calls.append(asyncio.create_task(one()))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                tasks.abandon(chance.choice(calls))
            if number % 40 == 0:
                await change()
        await placed.update({"Cat": BOTH}, 10)
        placed.unlock()
        await asyncio.wait(calls)
        assert all(task.cancelled() or task.exception() is None for task in calls)
        assert app.most == 1
        assert not tasks.told_instead
        assert not any(claims.open for claims in placed._claims.values())
        assert not placed._draining and not placed._waiting
        await here.end(5)
        assert here.counts() == {"Cat": 0}
        assert not any(app.busy.values())
