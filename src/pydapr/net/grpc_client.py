"""Calling gRPC: one message each way, on a connection of `net.http2_pool`.

Used by clients of the control plane (`security.request`); what apps and sidecars are called by has its own ways.
"""

import asyncio
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
) -> bytes:
    """The answer to `message`, which `is_gzip` or plain. Raises `RpcError`: `DEADLINE_EXCEEDED` when it is not there
    within `seconds`."""
    block = hpack.encode(
        (
            (b":method", b"POST"),
            (b":scheme", b"https" if with_tls else b"http"),
            (b":path", path),
            (b":authority", authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"pydapr"),
            (b"te", b"trailers"),
            (b"grpc-timeout", grpc.encode_timeout(seconds)),
            *(((b"grpc-encoding", b"gzip"),) if is_gzip else ()),
            *metadata,
        )
    )
    request = connection.open(block, grpc.frame(message, is_gzip), True)
    try:
        async with asyncio.timeout(seconds):
            return await _answer(request)
    except TimeoutError:
        raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
    except BodyError as error:
        raise RpcError(Code.UNAVAILABLE, str(error)) from None
    finally:
        request.close()


async def _answer(request: http2_client.Request) -> bytes:
    head = dict(await request.head())
    status = int(head.get(b":status", b"0"))
    if status != 200:
        text = f"unexpected HTTP status code received from server: {status}"
        raise RpcError(grpc.code_of_http(status), text)
    reader = grpc.MessageReader(MAX_MESSAGE, head.get(b"grpc-encoding", b"identity"))
    messages: list[bytes] = []
    while data := await request.body.read():
        messages += reader.feed(data)
    ended = grpc.status_of(request.trailers)
    if ended is None:
        raise RpcError(Code.INTERNAL, "server closed the stream without sending trailers")
    if ended.code != Code.OK:
        raise ended.error()
    if len(messages) != 1:
        raise RpcError(Code.INTERNAL, "cardinality violation: received no response message from unary RPC")
    return messages[0]
