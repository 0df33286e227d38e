"""Calling gRPC on a connection of `net.http2_pool`: one message each way, or streams of them both ways.

Used by clients of the control plane (`security.request`) and of pluggable components (`components.drivers.pluggable`);
what apps and sidecars are called by has its own ways.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from pydapr.errors import Code, RpcError
from pydapr.net import http2_client
from pydapr.net.body import BodyError
from pydapr.wire import grpc, hpack

MAX_MESSAGE = 4 << 20


async def call(
    connection: http2_client.ClientConnection,
    path: bytes,
    authority: str,
    message: bytes,
    seconds: float,
    with_tls: bool = True,
    metadata: Sequence[hpack.Header] = (),
    is_gzip: bool = False,
    max_message: int = MAX_MESSAGE,
) -> bytes:
    """The answer to `message`, which `is_gzip` or plain. Raises `RpcError`: `DEADLINE_EXCEEDED` when it is not there
    within `seconds`."""
    encoding = ((b"grpc-encoding", b"gzip"),) if is_gzip else ()
    timeout = (b"grpc-timeout", grpc.encode_timeout(seconds))
    block = _head(path, authority, with_tls, (timeout, *encoding, *metadata))
    request = connection.open(block, grpc.frame(message, is_gzip), True)
    try:
        async with asyncio.timeout(seconds):
            return await _answer(request, max_message)
    except TimeoutError:
        raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
    except BodyError as error:
        raise RpcError(Code.UNAVAILABLE, str(error)) from None
    finally:
        request.close()


class Stream:
    """A call with messages in both directions, as they come. All methods raise `RpcError`; `close` ends any of it."""

    def __init__(
        self,
        connection: http2_client.ClientConnection,
        path: bytes,
        authority: str,
        with_tls: bool = True,
        metadata: Sequence[hpack.Header] = (),
        max_message: int = MAX_MESSAGE,
    ) -> None:
        self._request = connection.open(_head(path, authority, with_tls, metadata), b"", False)
        self._reader: grpc.MessageReader | None = None
        self._received: deque[bytes] = deque()
        self._max = max_message
        self._turn = asyncio.Lock()
        """The connection takes one writer of a stream at a time."""

    async def send(self, message: bytes) -> None:
        """Returns when there is room for more."""
        await self._write(grpc.frame(message), False)

    async def end(self) -> None:
        """Says that nothing more is sent; the other side may go on."""
        await self._write(b"", True)

    async def receive(self) -> bytes | None:
        """The next message; None when the other side has ended well. It is safe to cancel this."""
        while not self._received:
            try:
                if self._reader is None:
                    self._reader = await _reader(self._request, self._max)
                if self._reader.is_behind:
                    self._received += self._reader.feed(b"")
                    continue
                data = await self._request.body.read()
            except BodyError as error:
                raise RpcError(Code.UNAVAILABLE, str(error)) from None
            if not data:
                _check_end(self._request)
                return None
            self._received += self._reader.feed(data)
        return self._received.popleft()

    def close(self) -> None:
        """Gives the call up, unless it is over."""
        self._request.close()

    async def _write(self, data: bytes, is_last: bool) -> None:
        async with self._turn:
            try:
                await self._request.write(data, is_last)
            except BodyError as error:
                raise RpcError(Code.UNAVAILABLE, str(error)) from None


def _head(path: bytes, authority: str, with_tls: bool, more: Sequence[hpack.Header]) -> bytes:
    return hpack.encode(
        (
            (b":method", b"POST"),
            (b":scheme", b"https" if with_tls else b"http"),
            (b":path", path),
            (b":authority", authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"pydapr"),
            (b"te", b"trailers"),
            *more,
        )
    )


async def _reader(request: http2_client.Request, max_message: int) -> grpc.MessageReader:
    """What finds the messages of an answer, once its head is here. Raises `RpcError`, `BodyError`."""
    head = dict(await request.head())
    status = int(head.get(b":status", b"0"))
    if status != 200:
        text = f"unexpected HTTP status code received from server: {status}"
        raise RpcError(grpc.code_of_http(status), text)
    return grpc.MessageReader(max_message, head.get(b"grpc-encoding", b"identity"))


def _check_end(request: http2_client.Request) -> None:
    """Raises `RpcError` unless the answer has ended well."""
    ended = grpc.status_of(request.trailers)
    if ended is None:
        raise RpcError(Code.INTERNAL, "server closed the stream without sending trailers")
    if ended.code != Code.OK:
        raise ended.error()


async def _answer(request: http2_client.Request, max_message: int) -> bytes:
    reader = await _reader(request, max_message)
    messages: list[bytes] = []
    while len(messages) < 2 and (data := await request.body.read()):
        messages += reader.feed(data)
    if len(messages) < 2:
        _check_end(request)
    if len(messages) != 1:
        raise RpcError(Code.INTERNAL, "cardinality violation: received no response message from unary RPC")
    return messages[0]
