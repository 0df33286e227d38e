"""state.memcached keeps state in memcached: a cache, which forgets what it has no room for, and all at a restart.

Of several hosts each key has its own, found as the original does. Keys have 250 bytes at most, no blanks and no control
characters; values are as large as the servers take (1 MB, unless they are told otherwise). There are no etags.
"""

import asyncio
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pydapr.components import Wrong, component, option, options, state
from pydapr.components.state import MAX_TTL, NO_METADATA, Delete, Item, Set, StateError, StateStore, Unavailable
from pydapr.net import dial

T = TypeVar("T")

_MONTH = 60 * 60 * 24 * 30
"""Longer times than this, in seconds, memcached takes for points in time."""

_KEY = re.compile(rb"[^\x00-\x20\x7f]{1,250}\Z")


@options
class Options:
    hosts: tuple[str, ...] = option("Addresses of the servers, such as `localhost:11211`, by commas.")
    max_idle_connections: int = option("Connections to each server that are kept for later.", default=2)
    timeout: int = option("How long a server may take, in milliseconds.", default=1000)


Read = Callable[[asyncio.StreamReader], Awaitable[T]]
"""Reads the answer to a command. Raises `StateError` for one that is no success."""


class _Server:
    """One server. A connection carries one command at a time; one that was broken off in it is not used again."""

    def __init__(self, address: str, most_idle: int, seconds: float) -> None:
        self._address, self._most_idle, self._seconds = address, most_idle, seconds
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, command: bytes, read: "Read[T]") -> T:
        """Raises `StateError`."""
        writer: asyncio.StreamWriter | None = None
        is_whole = False
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await self._connection()
                writer.write(command)
                await writer.drain()
                answer = await read(reader)
            is_whole = True
            return answer
        except (OSError, EOFError) as error:
            raise Unavailable(f"{self._address}: {_reason(error, self._seconds)}") from None
        finally:
            if writer is not None:
                if is_whole and len(self._idle) < self._most_idle:
                    self._idle.append((reader, writer))
                else:
                    writer.close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        if self._address.startswith("/"):
            return await asyncio.open_unix_connection(self._address)
        return await asyncio.open_connection(*dial.split(self._address))

    def close(self) -> None:
        self._most_idle = 0  # what is under way keeps none
        while self._idle:
            self._idle.pop()[1].close()


@component("state.memcached", Options)
class Memcached(StateStore):
    features: Sequence[str] = (state.TTL,)

    def __init__(self, options: Options) -> None:
        hosts = [host.strip() for host in options.hosts if host.strip()]
        if not hosts:
            raise Wrong("missing or empty hosts field from metadata")
        seconds = (options.timeout if options.timeout > 0 else 1000) / 1000
        for host in hosts:
            try:
                host.startswith("/") or dial.split(host)
            except ValueError as error:
                raise Wrong(f"metadata property hosts: {error}") from None
        self._servers = [_Server(host, max(options.max_idle_connections, 0), seconds) for host in hosts]

    async def open(self) -> None:
        for server in self._servers:
            try:
                await server.ask(b"version\r\n", _version)
            except StateError as error:
                raise OSError(str(error)) from None

    async def close(self) -> None:
        for server in self._servers:
            server.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        raw = _checked(key)
        value = await self._server(raw).ask(b"get %s\r\n" % raw, _value)
        return None if value is None else Item(value)

    async def set(self, request: Set) -> None:
        raw = _checked(request.key)
        head = b"set %s 0 %d %d\r\n" % (raw, _end(request.metadata), len(request.value))
        read = _one_of((b"STORED",), f"failed to set key {request.key}")
        await self._server(raw).ask(b"".join((head, request.value, b"\r\n")), read)

    async def delete(self, request: Delete) -> None:
        raw = _checked(request.key)
        read = _one_of((b"DELETED", b"NOT_FOUND"), f"failed to delete key {request.key}")
        await self._server(raw).ask(b"delete %s\r\n" % raw, read)

    def _server(self, key: bytes) -> _Server:
        return self._servers[zlib.crc32(key) % len(self._servers) if len(self._servers) > 1 else 0]


def _checked(key: str) -> bytes:
    raw = key.encode("utf-8", "surrogateescape")
    if not _KEY.match(raw):
        raise StateError("malformed: key is too long or contains invalid characters")
    return raw


def _end(metadata: Mapping[str, str]) -> int:
    """When a value ends, in memcached's form: seconds, or a point in time, 0 for never."""
    seconds = state.ttl_seconds(metadata) if metadata else None
    if seconds is None or seconds <= 0:
        return 0
    return seconds if seconds < _MONTH else min(int(time.time()) + seconds, MAX_TTL)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\r\n")
    except asyncio.LimitOverrunError as error:
        raise OSError(f"the server does not speak memcached's protocol: {error}") from None
    return line[:-2]


async def _version(reader: asyncio.StreamReader) -> None:
    if not (await _line(reader)).startswith(b"VERSION"):
        raise OSError("the server does not speak memcached's protocol")


def _one_of(good: Sequence[bytes], failure: str) -> "Read[None]":
    """Reads one of the answers that mean success. After another one nobody knows what the server says next."""

    async def read(reader: asyncio.StreamReader) -> None:
        answer = await _line(reader)
        if answer not in good:
            raise StateError(f"{failure}: {answer.decode('utf-8', 'replace')}")

    return read


async def _value(reader: asyncio.StreamReader) -> bytes | None:
    head = await _line(reader)
    if head == b"END":
        return None
    parts = head.split(b" ")
    if parts[0] != b"VALUE" or len(parts) < 4 or not parts[3].isdigit():
        raise OSError(head.decode("utf-8", "replace"))
    value = await reader.readexactly(int(parts[3]) + 2)
    if await _line(reader) != b"END":
        raise OSError("the server does not speak memcached's protocol")
    return value[:-2]


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    return str(error) or "the connection was lost"
