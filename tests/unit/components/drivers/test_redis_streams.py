"""A consumer group's messages on their way to the handler, with Redis' answers at the moments that a test chooses."""

import asyncio
from collections.abc import Sequence
from typing import cast

from pydapr.components.drivers.redis import Server
from pydapr.components.drivers.redis_connection import Command, Reply
from pydapr.components.drivers.redis_streams import Group, Rules
from pydapr.components.pubsub import Message

SECONDS = 10.0


class Redis:
    """Answers what is asked when the test says so; what it does not care for at once."""

    def __init__(self, *held: str) -> None:
        self.asked: asyncio.Queue[tuple[Command, asyncio.Future[Reply]]] = asyncio.Queue()
        self._held = held

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def run(self, key: str, commands: Sequence[Command], *, may_repeat: bool = True) -> list[Reply]:
        [command] = commands
        if command[0] not in self._held:
            return [[] if command[0] in ("XPENDING", "XREADGROUP") else 1]
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((command, answer))
        return [await answer]

    async def next(self) -> asyncio.Future[Reply]:
        async with asyncio.timeout(SECONDS):
            _, answer = await self.asked.get()
        return answer


def entries(*data: bytes) -> Reply:
    return [[b"s", [[b"%s-0" % one, [b"data", one, b"metadata", b"{}"]] for one in data]]]


async def test_message_that_comes_as_the_last_one_ends_is_handled() -> None:
    handled: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(message: Message) -> None:
        handled.put_nowait(message.data)

    client, reader = Redis("XACK"), Redis("XREADGROUP")
    rules = Rules("group", 0.0, 0.0, depth=10, workers=1)
    group = Group((cast(Server, client), cast(Server, reader)), "s", rules, asyncio.Semaphore(1), handler)
    await group.begin()
    (await reader.next()).set_result(entries(b"1"))
    acknowledged, read = await client.next(), await reader.next()

    acknowledged.set_result(1)  # the worker ends in the same turn of the loop
    read.set_result(entries(b"2"))  # in which the next message is read

    async with asyncio.timeout(SECONDS):
        assert [await handled.get() for _ in range(2)] == [b"1", b"2"]
        (await client.next()).set_result(1)
        closing = asyncio.create_task(group.close())
        (await reader.next()).set_result(None)
        await closing
