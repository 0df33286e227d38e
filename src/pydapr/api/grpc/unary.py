"""Methods with one request and one answer: bytes in, one await, bytes out. Used by the router for the faces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pydapr.api.grpc import errors
from pydapr.errors import Code, DaprError, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.http2_server import ServerExchange

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

Answer = Callable[[ServerExchange, bytes], Awaitable[bytes | int]]
"""From the request's bytes to those of the answer, or the status when it has replied itself. May raise `DaprError`."""


class Unary:
    """A method for `net.grpc_server`. `max_message` bounds the request."""

    def __init__(self, answer: Answer, max_message: int) -> None:
        self._answer = answer
        self._max_message = max_message

    async def __call__(self, exchange: ServerExchange) -> int:
        timeout = exchange.fields.get(b"grpc-timeout")
        if timeout is None:
            return await self._reply(exchange)
        deadline = asyncio.timeout(grpc_server.seconds(timeout))
        try:
            async with deadline:
                return await self._reply(exchange)
        except TimeoutError:
            if deadline.expired():
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
            raise

    async def _reply(self, exchange: ServerExchange) -> int:
        try:
            answer = await self._answer(exchange, await grpc_server.read(exchange, self._max_message))
        except DaprError as error:
            raise errors.rpc_error(error) from None
        except (RpcError, BodyError):
            raise
        except Exception as fault:
            raise errors.unexpected(exchange.target, fault) from None
        if isinstance(answer, int):
            return answer
        grpc_server.reply(exchange, answer)
        return Code.OK


def decode(kind: "type[M]", data: bytes) -> "M":
    """The message in `data`. Raises `RpcError`."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
        raise RpcError(Code.INTERNAL, text) from None
