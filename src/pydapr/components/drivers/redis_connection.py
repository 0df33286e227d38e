"""One connection to a Redis server, shared by all who have something to ask: commands of one loop turn travel together.

Used by `drivers.redis`. Home of `hiredis` (an extra), which packs commands and reads replies. Answers come in the order
of the questions, so that a list of waiting ones is all there is to know.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import ssl

Command = Sequence[str | bytes | int]
Reply = Any
"""What a server answers: bytes, a number, None, or a list of such. An error is `Failure`, as a value."""

_NOTHING = object()
_PUBLISHED = (b"message", b"pmessage")


class Lost(OSError):
    """The connection has ended: whether what was asked has been done is not known."""


class Failure(Exception):
    """What a server answered instead of doing what it was asked."""


class Connection(asyncio.Protocol):
    """An open connection. `timeout` is how long the server may be silent when it owes an answer, 0 for ever."""

    def __init__(self, timeout: float) -> None:
        import hiredis

        self._pack = hiredis.pack_command
        self._reader = hiredis.Reader(replyError=Failure, protocolError=ValueError, notEnoughData=_NOTHING)
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[asyncio.Future[Any], int]] = deque()
        self._replies: list[Reply] = []
        """Those of the first who waits, when there are several."""
        self._out: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._has_answered = False
        self._is_full = False
        self._transport: asyncio.Transport | None = None
        self._ended = self._loop.create_future()
        self.is_lost = False
        self.on_message: Callable[[Reply], None] | None = None
        """Takes what is published on channels that were subscribed to on this connection."""

    def ask(self, commands: Sequence[Command]) -> "asyncio.Future[list[Reply]]":
        """Sends commands one behind the other, with no other's between; the replies to all of them. Raises `Lost`."""
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if self.is_lost:
            future.set_exception(Lost("the connection is closed"))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        for command in commands:
            self._out.append(self._pack(tuple(command)))  # type: ignore[arg-type]  # its stub knows no unions
        self._waiting.append((future, len(commands)))
        if self._watch is None and self._timeout > 0:
            self._has_answered = False
            self._watch = self._loop.call_later(self._timeout, self._look)
        return future

    def drop(self, reason: str) -> None:
        """Ends it, and all that wait."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    async def close(self) -> None:
        self.drop("the connection was closed")
        if self._transport is not None:
            await self._ended

    # -- asyncio's side --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        self._has_answered = True
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if self.on_message is not None and isinstance(reply, list) and reply[0] in _PUBLISHED:
                    self.on_message(reply)
                    continue
                if not waiting:
                    raise ValueError("an answer to no question")
                self._replies.append(reply)
                future, wanted = waiting[0]
                if len(self._replies) < wanted:
                    continue
                waiting.popleft()
                replies, self._replies = self._replies, []
                if not future.done():
                    future.set_result(replies)
        except ValueError as error:
            self.drop(f"the server does not speak Redis' protocol: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._end(str(error) if error else "the server has closed the connection")
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._flush()

    # -- within --

    def _flush(self) -> None:
        if not self._out or self._is_full or self._transport is None:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._transport.write(data)

    def _look(self) -> None:
        """Whether answers come, so long as any are owed."""
        self._watch = None
        if not self._waiting:
            return
        if not self._has_answered:
            self.drop(f"no answer within {self._timeout:g}s")
            return
        self._has_answered = False
        self._watch = self._loop.call_later(self._timeout, self._look)

    def _end(self, reason: str) -> None:
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(Lost(reason))


async def connect(
    host: str, port: int, greeting: Sequence[Command], *, tls: "ssl.SSLContext | None", within: float, silence: float
) -> Connection:
    """A connection on which the server has taken all of `greeting`. Raises `OSError` and `Failure`."""
    loop = asyncio.get_running_loop()
    made: Connection | None = None
    try:
        async with asyncio.timeout(within or None):
            _, made = await loop.create_connection(
                lambda: Connection(silence), host, port, ssl=tls, server_hostname=host if tls else None
            )
            for reply in await made.ask(greeting) if greeting else ():
                if isinstance(reply, Failure):
                    raise reply
    except BaseException as error:
        if made is not None:
            made.drop("it was not taken into use")
        if isinstance(error, TimeoutError):
            raise OSError(f"no answer within {within:g}s") from None
        raise
    return made
