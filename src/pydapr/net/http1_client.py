"""The client's side of an HTTP/1.1 connection on asyncio.

Kept and reused by `net.pool`. Carries one request at a time, its body sent while the response may already
arrive; the response's body is handed over as it comes.
"""

import asyncio
from collections.abc import Callable

from pydapr.net.body import HIGH_WATER, LOW_WATER, Body, BodyError, Disconnected
from pydapr.net.connection import Connection
from pydapr.wire import http1

SEND_SECONDS = 0.05
"""How long the rest of a request's body may take once its answer is complete (as with Go)."""


class ClientConnection(Connection):
    """The client's side: one request at a time, kept for the next one when the peer allows."""

    __slots__ = (
        "_body", "_head", "_on_free", "_on_short", "_reader", "_sender", "_taken", "has_answered",
        "is_reusable", "is_used",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[["ClientConnection"], None],
        on_short: Callable[[int], None] | None = None,
    ) -> None:
        """`on_short` is told how many bytes a body lacks whose peer closed in good order, as if it were complete."""
        super().__init__(loop)
        self._reader = http1.ResponseReader(self)
        self._on_free = on_free
        self._on_short = on_short
        self._taken = 0
        self._head: asyncio.Future[Response] | None = None
        self._body: Body | None = None
        self._sender: asyncio.Task[None] | None = None
        self.is_used = False
        """Whether it has carried a request before: if it breaks at once, it may have been idle for too long."""
        self.has_answered = False
        self.is_reusable = True

    async def request(self, method: bytes, target: bytes, headers: list[http1.Header], body: Body) -> "Response":
        """Sends a request; answers when the head of the response is here. Raises `Disconnected`.

        `headers` states the framing: Content-Length, or Transfer-Encoding when the length is not known.
        """
        head = http1.request_head(method, target, headers)
        self._reader.expect(method == b"HEAD")
        self.has_answered = False
        waiter: asyncio.Future[Response] = self.loop.create_future()
        self._head = waiter
        if body.is_whole:
            self._write_whole(head, body, headers)
        else:
            self.transport.write(head)
            chunked = any(name == b"transfer-encoding" for name, _ in headers)
            self._sender = self.loop.create_task(self._send(body, chunked))
        try:
            return await waiter
        except BaseException:
            self.close()
            raise

    def _write_whole(self, head: bytes, body: Body, headers: list[http1.Header]) -> None:
        data = body.take()
        if not data:
            if headers and headers[-1][0] == b"transfer-encoding":
                head += http1.CHUNK_END
        elif headers[-1][0] == b"transfer-encoding":
            head += http1.chunk(data) + http1.CHUNK_END
        else:
            head += data
        self.transport.write(head)

    async def _send(self, body: Body, chunked: bool) -> None:
        """Sends a body that is still arriving, beside the wait for the answer."""
        try:
            while data := await body.read():
                self.transport.write(http1.chunk(data) if chunked else data)
                if self.drained is not None:
                    await self.drain()
                if self.transport.is_closing():
                    return
            if chunked:
                self.transport.write(http1.CHUNK_END)
        except BodyError as error:
            self._fail(error)
        finally:
            self._sender = None
            if self._body is None and self._head is None:
                self._free()

    # -- asyncio --

    def data_received(self, data: bytes) -> None:
        if self._head is None and self._body is None:
            # Nothing was asked: it must not become the answer to what is asked next.
            self._fail(Disconnected("response without a request"))
            return
        try:
            self._reader.feed(data)
        except http1.Malformed as error:
            self._fail(Disconnected(f"malformed HTTP response: {error}"))

    def eof_received(self) -> bool:
        if self._head is None and self._body is None and self._sender is None:
            # Given up by the server while idle: from now on nobody gets it for a request.
            self.is_reusable = False
            self._on_free(self)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_reusable = False
        self.resume_writing()
        if self._body is not None and error is None:
            self._end_short(self._body)
        self._fail(Disconnected(str(error) if error else "EOF"))
        self._reader.close()
        self._on_free(self)

    def _end_short(self, body: Body) -> None:
        """Ends a body for which the end of the connection is its end, or is let pass for it."""
        reader = self._reader
        if reader.ends_with_connection:
            body.end()
        elif self._on_short is not None and reader.content_length is not None and not body.ended:
            body.end()
            self._on_short(reader.content_length - self._taken - body.buffered)

    # -- from the reader --

    def head_received(self, reader: http1.ResponseReader) -> None:
        self.has_answered = True
        waiter, self._head = self._head, None
        if waiter is None or waiter.done():
            self._fail(Disconnected("response without a request"))
            return
        body = self._body = Body(self, reader.content_length if not reader.chunked else None)
        self._taken = 0
        waiter.set_result(Response(self, reader.status, reader.headers, body))

    def body_received(self, data: bytes) -> None:
        body = self._body
        if body is not None:
            body.feed(data)
            if body.buffered > HIGH_WATER:
                self.pause_peer()
            if body.error is not None:  # more than its reader takes: nobody wants the rest, which may have no end
                self.close()

    def message_ended(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.end()
        if not self._reader.keep_alive:
            self.is_reusable = False
        if self._sender is None:
            self._free()
        else:
            self.loop.call_later(SEND_SECONDS, self._give_up, self._sender)

    def _give_up(self, sender: "asyncio.Task[None]") -> None:
        """Nobody waits for the end of the request any more: its answer is complete."""
        if self._sender is sender:
            self.close()

    def body_consumed(self, body: Body, size: int) -> None:
        if body is self._body:
            self._taken += size
            if body.buffered < LOW_WATER:
                self.resume_peer()

    def body_wanted(self, body: Body) -> None:
        pass

    # -- ends --

    def _free(self) -> None:
        self.resume_peer()
        self.is_used = True
        if not self.is_reusable:
            self.transport.close()
        self._on_free(self)

    def _fail(self, error: BodyError) -> None:
        self.is_reusable = False
        sender = self._sender
        if sender is not None and sender is not asyncio.current_task(self.loop):
            sender.cancel()
        body, self._body = self._body, None
        if body is not None:
            body.fail(error)
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)
        self.transport.abort()

    def close(self) -> None:
        """Breaks off whatever is under way."""
        self._fail(Disconnected("the request was given up"))

    @property
    def is_busy(self) -> bool:
        return self._head is not None or self._body is not None or self._sender is not None


class Response:
    """The head of a response and the body behind it; `close` it unless the body was read to its end."""

    __slots__ = ("_connection", "body", "headers", "status")

    def __init__(self, connection: ClientConnection, status: int, headers: list[http1.Header], body: Body) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.body = body

    def close(self) -> None:
        """Gives the connection up if the response is not complete."""
        if not self.body.ended:
            self._connection.close()
