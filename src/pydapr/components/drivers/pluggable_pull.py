"""A stream by which a pluggable component gives what it has, and hears of each message what became of it.

Used by `pluggable_pubsub` and `pluggable_bindings`. The original (v1.18.3) gives a stream up that has broken off; here
it is made again, as the contract of the component asks the client to do.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from pydapr.components.drivers import pluggable
from pydapr.errors import RpcError
from pydapr.net import grpc_client, tasks
from pydapr.observe import logging

log = logging.get("pluggable-components-grpc-connector")

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
"""Seconds until a stream that has broken off is made again, at first and when that goes on failing."""

REFUSE_SECONDS = 0.4
"""How long what comes is still refused when all that was under way is done, as with the original."""

END_SECONDS = 1.0
"""How long a component may take to end a stream when everything on it is done."""


class Pull:
    """Messages of one stream, each given to `answer`, whose result goes back. No more than `at_once` at a time.

    `first` is what the stream begins with, if anything; `what` is for the log. With `refuse` messages that come while
    those under way are finished are answered by it; without, they are left for the component to give to somebody else.
    """

    def __init__(
        self,
        link: pluggable.Link,
        method: tuple[str, str],
        first: bytes | None,
        answer: Callable[[bytes], Awaitable[bytes]],
        at_once: int,
        what: str,
        refuse: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        self._refuse = refuse
        self._link, self._method, self._first, self._answer, self._what = link, method, first, answer, what
        self._room = asyncio.Semaphore(at_once)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stream: grpc_client.Stream | None = None
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Makes the first stream. Raises `RpcError`."""
        self._stream = await self._open()
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Takes no further message; those under way are finished. Cancelled, it breaks these off as well."""
        try:
            if self._refuse is not None and self._under_way:
                self._answer, under_way = self._refuse, set(self._under_way)
                await asyncio.wait(under_way)
                await asyncio.sleep(REFUSE_SECONDS)
            await tasks.stop((self._reading,))
            if self._under_way:
                await asyncio.wait(self._under_way)
            await self._part()
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Breaks off what is under way."""
        await tasks.stop((*self._under_way, self._reading))
        if self._stream is not None:
            self._stream.close()

    async def _part(self) -> None:
        """Says that all is answered, and waits until the component has understood."""
        if self._stream is None:
            return
        with contextlib.suppress(RpcError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._stream.end()
                while await self._stream.receive() is not None:
                    pass  # what comes now was not taken, and goes back to where it is from

    async def _open(self) -> grpc_client.Stream:
        stream = await self._link.stream(*self._method)
        try:
            if self._first is not None:
                await stream.send(self._first)
        except BaseException:
            stream.close()
            raise
        return stream

    async def _read(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                if self._stream is None:
                    self._stream = await self._open()
                    log.info(f"{self._what}: the stream is there again")
                stream = self._stream
                while (data := await self._next(stream)) is not None:
                    wait = FIRST_WAIT
                    self._take(stream, data)
                reason = "the component has ended it"
            except RpcError as error:
                reason = str(error)
            except Exception as fault:  # a component may be anybody's; whatever it has said, another stream may do
                reason = f"unexpected: {fault!r}"
            if self._stream is not None:
                log.warning(f"{self._what}: the stream is broken off, and made again: {reason}")
                self._stream.close()
                self._stream = None
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _next(self, stream: grpc_client.Stream) -> bytes | None:
        """The next message, once there is room for it, which it has then."""
        await self._room.acquire()
        try:
            data = await stream.receive()
        except BaseException:
            self._room.release()
            raise
        if data is None:
            self._room.release()
        return data

    def _take(self, stream: grpc_client.Stream, data: bytes) -> None:
        task = asyncio.create_task(self._handle(stream, data))
        self._under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._room.release()
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error(f"{self._what}: a message could not be handled: {fault!r}")

    async def _handle(self, stream: grpc_client.Stream, data: bytes) -> None:
        answer = await self._answer(data)
        try:
            await stream.send(answer)
        except RpcError as error:
            log.error(f"{self._what}: the component could not be told what became of a message: {error}")
