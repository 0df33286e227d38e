"""Methods whose requests or answers are several messages. Used by the router for the faces."""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.api.grpc import errors
from pydapr.errors import Code, DaprError, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc

Answer = Callable[["Stream"], Awaitable[None]]
"""Reads requests and sends answers, until it returns. May raise `DaprError`."""


class Stream:
    """One call: the messages that came, and those that go."""

    def __init__(self, exchange: ServerExchange, max_message: int) -> None:
        self._exchange = exchange
        self._reader = grpc.MessageReader(max_message, exchange.fields.get(b"grpc-encoding", b"identity"))
        self._waiting: list[bytes] = []

    async def next(self) -> bytes | None:
        """The next message, None when the client has no more. Raises `RpcError`."""
        while not self._waiting:
            try:
                data = await self._exchange.body.read()
            except BodyError as error:
                raise RpcError(Code.CANCELLED, str(error)) from None
            if not data:
                if self._reader.incomplete:
                    raise RpcError(Code.INTERNAL, "unexpected EOF")
                return None
            self._waiting = self._reader.feed(data)
        return self._waiting.pop(0)

    async def send(self, message: bytes) -> None:
        """Sends a message; waits while the client does not keep up."""
        self.begin()
        await self._exchange.write(grpc.frame(message))

    def begin(self) -> None:
        """Tells the client that an answer comes."""
        if not self._exchange.is_begun:
            self._exchange.begin_block(grpc_server.HEAD_BLOCK)


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
        stream.begin()
        exchange.finish(grpc.OK_TRAILERS)
        return Code.OK
