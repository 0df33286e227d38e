"""Serving gRPC: from the path of an exchange to the method that answers it, and errors as trailers.

Used by `api.grpc`, `api.internal` and the control plane as the handler of their servers.
"""

from collections.abc import Awaitable, Callable, Mapping

from pydapr.errors import Code, RpcError
from pydapr.net.body import BodyError
from pydapr.net.exchange import Exchange, Headers
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc, hpack

HEAD: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
HEAD_BLOCK = hpack.encode(HEAD)
OK_BLOCK = grpc.OK_TRAILERS_BLOCK

Method = Callable[[ServerExchange], Awaitable[int | None]]
"""Answers one call: `reply`, or HEAD_BLOCK and messages and then OK_BLOCK. Raises `RpcError`.

What it returns is the status that it has answered with, None for OK."""


class Methods:
    """The methods of some services by path (`/package.Service/Method`), and who answers all `others`, if anyone."""

    def __init__(self, methods: Mapping[bytes, Method], others: Method | None = None) -> None:
        self._methods = dict(methods)
        self._others = others
        self._services = {path.rpartition(b"/")[0] for path in methods}

    async def __call__(self, exchange: Exchange) -> None:
        if not isinstance(exchange, ServerExchange) or not _is_grpc(exchange.fields):
            exchange.respond(415, (), b"")
            return
        try:
            method = self._methods.get(exchange.target, self._others)
            if method is None:
                raise self._unknown(exchange.target)
            await method(exchange)
        except RpcError as error:
            fail(exchange, error)

    def _unknown(self, target: bytes) -> RpcError:
        service, _, method = target.removeprefix(b"/").rpartition(b"/")
        name = service.decode("ascii", "replace")
        if b"/" + service in self._services:
            text = f"unknown method {method.decode('ascii', 'replace')} for service {name}"
        else:
            text = f"unknown service {name}"
        return RpcError(Code.UNIMPLEMENTED, text)


def _is_grpc(fields: Mapping[bytes, bytes]) -> bool:
    kind = fields.get(b"content-type", b"")
    return kind == b"application/grpc" or kind.startswith((b"application/grpc+", b"application/grpc;"))


def fail(exchange: ServerExchange, error: RpcError) -> None:
    """Ends the call with the status of `error`; messages sent before stay as they are."""
    fields = grpc.trailers(grpc.Status(error.code, error.message, error.details))
    if not exchange.is_begun and exchange.trace is not None and exchange.trace.reply:
        exchange.begin_block(HEAD_BLOCK)
    if exchange.is_begun:
        exchange.finish(fields)
    else:
        exchange.send(b"", b"", (*HEAD, *fields))


def reply(exchange: ServerExchange, message: bytes) -> None:
    """Answers a call with one message and status OK."""
    exchange.send(HEAD_BLOCK, grpc.frame(message), OK_BLOCK)


def seconds(timeout: bytes) -> float:
    """What grpc-timeout says. Raises `RpcError`."""
    try:
        return grpc.decode_timeout(timeout)
    except ValueError as error:
        raise RpcError(Code.INTERNAL, str(error)) from None


async def read(exchange: ServerExchange, max_message: int) -> bytes:
    """The one message of a request. Raises `RpcError`."""
    reader = grpc.MessageReader(max_message, exchange.fields.get(b"grpc-encoding", b"identity"))
    messages: list[bytes] = []
    try:
        while len(messages) < 2 and (data := await exchange.body.read()):
            messages += reader.feed(data)
    except BodyError as error:
        raise RpcError(Code.CANCELLED, str(error)) from None
    if len(messages) != 1 or reader.incomplete:
        text = "unexpected EOF" if reader.incomplete and not reader.is_behind else "EOF"
        is_one = len(messages) < 2 and not reader.is_behind
        raise RpcError(Code.INTERNAL, text if is_one else "grpc: more than one message in a unary call")
    return messages[0]
