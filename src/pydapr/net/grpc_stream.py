"""One gRPC call on a server of ours whose requests, answers or both are several messages.

Used by `api.grpc`, `api.pluggable` and the control plane. `next` and `send` may be cancelled at any time: no message is
lost or sent in part, and the call can go on. What waits is bounded on both sides: unread requests by the body's room,
answers by the client's window, with one message beyond it. Several tasks may send, one reads.
"""

import asyncio
from collections import deque

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc


class Stream:
    """The messages that came, and those that go."""

    __slots__ = ("_exchange", "_reader", "_turn", "_waiting")

    def __init__(self, exchange: ServerExchange, max_message: int) -> None:
        """`max_message` bounds each message of the client, in bytes."""
        self._exchange = exchange
        self._reader = grpc.MessageReader(max_message, exchange.fields.get(b"grpc-encoding", b"identity"))
        self._waiting: deque[bytes] = deque()
        self._turn = asyncio.Lock()
        """One writer at a time: of two that wait for the same room, the end of one would be that of the other."""

    async def next(self) -> bytes | None:
        """The next message, None when the client has no more. Raises `RpcError`."""
        while not self._waiting:
            if self._reader.is_behind:
                self._waiting.extend(self._reader.feed(b""))
                continue
            try:
                data = await self._exchange.body.read()
            except BodyError as error:
                raise RpcError(Code.CANCELLED, str(error)) from None
            if not data:
                if self._reader.incomplete:
                    raise RpcError(Code.INTERNAL, "unexpected EOF")
                return None
            self._waiting.extend(self._reader.feed(data))
        return self._waiting.popleft()

    async def send(self, message: bytes) -> None:
        """Sends a message; waits while the client does not keep up. Raises `Disconnected` when it has gone."""
        await self.send_frame(grpc.frame(message))

    async def send_frame(self, frame: bytes) -> None:
        """As `send`, with what `wire.grpc.frame` made of a message: for one that goes to many."""
        async with self._turn:
            self.begin()
            await self._exchange.write(frame)

    def begin(self) -> None:
        """Tells the client that an answer comes."""
        if not self._exchange.is_begun:
            self._exchange.begin_block(grpc_server.HEAD_BLOCK)

    def finish(self) -> None:
        """Ends the call with status OK. It ends with another by an `RpcError` that the method raises."""
        self.begin()
        self._exchange.finish(grpc.OK_TRAILERS)
