"""Our gRPC server, called by the client of grpcio."""

import asyncio
from typing import Any

import grpc
import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc as wire

Net = Any


async def _messages(exchange: ServerExchange) -> list[bytes]:
    reader, found = wire.MessageReader(1 << 24), []
    while data := await exchange.body.read():
        found += reader.feed(data)
    return found


async def _echo(exchange: ServerExchange) -> None:
    grpc_server.reply(exchange, b"".join(await _messages(exchange)))


async def _each(exchange: ServerExchange) -> None:
    exchange.begin_block(grpc_server.HEAD_BLOCK)
    for message in await _messages(exchange):
        await exchange.write(wire.frame(message))
    exchange.finish(((b"grpc-status", b"0"), (b"x-last", b"yes"), (b"x-bin", wire.encode_binary(b"\0\xff"))))


async def _fail(exchange: ServerExchange) -> None:
    if await _messages(exchange) == [b"late"]:
        exchange.begin_block(grpc_server.HEAD_BLOCK)
        await exchange.write(wire.frame(b"first"))
    raise RpcError(Code.NOT_FOUND, "none: ä\n%")


async def _crash(exchange: ServerExchange) -> None:
    exchange.abort()


async def _hang(exchange: ServerExchange) -> None:
    await asyncio.Event().wait()


METHODS = grpc_server.Methods(
    {b"/s/Echo": _echo, b"/s/Each": _each, b"/s/Fail": _fail, b"/s/Crash": _crash, b"/s/Hang": _hang}
)


async def _call(net: Net, what: Any) -> Any:
    """The result of `what(channel)`, which blocks, with a grpcio channel to a server of ours."""
    await net.serve(METHODS, with_http1=False)

    def run() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{net.port}") as channel:
            return what(channel)

    return await asyncio.wait_for(asyncio.to_thread(run), 20)


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
async def test_unary_calls_pass(net: Net, size: int) -> None:
    def call(channel: Any) -> bytes:
        return bytes(channel.unary_unary("/s/Echo")(b"x" * size, timeout=15))

    assert await _call(net, call) == b"x" * size


async def test_streams_pass_with_trailers_at_the_end(net: Net) -> None:
    def call(channel: Any) -> tuple[list[bytes], dict[str, Any]]:
        answer = channel.stream_stream("/s/Each")(iter([b"a" * 100_000] * 20), timeout=15)
        return list(answer), {item.key: item.value for item in answer.trailing_metadata()}

    messages, trailers = await _call(net, call)
    assert messages == [b"a" * 100_000] * 20
    assert trailers == {"x-last": "yes", "x-bin": b"\0\xff"}


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("/s/Fail", grpc.StatusCode.NOT_FOUND, "none: ä\n%"),
        ("/s/None", grpc.StatusCode.UNIMPLEMENTED, "unknown method None for service s"),
        ("/t/None", grpc.StatusCode.UNIMPLEMENTED, "unknown service t"),
        ("/s/Crash", grpc.StatusCode.INTERNAL, None),
        ("/s/Hang", grpc.StatusCode.DEADLINE_EXCEEDED, None),
    ],
)
async def test_errors_arrive_with_code_and_message(net: Net, method: str, code: Any, text: str | None) -> None:
    def call(channel: Any) -> Any:
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(method)(b"", timeout=0.5 if "Hang" in method else 15)
        return failed.value

    error = await _call(net, call)
    assert error.code() == code and text in (None, error.details())


async def test_an_error_after_messages_leaves_them(net: Net) -> None:
    def call(channel: Any) -> tuple[bytes, Any]:
        answer = channel.unary_stream("/s/Fail")(b"late", timeout=15)
        first = next(answer)
        with pytest.raises(grpc.RpcError):
            next(answer)
        return first, answer.code()

    assert await _call(net, call) == (b"first", grpc.StatusCode.NOT_FOUND)


async def test_what_is_not_grpc_is_answered_415(net: Net) -> None:
    await net.serve(METHODS)
    for kind in (b"text/plain", b"application/grpc-web"):
        head = b"POST /s/Echo HTTP/1.1\r\nContent-Type: %b\r\nConnection: close\r\n\r\n" % kind
        assert (await net.ask(head)).startswith(b"HTTP/1.1 415 ")
