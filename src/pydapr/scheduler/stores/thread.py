"""A thread that works on an SQLite connection of its own, for `sqlite`: what is asked at one moment is done together.

Not of asyncio's own pool, which the end of the process waits for, however long the disk hangs.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pydapr.scheduler.store import StoreError

if TYPE_CHECKING:
    import sqlite3

MOST = 1024
"""What is done together at most: the first of it waits for the last."""


class Job:
    """Something to do, who waits for it, and what came of it."""

    __slots__ = ("future", "outcome", "work")

    def __init__(self, work: Callable[[Any], Any], future: "asyncio.Future[Any]") -> None:
        self.work, self.future = work, future
        self.outcome: Any = None

    def settle(self) -> None:
        """Tells who waits, if anybody still does."""
        if self.future.done():
            return
        if isinstance(self.outcome, Exception):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class Thread:
    """`connect` and `carry_out` are called on the thread; what `carry_out` returns is called on the loop, in order."""

    def __init__(
        self,
        name: str,
        connect: "Callable[[], sqlite3.Connection]",
        carry_out: "Callable[[sqlite3.Connection, Sequence[Job]], Callable[[], None]]",
        seconds: float,
    ) -> None:
        self._connect, self._carry_out, self._seconds = connect, carry_out, seconds
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._is_open = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._name = name

    async def start(self) -> None:
        """Connects. Raises what `connect` does."""
        connected: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, args=(connected,), name=self._name, daemon=True).start()
        self._is_open = True
        try:
            await connected
        except BaseException:
            self._is_open = False
            self._queue.put(None)  # whoever gave up waiting gets no thread that stays
            raise

    async def ask(self, work: Callable[[Any], Any], seconds: float = 0.0) -> Any:
        """What `work` returns. Raises `StoreError`, also when it takes longer than `seconds`, and may still happen."""
        if not self._is_open:
            raise StoreError("the store is not open")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(Job(work, future))
        bound = seconds or self._seconds
        try:
            async with asyncio.timeout(bound):
                return await future
        except TimeoutError:
            raise StoreError(f"no answer from the disk within {bound:g} s") from None

    async def stop(self) -> None:
        """Ends after what was begun; waits for it no longer than for any work."""
        if not self._is_open:
            return
        self._is_open = False
        self._queue.put(None)
        await asyncio.wait((self._ended,), timeout=self._seconds)

    # -- on the thread --

    def _run(self, connected: "asyncio.Future[None]") -> None:
        try:
            db = self._connect()
        except Exception as error:  # whatever it is, it belongs to who waits
            self._call(_fail, connected, error)
            return
        self._call(_succeed, connected)
        try:
            self._serve(db)
        finally:
            db.close()
            self._call(_succeed, self._ended)

    def _serve(self, db: "sqlite3.Connection") -> None:
        is_last = False
        while not is_last:
            jobs: list[Job] = []
            while len(jobs) < MOST and not is_last and (not jobs or not self._queue.empty()):
                job = self._queue.get()
                is_last = job is None
                if job is not None and not job.future.cancelled():
                    jobs.append(job)
            if jobs:
                self._call(self._carry_out(db, jobs))

    def _call(self, what: Callable[..., None], *given: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(what, *given)


def _succeed(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
