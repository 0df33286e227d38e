"""The client's side of an HTTP/2 connection on asyncio: many requests at a time on one connection.

Used by `net.http2_pool`. A request is a `Request` object: its answer's head is awaited, its body read and
its trailers looked at when the body has ended.
"""

import asyncio
from collections.abc import Callable

from pydapr.net.body import BodyError, Disconnected
from pydapr.net.exchange import Headers
from pydapr.net.http2_base import Half, Http2Connection
from pydapr.wire import http2


class Refused(Disconnected):
    """The peer took no part of the request: it is safe to send it again elsewhere."""


class Request(Half):
    """One request under way. `headers` is None until the head of the answer is here."""

    __slots__ = ("_head", "headers", "reset_code", "trailers")

    def __init__(self, connection: "ClientConnection", stream: http2.Stream) -> None:
        super().__init__(connection, stream)
        self._head: asyncio.Future[None] | None = None
        self.headers: Headers | None = None
        self.trailers: Headers = ()
        self.reset_code: http2.ErrorCode | None = None

    async def head(self) -> Headers:
        """The header fields of the answer, `:status` among them. Raises `Disconnected`, `Refused`."""
        if self.headers is None:
            error = self.body.error
            if error is not None:
                raise error
            self._head = self.connection.loop.create_future()
            await self._head
        assert self.headers is not None
        return self.headers

    def answered(self, headers: Headers) -> None:
        """The head of the answer is here."""
        self.headers = headers
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_result(None)

    def fail(self, error: BodyError) -> None:
        super().fail(error)
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)

    def give_up(self, error: BodyError) -> None:
        """Ends the request because its body cannot be had; whoever waits for the answer gets `error`."""
        self.fail(error)
        self.close()

    def close(self) -> None:
        """Gives the request up unless it has run to its end."""
        if not self.stream.is_closed:
            self.reset(http2.ErrorCode.CANCEL)
        self.stream.owner = None
        self.connection.ended(self)


class ClientConnection(Http2Connection):
    """A connection to a server; `on_lost` hears of its end, `on_room` when a further request fits."""

    __slots__ = ("_on_lost", "_on_room", "_requests", "is_draining")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: "Callable[[ClientConnection], None]",
        on_room: "Callable[[ClientConnection], None]",
        limits: http2.Limits,
    ) -> None:
        super().__init__(loop)
        self.h2 = http2.Connection(self, client=True, limits=limits)
        self._on_lost = on_lost
        self._on_room = on_room
        self._requests: set[Half] = set()
        self.is_draining = False
        """The server takes no new requests; those under way run to their end."""

    @property
    def room(self) -> int:
        """How many requests may be opened now."""
        return self.h2.room if self.can_open else 0

    @property
    def can_open(self) -> bool:
        return not self.is_lost and not self.is_draining and self.h2.can_open

    def open(self, headers: Headers | bytes, data: bytes, end: bool, kind: type[Request] = Request) -> Request:
        """Begins a request of some `kind`; needs `can_open`.

        `headers` may be a block of `hpack.encode`; `data` are the first bytes of the body.
        """
        stream = self.h2.open_stream(headers, end and not data, None)
        request = kind(self, stream)
        stream.owner = request
        self._requests.add(request)
        if data:
            self.h2.send_data(stream, data, end)
        self.flush()
        return request

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.resume_writing()
        lost = Disconnected(self.lost_because or f"error reading from server: {error or 'EOF'}")
        for request in list(self._requests):
            request.fail(lost)
        self._requests.clear()
        self._on_lost(self)

    # -- from the protocol --

    def headers_received(self, stream: http2.Stream, headers: Headers, end_stream: bool) -> None:
        request: Request | None = stream.owner
        if request is None:
            return
        if end_stream:
            request.trailers = headers
            request.body.end()
            self.ended(request)
        request.answered(headers)

    def body_received(self, stream: http2.Stream, data: bytes, end_stream: bool) -> None:
        self.data_arrived(stream, data, end_stream)
        if end_stream and stream.owner is not None:
            self.ended(stream.owner)

    def trailers_received(self, stream: http2.Stream, headers: Headers) -> None:
        request: Request | None = stream.owner
        if request is not None:
            request.trailers = headers
            request.body.end()
            self.ended(request)

    def stream_reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        request: Request | None = stream.owner
        if request is None:
            return
        request.reset_code = code
        if code == http2.ErrorCode.REFUSED_STREAM:
            request.fail(Refused("the server refused the stream"))
        else:
            request.fail(Disconnected(f"stream terminated by RST_STREAM with error code: {code.name}"))
        self.ended(request)

    def ended(self, request: Half) -> None:
        if request.has_sent_all:
            request.stream.owner = None  # they hold each other, and would wait for the garbage collector
        self._requests.discard(request)
        if self.is_draining and not self._requests:
            self.transport.close()

    def streams_available(self) -> None:
        self._on_room(self)

    def going_away(self, last_stream_id: int, code: http2.ErrorCode, debug: bytes) -> None:
        self.is_draining = True
        if not self._requests:
            self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not self._requests

    def retire(self) -> None:
        """Takes no new requests; closes when those under way have ended."""
        self.is_draining = True
        if not self._requests and not self.is_lost:
            self.close()

    def drop(self) -> None:
        """Ends a connection that has not come about."""
        if hasattr(self, "transport") and not self.is_lost:
            self.transport.abort()

    def close(self) -> None:
        """Ends the connection; what is under way breaks off."""
        if not self.is_lost and not self.transport.is_closing():
            self.h2.goaway()
            self.part()
