"""Methods with one request and one answer: bytes in, one await, bytes out. Used by the router for the faces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pydapr.api.grpc import errors
from pydapr.errors import Code, DaprError, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

Answer = Callable[[ServerExchange, bytes], Awaitable[bytes | None]]
"""From the request's bytes to those of the answer; None when it has replied itself. May raise `DaprError`."""


class Unary:
    """A method for `net.grpc_server`. `max_message` bounds the request."""

    def __init__(self, answer: Answer, max_message: int) -> None:
        self._answer = answer
        self._max_message = max_message

    async def __call__(self, exchange: ServerExchange) -> None:
        timeout = exchange.fields.get(b"grpc-timeout")
        if timeout is None:
            await self._reply(exchange)
            return
        try:
            async with asyncio.timeout(seconds(timeout)):
                await self._reply(exchange)
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None

    async def _reply(self, exchange: ServerExchange) -> None:
        try:
            message = await self._answer(exchange, await read(exchange, self._max_message))
        except DaprError as error:
            raise errors.rpc_error(error) from None
        if message is not None:
            grpc_server.reply(exchange, message)


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
        while data := await exchange.body.read():
            messages += reader.feed(data)
    except BodyError as error:
        raise RpcError(Code.CANCELLED, str(error)) from None
    if len(messages) != 1 or reader.incomplete:
        text = "unexpected EOF" if reader.incomplete else "EOF"
        raise RpcError(Code.INTERNAL, text if len(messages) < 2 else "grpc: more than one message in a unary call")
    return messages[0]


def decode(kind: "type[M]", data: bytes) -> "M":
    """The message in `data`. Raises `RpcError`."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
        raise RpcError(Code.INTERNAL, text) from None
