"""HTTP/2 connections to many servers, one for each as long as its streams suffice. Used by `peers` and `app`.

A connection counts once the server has greeted: a kernel takes connections for a process that stands still. A server
that did not, or that gave no sign of life (`net.keepalive`), is tried again behind the calls; until it answers, calls
of it fail at once, so that whoever knows another server can go there.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from itertools import islice

from pydapr.lib import record
from pydapr.net import http2_client, keepalive, lookup
from pydapr.wire import http2

CONNECT_SECONDS = 5.0
MAX_CONNECTIONS = 256
"""Connections to one server; more streams than fit on these wait. Some servers take no more than 100 on one."""

ATTEMPTS = 32
"""Connections that one request has made and loses to others, or at once, before it is told that there is none."""

IDLE_SECONDS = 180.0
"""Connections unused for so long, and up to as long again, are closed."""

AGAIN_SECONDS = 1.0
"""Between two attempts to reach a silent server behind the calls."""

FORGET_SECONDS = 60.0
"""How long that goes on when nobody asks for the server any more."""

Connector = Callable[[str, Callable[[], asyncio.Protocol]], Awaitable[object]]
"""Connects to an address (host:port) and attaches the protocol that the factory makes. Raises `OSError`."""


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class Silent(Unreachable):
    """Nobody refused, and nobody answered."""


class Distrusted(Unreachable):
    """Who answered is not the one that is meant, or could not show it."""


class Unsafe(OSError):
    """Why a connection over TLS is of no use; raised by connectors."""


_Waiter = asyncio.Future[Unreachable | None]


class Patience(record.Record):
    """How long a server may take to greet, and how it is treated when it is silent.

    `asks` is for servers that take questions for a sign of life: when they were `quiet` for so many seconds, with
    `answer` seconds to give one. `keeps` is for a single server, to which one connection is kept however long it is
    unused, and for which calls wait though it was silent before.
    """

    connect: float = CONNECT_SECONDS
    asks: bool = True
    keeps: bool = False
    quiet: float = keepalive.QUIET_SECONDS
    answer: float = keepalive.ANSWER_SECONDS


APP = Patience(connect=20.0, asks=False, keeps=True)
"""An app: the original gives it as long, and gRPC's servers take unasked pings every five minutes only."""


class _Watch:
    """A silent server that is tried behind the calls."""

    __slots__ = ("asked_at", "reason", "task")

    def __init__(self, reason: str, asked_at: float) -> None:
        self.reason, self.asked_at = reason, asked_at
        self.task: asyncio.Task[None]


class Pool:
    """Connections by address. Made once; `close` breaks off whatever is under way."""

    def __init__(self, connect: Connector, limits: http2.Limits, patience: Patience | None = None) -> None:
        self._connect = connect
        self._limits = limits
        self._patience = patience or Patience()
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, list[http2_client.ClientConnection]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, OrderedDict[_Waiter, None]] = {}
        self._called: dict[_Waiter, str] = {}
        self._silent: dict[str, _Watch] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._used: dict[http2_client.ClientConnection, int] = {}
        self._is_closed = False

    def ready(self, address: str) -> http2_client.ClientConnection | None:
        """A connection that takes a request now, None when there is none yet, or others wait for it."""
        if self._waiting and address in self._waiting:
            return None
        return self._free(address)

    def _free(self, address: str) -> http2_client.ClientConnection | None:
        connections = self._open.get(address)
        if connections is None:
            return None
        for connection in connections:
            if connection.can_open:
                if connection is not connections[0]:
                    connections.remove(connection)
                    connections.insert(0, connection)
                return connection
        return None

    async def connection(self, address: str) -> http2_client.ClientConnection:
        """A connection that takes a request. Raises `Unreachable`."""
        attempts, has_heard, has_waited = 0, False, False
        is_waiting = address in self._waiting
        while True:
            if is_waiting or address in self._opening:
                error = await self._turn(address, has_waited)
                if error is not None and (has_heard or isinstance(error, Silent)):
                    raise error
                # One that was refused began before this call did: the server may have come meanwhile.
                is_waiting, has_waited, has_heard = False, True, error is not None
            connection = self._free(address)
            if connection is not None:
                return connection
            if self._is_closed:
                raise Unreachable(f"dial tcp {address}: the pool is closed")
            self._refuse_if_silent(address)
            if self._is_crowded(address):
                is_waiting = True
            elif address not in self._opening:
                attempts += 1
                if attempts > ATTEMPTS:
                    raise Unreachable(f"dial tcp {address}: connections are lost as soon as they are made")
                has_waited = True
                await self._open_one(address)

    @property
    def is_unused(self) -> bool:
        """Whether there is no connection, and none is tried."""
        return not (self._open or self._opening or self._waiting or self._silent)

    # -- making connections --

    async def _open_one(self, address: str) -> None:
        """Makes one connection more, which others may wait for as well. Raises `Unreachable`."""
        for connection in self._open.get(address, ()):
            if connection.h2.is_used_up:
                connection.retire()
        opening = self._opening[address] = self._loop.create_task(self._connect_to(address))
        opening.add_done_callback(lambda task: self._opened(address, task))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            if not (self._is_closed and opening.cancelled()):
                raise
            # Else it was not the caller who was cancelled.

    def _opened(self, address: str, task: asyncio.Task[None]) -> None:
        self._opening.pop(address, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Silent):
            self._watch(address, str(error))
        if not isinstance(error, Unreachable):
            self._loop.call_soon(self._wake, address)  # behind the one who has made it
            return
        for waiter in self._waiting.pop(address, ()):
            if not waiter.done():
                waiter.set_result(type(error)(*error.args))

    async def _connect_to(self, address: str) -> None:
        """Makes a connection and waits for the server's greeting. Raises `Unreachable`."""
        greeted: asyncio.Future[None] = self._loop.create_future()

        def heard(_: http2_client.ClientConnection) -> None:
            if not greeted.done():
                greeted.set_result(None)
            self._wake(address)

        def lost(connection: http2_client.ClientConnection) -> None:
            self._forget(address, connection)
            heard(connection)

        connection = http2_client.ClientConnection(self._loop, lost, heard, self._limits)
        try:
            async with asyncio.timeout(self._patience.connect):
                await self._connect(address, lambda: connection.protocol)
                await greeted
        except BaseException as error:
            connection.drop()
            raise _told(address, error) from None
        if connection.is_lost or connection.h2.is_draining:
            raise Unreachable(f"dial tcp {address}: error reading server preface: EOF")
        self._open.setdefault(address, []).append(connection)
        patience = self._patience
        if patience.asks:
            connection.keepalive = keepalive.Keepalive(connection, self._loop, patience.quiet, patience.answer)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(IDLE_SECONDS, self._sweep)

    def _forget(self, address: str, connection: http2_client.ClientConnection) -> None:
        """`connection` is lost."""
        if connection.keepalive is not None:
            connection.keepalive.stop()
            connection.keepalive = None  # they hold each other
        self._used.pop(connection, None)
        connections = self._open.get(address, [])
        if connection in connections:
            connections.remove(connection)
        if not connections:
            self._open.pop(address, None)
            if connection.lost_because:
                self._watch(address, f"dial tcp {address}: {connection.lost_because}")

    # -- servers that are silent --

    def _refuse_if_silent(self, address: str) -> None:
        """Raises `Unreachable` while a silent server is tried behind the calls."""
        watch = self._silent.get(address)
        if watch is not None:
            watch.asked_at = self._loop.time()
            raise Unreachable(watch.reason)

    def _watch(self, address: str, reason: str) -> None:
        if not (self._is_closed or self._patience.keeps or address in self._silent):
            watch = self._silent[address] = _Watch(reason, self._loop.time())
            watch.task = self._loop.create_task(self._try_again(address, watch))
            watch.task.add_done_callback(lambda _: self._silent.pop(address, None))

    async def _try_again(self, address: str, watch: _Watch) -> None:
        """Until the server answers or refuses, or nobody has wanted it for a while."""
        while self._loop.time() - watch.asked_at < FORGET_SECONDS:
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                await self._connect_to(address)
            except Silent:
                continue
            except Unreachable:
                pass
            return

    # -- waiting for room --

    def _is_crowded(self, address: str) -> bool:
        return len(self._open.get(address, ())) >= MAX_CONNECTIONS

    async def _turn(self, address: str, has_waited: bool) -> Unreachable | None:
        """Waits until it is this caller's turn to look for room, first come, first served; or why there is none."""
        waiter: _Waiter = self._loop.create_future()
        waiting = self._waiting.setdefault(address, OrderedDict())
        waiting[waiter] = None
        if has_waited:
            waiting.move_to_end(waiter, last=False)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._leave(address, waiter)
            raise
        finally:
            self._called.pop(waiter, None)
            # Behind the request that is about to be opened: there may be room for one more.
            self._loop.call_soon(self._wake, address)

    def _wake(self, address: str) -> None:
        """Lets those who wait look for room, first come, first served: as many as there is room for.

        Not one by one: under load the queue would never end, and every call had to go through it.
        """
        waiting = self._waiting.get(address)
        if not waiting:
            return
        room = sum([connection.room for connection in self._open.get(address, ())])
        if room < 1 and address not in self._opening and not self._is_crowded(address):
            room = 1  # to make a connection
        room -= list(self._called.values()).count(address)  # who has been called and has not looked yet
        if self._is_closed:
            room = len(waiting)
        for waiter in list(islice(waiting, max(room, 0))):
            self._leave(address, waiter)
            if not waiter.done():
                self._called[waiter] = address
                waiter.set_result(None)

    def _leave(self, address: str, waiter: _Waiter) -> None:
        waiting = self._waiting.get(address)
        if waiting is not None:
            waiting.pop(waiter, None)
            if not waiting:
                del self._waiting[address]

    # -- the end --

    def retire(self) -> None:
        """Makes new connections for what comes from now on; those that are there end with what is under way."""
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.retire()

    def _sweep(self) -> None:
        """Closes connections that nobody has used since the last time."""
        used = self._used
        self._used = {}
        for connections in self._open.values():
            idle = [connection for connection in connections if connection.is_idle and connection.can_open]
            kept = len(connections)
            for connection in idle:
                opened = connection.h2.opened
                if used.get(connection) == opened and (kept > 1 or not self._patience.keeps):
                    kept -= 1
                    connection.close()
                    connections.remove(connection)
                else:
                    self._used[connection] = opened
        for address in [address for address, connections in self._open.items() if not connections]:
            del self._open[address]
        self._sweeper = self._loop.call_later(IDLE_SECONDS, self._sweep) if self._open else None

    def close(self) -> None:
        """Closes every connection."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in [*self._opening.values(), *[watch.task for watch in self._silent.values()]]:
            task.cancel()
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.close()
        for address in list(self._waiting):
            self._wake(address)


def _told(address: str, error: BaseException) -> BaseException:
    """Why there is no connection, as Go words it; what is no reason stays as it is."""
    if isinstance(error, TimeoutError):
        return Silent(f"dial tcp {address}: i/o timeout")
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"dial tcp {address}: connect: connection refused")
    if isinstance(error, lookup.NoSuchHost):
        return Unreachable(f"dial tcp: {error}")
    if isinstance(error, Unsafe):
        return Distrusted(f"transport: authentication handshake failed: {error}")
    if isinstance(error, OSError):
        return Unreachable(f"dial tcp {address}: {(error.strerror or str(error)).lower()}")
    return error
