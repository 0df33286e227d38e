"""Gives each request to the HTTP API its trace, and keeps a span of those that are sampled. Before all other stations.

Made by `daprd.faces`, and there only while tracing is on; called by `net.server`. Names and attributes of spans are
the original's (v1.18.3, `pkg/diagnostics/http_tracing.go`): a span ends when the head of the answer goes out.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from time import time_ns
from typing import TYPE_CHECKING

from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import tracing
from pydapr.wire import baggage, tracecontext
from pydapr.wire.tracecontext import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

_HEALTH = b"/healthz"
_TARGET = b"dapr-app-id"
"""Names the app of a call, which a span says elsewhere."""

_LEFT = 500
"""What the original answers when its client has gone, though nobody reads it but its spans."""
_PLAIN = ((b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff"))

Attributes = list[tuple[str, str]]


def traced(inner: Handler, tracer: tracing.Tracer) -> Handler:
    """`inner`, whose requests are part of traces."""
    root, sink = tracer.root, tracer.sink

    def handle(exchange: Exchange) -> Awaitable[None]:
        if _HEALTH in exchange.target:
            return inner(exchange)
        parent = b""
        if exchange.context:
            try:
                trace, parent = _of_client(exchange, tracer)
            except baggage.Invalid as error:
                return _refuse(exchange, error)
        else:
            trace = root()
        exchange.trace = trace
        if sink is not None and trace.traceparent[54] & 1:
            trace.record = span = HttpSpan(trace, parent, exchange, sink)
            return _observed(span, inner(exchange))
        return inner(exchange)

    return handle


def _of_client(exchange: Exchange, tracer: tracing.Tracer) -> tuple[Trace, bytes]:
    """The trace and the parent's span id, of what the client says. Raises `baggage.Invalid`."""
    fields: dict[bytes, bytes] = {}
    for name, value in exchange.context:
        if name == tracecontext.BAGGAGE and name in fields:
            value = b"%b,%b" % (fields[name], value)
        elif name in fields:
            continue
        fields[name] = value
    carried = fields.get(tracecontext.BAGGAGE, b"")
    if carried:
        baggage.check(carried)
    given = tracecontext.parse(fields.get(tracecontext.PARENT, b""))
    if given:
        state = fields.get(tracecontext.STATE, b"")
        trace = tracer.below(given, tracing.state_of(state) if state else b"")
    else:
        trace = tracer.root()
    return tracecontext.Told(trace, carried) if carried else trace, given[36:52]


async def _observed(span: "HttpSpan", work: Awaitable[None]) -> None:
    try:
        await work
    except asyncio.CancelledError:
        span.answered(_LEFT)
        raise


async def _refuse(exchange: Exchange, error: baggage.Invalid) -> None:
    exchange.respond(400, _PLAIN, f"invalid baggage header: {error}\n".encode())


class HttpSpan(tracing.Span):
    """A request to the HTTP API."""

    __slots__ = ("_called", "_exchange", "_headers", "_is_of_actor", "_method", "_path", "_peer", "_status", "_target")

    def __init__(self, trace: Trace, parent: bytes, exchange: Exchange, sink: "Callable[[tracing.Span], None]") -> None:
        super().__init__(trace, parent, "", tracing.CLIENT, sink)
        self._exchange: Exchange | None = exchange
        self._method, self._target = exchange.method, exchange.target
        self._headers = exchange.headers
        self._called = ""
        self._is_of_actor = False
        self._peer = ""
        self._status = 0

    def called(self, app_id: str, method: str) -> None:
        self.name, self._called = f"CallLocal/{app_id}/{method}", app_id

    def called_actor(self, actor_type: str, actor_id: str, method: str) -> None:
        self.name, self._called = f"CallActor/{actor_type}/{method}", f"{actor_type}.{actor_id}"
        self._is_of_actor = True

    def answered(self, status: int) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        self._peer = exchange.peer
        self._status = status
        if status >= 400:
            self.failure = tracing.failure_of(status)
        self.ended = time_ns()
        if not self.name:
            self.name = _path(self._target)
        self.sink(self)

    def attributes(self) -> Attributes:
        method, target = _text(self._method), _text(self._target)
        path = _path(self._target)
        address, _, port = self._peer.rpartition(":")
        address = address.strip("[]").removeprefix("::ffff:")
        is_call = bool(self._called) and not self._is_of_actor
        return [
            *_user_defined(self._headers, _TARGET if is_call else b""),
            *(_of_call(self._called) if self._called else _of_path(method, path)),
            *([("dapr.actor", self._called)] if self._is_of_actor else ()),
            ("dapr.protocol", "http"),
            ("dapr.api", f"{method} {path}"),
            ("dapr.status_code", str(self._status)),
            ("http.request.method", method),
            ("url.full", target),
            ("server.address", address or self._peer),
            *([("server.port", port)] if address else ()),
        ]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _path(target: bytes) -> str:
    if b"%" not in target:
        return _text(target.partition(b"?")[0])
    from urllib.parse import unquote_to_bytes

    return _text(unquote_to_bytes(target.partition(b"?")[0]))


def _user_defined(headers: "Sequence[tuple[bytes, bytes]]", without: bytes) -> Attributes:
    """Header fields that begin with `dapr-`, which a client sends to see them in its spans; the last of each name.

    Its token is not for others to read, and one is ours.
    """
    hidden = (tracing.TOKEN, without)
    found = [(name, value) for name, value in headers if name[:5] == b"dapr-" and value and name not in hidden]
    return list({_text(name): _text(value) for name, value in found}.items()) if found else []


def _of_call(app_id: str) -> Attributes:
    return [("rpc.service", "ServiceInvocation"), ("net.peer.name", app_id)]


def _of_path(method: str, path: str) -> Attributes:
    """What the path alone says of the building block."""
    version, _, rest = path.removeprefix("/").partition("/")
    if not version.startswith("v1.0"):
        return []
    group, _, rest = rest.partition("/")
    name = rest.partition("/")[0]
    if group in ("state", "secrets", "bindings") and name:
        return [
            ("db.system", group), ("db.connection_string", group), ("db.statement", f"{method} {path}"),
            ("db.name", name),
        ]  # fmt: skip
    if group == "actors":
        parts = rest.split("/")
        if len(parts) < 3 or parts[2] != "state":
            return []
        return [
            ("dapr.actor", f"{parts[0]}.{parts[1]}"), ("db.system", "state"), ("db.connection_string", "state"),
            ("db.statement", f"{method} {path}"), ("db.name", "actor"),
        ]  # fmt: skip
    return [("messaging.system", "pubsub")] if group == "publish" else []
