"""Servers: listening sockets, and on each connection the protocol that its first bytes ask for.

One port serves HTTP/1.1, HTTP/2 in clear text (by prior knowledge or upgrade) and with it gRPC; a handler
answers all of them alike. Used by `daprd.runtime`.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydapr.lib.record import Record
from pydapr.net import buffered, dial, files, http1_server, http2_server, keepalive
from pydapr.net.exchange import Handler
from pydapr.wire import frames, http2

if TYPE_CHECKING:
    import ssl

    from pydapr.net import tls_listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_GREETING = frames.settings(())
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


_LIMITS = http2.Limits()


class Options(Record):
    """What a server speaks and how much it takes.

    `max_head` bounds the head of an HTTP/1.1 request in bytes, `head_seconds` the time it may take, and
    `max_connections` the connections at a time, which are no more than one for each `files` that the process may have
    open. With `tls` nothing is in clear text.
    """

    with_http1: bool = True
    with_http2: bool = True
    max_head: int = 8192
    head_seconds: float = http1_server.HEAD_SECONDS
    max_connections: int = 10_000
    files: int = 4
    limits: http2.Limits = _LIMITS
    tls: "ssl.SSLContext | None" = None
    welcomes: Callable[[asyncio.BaseTransport], bool] | None = None
    """Whether who has connected, and shown its certificate, may stay; None for everybody."""
    quiet_seconds: float = keepalive.QUIET_SECONDS
    """How long a client of HTTP/2 may be quiet before it is asked for a sign of life, a second at least."""
    answer_seconds: float = keepalive.ANSWER_SECONDS
    """How long it has to give one."""
    keeps_traces_apart: bool = False
    """Whether handlers take a trace from `apart` of their exchanges (`http2_server`)."""


_DEFAULTS = Options()

_Served = http1_server.ServerConnection | http2_server.ServerConnection


class Server:
    """One handler behind any number of listening sockets."""

    def __init__(self, handler: Handler, options: Options = _DEFAULTS) -> None:
        self._handler = handler
        self.options = options
        self._loop = asyncio.get_running_loop()
        self._listeners: list[asyncio.Server | tls_listener.Listener] = []
        self._connections: set[_Served | _Sniffer] = set()
        self._all_gone: asyncio.Future[None] | None = None
        self._is_stopping = False
        self._most = min(options.max_connections, max(files.allowed() // options.files, 1))
        self._paths: list[str] = []

    async def listen(self, host: str, port: int) -> int:
        """Listens on `host`, all interfaces if it is empty; the port, a free one for 0. Raises `OSError`."""
        return await self.listen_on(bind(host, port))

    async def listen_on(self, listening: socket.socket) -> int:
        """Listens on a bound socket; its port."""
        options = self.options
        if options.tls is not None:
            from pydapr.net import tls_listener  # needed with TLS only

            self._listeners.append(tls_listener.Listener(listening, options.tls, options.head_seconds, self._accept))
        else:
            self._listeners.append(await self._loop.create_server(self._accept, sock=listening, backlog=1024))
        return int(listening.getsockname()[1])

    async def listen_unix(self, path: str) -> None:
        """Listens on a Unix domain socket; a file left behind by a dead server is replaced. Raises `OSError`."""
        if _is_stale(path):
            os.unlink(path)
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(path)  # given a path, asyncio would take it away from a server that lives
        except BaseException:
            listening.close()
            raise
        listening.setblocking(False)
        self._paths.append(path)
        self._listeners.append(await self._loop.create_unix_server(self._accept, sock=listening, backlog=1024))

    def _accept(self) -> asyncio.Protocol:
        return _Sniffer(self)

    # -- connections --

    def http1_protocol(self) -> http1_server.ServerConnection:
        """A protocol for a connection that speaks HTTP/1.1."""
        upgrade = self._upgrade if self.options.with_http2 else None
        options = self.options
        return http1_server.ServerConnection(
            self._loop, self._handler, options.max_head, self.forget, upgrade, options.head_seconds
        )

    def http2_protocol(self) -> http2_server.ServerConnection:
        """A protocol for a connection that speaks HTTP/2."""
        options = self.options
        connection = http2_server.ServerConnection(self._loop, self._handler, options.limits, self._forget_http2)
        connection.keepalive = keepalive.Keepalive(
            connection, self._loop, options.quiet_seconds, options.answer_seconds
        )
        connection.h2.keeps_traces_apart = options.keeps_traces_apart
        return connection

    def keep(self, connection: "_Served | _Sniffer") -> bool:
        """Counts a connection; False when there are too many, or it came too late, and it is closed."""
        self._connections.add(connection)
        if len(self._connections) > self._most or self._is_stopping:
            connection.transport.abort()
            return False
        return True

    def forget(self, connection: "_Served | _Sniffer") -> None:
        """`connection` is gone."""
        self._connections.discard(connection)
        if not self._connections and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    def _forget_http2(self, connection: http2_server.ServerConnection) -> None:
        if connection.keepalive is not None:
            connection.keepalive.stop()
            connection.keepalive = None  # they hold each other
        self.forget(connection)

    def _upgrade(self, old: http1_server.ServerConnection, exchange: http1_server.ServerExchange, rest: bytes) -> None:
        """Goes over to HTTP/2 with the request that asked for it as stream 1."""
        settings = dict(exchange.headers)[b"http2-settings"]
        new = self.http2_protocol()
        try:
            take_over = new.prepare_upgrade(settings)
        except http2.ProtocolError:
            self._forget_http2(new)
            old.continue_with(exchange)
            if rest:
                old.data_received(rest)
            return
        transport = old.transport
        transport.write(_SWITCHING)
        self._connections.discard(old)
        self._connections.add(new)
        transport.set_protocol(new.protocol)
        take_over(transport, exchange)
        if rest:
            new.data_received(rest)

    # -- the end --

    def retire(self) -> None:
        """Has clients make new connections, by which they show anew who they are; what is under way ends as it is."""
        for connection in list(self._connections):
            if isinstance(connection, http2_server.ServerConnection):
                connection.retire()

    async def stop(self, seconds: float | None) -> None:
        """Takes no new connections and requests, and waits for those under way.

        After `seconds`, None for no bound, they are broken off.
        """
        self._is_stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.stop()
        try:
            async with asyncio.timeout(seconds):
                await self._wait_for_all()
        except TimeoutError:
            for connection in list(self._connections):
                connection.transport.abort()
            await self._wait_for_all()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def _wait_for_all(self) -> None:
        """Returns when no connection is left."""
        if self._connections:
            self._all_gone = self._loop.create_future()
            await self._all_gone

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    @property
    def busy(self) -> int:
        """How many connections have a request under way."""
        return sum(not connection.is_idle for connection in self._connections)


class _Sniffer(asyncio.Protocol):
    """Waits for the first bytes of a connection and hands it to the protocol they belong to."""

    __slots__ = ("_seen", "_server", "_timer", "transport")

    transport: asyncio.Transport
    is_idle = True

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's own signature is too wide
        welcomes = self._server.options.welcomes
        if welcomes is not None and not welcomes(transport):
            self.transport.abort()
        elif self._server.keep(self):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._server.options.head_seconds, self.stop)

    def data_received(self, data: bytes) -> None:
        seen = self._seen + data if self._seen else data
        options = self._server.options
        if options.with_http2 and PREFACE.startswith(seen[: len(PREFACE)]):
            if len(seen) < len(PREFACE):
                self._seen = seen
                return
            self._hand_over(self._server.http2_protocol(), seen)
        elif options.with_http1:
            self._hand_over(self._server.http1_protocol(), seen)
        else:
            # By this a client that begins with TLS learns what it has to do with, and says so to its user.
            self.transport.write(_GREETING)
            self.transport.close()

    def _hand_over(self, protocol: _Served, seen: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        transport = self.transport
        with_tls = self._server.options.tls is not None
        transport.set_protocol(buffered.Buffered(protocol.protocol) if with_tls else protocol.protocol)
        self._server._connections.discard(self)
        self._server._connections.add(protocol)
        protocol.connection_made(transport)
        protocol.data_received(seen)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._server.forget(self)

    def stop(self) -> None:
        self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` (empty or `0.0.0.0`-like for all interfaces) and `port`. Raises `OSError`."""
    if not host and socket.has_dualstack_ipv6():
        try:
            return _bind(socket.AF_INET6, "::", port, both=True)
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno not in _NO_IPV6:
                raise
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host and family == socket.AF_INET:
        # As bytes: a text is run through the rules for international names, whose tables are read for it.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # like Go, which listens on localhost by IPv4
        family, host = found[0][0], str(found[0][4][0])
    return _bind(family, host or "0.0.0.0", port, both=False)


_NO_IPV6 = frozenset({97, 99})  # EAFNOSUPPORT, EADDRNOTAVAIL


def _bind(family: socket.AddressFamily, host: str, port: int, both: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        dial.keep_alive(listening)  # what is accepted inherits it
        listening.bind((host, port))
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_stale(path: str) -> bool:
    """Whether a socket file stands at `path` that nobody listens on any more."""
    if not os.path.exists(path):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return True
    return False
