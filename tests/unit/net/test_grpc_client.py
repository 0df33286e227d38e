"""Calling gRPC: one message each way, and every way in which there is none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, grpc_server, http2_pool, server
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc, http2

Handle = Callable[[ServerExchange], Awaitable[None]]
Call = Callable[[Handle], Awaitable[bytes]]

PATH = b"/x.Y/Z"


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    """Calls a method that is answered by the handler."""
    servers: list[server.Server] = []
    pool = http2_pool.Pool(dial.address, http2.Limits())

    async def one(handle: Handle) -> bytes:
        serving = server.Server(grpc_server.Methods({PATH: handle}), server.Options(with_http1=False))
        servers.append(serving)
        address = f"127.0.0.1:{await serving.listen('127.0.0.1', 0)}"
        connection = await pool.connection(address)
        return await grpc_client.call(connection, PATH, address, b"hello", 5.0, with_tls=False)

    yield one
    pool.close()
    for serving in servers:
        await serving.stop(0)


async def test_the_answer_to_a_message(call: Call) -> None:
    seen: dict[bytes, bytes] = {}

    async def handle(exchange: ServerExchange) -> None:
        seen.update(exchange.fields)
        grpc_server.reply(exchange, await grpc_server.read(exchange, 100) + b" world")

    assert await call(handle) == b"hello world"
    assert grpc.decode_timeout(seen[b"grpc-timeout"]) == 5.0
    assert seen[b"content-type"] == b"application/grpc"


async def test_an_error_is_the_servers(call: Call) -> None:
    async def handle(exchange: ServerExchange) -> None:
        raise RpcError(Code.PERMISSION_DENIED, "not you")

    with pytest.raises(RpcError, match="code = PermissionDenied desc = not you"):
        await call(handle)


async def test_an_answer_that_is_no_grpc(call: Call) -> None:
    async def handle(exchange: ServerExchange) -> None:
        exchange.respond(503, ())

    with pytest.raises(RpcError, match="unexpected HTTP status code received from server: 503") as failed:
        await call(handle)
    assert failed.value.code == Code.UNAVAILABLE


async def test_an_answer_without_a_status(call: Call) -> None:
    async def handle(exchange: ServerExchange) -> None:
        exchange.respond(200, ((b"content-type", b"application/grpc"),))

    with pytest.raises(RpcError, match="without sending trailers"):
        await call(handle)


async def test_an_answer_without_a_message(call: Call) -> None:
    async def handle(exchange: ServerExchange) -> None:
        exchange.begin(200, ((b"content-type", b"application/grpc"),))
        exchange.finish(grpc.OK_TRAILERS)

    with pytest.raises(RpcError, match="received no response message"):
        await call(handle)


async def test_a_connection_that_breaks(call: Call) -> None:
    async def handle(exchange: ServerExchange) -> None:
        exchange.half.connection.transport.abort()

    with pytest.raises(RpcError) as failed:
        await call(handle)
    assert failed.value.code == Code.UNAVAILABLE


async def test_an_answer_that_does_not_come() -> None:
    never = asyncio.Event()

    async def handle(exchange: ServerExchange) -> None:
        await never.wait()

    serving = server.Server(grpc_server.Methods({PATH: handle}), server.Options(with_http1=False))
    address = f"127.0.0.1:{await serving.listen('127.0.0.1', 0)}"
    pool = http2_pool.Pool(dial.address, http2.Limits())
    connection = await pool.connection(address)
    with pytest.raises(RpcError, match="context deadline exceeded") as failed:
        await grpc_client.call(connection, PATH, address, b"hello", 0.01, with_tls=False)
    assert failed.value.code == Code.DEADLINE_EXCEEDED
    pool.close()
    await serving.stop(0)
