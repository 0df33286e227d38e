"""Methods with one request and one answer."""

import asyncio
import gzip
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from pydapr.api.grpc.unary import Answer, Unary
from pydapr.errors import Code, RpcError, SecretDenied
from pydapr.net import grpc_server
from pydapr.net.body import Body
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc as wire

Client = Any
MAX = 1000


async def _echo(exchange: ServerExchange, data: bytes) -> bytes:
    return data


async def _replies(exchange: ServerExchange, data: bytes) -> int:
    exchange.send(b"", b"", (*grpc_server.HEAD, *wire.trailers(wire.Status(Code.ABORTED, "said so"))))
    return Code.ABORTED


async def _denied(exchange: ServerExchange, data: bytes) -> bytes:
    raise SecretDenied("not you")


async def _hangs(exchange: ServerExchange, data: bytes) -> bytes:
    await asyncio.Event().wait()
    return data


async def serve(client: Client, answer: Answer) -> list[int | None]:
    """Serves `answer` as `/s/M`; the list gets the status that each call ended with."""
    ended: list[int | None] = []
    method = Unary(answer, MAX)

    async def handle(exchange: ServerExchange) -> int | None:
        ended.append(await method(exchange))
        return ended[-1]

    await client.serve(grpc_server.Methods({b"/s/M": handle}))
    return ended


@pytest.mark.parametrize("size", [0, 1, MAX])
async def test_requests_are_answered(client: Client, size: int) -> None:
    ended = await serve(client, _echo)

    assert await client.unary("/s/M", b"x" * size) == b"x" * size
    assert ended == [Code.OK]


async def test_a_method_may_reply_by_itself(client: Client) -> None:
    ended = await serve(client, _replies)

    assert await client.error("/s/M") == ("ABORTED", "said so")
    assert ended == [Code.ABORTED]


async def test_errors_of_blocks_are_statuses(client: Client) -> None:
    await serve(client, _denied)

    assert await client.error("/s/M") == ("PERMISSION_DENIED", "not you")


async def test_deadlines_end_the_call(client: Client) -> None:
    await serve(client, _hangs)

    assert (await client.error("/s/M", deadline=0.2))[0] == "DEADLINE_EXCEEDED"


@pytest.mark.plain
@pytest.mark.parametrize("fields", [{}, {b"grpc-timeout": b"10S"}])
async def test_faults_are_statuses_and_no_deadlines(fields: dict[bytes, bytes]) -> None:
    async def answer(exchange: ServerExchange, data: bytes) -> bytes:
        raise TimeoutError("a disk")

    given = SimpleNamespace(fields=fields, body=Body.of(wire.frame(b"")), target=b"/s/M")
    with pytest.raises(RpcError, match="a disk") as error:
        await Unary(answer, MAX)(cast(ServerExchange, given))
    assert error.value.code == Code.UNKNOWN


async def test_deadlines_that_are_none_are_errors() -> None:
    exchange = cast(ServerExchange, SimpleNamespace(fields={b"grpc-timeout": b"soon"}))

    with pytest.raises(RpcError, match="malformed grpc-timeout") as error:
        await Unary(_echo, MAX)(exchange)
    assert error.value.code == Code.INTERNAL


async def test_large_requests_are_refused(client: Client) -> None:
    await serve(client, _echo)

    text = f"grpc: received message larger than max ({MAX + 1} vs. {MAX})"
    assert await client.error("/s/M", b"x" * (MAX + 1)) == ("RESOURCE_EXHAUSTED", text)


@pytest.mark.parametrize(("count", "text"), [(0, "EOF"), (2, "grpc: more than one message in a unary call")])
async def test_other_than_one_message_is_an_error(client: Client, count: int, text: str) -> None:
    await serve(client, _echo)

    def call(channel: Any) -> tuple[Any, str]:
        messages: Iterator[bytes] = iter([b""] * count)
        with pytest.raises(grpc.RpcError) as failed:
            channel.stream_unary("/s/M")(messages, timeout=10)
        return failed.value.code(), failed.value.details()

    assert await client.ask(call) == (grpc.StatusCode.INTERNAL, text)


async def test_compressed_requests_are_read(client: Client) -> None:
    await serve(client, _echo)

    def call(channel: Any) -> bytes:
        return bytes(channel.unary_unary("/s/M")(b"y" * MAX, timeout=10, compression=grpc.Compression.Gzip))

    assert len(gzip.compress(b"y" * MAX)) < MAX
    assert await client.ask(call) == b"y" * MAX
