"""What other sidecars call on the internal port: `dapr.proto.internals.v1.ServiceInvocation`.

Handler of the internal server; goes on to `blocks.invoke`. The checks and their words are the original's
(v1.18.3, `pkg/api/grpc/daprinternal.go`).
"""

from asyncio import CancelledError
from collections.abc import Callable, Mapping

from pydapr.app import rpc
from pydapr.app.channel import Answer, Call
from pydapr.blocks.invoke import Invoker
from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import Body, BodyError
from pydapr.net.http2_server import ServerExchange
from pydapr.observe.metrics_service import ServiceMetrics
from pydapr.peers.payloads import Payloads
from pydapr.policy.gate import Gate
from pydapr.wire import appcalls, grpc, invocation
from pydapr.wire import headers as names
from pydapr.wire.tracecontext import Trace

SERVICE = b"/dapr.proto.internals.v1.ServiceInvocation/"
PIECE = 64 * 1024
"""Bytes of a body in one message."""


class InternalApi:
    """Answers calls of other sidecars. `max_message` bounds one message, in bytes; `gate` knows who may call what."""

    def __init__(
        self, invoker: Invoker, max_message: int, metrics: ServiceMetrics | None = None, gate: Gate | None = None
    ) -> None:
        self._invoker = invoker
        self._max_message = max_message
        self._metrics = metrics
        self._gate = gate

    def methods(
        self,
        others: grpc_server.Method | None = None,
        around: Callable[[grpc_server.Method], grpc_server.Method] | None = None,
        more: Mapping[bytes, grpc_server.Method] | None = None,
    ) -> grpc_server.Methods:
        """The handler for the server; `more` are methods of actors, `others` answers those of other services.

        `around` is put around each method of this service.
        """
        table: dict[bytes, grpc_server.Method] = {
            SERVICE + b"CallLocal": self.call_local, SERVICE + b"CallLocalStream": self.call_local_stream
        }  # fmt: skip
        if more is not None:
            table.update(more)
        if around is not None:
            table = {path: around(method) for path, method in table.items()}
        return grpc_server.Methods(table, others)

    async def call_local_stream(self, exchange: ServerExchange) -> None:
        """Calls the app; bodies of request and answer pass while they arrive."""
        if self._invoker.app is None:
            raise RpcError(Code.INTERNAL, "app channel is not initialized")
        reader = grpc.MessageReader(self._max_message, _encoding(exchange))
        call = await self._streamed_call(exchange, reader, self._invoker.app.takes_rpc)
        trace = exchange.trace
        if trace is not None and trace.record is not None:
            trace.record.called("", call.method)
        metrics = self._metrics
        if metrics is None:
            answer = await self._invoker.call_app(call)
        else:  # as in `_call_app`, without its station on the way of every call
            caller = names.first(call.headers, b"dapr-caller-app-id") or b"unknown"
            metrics.received(caller)
            try:
                answer = await self._invoker.call_app(call)
            except RpcError:
                metrics.replied(caller, Code.INTERNAL)
                raise
            except CancelledError:  # the caller has given up, after a timeout perhaps; the original has this as 0 too
                metrics.replied(caller, 0)
                raise
            metrics.replied(caller, _status(answer))
        if isinstance(answer, rpc.RpcAnswer):
            frame = invocation.stream_frame(answer.response.encode(False), answer.response.data[:PIECE], 0)
            exchange.begin_block(grpc_server.HEAD_BLOCK)
            await exchange.write(frame)
            for count, start in enumerate(range(PIECE, len(answer.response.data), PIECE), 1):
                await exchange.write(invocation.stream_frame(b"", answer.response.data[start : start + PIECE], count))
            exchange.finish(grpc.OK_TRAILERS)
            return
        if not 200 <= answer.status < 300 and _wants_events(call):
            # The original has no answer for this, and its callers know this text instead of the app's status.
            answer.close()
            raise RpcError(Code.INTERNAL, "error invoking app channel: no response received from stream")
        headers = answer.headers
        if answer.content_length is not None:
            headers = [*headers, (b"content-length", answer.content_length)]
        head = invocation.encode_response(answer.status, headers)
        if answer.body.is_whole and answer.body.buffered <= PIECE:
            frame = invocation.stream_frame(head, answer.body.take(), 0)
            exchange.send(grpc_server.HEAD_BLOCK, frame, grpc_server.OK_BLOCK)
        else:
            await _stream(exchange, head, answer)

    async def call_local(self, exchange: ServerExchange) -> None:
        """Calls the app; request and answer are one message each."""
        message = await grpc_server.read(exchange, self._max_message)
        try:
            request, given = invocation.decode_traced(message)
        except invocation.Invalid as error:
            raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
        if not request.has_message:
            raise RpcError(Code.INVALID_ARGUMENT, "parsing InternalInvokeRequest error: field Message is nil")
        takes_rpc = self._invoker.app is not None and self._invoker.app.takes_rpc
        if self._gate is not None:
            _check(self._gate, exchange, request, takes_rpc)
        trace = exchange.trace
        call = _call(request, Body.of(request.data), message, takes_rpc, trace, given)
        if trace is not None and trace.record is not None:
            trace.record.called("", call.method)
        answer = await self._call_app(call)
        if isinstance(answer, rpc.RpcAnswer):
            grpc_server.reply(exchange, answer.response.encode(True))
            return
        try:
            data = await answer.body.read_all()
        except BodyError as broken:
            raise RpcError(Code.UNKNOWN, str(broken)) from None
        finally:
            answer.close()
        grpc_server.reply(exchange, invocation.encode_response(answer.status, answer.headers, data))

    async def _streamed_call(self, exchange: ServerExchange, reader: grpc.MessageReader, takes_rpc: bool) -> Call:
        """The call in the leading message; its body is what follows."""
        messages: list[bytes] = []
        while not messages:
            try:
                data = await exchange.body.read()
            except BodyError as error:
                raise RpcError(Code.CANCELLED, str(error)) from None
            if not data:
                raise RpcError(Code.INTERNAL, "EOF")
            messages = reader.feed(data)
        try:
            leading, payload, sequence = invocation.decode_stream(messages[0])
            request, given = invocation.decode_traced(leading)
        except invocation.Invalid as invalid:
            raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {invalid}") from None
        if not request.has_metadata or not request.has_message:
            text = "request does not contain the required fields in the leading chunk"
            raise RpcError(Code.INVALID_ARGUMENT, f"parsing InternalInvokeRequest error: {text}")
        if self._gate is not None:
            _check(self._gate, exchange, request, takes_rpc)
        body: Body
        is_all = exchange.body.is_whole and not exchange.body.buffered and not reader.incomplete
        if is_all and len(messages) == 1 and not sequence:
            body = Body.of(payload or b"")
        else:
            body = Payloads(exchange.body, reader, (payload, sequence), messages[1:], _nothing, request.content_length)
        return _call(request, body, leading, takes_rpc, exchange.trace, given)

    async def _call_app(self, call: Call) -> Answer:
        """`Invoker.call_app`, with the call and its answer counted where there are metrics."""
        metrics = self._metrics
        if metrics is None:
            return await self._invoker.call_app(call)
        caller = names.first(call.headers, b"dapr-caller-app-id") or b"unknown"
        metrics.received(caller)
        status: int = Code.INTERNAL
        try:
            answer = await self._invoker.call_app(call)
            status = _status(answer)
        finally:
            metrics.replied(caller, status)
        return answer


def _check(gate: Gate, exchange: ServerExchange, request: invocation.Request, takes_rpc: bool) -> None:
    """Whether the access rules let the call pass. Raises `RpcError` if not."""
    verb = b"" if takes_rpc or request.verb < 0 or not request.has_metadata else _verb(request.verb)
    gate.check(exchange.peer_identity, request.method, verb)


def _verb(number: int) -> bytes:
    return invocation.VERBS[number] if number < len(invocation.VERBS) else b"%d" % number


def _status(answer: Answer) -> int:
    """HTTP's, or gRPC's of an app that speaks that."""
    return answer.response.code if isinstance(answer, rpc.RpcAnswer) else answer.status


def _wants_events(call: Call) -> bool:
    """Whether the client asks for server-sent events and nothing else."""
    return (names.first(call.headers, b"accept") or b"").strip().lower() == b"text/event-stream"


def _nothing() -> None:
    """The end of a request needs no further check: HTTP/2 has made sure that it is one."""


def _call(
    request: invocation.Request, body: Body, encoded: bytes, takes_rpc: bool, trace: Trace | None, given: bytes
) -> Call:
    """The call in `request`, which is `encoded`. `given` is the client's `traceparent` where it stands apart."""
    if request.version != 1:
        text = f"rpc error: code = Unimplemented desc = Unsupported spec version: {request.version}"
        raise RpcError(Code.INTERNAL, f"error invoking app channel: {text}")
    if takes_rpc:
        return _rpc_call(request, body, encoded, trace)
    if request.verb < 0:
        text = "rpc error: code = InvalidArgument desc = missing HTTP extension field"
        raise RpcError(Code.INTERNAL, f"error invoking app channel: {text}")
    verb = invocation.VERBS[request.verb] if request.verb < len(invocation.VERBS) else b""
    headers = request.headers
    says_trace = request.says_trace
    if given and (trace is None or not trace.is_known):
        headers = [*headers, (b"traceparent", given)]
        says_trace = True
    method = request.method.decode("utf-8", "surrogateescape")
    call = Call(verb, method, request.query, headers, body, True, trace)
    call.says_trace = says_trace
    return call


def _rpc_call(request: invocation.Request, body: Body, encoded: bytes, trace: Trace | None) -> Call:
    """The call for an app that speaks gRPC, which gets binary metadata too."""
    verb = invocation.VERBS[request.verb] if 0 <= request.verb < len(invocation.VERBS) else b""
    raw = appcalls.metadata_of(encoded)
    metadata = [(name.lower(), value) for name, value in raw]
    if not any(name == b"content-type" and value.startswith(b"application/grpc") for name, value in raw):
        metadata = rpc.for_app(metadata, from_http=True)
    message = appcalls.Request(
        request.method,
        b"",
        request.type_url,
        names.first(request.headers, b"content-type") or b"",
        None if request.verb < 0 else (verb, request.query),
    )
    call = rpc.RpcCall(metadata, message, body)
    call.trace = trace
    return call


async def _stream(exchange: ServerExchange, head: bytes, answer: Answer) -> None:
    """Passes an answer on while it arrives; the head goes out at once."""
    try:
        exchange.begin_block(grpc_server.HEAD_BLOCK)
        count = 0
        leading = head
        first = answer.body.take() if answer.body.buffered else b""
        for start in range(0, len(first) or 1, PIECE):
            await exchange.write(invocation.stream_frame(leading, first[start : start + PIECE], count))
            count += 1 if first else 0
            leading = b""
        while data := await answer.body.read():
            for start in range(0, len(data), PIECE):
                await exchange.write(invocation.stream_frame(b"", data[start : start + PIECE], count))
                count += 1
        exchange.finish(grpc.OK_TRAILERS)
    except BodyError as error:
        raise RpcError(Code.UNKNOWN, str(error)) from None
    finally:
        answer.close()


def _encoding(exchange: ServerExchange) -> bytes:
    return exchange.fields.get(b"grpc-encoding", b"identity")
