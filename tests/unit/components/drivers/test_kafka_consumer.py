"""A member of a group leaves it as a whole, whatever comes while its subscription ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from pydapr.components.drivers.kafka import Kafka
from pydapr.components.drivers.kafka_consumer import Consumer, Gather


class Library:
    """In the place of the library's consumer: gives what `arrive` brings, and takes a moment to leave the group."""

    def __init__(self) -> None:
        self.has_left = False
        self._arrived = asyncio.Event()

    def subscribe(self, topics: Sequence[str], listener: object) -> None: ...

    async def getmany(self, **limits: object) -> Mapping[object, Sequence[object]]:
        await self._arrived.wait()
        self._arrived.clear()
        return {}

    def arrive(self) -> None:
        self._arrived.set()

    async def stop(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.has_left = True


def consumer(library: Library) -> Consumer:
    async def deliver(records: Sequence[Any]) -> Mapping[int, str]:
        return {}

    async def partitions(topic: str) -> Sequence[int]:
        return (0,)

    @contextlib.asynccontextmanager
    async def member(group: str) -> AsyncIterator[Library]:
        try:
            yield library
        finally:
            await library.stop()

    reading = SimpleNamespace(group="one", initial="oldest", buffer=10, retry=None, pause=0.0)
    kafka = SimpleNamespace(reading=reading, consumer=member, partitions=partitions)
    return Consumer(cast(Kafka, kafka), ["topic"], Gather(), deliver)


async def test_a_message_that_comes_at_the_end_does_not_keep_a_member_in_its_group() -> None:
    await _closes(lambda library: library.arrive())


async def test_a_member_without_messages_leaves_its_group() -> None:
    await _closes(lambda library: None)


async def _closes(before: Callable[[Library], None]) -> None:
    library = Library()
    reading = consumer(library)
    await reading.begin()

    lane = SimpleNamespace(task=asyncio.create_task(asyncio.sleep(0)), end=lambda: before(library))
    reading._lanes[cast(Any, "topic/0")] = cast(Any, lane)  # a handler at work, which the end waits for
    await asyncio.wait_for(reading.close(), 10)

    assert library.has_left
