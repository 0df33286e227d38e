"""Other apps' sidecars: one invocation is one `CallLocalStream` on their internal port.

Called by `blocks.invoke`; goes on to `net.http2_pool`. On the wire it is what the original sends (v1.18.3,
`pkg/messaging/direct_messaging.go`), so that an original may stand on the other side.
"""

import asyncio
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from pydapr.app import measured, rpc
from pydapr.app.channel import Answer, Call, Header
from pydapr.errors import Code, RpcError
from pydapr.net import http2_client, http2_pool, relay
from pydapr.net.body import Body, BodyError, Disconnected, TooLarge
from pydapr.peers import verified
from pydapr.peers.payloads import Payloads
from pydapr.wire import appcalls, grpc, hpack, invocation
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_service import ServiceMetrics

METHOD = b"/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"
PIECE = 64 * 1024
"""Bytes of a body in one message."""

MAX_MESSAGE = 64 * 1024 * 1024
"""The largest message taken from another sidecar: a unary answer holds a whole body."""

KNOWN = 4096
"""Apps and addresses whose constant parts are remembered."""

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"forwarded")
_OK = (b":status", b"200")
_APP_ID = frozenset({b"dapr-app-id"})
_EVENTS = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"))
"""What the original leaves for the caller to say when it relays events, with gRPC's OK, 0, as the status."""


class Unreached(RpcError):
    """No connection could be made: nothing was sent."""


class Sidecars:
    """Calls other apps through their sidecars. `host` is the address that Forwarded fields name.

    `pools` gives the connections to an app: the same for all, or with TLS its own for each, so that a connection to
    one app is never taken for one to another, whatever the names say.
    """

    def __init__(self, pools: "http2_pool.Pool | verified.Pools", app_id: str, namespace: str, host: str) -> None:
        self._pool: http2_pool.Pool | None = None
        if isinstance(pools, http2_pool.Pool):
            self._pool, self._scheme = pools, b"http"
        else:
            self._pool_of, self._scheme = pools.of, b"https"
        self._app_id = app_id.encode()
        self._namespace = namespace.encode()
        self._forwarded = _forwarded(host)
        self._constant: dict[str, bytes] = {}
        self._blocks: dict[str, bytes] = {}
        self._heads: dict[tuple[str, str], relay.Heads] = {}
        self.metrics: ServiceMetrics | None = None
        """Who counts and times the calls, None for nobody."""

    def is_unreached(self, error: RpcError) -> bool:
        """Whether nothing was sent."""
        return isinstance(error, Unreached)

    async def invoke(self, address: str, app_id: str, namespace: str, call: Call) -> Answer:
        """Calls `app_id` at `address`. Raises `RpcError`, of it `Unreached` when there is no connection."""
        metrics = self.metrics
        if metrics is not None:
            called = metrics.app(app_id)
            called.sent.value += 1
            began = perf_counter()
        leading = self._leading(app_id, call)
        pool = self._pool or self._pool_of(app_id, namespace)
        connection = pool.ready(address) or await _connection(pool, address)
        body = call.body
        is_whole = body.is_whole
        data = body.whole() if is_whole else body.take()
        block = self._block(address)
        if call.trace is not None:
            block += call.trace.block()
        request = connection.open(block, first_frames(leading, data), is_whole)
        sender = None
        if not is_whole:
            count = -(-len(data) // PIECE)
            sender = asyncio.get_running_loop().create_task(_send_rest(request, body, count))
        try:
            answer = await _answer(request, sender, call)
        except BaseException:
            _close(request, sender)
            raise
        if metrics is not None:
            status = answer.response.code if isinstance(answer, rpc.RpcAnswer) else answer.status
            called.answered(status, perf_counter() - began)
        return answer

    async def open(
        self, address: str, app_id: str, namespace: str, path: bytes, message: bytes, trace: bytes
    ) -> http2_client.Request:
        """A call of another method with one message; `trace` is behind its head. Raises as `invoke`."""
        pool = self._pool or self._pool_of(app_id, namespace)
        connection = pool.ready(address) or await _connection(pool, address)
        return connection.open(self._block(address, path) + trace, grpc.frame(message), True)

    def _block(self, address: str, path: bytes = METHOD) -> bytes:
        """The header block of a call, the same bytes each time."""
        key = address if path is METHOD else address + path.decode()
        block = self._blocks.get(key)
        if block is None:
            fields = [
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":path", path),
                (b":authority", address.encode()),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"pydapr"),
                (b"te", b"trailers"),
            ]
            if len(self._blocks) >= KNOWN:
                self._blocks.clear()
            block = self._blocks[key] = hpack.encode(fields)
        return block

    # -- the request --

    def _leading(self, app_id: str, call: Call) -> bytes:
        """The request without its body."""
        if call.is_rpc:
            return self._rpc_leading(app_id, call)
        headers = call.headers
        fields = dict(headers)
        parent = fields.pop(b"traceparent", None)
        if parent is not None:
            # It differs from call to call, and stands apart from what does not.
            headers = [header for header in headers if header[0] != b"traceparent"]
        metadata = invocation.metadata(headers, fields, _FORWARDED)
        if metadata is not None:
            metadata = (self._constant.get(app_id) or self._constant_part(app_id)) + metadata
        else:
            metadata = self._identity(app_id) + invocation.entries(self._with_forwarded(headers, call.body.length))
        message = invocation.encode_request(
            metadata,
            call.method.encode("utf-8", "surrogateescape"),
            fields.get(b"content-type", b""),
            invocation.VERB_NUMBERS[call.verb],
            call.query,
        )
        return message if parent is None else message + invocation.trace_entry(parent)

    def _rpc_leading(self, app_id: str, call: Call) -> bytes:
        """The request of a gRPC client, which says more than HTTP, without its body."""
        assert isinstance(call, rpc.RpcCall)
        ours = (*self._caller(app_id), *self._forwarded)
        replaced = {name for name, _ in self._caller(app_id)}
        metadata = [header for header in call.metadata if header[0] not in replaced]
        asked = call.request
        method = call.method.encode("utf-8", "surrogateescape")
        message = appcalls.Request(method, b"", asked.type_url, asked.content_type, asked.extension).encode()
        return b"\x08\x01" + appcalls.entries([*metadata, *ours]) + invocation.field(b"\x1a", message)

    def _with_forwarded(self, given: Sequence[Header], length: int | None) -> list[Header]:
        """What may be sent on, and our values behind the client's own, under the same name."""
        headers = names.forwardable(given)
        out = [header for header in headers if header[0] not in _FORWARDED]
        if length is not None:
            out.append((b"content-length", b"%d" % length))
        for name, ours in self._forwarded:
            out += [header for header in headers if header[0] == name]
            out.append((name, ours))
        return out

    def _constant_part(self, app_id: str) -> bytes:
        part = self._identity(app_id) + invocation.entries(self._forwarded)
        if len(self._constant) >= KNOWN:
            self._constant.clear()
        self._constant[app_id] = part
        return part

    def _identity(self, app_id: str) -> bytes:
        return b"".join([invocation.literal_entry(name, value) for name, value in self._caller(app_id)])

    def _caller(self, app_id: str) -> tuple[Header, ...]:
        """Who calls whom."""
        callee = app_id.encode()
        return (
            (b"destination-app-id", callee),
            (b"dapr-caller-namespace", self._namespace),
            (b"dapr-caller-app-id", self._app_id),
            (b"dapr-callee-app-id", callee),
        )

    # -- calls that pass through --

    async def pass_on(self, address: str, app_id: str, namespace: str, call: relay.Relay) -> bool:
        """Passes a call on as it is; False when nothing of it was taken. Raises `RpcError`, of it `Unreached`."""
        pool = self._pool or self._pool_of(app_id, namespace)
        connection = pool.ready(address) or await _connection(pool, address)
        heads = self._heads.get((address, app_id))
        if heads is None:
            ours = ((b"dapr-caller-app-id", self._app_id), (b"dapr-callee-app-id", app_id.encode()))
            heads = relay.Heads(address, _APP_ID, ours, self._scheme)
            if len(self._heads) >= KNOWN:
                self._heads.clear()
            self._heads[address, app_id] = heads
        block = heads.block(call.exchange)
        if call.exchange.trace is not None:
            block += call.exchange.trace.both()
        work = call.run(connection, block)
        return await (work if self.metrics is None else measured.passing(self.metrics, call, work))


async def _connection(pool: http2_pool.Pool, address: str) -> http2_client.ClientConnection:
    try:
        return await pool.connection(address)
    except http2_pool.Distrusted as error:
        raise Unreached(Code.UNAVAILABLE, f'connection error: desc = "{error}"') from None
    except http2_pool.Unreachable as unreached:
        text = f'connection error: desc = "transport: Error while dialing: {unreached}"'
        raise Unreached(Code.UNAVAILABLE, text) from None


def first_frames(leading: bytes, data: bytes) -> bytes:
    """The leading message with the first bytes of the body, and further messages if one does not hold them."""
    if len(data) <= PIECE:
        return invocation.stream_frame(leading, data, 0)
    frames = [invocation.stream_frame(leading, data[:PIECE], 0)]
    for number, start in enumerate(range(PIECE, len(data), PIECE), 1):
        frames.append(invocation.stream_frame(b"", data[start : start + PIECE], number))
    return b"".join(frames)


async def _send_rest(request: http2_client.Request, body: Body, count: int) -> None:
    """Sends a body while it arrives, beside the wait for the answer; `count` messages have gone before."""
    try:
        while data := await body.read():
            for start in range(0, len(data), PIECE):
                await request.write(invocation.stream_frame(b"", data[start : start + PIECE], count))
                count += 1
        await request.write(b"", end=True)
    except BodyError as error:
        request.give_up(error)


# -- the answer --


async def _answer(request: http2_client.Request, sender: "asyncio.Task[None] | None", call: Call) -> Answer:
    reader = grpc.MessageReader(MAX_MESSAGE)
    messages = await _first_messages(request, reader)
    try:
        leading, payload, sequence = invocation.decode_stream(messages[0])
        response = invocation.decode_response(leading)
    except invocation.Invalid as error:
        raise RpcError(Code.INTERNAL, f"error receiving message: {error}") from None
    if not response.has_status:
        raise RpcError(Code.UNKNOWN, "response does not contain the required fields in the leading chunk")
    status, headers = response.code, response.headers
    if not status and (names.first(call.headers, b"accept") or b"").strip().lower() == _EVENTS[0][1]:
        status, headers = 200, [*_EVENTS, *headers]
    is_rpc = 0 <= status < 100
    if not is_rpc and not (status == 101 or 200 <= status <= 999):
        raise RpcError(Code.UNKNOWN, f"response has the invalid HTTP status {status}")

    def at_end() -> None:
        _close(request, sender)
        _check_end(request)

    body: Body
    if _is_all(request.body, reader, messages) and not sequence:
        at_end()
        body = Body.of(payload or b"")
    else:
        body = Payloads(request.body, reader, (payload, sequence), messages[1:], at_end)
    if is_rpc:
        return await _rpc_answer(leading, body)
    return Answer(status, headers, body, lambda: _close(request, sender), response.content_length)


async def _rpc_answer(leading: bytes, body: Body) -> Answer:
    """The answer of an app that speaks gRPC, which holds no more than a message."""
    try:
        response = appcalls.Response.decode(leading)
        response.data = await body.read_all()
    except appcalls.Invalid as error:
        raise RpcError(Code.INTERNAL, f"error receiving message: {error}") from None
    except BodyError as broken:
        raise RpcError(Code.UNKNOWN, str(broken)) from None
    return rpc.RpcAnswer(response)


def _is_all(body: Body, reader: grpc.MessageReader, messages: list[bytes]) -> bool:
    """Whether the one message that is here is all that the call consists of."""
    return body.is_whole and not body.buffered and len(messages) == 1 and not reader.incomplete


async def _first_messages(request: http2_client.Request, reader: grpc.MessageReader) -> list[bytes]:
    """At least one message. Raises `RpcError` with the status when the call ended without any."""
    try:
        head = request.headers or await request.head()
        if head[0] != _OK:
            status = int(dict(head).get(b":status", b"0"))
            raise RpcError(grpc.code_of_http(status), f"unexpected HTTP status code received from server: {status}")
        while data := await request.body.read():
            if messages := reader.feed(data):
                return messages
        _check_end(request)
    except http2_client.Refused as error:
        raise Unreached(Code.UNAVAILABLE, str(error)) from None
    except Disconnected as lost:
        code = Code.UNAVAILABLE if request.reset_code is None else grpc.code_of_reset(request.reset_code)
        raise RpcError(code, str(lost)) from None
    except TooLarge:
        raise
    except BodyError as broken:
        raise RpcError(Code.UNKNOWN, str(broken)) from None
    raise RpcError(Code.INTERNAL, "the call ended without a response")


def _check_end(request: http2_client.Request) -> None:
    """Raises `RpcError` when the call has ended and its status is not OK."""
    if request.trailers == grpc.OK_TRAILERS:
        return
    status = grpc.status_of(request.trailers)
    if status is None:
        raise RpcError(Code.INTERNAL, "server closed the stream without sending trailers")
    if status.code != Code.OK:
        raise status.error()


def _close(request: http2_client.Request, sender: "asyncio.Task[None] | None") -> None:
    if sender is not None:
        sender.cancel()
    request.close()


def _forwarded(host: str) -> tuple[Header, ...]:
    """X-Forwarded-For, X-Forwarded-Host and Forwarded, as the original sends them (RFC 7239)."""
    name = socket.gethostname()
    node = f'"[{host}]"' if ":" in host else host
    return (
        (b"x-forwarded-for", host.encode()),
        (b"x-forwarded-host", name.encode()),
        (b"forwarded", f"for={node};by={node};host={name}".encode()),
    )
