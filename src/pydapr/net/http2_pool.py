"""HTTP/2 connections to many servers, one for each as long as its streams suffice. Used by `peers`."""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.net import http2_client
from pydapr.wire import http2

CONNECT_SECONDS = 5.0
MAX_CONNECTIONS = 16
"""Connections to one server; more streams than fit on these wait."""

ATTEMPTS = 2 * MAX_CONNECTIONS
"""Connections that one request sees come and go, or fill up, before it is told that there is none."""

Connector = Callable[[str, Callable[[], asyncio.Protocol]], Awaitable[object]]
"""Connects to an address (host:port) and attaches the protocol that the factory makes. Raises `OSError`."""


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class Pool:
    """Connections by address. Made once; `close` breaks off whatever is under way."""

    def __init__(self, connect: Connector, limits: http2.Limits) -> None:
        self._connect = connect
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, list[http2_client.ClientConnection]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._room: dict[str, asyncio.Event] = {}
        self._is_closed = False

    def ready(self, address: str) -> http2_client.ClientConnection | None:
        """A connection that takes a request now, None when there is none yet."""
        for connection in self._open.get(address, ()):
            if connection.can_open:
                return connection
        return None

    async def connection(self, address: str) -> http2_client.ClientConnection:
        """A connection that takes a request. Raises `Unreachable`."""
        attempts = 0
        while True:
            connection = self.ready(address)
            if connection is not None:
                return connection
            if self._is_closed:
                raise Unreachable(f"dial tcp {address}: the pool is closed")
            if len(self._open.get(address, ())) >= MAX_CONNECTIONS:
                await self._wait_for_room(address)
                continue
            attempts += 1
            if attempts > ATTEMPTS:
                raise Unreachable(f"dial tcp {address}: connections are lost as soon as they are made")
            opening = self._opening.get(address)
            if opening is None:
                opening = self._loop.create_task(self._connect_to(address))
                self._opening[address] = opening
                opening.add_done_callback(lambda task: self._opened(address, task))
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                if self._is_closed and opening.cancelled():
                    continue  # it was not the caller who was cancelled
                raise

    def _opened(self, address: str, task: asyncio.Task[None]) -> None:
        self._opening.pop(address, None)
        if not task.cancelled():
            task.exception()  # those who waited have it; without any, it is no news for the log

    async def _connect_to(self, address: str) -> None:
        def lost(connection: http2_client.ClientConnection) -> None:
            connections = self._open.get(address, [])
            if connection in connections:
                connections.remove(connection)
            if not connections:
                self._open.pop(address, None)
            self._has_room(address)

        def room(_: http2_client.ClientConnection) -> None:
            self._has_room(address)

        connection = http2_client.ClientConnection(self._loop, lost, room, self._limits)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connect(address, lambda: connection.protocol)
        except TimeoutError:
            raise Unreachable(f"dial tcp {address}: i/o timeout") from None
        except ConnectionRefusedError:
            raise Unreachable(f"dial tcp {address}: connect: connection refused") from None
        except OSError as error:
            raise Unreachable(f"dial tcp {address}: {(error.strerror or str(error)).lower()}") from None
        if connection.is_lost or connection.h2.is_draining:
            raise Unreachable(f"dial tcp {address}: EOF")
        self._open.setdefault(address, []).append(connection)

    async def _wait_for_room(self, address: str) -> None:
        event = self._room.setdefault(address, asyncio.Event())
        await event.wait()

    def _has_room(self, address: str) -> None:
        event = self._room.pop(address, None)
        if event is not None:
            event.set()

    def close(self) -> None:
        """Closes every connection."""
        self._is_closed = True
        for task in list(self._opening.values()):
            task.cancel()
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.close()
