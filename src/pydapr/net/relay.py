"""Passing one gRPC call on: from an exchange of ours to a request of ours, frames as they come, both ways.

Used by `peers.sidecar` and `app.grpc` for `blocks.proxy`. Nothing runs beside the handler's own task: what
arrives on one connection is put on the other one at once, inside the loop turn in which it came. A side that does not
keep up holds back the credit of the other side's window, so at most a window waits here for each stream.
Messages are not looked into; only their sizes are, because they have a limit. `net.replay` makes a call that may
be made again of this one.
"""

import asyncio
from collections.abc import Sequence

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server, http2_client, http2_server
from pydapr.net.body import Body, BodyError
from pydapr.net.exchange import Header, Headers
from pydapr.net.http2_base import Half
from pydapr.wire import grpc, hpack, http1, http2
from pydapr.wire import headers as names

_OK = (b":status", b"200")
_BOUND = 1024
_LONGEST = 4096

NO_TRAILERS = "server closed the stream without sending trailers"

_ONE_HOP = frozenset({b"host", b"content-length"})
_APART = names.VOLATILE | {b"grpc-timeout"}
_heads: dict[Headers, bytes] = {}


class Heads:
    """Header blocks of the calls to one server: those of the client without `dropped`, and `added`.

    The same fields give the same block again; those that differ from call to call stand apart, behind the others.
    """

    def __init__(
        self, authority: str, dropped: frozenset[bytes], added: Sequence[Header], scheme: bytes = b"http"
    ) -> None:
        self._begin = [(b":method", b"POST"), (b":scheme", scheme)]
        self._authority = (b":authority", authority.encode())
        self._dropped = dropped | _ONE_HOP
        self._added = list(added)
        self._known: dict[tuple[bytes, Headers], bytes] = {}

    def block(self, exchange: http2_server.ServerExchange) -> bytes:
        """The block for the call in `exchange`."""
        headers = tuple(exchange.headers)
        end = exchange.apart
        if not _APART.isdisjoint(exchange.fields):
            end = hpack.encode([header for header in headers if header[0] in _APART]) + end
            headers = tuple([header for header in headers if header[0] not in _APART])
        key = (exchange.target, headers)
        return (self._known.get(key) or self._make(key)) + end

    def _make(self, key: tuple[bytes, Headers]) -> bytes:
        path, headers = key
        kept = [header for header in headers if header[0] not in self._dropped]
        block = hpack.encode([*self._begin, (b":path", path), self._authority, *kept, *self._added])
        if len(block) <= _LONGEST:
            if len(self._known) >= _BOUND:
                self._known.clear()
            self._known[key] = block
        return block


class Relay:
    """One call under way. `max_message` bounds the messages of both sides."""

    __slots__ = ("_done", "_error", "_inbound", "_is_refused", "_max", "_onward", "_whole", "exchange")

    def __init__(self, exchange: http2_server.ServerExchange, max_message: int) -> None:
        self.exchange = exchange
        self._max = max_message
        self._whole: bytes | None = None
        self._inbound: Inbound | None = None
        self._onward: Onward | None = None
        self._done: asyncio.Future[None] | None = None
        self._error: RpcError | None = None
        self._is_refused = False

    async def run(self, connection: http2_client.ClientConnection, block: bytes) -> bool:
        """Passes the call on and its answer back; until the answer has ended.

        False when the server took nothing of it, so that it can be sent elsewhere. Raises `RpcError`.
        """
        exchange = self.exchange
        self._is_refused = False
        self._done = connection.loop.create_future()
        timeout = exchange.fields.get(b"grpc-timeout")
        timer = None if timeout is None else connection.loop.call_later(grpc_server.seconds(timeout), self._expire)
        self._begin(connection, block)
        try:
            await self._done
        finally:
            if timer is not None:
                timer.cancel()
            if self._onward is not None and self._inbound is not None:
                self._onward.detach()
                self._inbound.detach()
        if self._is_refused:
            return False
        if self._error is not None:
            raise self._error
        return True

    def _begin(self, connection: http2_client.ClientConnection, block: bytes) -> None:
        exchange = self.exchange
        gauge = Gauge(self._max)
        if self._whole is not None:
            data, is_whole = self._whole, True
        else:
            is_whole = exchange.body.is_whole
            data = exchange.body.take()
        try:
            gauge.check(data)
        except RpcError as error:
            self.break_off(error)
            return
        if is_whole:
            self._whole = data
        inbound = self._inbound = Inbound(exchange, gauge, self)
        request = connection.open(block, data, is_whole, Onward)
        assert isinstance(request, Onward)
        self._onward = request
        request.attach(self, Gauge(self._max), inbound)
        inbound.target = request
        if is_whole:
            inbound.body.ended = True

    @property
    def code(self) -> int:
        """The status that the answer ended with."""
        trailers = self._onward.trailers if self._onward is not None else ()
        if trailers == grpc.OK_TRAILERS:
            return 0
        status = grpc.status_of(trailers)
        return Code.UNKNOWN if status is None else status.code

    @property
    def message(self) -> str:
        """What the answer says of a status that is not OK."""
        status = grpc.status_of(self._onward.trailers) if self._onward is not None else None
        return "" if status is None else status.message

    # -- how it ends --

    def finish(self) -> None:
        """The answer has ended."""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def break_off(self, error: RpcError) -> None:
        """The call has failed; the client is to hear why."""
        if self._error is None:
            self._error = error
        self.finish()

    def lose(self, error: BodyError, request: "Onward") -> None:
        """The server's side has broken."""
        if isinstance(error, http2_client.Refused) and self._whole is not None and not self.exchange.is_begun:
            self._is_refused = True
        elif request.reset_code is not None:
            text = f"stream terminated by RST_STREAM with error code: {request.reset_code.name}"
            self._error = self._error or RpcError(_code(request), text)
        else:
            self._error = self._error or RpcError(Code.UNAVAILABLE, str(error))
        self.finish()

    def _expire(self) -> None:
        self.break_off(RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))

    # -- the answer --

    def begin_answer(self, headers: Headers) -> None:
        """Passes the head of the answer on."""
        if headers[0] != _OK:
            self.break_off(not_grpc(headers))
            return
        block = _heads.get(headers) or answer_head(headers)
        if not block:
            self.break_off(not_grpc(headers))
            return
        exchange = self.exchange
        connection, stream = exchange.half.connection, exchange.half.stream
        if connection.is_lost or stream.is_closed or exchange.is_finished:
            return
        exchange.is_begun = True
        if exchange.trace is not None:
            block += exchange.trace.reply
        connection.h2.send_headers(stream, block, False)
        connection.flush()

    def end_answer(self, request: "Onward") -> None:
        """Passes the trailers on; an answer without messages consists of nothing else."""
        trailers = request.trailers
        exchange = self.exchange
        block: Headers | bytes
        if request.is_cut:
            self.break_off(RpcError(Code.INTERNAL, "unexpected EOF"))
            return
        if trailers == grpc.OK_TRAILERS and exchange.is_begun:
            block = grpc.OK_TRAILERS_BLOCK
        elif not exchange.is_begun and (not trailers or trailers[0] != _OK):
            self.break_off(not_grpc(trailers))
            return
        elif not any(name == b"grpc-status" for name, _ in trailers):
            self.break_off(RpcError(Code.INTERNAL, NO_TRAILERS))
            return
        else:
            block = tuple([header for header in trailers if header[0] != b"content-length"])
        connection, stream = exchange.half.connection, exchange.half.stream
        if not (connection.is_lost or stream.is_closed or exchange.is_finished):
            exchange.is_begun = exchange.is_finished = True
            connection.h2.send_headers(stream, block, True)
            connection.flush()
        self.finish()


class Gauge:
    """Follows the messages in a stream of bytes by their prefixes alone."""

    __slots__ = ("_left", "_max", "_prefix")

    def __init__(self, most: int) -> None:
        self._max = most
        self._left = 0
        self._prefix = b""

    @property
    def is_inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._left > 0 or bool(self._prefix)

    def check(self, data: bytes) -> None:
        """Counts what passes. Raises `RpcError` when a message is larger than it may be."""
        size = len(data)
        if not self._left and not self._prefix and size >= 5:
            length = int.from_bytes(data[1:5], "big")
            if length + 5 == size and length <= self._max:
                return
        self._walk(data)

    def _walk(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
                continue
            need = 5 - len(self._prefix)
            self._prefix += data[at : at + need]
            at += need
            if len(self._prefix) == 5:
                self._left = int.from_bytes(self._prefix[1:], "big")
                self._prefix = b""
                if self._left > self._max:
                    text = f"grpc: received message larger than max ({self._left} vs. {self._max})"
                    raise RpcError(Code.RESOURCE_EXHAUSTED, text)


def send_on(source: "Inbound | Onward", target: Half, data: bytes, end: bool) -> None:
    """Puts on `target` what came from `source`, and gives `source` credit once it has gone out."""
    connection, stream = target.connection, target.stream
    size = len(data)
    if connection.is_lost or stream.is_closed or stream.ended:
        source.connection.h2.consumed(source.stream, size)
        return
    has_gone = connection.h2.send_data(stream, data, end)
    connection.flush()
    drained = connection.drained
    if has_gone and drained is None:
        source.connection.h2.consumed(source.stream, size)
        return
    source.held += size
    if has_gone and drained is not None:
        drained.add_done_callback(source.release)


class Inbound(http2_server.ServerHalf):
    """The client's end: what it sends goes on to the server."""

    __slots__ = ("_gauge", "_relay", "held", "relays", "target")
    __deletable__ = ["_relay", "target"]  # noqa: RUF012

    target: Half

    def __init__(self, exchange: http2_server.ServerExchange, gauge: Gauge, relay: Relay) -> None:
        old = exchange.half
        self.connection, self.stream = old.connection, old.stream
        self.body, self._room = old.body, None
        self.body._source = None
        self.exchange = exchange
        self._gauge = gauge
        self._relay = relay
        self.relays = True
        self.held = 0
        exchange.half = self
        if not old.stream.is_closed:
            old.stream.owner = self

    def arrived(self, data: bytes, end: bool) -> None:
        try:
            self._gauge.check(data)
        except RpcError as error:
            self._relay.break_off(error)
            return
        if end:
            self.body.ended = True
        send_on(self, self.target, data, end)

    def release(self, _: object = None) -> None:
        """The server's side takes more."""
        held, self.held = self.held, 0
        if held and not self.connection.is_lost:
            self.connection.h2.consumed(self.stream, held)
            self.connection.flush()

    def detach(self) -> None:
        """Forgets the call, for the sake of the collector; what still comes has nobody to go to."""
        self.relays = False
        del self._relay, self.target

    def writable(self) -> None:
        if not self.relays:
            return
        onward = self._relay._onward
        if onward is not None:
            onward.release()


class Onward(http2_client.Request):
    """The server's end: what it answers goes back to the client."""

    __slots__ = ("_client", "_gauge", "_relay", "held")
    __deletable__ = ["_client", "_relay"]  # noqa: RUF012

    relays = True

    def __init__(self, connection: http2_client.ClientConnection, stream: http2.Stream) -> None:
        self.connection, self.stream = connection, stream
        self._head = self._room = None
        self.headers = None
        self.trailers = ()
        self.reset_code = None

    def attach(self, relay: Relay, gauge: Gauge, client: Inbound) -> None:
        """Names the call that this is the other end of."""
        self._relay = relay
        self._gauge = gauge
        self._client = client
        self.held = 0
        self.body = _AnswerEnd(self)

    def detach(self) -> None:
        """Ends what has not ended, and forgets the call, for the sake of the collector."""
        self.close()
        self.body = _ENDED
        del self._relay, self._client

    @property
    def is_cut(self) -> bool:
        """Whether the answer has stopped in the middle of a message."""
        return self._gauge.is_inside

    def answered(self, headers: Headers) -> None:
        self.headers = headers
        if not self.body.ended:
            self._relay.begin_answer(headers)

    def arrived(self, data: bytes, end: bool) -> None:
        try:
            self._gauge.check(data)
        except RpcError as error:
            self._relay.break_off(error)
            return
        send_on(self, self._client, data, False)
        if end:
            self.body.end()

    def release(self, _: object = None) -> None:
        """The client takes more."""
        held, self.held = self.held, 0
        if held and not self.connection.is_lost:
            self.connection.h2.consumed(self.stream, held)
            self.connection.flush()

    def writable(self) -> None:
        self._client.release()

    def fail(self, error: BodyError) -> None:
        if not self.body.ended:
            self.body.ended = True
            self._relay.lose(error, self)

    def ended_well(self) -> None:
        """The last frame of the answer is here."""
        self._relay.end_answer(self)


class _AnswerEnd(Body):
    """Stands for the answer's body where only its end counts."""

    __slots__ = ("_request",)

    def __init__(self, request: Onward) -> None:
        super().__init__()
        self._request = request

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self._request.ended_well()


_ENDED = Body.of(b"")


def answer_head(headers: Headers) -> bytes:
    """The block for the head of an answer, remembered; b"" when it is not gRPC's."""
    if not is_grpc(headers):
        return b""
    kept = [header for header in headers if header[0] != b"content-length"]
    block = hpack.encode(kept)
    if len(block) <= _LONGEST:
        if len(_heads) >= _BOUND:
            _heads.clear()
        _heads[headers] = block
    return block


def is_grpc(headers: Headers) -> bool:
    """Whether the head of an answer is of a gRPC server."""
    return any(name == b"content-type" and value.startswith(b"application/grpc") for name, value in headers)


def not_grpc(headers: Headers) -> RpcError:
    """What an answer that is not gRPC means, in grpc-go's words."""
    fields = dict(headers)
    status = int(fields.get(b":status", b"0"))
    if status != 200:
        reason = http1.REASONS.get(status, b"").decode()
        text = f"unexpected HTTP status code received from server: {status} ({reason})"
        return RpcError(grpc.code_of_http(status), text)
    kind = fields.get(b"content-type", b"").decode("ascii", "replace")
    return RpcError(Code.UNKNOWN, f'unexpected content-type "{kind}"')


def _code(request: Onward) -> Code:
    """What the reset of a stream means; that of all streams, because the server speaks no HTTP/2, is told apart."""
    if request.reset_code is None or request.connection.h2.is_draining:
        return Code.UNAVAILABLE
    return grpc.code_of_reset(request.reset_code)
