"""A server that speaks Redis' protocol and answers as a test tells it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import hiredis

Answer = bytes | None
"""Bytes as they go over the line; None to say nothing."""


class Server:
    def __init__(self, answer: Callable[[list[bytes]], Answer]) -> None:
        self.answer = answer
        self.seen: list[list[bytes]] = []
        self.reads = 0
        """How many times something came in."""
        self.has_read = asyncio.Event()
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        commands = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self.reads += 1
                self.has_read.set()
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    self.seen.append(command)
                    answer = self.answer(command)
                    if answer is not None:
                        writer.write(answer)
        writer.close()

    def hang_up(self) -> None:
        """Ends all connections that there are."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    @property
    def connections(self) -> int:
        return len(self._writers)


@contextlib.asynccontextmanager
async def serving(answer: Callable[[list[bytes]], Answer]) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.hang_up()
        await listening.wait_closed()


def bulk(*values: bytes) -> bytes:
    return b"*%d\r\n" % len(values) + b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)
