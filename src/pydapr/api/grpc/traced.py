"""Gives each call its trace, and keeps a span of those that are sampled: of the gRPC API, and of other sidecars.

Made by `daprd.faces` and `daprd.runtime`, and there only while tracing is on. Names and attributes of spans are the
original's (v1.18.3, `pkg/diagnostics/grpc_tracing.go`, `pkg/proto/runtime/v1/dapr_tracing.go`).
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.api.grpc import unary
from pydapr.errors import Code, DaprError, RpcError
from pydapr.net.grpc_server import Method
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import tracing
from pydapr.wire import baggage, hpack, invocation, tracecontext
from pydapr.wire import headers as names
from pydapr.wire.tracecontext import Trace

NO_TARGET = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"

Attributes = list[tuple[str, str]]

_BLOCKS: dict[str, tuple[str, int]] = {
    "GetState": ("state", 1), "SaveState": ("state", 1), "DeleteState": ("state", 1),
    "GetSecret": ("secrets", 1), "InvokeBinding": ("bindings", 1),
    "PublishEvent": ("pubsub", 2), "BulkPublishEvent": ("pubsub", 2), "BulkPublishEventAlpha1": ("pubsub", 2),
    "ConverseAlpha1": ("conversation", 1), "ConverseAlpha2": ("conversation", 1),
}  # fmt: skip
"""Methods that say what they are about: the building block, and the field of the request that names the part of it."""

_INVOKE = "InvokeService"

_LEFT = "context canceled"
"""What is said of a call whose client has gone, or has let its time pass."""


class GrpcSpan(tracing.Span):
    """A call; `headers` are its metadata."""

    __slots__ = ("_headers", "_path", "_rest")

    def __init__(
        self, trace: Trace, parent: bytes, exchange: ServerExchange, kind: int, sink: Callable[[tracing.Span], None]
    ) -> None:
        self._path = exchange.target.decode("utf-8", "replace")
        super().__init__(trace, parent, self._path, kind, sink)
        self._headers = exchange.headers
        self._rest: Attributes = []

    def attributes(self) -> Attributes:
        return [*self._user_defined(), *self._rest, ("dapr.protocol", "grpc"), ("dapr.api", self._path)]

    def _user_defined(self) -> Attributes:
        """Metadata that begin with `dapr-`, which a client sends to see them in its spans; not its token."""
        out: dict[str, str] = {}
        for name, value in self._headers:
            if name.startswith(b"dapr-") and not name.endswith(b"-bin") and value and name != tracing.TOKEN:
                out.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
        return list(out.items())


class ApiSpan(GrpcSpan):
    """A call of the API; `about` is asked when it is exported."""

    __slots__ = ("about",)

    about: Callable[[], Attributes] | None

    def called(self, app_id: str, method: str) -> None:
        self.name = f"CallLocal/{app_id}/{method}"
        self._rest = [("rpc.service", "ServiceInvocation"), ("net.peer.name", app_id)]

    def attributes(self) -> Attributes:
        if self.about is not None and not self._rest:
            self._rest = self.about()
        return super().attributes()


class LocalSpan(GrpcSpan):
    """A call of another sidecar to the app beside this one, `app_id`."""

    __slots__ = ("app_id",)

    app_id: str

    def called(self, app_id: str, method: str) -> None:
        self.name = f"CallLocal/{self.app_id}/{method}"
        self._rest = [("rpc.service", "ServiceInvocation"), ("dapr.invoke_method", method)]

    def called_actor(self, actor_type: str, actor_id: str, method: str) -> None:
        self.name = f"CallActor/{actor_type}/{method}"
        self._rest = [("rpc.service", "ServiceInvocation"), ("dapr.actor", f"{actor_type}.{actor_id}")]


class PassingSpan(GrpcSpan):
    """A call that passes through."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        return self._user_defined()


def answer(inner: unary.Answer, name: str, tracer: tracing.Tracer) -> unary.Answer:
    """`inner`, which answers the method `name` of the API, with its calls part of traces."""
    about = _BLOCKS.get(name)
    is_invoke = name == _INVOKE

    def traced(exchange: ServerExchange, data: bytes) -> Awaitable[bytes | int]:
        trace, parent = _begin(exchange, tracer)
        if is_invoke:
            # Its answer has metadata of an app, which may say something of a trace.
            trace.reply = hpack.encode(((tracecontext.BAGGAGE, trace.baggage),)) if trace.baggage else b""
        else:
            trace.reply = tracecontext.reply_block(trace.traceparent, trace.baggage)
        if tracer.sink is None or not tracing.is_sampled(trace):
            return inner(exchange, data)
        span = ApiSpan(trace, parent, exchange, tracing.CLIENT, tracer.sink)
        span.about = None if about is None else lambda: _about(about, data, span.name)
        trace.record = span
        return _recorded(span, inner(exchange, data))

    return traced


async def _recorded(span: GrpcSpan, work: Awaitable[bytes | int]) -> bytes | int:
    try:
        told = await work
        if isinstance(told, int) and told != Code.OK and span.failure is None:
            span.failed(_name(told))
        return told
    except DaprError as error:
        span.failure = _message(error)
        raise
    except RpcError as failure:
        span.failure = failure.message
        raise
    except asyncio.CancelledError:
        span.failure = _LEFT
        raise
    finally:
        span.end()


def _name(code: int) -> str:
    return Code(code).name if 0 <= code <= 16 else str(code)


def _message(error: DaprError) -> str:
    from pydapr.api.grpc import errors

    return errors.rpc_error(error).message


def _about(about: tuple[str, int], data: bytes, name: str) -> Attributes:
    """What the request says, of which only the named field is looked at."""
    block, number = about
    try:
        named = next((value for n, value in invocation.fields(data) if n == number and isinstance(value, bytes)), b"")
    except invocation.Invalid:
        return []
    text = named.decode("utf-8", "replace")
    if block == "conversation":
        out = [("rpc.system", text)]
    elif block == "pubsub":
        out = [("rpc.service", "Dapr"), ("messaging.system", block), ("messaging.destination.name", text)]
    else:
        out = [
            ("db.name", text), ("rpc.service", "Dapr"), ("db.system", block), ("db.statement", name),
            ("db.connection_string", block),
        ]  # fmt: skip
    return [(key, value) for key, value in out if value]


def _begin(exchange: ServerExchange, tracer: tracing.Tracer) -> tuple[tracecontext.Told, bytes]:
    """The call's trace, which is now that of the exchange, and the parent's span id. Raises `RpcError`."""
    fields = exchange.fields
    carried = fields.get(tracecontext.BAGGAGE, b"")
    if carried:
        carried = b",".join([value for name, value in exchange.headers if name == tracecontext.BAGGAGE])
        try:
            baggage.check(carried)
        except baggage.Invalid as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid baggage header: {error}") from None
    given = _parent(exchange)
    trace = tracecontext.Told(tracer.below(given, b"") if given else tracer.root(), carried)
    exchange.trace = trace
    return trace, given[36:52]


def _parent(exchange: ServerExchange) -> bytes:
    """The `traceparent` above the call, b"" without; `grpc-trace-bin` goes first, as with the original."""
    if text := names.first(exchange.headers, tracecontext.BINARY):
        return tracecontext.parse(tracecontext.parse_binary(text))
    if exchange.apart:
        return tracecontext.parent_of(exchange.apart)
    if text := names.first(exchange.headers, tracecontext.PARENT):
        return tracecontext.parse(text)
    return b""


def internal(method: Method, tracer: tracing.Tracer, app_id: str) -> Method:
    """`method`, which other sidecars call, with its calls part of traces."""
    is_usual, sink = tracecontext.is_usual, tracer.sink
    root, below = tracer.root, tracer.below

    def traced(exchange: ServerExchange) -> Awaitable[int | None]:
        parent = exchange.apart[-55:]
        if parent:
            if not is_usual(parent):
                parent = tracecontext.parse(parent)
        else:
            fields = exchange.fields
            has_parent = tracecontext.PARENT in fields or tracecontext.BINARY in fields
            parent = _parent(exchange) if has_parent else b""
        exchange.trace = trace = below(parent, b"") if parent else root()
        if sink is None or not trace.traceparent[54] & 1:
            return method(exchange)
        span = LocalSpan(trace, parent[36:52], exchange, tracing.SERVER, sink)
        span.app_id = app_id
        trace.record = span
        return _observed(span, method(exchange))

    return traced


def passing(inner: Method, tracer: tracing.Tracer, app_id: str, echoes: bool) -> Method:
    """`inner`, which passes calls on, with the calls part of traces. `echoes`: the client gets its baggage again."""

    def traced(exchange: ServerExchange) -> Awaitable[int | None]:
        target = names.first(exchange.headers, b"dapr-callee-app-id")
        if target is None:
            target = names.first(exchange.headers, b"dapr-app-id")
        if target is None:
            raise RpcError(Code.UNKNOWN, NO_TARGET)
        kind = tracing.SERVER if target == app_id.encode() else tracing.CLIENT
        return _followed(inner, exchange, tracer, PassingSpan, kind, echoes)

    return traced


def stream(inner: Method, tracer: tracing.Tracer) -> Method:
    """`inner`, a method of the API with several messages, with its calls part of traces."""

    def traced(exchange: ServerExchange) -> Awaitable[int | None]:
        return _followed(inner, exchange, tracer, GrpcSpan, tracing.CLIENT, True)

    return traced


def _followed(
    inner: Method, exchange: ServerExchange, tracer: tracing.Tracer, make: type[GrpcSpan], kind: int, echoes: bool
) -> Awaitable[int | None]:
    """A call of `inner` that may last, in its trace."""
    trace, parent = _begin(exchange, tracer)
    if echoes and trace.baggage:
        trace.reply = hpack.encode(((tracecontext.BAGGAGE, trace.baggage),))
    if tracer.sink is None or not tracing.is_sampled(trace):
        return inner(exchange)
    span = make(trace, parent, exchange, kind, tracer.sink)
    trace.record = span
    return _observed(span, inner(exchange))


async def _observed(span: GrpcSpan, work: Awaitable[int | None]) -> int | None:
    try:
        told = await work
        if told and span.failure is None:
            span.failed(_name(told))
        return told
    except RpcError as error:
        span.failure = error.message
        raise
    except asyncio.CancelledError:
        span.failure = _LEFT
        raise
    finally:
        span.end()
