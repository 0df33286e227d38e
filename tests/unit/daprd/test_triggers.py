"""What calls the app by itself: begun and paused together, and ended once and for all."""

import asyncio

from pydapr.daprd.triggers import Triggers


class Source:
    def __init__(self, told: list[str], name: str) -> None:
        self._told, self._name = told, name

    async def begin(self) -> None:
        self._told.append(f"{self._name} begins")

    async def pause(self) -> None:
        self._told.append(f"{self._name} pauses")

    async def end(self) -> None:
        self._told.append(f"{self._name} ends")


def test_sources_follow_the_app_and_streams_do_not() -> None:
    told: list[str] = []
    made = Triggers([Source(told, "a"), Source(told, "b")], [Source(told, "stream").end])

    async def run() -> None:
        await made.begin()
        await made.pause()

    asyncio.run(run())
    assert told == ["a begins", "b begins", "a pauses", "b pauses"]


def test_at_the_end_all_end_and_nothing_begins_again() -> None:
    told: list[str] = []
    made = Triggers([Source(told, "a")], [Source(told, "stream").end])

    async def run() -> None:
        await made.end()
        await made.begin()
        await made.end()

    asyncio.run(run())
    assert told == ["a pauses", "stream ends"] * 2
