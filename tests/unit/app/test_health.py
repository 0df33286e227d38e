"""Probes of the app: they go on while what follows from one takes its time."""

import asyncio

import pytest

from pydapr.app.channel import Answer, AppChannel, Call
from pydapr.app.health import AppHealth


class Probed(AppChannel):
    """`reasons` why the app is not healthy, probe for probe, the last one again and again."""

    def __init__(self, *reasons: str) -> None:
        self._reasons = list(reasons)
        self.has_said_all = asyncio.Event()

    async def invoke(self, call: Call) -> Answer:
        raise NotImplementedError

    async def probe(self, path: str) -> str:
        await asyncio.sleep(0)
        if len(self._reasons) > 1:
            return self._reasons.pop(0)
        self.has_said_all.set()
        return self._reasons[0]

    def close(self) -> None: ...

    def retire(self) -> None: ...


async def test_changes_are_told_one_after_the_other_and_probes_do_not_wait_for_them() -> None:
    app = Probed("", "bad", "", "bad", "")
    told: list[bool] = []
    gate, has_three = asyncio.Event(), asyncio.Event()

    async def changed(is_healthy: bool) -> None:
        told.append(is_healthy)
        if len(told) == 2:
            await gate.wait()
        if len(told) == 3:
            has_three.set()

    health = AppHealth(app, "/healthz", 0.001, 5.0, 1, changed)
    running = asyncio.create_task(health.run())
    async with asyncio.timeout(20):
        await app.has_said_all.wait()
        assert told == [True, False]
        gate.set()
        await has_three.wait()
    running.cancel()
    await asyncio.wait((running,))
    assert told == [True, False, True]


async def test_a_fault_of_what_follows_ends_the_probes() -> None:
    async def changed(is_healthy: bool) -> None:
        raise KeyError("a fault")

    with pytest.raises(KeyError):
        async with asyncio.timeout(20):
            await AppHealth(Probed(""), "/healthz", 0.001, 5.0, 1, changed).run()


async def test_the_end_of_the_probes_breaks_off_what_follows() -> None:
    has_begun = asyncio.Event()
    ended: list[bool] = []

    async def changed(is_healthy: bool) -> None:
        has_begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(is_healthy)

    running = asyncio.create_task(AppHealth(Probed(""), "/healthz", 0.001, 5.0, 1, changed).run())
    async with asyncio.timeout(20):
        await has_begun.wait()
        running.cancel()
        await asyncio.wait((running,))
    assert ended == [True]
