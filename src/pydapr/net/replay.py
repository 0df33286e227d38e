"""One gRPC call under policies: it may be made again, as long as nothing of an answer has been passed on.

Used by `blocks.guarded_proxy` in the place of a plain `net.relay`, through the same `run`. What the client has sent
is kept for the next try, but no more than one message. The head of an answer is held back until a message follows
it, and an answer that is a failure altogether: `run` raises it as `Failed`.
"""

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server, http2_client, relay
from pydapr.net.exchange import Headers
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc

STREAMED = "cannot use resiliency policies with retries on streaming RPCs"

_PREFIX = 5
"""Bytes before each message."""

_NOT_PASSED_ON = frozenset({b":status", b"content-type", b"content-length"})


class Failed(RpcError):
    """The call was begun and has failed. `head` and `trailers` are the app's, as far as it has sent any."""

    def __init__(self, code: int, message: str, head: Headers = (), trailers: Headers = ()) -> None:
        super().__init__(code, message)
        self.head = head
        self.trailers = trailers

    def tell(self, exchange: ServerExchange) -> None:
        """Ends the call in `exchange` with this failure."""
        trailers = self.trailers or grpc.trailers(grpc.Status(self.code, self.message))
        if self.head and not exchange.is_begun:
            exchange.begin_block(relay.answer_head(self.head))
        if exchange.is_begun:
            exchange.finish(trailers)
        else:
            exchange.send(b"", b"", (*grpc_server.HEAD, *trailers))


class Replay(relay.Relay):
    """A call that may be made several times.

    With `kept` above 0 a message of so many bytes is kept for further tries, and a second message refused.
    """

    __slots__ = ("_data", "_head", "_is_streamed", "_kept", "_size")

    def __init__(self, exchange: ServerExchange, max_message: int, kept: int) -> None:
        super().__init__(exchange, max_message)
        self._kept = kept + _PREFIX if kept else 0
        self._data = bytearray()
        self._size = 0
        self._head: Headers = ()
        self._is_streamed = False

    @property
    def can_repeat(self) -> bool:
        """Whether another try can have all that the client has sent, and the client nothing of an answer."""
        is_kept = 0 < self._kept >= self._size
        return is_kept and not self._is_streamed and not self.exchange.is_begun

    async def run(self, connection: http2_client.ClientConnection, block: bytes) -> bool:
        """As `Relay.run`; may be called again after a failure. Raises `Failed`."""
        self._error = self._onward = None
        self._head = ()
        try:
            return await super().run(connection, block)
        except Failed:
            raise
        except RpcError as error:
            raise Failed(error.code, error.message) from None

    def _begin(self, connection: http2_client.ClientConnection, block: bytes) -> None:
        data, is_whole = self._request()
        if self._error is not None:
            self.finish()
            return
        gauge = relay.Gauge(self._max)
        try:
            gauge.check(data)
        except RpcError as error:
            self.break_off(error)
            return
        inbound = self._inbound = _KeptInbound(self.exchange, gauge, self)
        request = connection.open(block, data, is_whole, _HeldOnward)
        assert isinstance(request, _HeldOnward)
        self._onward = request
        request.attach(self, relay.Gauge(self._max), inbound)
        inbound.target = request

    def _request(self) -> tuple[bytes, bool]:
        """What the client has sent from its beginning, and whether that is all."""
        if self._whole is not None:
            return self._whole, True
        body = self.exchange.body
        data = body.take()
        inbound = self._inbound
        if inbound is not None:
            # Between two tries nobody gave the client credit for what it sent.
            inbound.held += len(data)
            inbound.release()
        if body.is_whole and not self._data:
            self._is_one_message(data)
        elif self._kept:
            self.keep(data)
            data = bytes(self._data)
        if body.is_whole:
            self._whole = data
        return data, body.is_whole

    def keep(self, data: bytes) -> bool:
        """Keeps what the client has sent for another try; False when the call is over because of it."""
        if not self._kept or self._size > self._kept:
            return True
        self._data += data
        return self._is_one_message(self._data)

    def _is_one_message(self, sent: bytes | bytearray) -> bool:
        """Whether there is no second message in all that the client has sent so far; ends the call if there is."""
        size = self._size = len(sent)
        if not self._kept or size <= _PREFIX or size <= _PREFIX + int.from_bytes(sent[1:5], "big"):
            return True
        self._is_streamed = True
        self.break_off(RpcError(Code.FAILED_PRECONDITION, STREAMED))
        return False

    # -- the answer --

    def begin_answer(self, headers: Headers) -> None:
        """Holds the head of the answer back."""
        if headers[0] == (b":status", b"200") and relay.is_grpc(headers):
            self._head = headers
        else:
            self.break_off(relay.not_grpc(headers))

    def release_head(self) -> None:
        """Something follows the head."""
        if self._head:
            head, self._head = self._head, ()
            super().begin_answer(head)

    def end_answer(self, request: relay.Onward) -> None:
        """Passes the end of an answer on if it is a good one."""
        trailers = request.trailers
        status = grpc.status_of(trailers)
        if status is None and self._head:
            self.break_off(RpcError(Code.INTERNAL, relay.NO_TRAILERS))
        elif status is None or status.code == Code.OK:
            self.release_head()
            super().end_answer(request)
        else:
            kept = tuple([header for header in trailers if header[0] not in _NOT_PASSED_ON])
            self.break_off(Failed(status.code, status.message, self._head, kept))


class Handshake(relay.Relay):
    """A call that is led to a connection and not begun there."""

    __slots__ = ("block", "connection")

    connection: http2_client.ClientConnection
    block: bytes

    async def run(self, connection: http2_client.ClientConnection, block: bytes) -> bool:
        self.connection, self.block = connection, block
        return True


class _KeptInbound(relay.Inbound):
    """The client's end: what it sends is kept and goes on to the server."""

    __slots__ = ()

    def arrived(self, data: bytes, end: bool) -> None:
        replay = self._relay
        assert isinstance(replay, Replay)
        if replay.keep(data):
            super().arrived(data, end)


class _HeldOnward(relay.Onward):
    """The server's end: its first message lets the head go."""

    __slots__ = ()

    def arrived(self, data: bytes, end: bool) -> None:
        try:
            self._gauge.check(data)
        except RpcError as error:
            self._relay.break_off(error)
            return
        if data:
            replay = self._relay
            assert isinstance(replay, Replay)
            replay.release_head()
        relay.send_on(self, self._client, data, False)
        if end:
            self.body.end()
