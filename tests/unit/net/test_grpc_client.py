"""Calling gRPC: one message each way, and every way in which there is none."""

import asyncio
import shutil
import tempfile
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


# -- streams --


Open = Callable[[Handle], Awaitable[grpc_client.Stream]]


@pytest.fixture
async def stream() -> AsyncIterator[Open]:
    """Begins a call of a method, over a Unix domain socket."""
    servers: list[server.Server] = []
    folder = tempfile.mkdtemp()
    pool = http2_pool.Pool(dial.unix, http2.Limits())

    async def one(handle: Handle) -> grpc_client.Stream:
        serving = server.Server(grpc_server.Methods({PATH: handle}), server.Options(with_http1=False))
        servers.append(serving)
        path = f"{folder}/s{len(servers)}"
        await serving.listen_unix(path)
        return grpc_client.Stream(await pool.connection(path), PATH, "localhost", False)

    yield one
    pool.close()
    for serving in servers:
        await serving.stop(0)
    shutil.rmtree(folder)


async def echo(exchange: ServerExchange) -> None:
    """Answers each message by itself twice."""
    reader = grpc.MessageReader(1000)
    exchange.begin_block(grpc_server.HEAD_BLOCK)
    while data := await exchange.body.read():
        for message in reader.feed(data):
            await exchange.write(grpc.frame(message) * 2)
    exchange.finish(grpc.OK_TRAILERS)


async def test_messages_go_both_ways_as_they_come(stream: Open) -> None:
    opened = await stream(echo)

    for message in (b"a", b"", b"c" * 500):
        await opened.send(message)
        assert [await opened.receive(), await opened.receive()] == [message, message]
    await opened.end()

    assert await opened.receive() is None


async def test_several_may_send_at_a_time(stream: Open) -> None:
    opened = await stream(echo)
    messages = [b"%d" % number * 100 for number in range(20)]

    await asyncio.gather(*(opened.send(message) for message in messages))

    assert {await opened.receive() for _ in range(40)} == set(messages)
    opened.close()


async def test_receiving_that_is_cancelled_loses_nothing(stream: Open) -> None:
    opened = await stream(echo)
    receiving = asyncio.create_task(opened.receive())
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait((receiving,))

    await opened.send(b"x")

    assert await opened.receive() == b"x"
    opened.close()


async def test_a_stream_that_fails_raises_the_servers_error(stream: Open) -> None:
    async def handle(exchange: ServerExchange) -> None:
        raise RpcError(Code.NOT_FOUND, "no such topic")

    opened = await stream(handle)

    with pytest.raises(RpcError, match="code = NotFound desc = no such topic"):
        await opened.receive()
    with pytest.raises(RpcError):
        await opened.send(b"x")


async def test_a_stream_whose_server_goes_is_unavailable(stream: Open) -> None:
    async def handle(exchange: ServerExchange) -> None:
        exchange.begin_block(grpc_server.HEAD_BLOCK)
        exchange.half.connection.transport.abort()

    opened = await stream(handle)

    with pytest.raises(RpcError) as caught:
        await opened.receive()
    assert caught.value.code == Code.UNAVAILABLE
