"""The server's side of an HTTP/2 connection on asyncio.

Made by `net.server` after a prior-knowledge preface or an upgrade. Each stream is an exchange of its own
and its handler a task; the task is cancelled when the client resets the stream or goes away.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydapr.net import tasks
from pydapr.net.body import Disconnected
from pydapr.net.exchange import Exchange, Handler, Headers, peer_name
from pydapr.net.http2_base import Half, Http2Connection
from pydapr.wire import headers as names
from pydapr.wire import http2

_STATUS = {status: (b":status", b"%d" % status) for status in range(100, 1000)}
_STATUS[101] = _STATUS[502]  # there is nothing to switch to (RFC 9113, 8.6)
_KNOWN = 512

RETIRE_SECONDS = 2.0
"""How long a client has to take in that it should make a new connection."""


class ServerConnection(Http2Connection):
    """Streams in, exchanges to the handler, answers out."""

    __slots__ = ("_exchanges", "_handler", "_identity", "_is_stopping", "_known", "_on_lost")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: Handler,
        limits: http2.Limits,
        on_lost: "Callable[[ServerConnection], None]",
    ) -> None:
        super().__init__(loop)
        self.h2 = http2.Connection(self, client=False, limits=limits)
        self._handler = handler
        self._on_lost = on_lost
        self._exchanges: set[ServerExchange] = set()
        self._known: dict[int, _Known] = {}
        self._is_stopping = False
        self._identity: str | None = None

    # -- asyncio --

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.drained is not None:
            # A client that does not read our answers gets to ask no more questions.
            self.pause_peer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_peer()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        super().resume_writing()
        lost = Disconnected("the client closed the connection")
        for exchange in list(self._exchanges):
            exchange.lose(lost)
        self._exchanges.clear()
        self._on_lost(self)

    def prepare_upgrade(self, settings: bytes) -> "Callable[[asyncio.Transport, Exchange], None]":
        """Begins after an upgrade from HTTP/1.1; the result takes the transport and the request over.

        Raises `ProtocolError` when `settings`, the HTTP2-Settings field, is not valid.
        """
        stream = self.h2.start_upgraded(settings, None)

        def take_over(transport: asyncio.Transport, asked: Exchange) -> None:
            self.transport = transport
            self.write_out()
            exchange = ServerExchange(self, stream, asked.method, asked.target, asked.headers)
            exchange.context = asked.context
            self._begin(exchange, True)

        return take_over

    # -- from the protocol --

    def headers_received(self, stream: http2.Stream, headers: Headers, end_stream: bool) -> None:
        known = self._known.get(id(headers))
        if known is None or known.source is not headers:
            known = self._parse(headers)
        exchange = ServerExchange(self, stream, known.method, known.target, known.headers)
        exchange.known_fields = known.fields
        exchange.context = known.context
        exchange.apart = self.h2.apart
        self._begin(exchange, end_stream)

    def _begin(self, exchange: "ServerExchange", end_stream: bool) -> None:
        half = exchange.half
        if end_stream:
            half.body.end()
        half.stream.owner = half
        self._exchanges.add(exchange)
        exchange.task = self.loop.create_task(self._serve(exchange))

    def _parse(self, headers: Headers) -> "_Known":
        """Takes a header section apart, once for each that comes as the same object again."""
        known = _Known(headers)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[id(headers)] = known
        return known

    def body_received(self, stream: http2.Stream, data: bytes, end_stream: bool) -> None:
        self.data_arrived(stream, data, end_stream)

    def trailers_received(self, stream: http2.Stream, headers: Headers) -> None:
        if stream.owner is not None:
            stream.owner.body.end()

    def stream_reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        half: ServerHalf | None = stream.owner
        if half is not None:
            half.exchange.lose(Disconnected("the client gave the request up"))
            # Its task has no end of its own if it is cancelled before it has begun.
            self._ended(half)

    def stream_writable(self, stream: http2.Stream) -> None:
        super().stream_writable(stream)
        if stream.owner is None:
            self._reset_rest(stream)
            self._close_if_done()

    def going_away(self, last_stream_id: int, code: http2.ErrorCode, debug: bytes) -> None:
        self.stop()

    # -- exchanges --

    async def _serve(self, exchange: "ServerExchange") -> None:
        try:
            await self._handler(exchange)
        except Disconnected:
            pass
        finally:
            exchange.task = None
            if not exchange.is_finished:
                exchange.abort()
            half = exchange.half
            if not half.body.ended:
                half.body.discard()
                if not half.stream.pending:
                    self._reset_rest(half.stream)
            self._ended(half)
            del half.exchange  # a cycle less for the collector

    def _reset_rest(self, stream: http2.Stream) -> None:
        """The answer is complete, so the rest of the request is of no use (RFC 9113 section 8.1)."""
        if not self.is_lost and not stream.is_closed:
            self.h2.reset(stream, http2.ErrorCode.NO_ERROR)
            self.flush()

    def _ended(self, half: "ServerHalf") -> None:
        """Nobody works on this exchange any more; some of its answer may still wait for room."""
        half.stream.owner = None
        self._exchanges.discard(half.exchange)
        if self._is_stopping:
            self._close_if_done()

    def retire(self) -> None:
        """As `stop`, but takes what the client sends before it has heard of it."""
        if not (self._is_stopping or self.is_lost):
            self.h2.warn()
            self.flush()
            self.loop.call_later(RETIRE_SECONDS, self.stop)

    def stop(self) -> None:
        """No further streams; closes when those under way have ended."""
        if self._is_stopping or self.is_lost:
            return
        self._is_stopping = True
        self.h2.goaway()
        self.flush()
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_stopping and not self._exchanges and not self.h2.open_streams:
            self.part()

    @property
    def is_idle(self) -> bool:
        return not self._exchanges

    @property
    def peer_identity(self) -> str:
        """The SPIFFE id in the client's certificate, which TLS has verified; empty without a certificate.

        A certificate with none or several URIs gives a text that is no SPIFFE id.
        """
        if self._identity is None:
            shown = self.transport.get_extra_info("peercert")
            self._identity = _uris(shown) if shown else ""
        return self._identity


def _uris(certificate: Mapping[str, Any]) -> str:
    names = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    return " ".join(names) or "no URI"


class _Known:
    """A request's header section, taken apart. It keeps its source, so that no other has the same id."""

    __slots__ = ("context", "fields", "headers", "method", "source", "target")

    def __init__(self, source: Headers) -> None:
        self.source = source
        pseudo = dict(source[:4])
        self.method = pseudo[b":method"]
        self.target = pseudo.get(b":path", b"*")
        headers = [header for header in source if header[0][:1] != b":"]
        if names.first(headers, b"host") is None:
            headers.append((b"host", pseudo.get(b":authority", b"")))
        self.headers = tuple(headers)
        self.fields = dict(headers)
        self.context = tuple([header for header in headers if header[0] in names.TRACE])


class ServerHalf(Half):
    """The server's end of a stream; knows the exchange to cancel."""

    __slots__ = ("exchange",)
    __deletable__ = ["exchange"]  # noqa: RUF012  # read by mypyc, which wants a list

    exchange: "ServerExchange"


class ServerExchange(Exchange):
    """A request and its answer on one stream."""

    __slots__ = ("_connection", "_skip_body", "apart", "half", "known_fields", "task")

    def __init__(
        self,
        connection: ServerConnection,
        stream: http2.Stream,
        method: bytes,
        target: bytes,
        headers: Headers,
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.context = ()
        self.trace = None
        self.apart = b""
        """The end of the header block where the connection keeps traces apart; its fields are not in `headers`."""
        length = stream.body_left
        self.half = ServerHalf(connection, stream, length if length >= 0 else None)
        self.half.exchange = self
        self.known_fields: Mapping[bytes, bytes] | None = None
        self.body = self.half.body
        self.task: asyncio.Task[None] | None = None
        self.is_begun = self.is_finished = False

    @property
    def protocol(self) -> bytes:
        return b"HTTP/2.0"

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        return self.known_fields or dict(self.headers)

    @property
    def peer(self) -> str:
        return peer_name(self._connection.transport.get_extra_info("peername"))

    @property
    def peer_identity(self) -> str:
        """As of its connection."""
        return self._connection.peer_identity

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.is_begun = self.is_finished = True
        connection, stream = self._connection, self.half.stream
        if connection.is_lost or stream.is_closed:
            return
        head = [_STATUS[status], *headers]
        if self.trace is not None:
            head += self.trace.fields(status, headers)
        if status != 204 and status != 304:
            head.append((b"content-length", b"%d" % len(body)))
        else:
            body = b""
        has_body = bool(body) and self.method != b"HEAD"
        connection.h2.send_headers(stream, head, not has_body)
        if has_body:
            connection.h2.send_data(stream, body, True)
        connection.flush()

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        self._skip_body = self.method == b"HEAD" or status == 204 or status == 304
        connection, stream = self._connection, self.half.stream
        if connection.is_lost or stream.is_closed:
            return
        more = () if self.trace is None else self.trace.fields(status, headers)
        connection.h2.send_headers(stream, (_STATUS[status], *headers, *more), False)
        connection.flush()

    def begin_block(self, head: bytes) -> None:
        """As `begin`, with a block of `hpack.encode` that holds `:status` too."""
        self.is_begun = True
        self._skip_body = False
        connection, stream = self._connection, self.half.stream
        if not connection.is_lost:
            if self.trace is not None:
                head += self.trace.reply
            connection.h2.send_headers(stream, head, False)
            connection.flush()

    async def write(self, data: bytes) -> None:
        if not self._skip_body:
            await self.half.write(data)
        elif self._connection.is_lost or self.half.stream.is_closed:
            raise Disconnected("the stream is closed")

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True
        connection, stream = self._connection, self.half.stream
        if connection.is_lost or stream.is_closed:
            return
        if trailers:
            connection.h2.send_headers(stream, trailers, True)
        else:
            connection.h2.send_data(stream, b"", True)
        connection.flush()

    def send(self, head: bytes, data: bytes, trailers: Headers | bytes) -> None:
        """A whole answer with trailers, as gRPC's unary calls have it.

        `head` is a block of `hpack.encode` with `:status`; without `data` the trailers are the only section.
        """
        self.is_begun = self.is_finished = True
        connection, stream = self._connection, self.half.stream
        if connection.is_lost:
            return
        h2 = connection.h2
        if data:
            if self.trace is not None:
                head += self.trace.reply
            h2.send_headers(stream, head, False)
            h2.send_data(stream, data, False)
        h2.send_headers(stream, trailers, True)
        connection.flush()

    def abort(self) -> None:
        self.is_begun = self.is_finished = True
        self.half.reset(http2.ErrorCode.INTERNAL_ERROR)

    def lose(self, error: Disconnected) -> None:
        """The client is gone: the handler is cancelled."""
        self.half.fail(error)
        if self.task is not None:
            tasks.abandon(self.task)
