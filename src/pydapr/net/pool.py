"""Connections to one HTTP/1.1 server, kept open between requests.

Used by the app channel and for URLs as targets of an invocation. There is no bound on connections in use
(one request occupies one; callers bound their own concurrency), and one on those kept idle.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.net import http1_client, lookup
from pydapr.net.body import Body, BodyError, Disconnected
from pydapr.wire.http1 import Header

MAX_IDLE = 256
CONNECT_SECONDS = 10.0

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class NoSuchHost(Unreachable):
    """The server's name has no address; the reason begins with `lookup` and the name."""


class Untrusted(Unreachable):
    """The server was reached, but TLS could not be agreed with it; the reason begins with `tls:`."""


Connector = Callable[[Callable[[], asyncio.Protocol]], Awaitable[object]]
"""Connects and attaches the protocol that the factory makes. Raises `OSError`."""


class Pool:
    """Requests to one server, each on a connection of its own for as long as it lasts.

    With `on_short`, a response whose server closes the connection in good order before all of the promised body
    is there counts as complete, and `on_short` is told how many bytes it lacks. Without, its body fails.
    With `at_a_time` no more requests are under way together, bodies included; the others wait their turn.
    """

    def __init__(self, connect: Connector, on_short: Callable[[int], None] | None = None, at_a_time: int = 0) -> None:
        self._connect = connect
        self._on_short = on_short
        self._idle: list[http1_client.ClientConnection] = []
        self._busy: set[http1_client.ClientConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._turns = asyncio.Semaphore(at_a_time) if at_a_time > 0 else None

    async def request(self, method: bytes, target: bytes, headers: list[Header], body: Body) -> http1_client.Response:
        """Sends a request and answers with the head of its response.

        Raises `Unreachable` when no connection can be made and `BodyError` when one breaks. A kept connection
        that the server closed at the same moment is replaced and the request repeated where that is safe: the
        method changes nothing and there is no body, as Go's client does it.
        """
        while True:
            if self._turns is not None:
                await self._turns.acquire()
            try:
                connection = self._idle.pop() if self._idle else await self._open()
            except BaseException:
                if self._turns is not None:
                    self._turns.release()
                raise
            self._busy.add(connection)
            repeatable = connection.is_used and method in _REPEATABLE and body.is_whole and not body.buffered
            try:
                return await connection.request(method, target, headers, body)
            except BodyError:
                if not repeatable or connection.has_answered:
                    raise

    async def _open(self) -> http1_client.ClientConnection:
        connection = http1_client.ClientConnection(self._loop, self._freed, self._on_short)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connect(lambda: connection.protocol)
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_SECONDS:g} s") from None
        except lookup.NoSuchHost as error:
            raise NoSuchHost(str(error)) from None
        except OSError as refused:
            if type(refused).__module__ == "ssl":
                raise Untrusted(_tls_reason(refused)) from None
            raise Unreachable(_reason(refused)) from None
        if not connection.is_reusable:
            raise Disconnected("EOF")  # lost again before it could be used
        return connection

    def _freed(self, connection: http1_client.ClientConnection) -> None:
        if connection in self._busy:
            self._busy.discard(connection)
            if self._turns is not None:
                self._turns.release()
        if connection.is_reusable and not self._is_closed and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
            return
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.is_reusable:
            connection.is_reusable = False
            connection.transport.close()

    def retire(self) -> None:
        """Keeps no connection from here on; what is under way finishes."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Closes every connection; what is under way breaks off."""
        self._is_closed = True
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()


def _reason(error: OSError) -> str:
    """`error` as Go words it, because the text stands in answers that people search for."""
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    if isinstance(error, FileNotFoundError):
        return "connect: no such file or directory"
    if error.errno is None and "[Errno 111]" in str(error):
        return "connect: connection refused"  # by each address of the host
    return (error.strerror or str(error)).lower()


def _tls_reason(error: OSError) -> str:
    unverified = getattr(error, "verify_message", "")
    if unverified:
        return f"tls: failed to verify certificate: x509: {unverified}"
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return f"tls: {str(reason).lower().replace('_', ' ')}"
