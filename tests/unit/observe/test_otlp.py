"""Who exports gives a connection up whose collector leaves an answer unfinished."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from pydapr.observe import otlp, tracing_zipkin
from pydapr.observe.tracing_batches import Failed

BRIEFLY, LIMIT = 0.2, 10.0

Export = Callable[[str], Awaitable[None]]


async def by_otlp(address: str) -> None:
    sender = otlp.HttpSender(otlp.Target(address, False, path="/v1/traces"))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BRIEFLY):
            await sender.send(b"x")


async def to_zipkin(address: str) -> None:
    with contextlib.suppress(Failed):
        await tracing_zipkin.Zipkin(f"http://{address}/spans", {}).export(())


@pytest.mark.parametrize("export", [by_otlp, to_zipkin])
async def test_an_answer_without_end_is_not_kept(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_zipkin, "TIMEOUT", LIMIT)
    piece, sent = b"10000\r\n" + bytes(65536) + b"\r\n", 0
    is_over = asyncio.Event()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 27:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        is_over.set()
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with contextlib.suppress(otlp.Refused):
            await export(f"127.0.0.1:{port}")
        await asyncio.wait_for(is_over.wait(), LIMIT)
    assert sent < 1 << 26


@pytest.mark.parametrize("export", [by_otlp, to_zipkin])
async def test_unfinished_answers_hold_no_connection(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_zipkin, "TIMEOUT", BRIEFLY)
    is_closed = asyncio.Event()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        is_closed.set()
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await export(f"127.0.0.1:{port}")
        await asyncio.wait_for(is_closed.wait(), LIMIT)
