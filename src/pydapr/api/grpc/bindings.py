"""Output bindings over gRPC. Called by the router; asks `blocks.bindings`."""

import re
from collections.abc import Callable, Mapping

from pydapr.api.grpc import unary
from pydapr.blocks.bindings import Bindings
from pydapr.components.bindings import Request
from pydapr.errors import BindingFailed, Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import baggage, grpc, hpack, tracecontext

_is_name = re.compile(r"[0-9a-z_.-]+\Z").match
_is_value = re.compile(r"[\x20-\x7e]*\Z").match
_OVERWRITES = (tracecontext.PARENT, tracecontext.STATE)


class BindingsApi:
    """Answers InvokeBinding. `gave` hears the sizes of the messages that it replies with."""

    def __init__(self, bindings: Bindings, gave: Callable[[int], None] | None = None) -> None:
        self._bindings, self._gave = bindings, gave

    async def invoke(self, exchange: ServerExchange, data: bytes) -> int:
        """Has a binding do something; what it tells besides its data stands in the head too, of errors too."""
        from pydapr.proto.dapr.proto.runtime.v1 import binding_pb2

        asked = unary.decode(binding_pb2.InvokeBindingRequest, data)
        request = Request(asked.operation, asked.data, _metadata(exchange, dict(asked.metadata)))
        try:
            answer = await self._bindings.invoke(asked.name, request)
        except BindingFailed as error:
            if error.metadata:
                exchange.begin_block(grpc_server.HEAD_BLOCK + _block(error.metadata))
            raise
        reply, head = binding_pb2.InvokeBindingResponse(), grpc_server.HEAD_BLOCK
        if answer is not None:
            reply = binding_pb2.InvokeBindingResponse(data=answer.data, metadata=dict(answer.metadata))
            head += _block(answer.metadata)
        told = reply.SerializeToString()
        exchange.send(head, grpc.frame(told), grpc_server.OK_BLOCK)
        if self._gave is not None:
            self._gave(len(told))
        return Code.OK


def _metadata(exchange: ServerExchange, given: dict[str, str]) -> dict[str, str]:
    """Those of the request, and those of the call, among which what it says of its trace counts most.

    Raises `RpcError`.
    """
    out = dict(given)
    trace = exchange.trace
    if trace is not None:
        out.setdefault("traceparent", trace.traceparent.decode())
        if trace.tracestate:
            out.setdefault("tracestate", trace.tracestate.decode("latin-1"))
    carried = b",".join([value for name, value in exchange.headers if name == tracecontext.BAGGAGE])
    if carried:
        try:
            baggage.check(carried)
        except baggage.Invalid as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
        out["baggage"] = carried.decode("latin-1")
    seen = set()
    for name, value in exchange.headers:
        if name in seen:
            continue
        seen.add(name)
        key = name.decode("latin-1")
        if key.startswith("grpc-"):
            key = f"dapr-{key}"
        if key not in out or name in _OVERWRITES:
            out[key] = value.decode("utf-8", "replace")
    return out


def _block(metadata: Mapping[str, str]) -> bytes:
    """What a binding tells as fields of the head, where it can be one."""
    told = {f"metadata.{name.lower()}": value for name, value in metadata.items()}
    return hpack.encode(
        [
            (name.encode(), value.encode())
            for name, value in told.items()
            if _is_name(name) and _is_value(value) and not name.endswith("-bin")
        ]
    )
