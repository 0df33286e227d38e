"""Methods whose requests or answers are several messages. Used by the router for the faces."""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.api.grpc import errors
from pydapr.errors import Code, DaprError, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange

Answer = Callable[[Stream], Awaitable[None]]
"""Reads requests and sends answers, until it returns. May raise `DaprError`."""


class Streaming:
    """A method for `net.grpc_server`. `max_message` bounds each message of a request."""

    def __init__(self, answer: Answer, max_message: int) -> None:
        self._answer = answer
        self._max_message = max_message

    async def __call__(self, exchange: ServerExchange) -> int:
        timeout = exchange.fields.get(b"grpc-timeout")
        deadline = asyncio.timeout(grpc_server.seconds(timeout) if timeout is not None else None)
        try:
            async with deadline:
                return await self._carry_out(exchange)
        except TimeoutError:
            if deadline.expired():
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
            raise

    async def _carry_out(self, exchange: ServerExchange) -> int:
        stream = Stream(exchange, self._max_message)
        try:
            await self._answer(stream)
        except DaprError as error:
            raise errors.rpc_error(error) from None
        except (RpcError, BodyError):
            raise
        except Exception as fault:
            raise errors.unexpected(exchange.target, fault) from None
        stream.finish()
        return Code.OK
