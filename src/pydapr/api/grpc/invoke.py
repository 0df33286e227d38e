"""Service invocation over gRPC (InvokeService). Called by the router; goes on to `blocks.invoke`.

The answer of an HTTP app is told in gRPC's words: its status as a code, its header fields as metadata.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydapr.api.grpc import errors
from pydapr.app import rpc
from pydapr.app.channel import Answer, Header
from pydapr.blocks.invoke import Invoker
from pydapr.errors import Code, InvokeFailed, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import Body, BodyError
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.wire import appcalls, grpc, hpack, tracecontext
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.api.grpc.guarded import GuardedCalls

log = logging.get("dapr.runtime.grpc.api")

_NO_MESSAGE = (
    "rpc error: code = InvalidArgument desc = parsing InternalInvokeRequest error: "
    "request does not contain the required fields in the leading chunk"
)


class InvokeApi:
    """Answers InvokeService. `gave` hears the sizes of the messages that it replies with."""

    def __init__(self, invoker: Invoker, gave: Callable[[int], None] | None = None) -> None:
        self._invoker = invoker
        self._gave = gave
        self._has_warned = False
        self._guarded: GuardedCalls | None = None
        if invoker.policies is not None and invoker.policies.applies_to_apps:
            from pydapr.api.grpc import guarded

            self._guarded = guarded.GuardedCalls(invoker.policies)

    async def invoke_service(self, exchange: ServerExchange, data: bytes) -> int:
        """Calls the app and replies with its answer; the status it has replied with."""
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "[DEPRECATION NOTICE] InvokeService is deprecated and will be removed in the future, "
                "please use proxy mode instead."
            )
        target, call = _call(exchange, data)
        if self._guarded is not None:
            told = await self._guarded.told(target, call.method, lambda: self._ask(*_call(exchange, data)))
        else:
            told = await self._ask(target, call)
        size = _reply(exchange, *told)
        if self._gave is not None and told[1].code == Code.OK:
            self._gave(size)
        return told[1].code

    async def _ask(self, target: str, call: rpc.RpcCall) -> tuple[list[Header], appcalls.Response]:
        """Metadata and answer of the app. Raises `InvokeFailed`."""
        answer = await self._invoker.invoke(target, call)
        try:
            return await _told(answer)
        except BodyError as error:
            raise InvokeFailed(f"failed to invoke, id: {target}, err: {error}") from None
        finally:
            answer.close()


def _call(exchange: ServerExchange, data: bytes) -> tuple[str, rpc.RpcCall]:
    """Whom to call and with what. Raises `RpcError`, `InvokeFailed`."""
    try:
        named, request = appcalls.invoke_service(data)
        target = named.decode()
    except (appcalls.Invalid, UnicodeDecodeError) as error:
        raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
    if request is None:
        raise InvokeFailed(f"failed to invoke, id: {target}, err: {_NO_MESSAGE}")
    authority = names.first(exchange.headers, b"host") or b""
    headers = [header for header in exchange.headers if header[0] != b"host"]
    metadata = [(b":authority", authority), *rpc.padded(headers)]
    call = rpc.RpcCall(metadata, request, Body.of(request.data))
    call.trace = exchange.trace
    if call.trace is not None and call.trace.record is not None:
        call.trace.record.called(target, call.method)
    return target, call


async def _told(answer: Answer) -> tuple[list[Header], appcalls.Response]:
    """Metadata and answer for the client. Raises `BodyError`."""
    if isinstance(answer, rpc.RpcAnswer):
        response = answer.response
        return rpc.for_client(response.metadata, from_http=False), response
    body = await answer.body.read_all()
    metadata = rpc.for_client(answer.headers, from_http=True)
    metadata.append((b"dapr-http-status", b"%d" % answer.status))
    response = appcalls.Response()
    error = errors.from_http(answer.status, body.decode("utf-8", "replace"))
    if error is not None:
        response.code, response.message = error.code, error.message.encode()
        response.read_status(error.details)
    else:
        response.data = body
        response.content_type = names.first(answer.headers, b"content-type") or b""
    return metadata, response


def _reply(exchange: ServerExchange, metadata: list[Header], response: appcalls.Response) -> int:
    """Ends the call; the size of the message."""
    trailers = rpc.for_client(response.trailers, from_http=False)
    if exchange.trace is not None:
        metadata = [*metadata, *tracecontext.for_rpc_client(metadata, exchange.trace)]
    head = hpack.encode((*grpc_server.HEAD, *metadata))
    if response.code == Code.OK:
        message = response.encode_message()
        exchange.send(head, grpc.frame(message), (*grpc.OK_TRAILERS, *trailers))
        return len(message)
    if exchange.trace is not None and exchange.trace.record is not None:
        exchange.trace.record.failed(response.message.decode("utf-8", "replace"))
    details = response.encode_status() if response.details else b""
    status = grpc.Status(response.code, response.message.decode("utf-8", "replace"), details)
    exchange.begin_block(head)
    exchange.finish((*grpc.trailers(status), *trailers))
    return 0
