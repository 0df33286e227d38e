"""What a broker pushes, on its way through a handler: one after the other, or many at a time.

Used by components whose library calls back for every message (RabbitMQ, MQTT, JetStream). How much may be under way is
the broker's to bound: it holds back until what it has sent is acknowledged.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from pydapr.net import tasks

T = TypeVar("T")


class Deliveries(Generic[T]):
    """Calls `work`, which raises nothing, for each of what is `put` here. The order is kept unless it `is_parallel`."""

    def __init__(self, work: Callable[[T], Awaitable[None]], *, is_parallel: bool) -> None:
        self._work, self._is_parallel = work, is_parallel
        self._waiting: deque[T] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_busy = False
        self._is_ending = False

    def put(self, one: T) -> None:
        """Begins with `one` as soon as it may; after `finish` was called it is kept for who called that."""
        self._waiting.append(one)
        if self._is_ending or self._is_busy:
            return
        self._is_busy = not self._is_parallel
        task = asyncio.get_running_loop().create_task(self._run())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self) -> Sequence[T]:
        """Waits for what is under way; what has not begun comes back."""
        self._is_ending = True
        await self.drain()
        return self.take()

    async def drain(self) -> None:
        """Waits until all that was `put` here is done with."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def stop(self) -> None:
        """Cancels what is under way, and waits until that has ended."""
        self._is_ending = True
        await tasks.stop(self._under_way)

    def take(self) -> Sequence[T]:
        """What has not begun; it never will."""
        left = list(self._waiting)
        self._waiting.clear()
        return left

    async def _run(self) -> None:
        if self._is_parallel:
            if self._waiting and not self._is_ending:
                await self._work(self._waiting.popleft())
            return
        try:
            while self._waiting and not self._is_ending:
                await self._work(self._waiting.popleft())
        finally:
            self._is_busy = False
