"""The server's side of an HTTP/1.1 connection on asyncio.

Made by `net.server`; calls its handler once per request, one after the other, as the protocol wants it. It
stops reading from the client when what it has read is not used up, and lets writers wait when the client
does not keep up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from pydapr.net import tasks
from pydapr.net.body import HIGH_WATER, LOW_WATER, Body, BodyError, Disconnected
from pydapr.net.connection import Connection
from pydapr.net.exchange import Exchange, Handler, Headers, peer_name
from pydapr.wire import headers as names
from pydapr.wire import http1

HEAD_SECONDS = 10.0
"""How long a client may take over the head of a request (the original: ReadHeaderTimeout)."""

LINGER_BYTES = 256 * 1024
"""How much of a body that nobody reads is still taken in, so that the client gets to see the answer."""

SILENT_BYTES = 512 * 1024
"""How much of a chunked body may come in a row without a byte of content: extensions, trailers."""

PART_SECONDS = 0.5
"""How long a client that is still sending has to read our last answer before the connection is closed."""

_WITHOUT_BODY = frozenset({101, 204, 304})


class _Date:
    """The Date line, made once a second."""

    __slots__ = ("_line", "_until")

    def __init__(self) -> None:
        self._until = 0.0
        self._line = b""

    def line(self, now: float) -> bytes:
        if now >= self._until:
            wall = time.time()
            self._until = now + 1.0 - wall % 1.0
            self._line = b"Date: %b\r\n" % date(wall)
        return self._line


def date(wall: float) -> bytes:
    """A moment as HTTP writes it (RFC 9110 section 5.6.7). `email.utils` does so, too, and takes 1.2 MB."""
    at = time.gmtime(wall)
    day = b"%b, %02d %b %04d" % (_DAYS[at.tm_wday], at.tm_mday, _MONTHS[at.tm_mon - 1], at.tm_year)
    return b"%b %02d:%02d:%02d GMT" % (day, at.tm_hour, at.tm_min, at.tm_sec)


_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
)  # fmt: skip
_date = _Date()


class ServerConnection(Connection):
    """The server's side: requests in, exchanges to the handler, answers out in the same order."""

    __slots__ = (
        "_current", "_handler", "_head_seconds", "_head_timer", "_is_deaf", "_is_stopping", "_lingering", "_on_lost",
        "_on_upgrade", "_queue", "_reader", "_receiving", "_refusal", "_silent", "_upgrade",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        max_head: int,
        on_lost: Callable[["ServerConnection"], None],
        on_upgrade: "Callable[[ServerConnection, ServerExchange, bytes], None] | None" = None,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        super().__init__(loop)
        self._handler = handler
        self._head_seconds = head_seconds
        self._on_lost = on_lost
        self._on_upgrade = on_upgrade
        self._reader = http1.RequestReader(self, max_head)
        self._current: ServerExchange | None = None
        self._queue: deque[ServerExchange] = deque()
        self._receiving: Body | None = None
        self._upgrade: ServerExchange | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal: http1.Malformed | None = None
        self._is_stopping = False
        # Whether what came was no HTTP: what comes behind it, while requests before it are answered, is not looked at.
        self._is_deaf = False
        self._lingering = self._silent = 0

    # -- asyncio --

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        is_between = self._receiving is None
        rest: bytes | None = data
        try:
            while rest:
                data = rest
                rest = self._reader.feed(data)
                if self._upgrade is not None:
                    upgrade, self._upgrade = self._upgrade, None
                    assert self._on_upgrade is not None
                    self._on_upgrade(self, upgrade, rest or b"")
                    return
        except http1.UnknownMethod as unknown:
            renamed = self._reader.renamed(data) if is_between else None
            if renamed is None:
                self._refuse(unknown)
            else:
                self.data_received(renamed)
            return
        except http1.Malformed as error:
            self._refuse(error)
            return
        if self._reader.in_head:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)
        elif self._receiving is not None:
            self._silent += len(data)
            if self._silent > SILENT_BYTES:
                self._refuse(http1.Malformed("chunked encoding without content"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self.resume_writing()
        lost = Disconnected("the client closed the connection")
        if self._receiving is not None:
            self._receiving.fail(lost)
        self._queue.clear()
        current, self._current = self._current, None
        if current is not None and current.task is not None:
            tasks.abandon(current.task)
        self._reader.close()
        self._on_lost(self)

    # -- from the reader --

    def head_received(self, reader: http1.RequestReader) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        body = Body(self, reader.content_length if not reader.chunked else None)
        exchange = ServerExchange(self, reader, body)
        self._receiving = body
        if self._current is None:
            if reader.upgrade and self._on_upgrade is not None and exchange.wants_http2():
                self._upgrade = exchange
            else:
                self._start(exchange)
        else:
            self._queue.append(exchange)
            self.pause_peer()

    def body_received(self, data: bytes) -> None:
        body = self._receiving
        if body is None:
            return
        self._silent = 0
        body.feed(data)
        if body.buffered > HIGH_WATER:
            self.pause_peer()
        elif body.ended:
            self._linger(len(data))

    def message_ended(self) -> None:
        if self._receiving is not None:
            self._receiving.end()
            self._receiving = None
        self._lingering = 0
        if self._paused_peer and not self._queue:
            self.resume_peer()
        current = self._current
        if current is not None and current.is_finished and current.task is None:
            self._next(current)

    # -- bodies --

    def body_consumed(self, body: Body, size: int) -> None:
        if body.buffered < LOW_WATER and not self._queue:
            self.resume_peer()

    def body_wanted(self, body: Body) -> None:
        current = self._current
        if current is not None and current.body is body and current.expects_continue:
            current.expects_continue = False
            if not current.is_begun and not self.transport.is_closing():
                self.transport.write(http1.CONTINUE)

    def _linger(self, size: int) -> None:
        """Counts what arrives of a body that nobody reads any more; too much of it ends the connection."""
        self._lingering += size
        current = self._current
        if self._lingering > LINGER_BYTES and (current is None or current.is_finished):
            self._part()

    def _part(self) -> None:
        """Closes while the client may still be sending: at once, that would take our answer away from it."""
        transport = self.transport
        if not transport.is_closing():
            self.pause_peer()
            transport.write_eof()
            self.loop.call_later(PART_SECONDS, transport.close)

    # -- exchanges --

    def _start(self, exchange: "ServerExchange") -> None:
        self._current = exchange
        exchange.task = self.loop.create_task(self._serve(exchange))

    async def _serve(self, exchange: "ServerExchange") -> None:
        try:
            await self._handler(exchange)
        except Disconnected:
            exchange.abort()
        finally:
            exchange.task = None
            if not exchange.is_finished:
                exchange.abort()
            elif self._receiving is not exchange.body or exchange.expects_continue:
                self._next(exchange)
            else:
                exchange.body.discard()
                self.resume_peer()

    def _next(self, done: "ServerExchange") -> None:
        """Goes on to the next request, or closes when there is to be none."""
        self._current = None
        if done.closes or (self._is_stopping and not self._queue):
            if self._receiving is not None and self._receiving is done.body:
                self._part()
            else:
                self.transport.close()
        elif self._queue:
            self._start(self._queue.popleft())
            if not self._queue:
                self.resume_peer()
        elif self._refusal is not None:
            self._answer_refusal(self._refusal)

    def continue_with(self, exchange: "ServerExchange") -> None:
        """Answers on HTTP/1.1 a request whose upgrade nobody took."""
        self._start(exchange)

    def stop(self) -> None:
        """No further request: closes now if none is under way, else after its answer."""
        self._is_stopping = True
        current = self._current
        if current is None or (current.is_finished and current.task is None):
            self.transport.close()

    @property
    def is_idle(self) -> bool:
        return self._current is None

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    def _refuse(self, error: http1.Malformed) -> None:
        """What came is not HTTP: the requests before it are answered, then it is, and the connection closes."""
        self._is_deaf = True
        current, receiving = self._current, self._receiving
        last = self._queue[-1] if self._queue else current
        if self.transport.is_closing() or self._refusal is not None:
            return
        if receiving is not None:
            self._receiving = None
            receiving.fail(BodyError(f"malformed body: {error}"))
            if last is None or current is None:
                self._part()
                return
            last.closes = True
            if current.is_finished and current.task is None:
                self._next(current)
        elif last is None:
            self._answer_refusal(error)
        elif not last.closes:
            self._refusal = error

    def _answer_refusal(self, error: http1.Malformed) -> None:
        self._refusal = error
        reason = http1.REASONS.get(error.status, b"Bad Request")
        text = b"%d %b" % (error.status, reason)
        if error.status == 400:
            text += b": " + str(error).encode("ascii", "replace")
        head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        self.transport.write(http1.response_head(error.status, head, b"") + text)
        self._part()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._current is None:
            self.transport.close()
        elif self._reader.in_head:
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)


class ServerExchange(Exchange):
    """A request and its answer on a `ServerConnection`."""

    __slots__ = ("_chunks", "_connection", "_left", "_skip_body", "closes", "expects_continue", "http10", "task")

    def __init__(self, connection: ServerConnection, reader: http1.RequestReader, body: Body) -> None:
        self._connection = connection
        self.method = reader.method
        self.target = reader.target
        self.headers = reader.headers
        self.context = reader.context
        self.trace = None
        self.body = body
        self.http10 = reader.http10
        self.closes = not reader.keep_alive
        self.expects_continue = reader.expects_continue
        self.task: asyncio.Task[None] | None = None
        self.is_begun = self.is_finished = False
        self._chunks = False
        self._left = -1
        self._skip_body = False

    @property
    def peer(self) -> str:
        return peer_name(self._connection.transport.get_extra_info("peername"))

    def wants_http2(self) -> bool:
        """Whether this asks for an upgrade to HTTP/2 in clear text (RFC 7540 section 3.2), without a body."""
        fields = dict(self.headers)
        named = names.named_by_connection(fields.get(b"connection", b""))
        return (
            fields.get(b"upgrade", b"").lower() == b"h2c"
            and not self.http10
            and named >= {b"upgrade", b"http2-settings"}
            and b"http2-settings" in fields
            and not fields.get(b"content-length", b"0").strip(b"0")
            and b"transfer-encoding" not in fields
        )

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        if not self.body.ended:
            self._let_go_of_body()
        if status in _WITHOUT_BODY:
            extra = body = b""
            if status == 101:
                self.closes = True  # whatever the client says from here on is no HTTP
        else:
            extra = b"Content-Length: %d\r\n" % len(body)
        head = self._head(status, headers, extra)
        self.is_begun = self.is_finished = True
        if self.method == b"HEAD":
            body = b""
        self._connection.transport.write(head + body if body else head)

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        extra = b""
        if not self.body.ended:
            self._let_go_of_body()
        self._skip_body = self.method == b"HEAD" or status in _WITHOUT_BODY
        length = None if self._skip_body else names.first(headers, b"content-length")
        if length is not None:
            self._left = int(length)
        elif not self._skip_body:
            if self.http10:
                self.closes = True
            else:
                self._chunks = True
                extra = b"Transfer-Encoding: chunked\r\n"
        self._connection.transport.write(self._head(status, headers, extra))

    def _head(self, status: int, headers: Headers, extra: bytes) -> bytes:
        connection = self._connection
        if self.closes or connection.is_stopping:
            self.closes = True
            extra += b"Connection: close\r\n"
        elif self.http10:
            extra += b"Connection: keep-alive\r\n"
        for name, _ in headers:
            if name == b"date":
                break
        else:
            extra += _date.line(connection.loop.time())
        if self.trace is not None:
            extra += self.trace.lines(status, headers)
        return http1.response_head(status, headers, extra)

    def _let_go_of_body(self) -> None:
        # The client may never send the body that it was not told to send: no further request fits behind it.
        if self.expects_continue:
            self.closes = True

    async def write(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport.is_closing():
            raise Disconnected("the client closed the connection")
        if self._left >= 0:
            data = data[: self._left]
            self._left -= len(data)
        if data and not self._skip_body:
            transport.write(http1.chunk(data) if self._chunks else data)
        if self._connection.drained is not None:
            await self._connection.drain()

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True
        if self._chunks:
            self._connection.transport.write(http1.CHUNK_END)
        elif self._left > 0:
            self.closes = True  # the client was promised more, and must not take the next answer for it

    def abort(self) -> None:
        self.is_begun = self.is_finished = self.closes = True
        connection = self._connection
        if connection.drained is None:
            connection.transport.close()  # what was written before still goes out
        else:
            connection.transport.abort()
