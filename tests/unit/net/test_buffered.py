"""Reading TLS into one buffer: what arrives is whole and its own, and the ends of connections come through."""

import asyncio
import gc
import os
import ssl
import weakref

import pytest
from tests.unit.security import issuing

from pydapr.net import buffered, dial, http2_pool, server
from pydapr.net.exchange import Exchange
from pydapr.security import tls
from pydapr.wire import http2

LIMIT = 20.0


class Taker(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)


def test_a_piece_stays_as_it_is_when_the_next_one_comes() -> None:
    async def check() -> None:
        taker = Taker()
        between = buffered.Buffered(taker)
        for text in (b"first", b"second one", b""):
            view = between.get_buffer(-1)
            view[: len(text)] = text
            between.buffer_updated(len(text))
        assert taker.pieces == [b"first", b"second one", b""]
        between.pause_writing()
        between.resume_writing()
        assert taker.told == ["pause", "resume"]

    asyncio.run(check())


@pytest.mark.parametrize("size", [0, 1, buffered.SIZE - 1, buffered.SIZE, buffered.SIZE + 1, 1_000_000])
async def test_what_is_sent_arrives_whole_and_the_end_is_told(size: int) -> None:
    """Against asyncio's own TLS."""
    sent = os.urandom(size)
    issuer = issuing.Issuer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.close()

    context = (await issuer.source("a")).server_context(with_client=False)
    serving = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = serving.sockets[0].getsockname()[1]
    taker = Taker()
    await dial.address_by_tls(f"127.0.0.1:{port}", lambda: taker, tls.client(issuer.anchors))
    async with asyncio.timeout(LIMIT):
        await taker.lost
    assert b"".join(taker.pieces) == sent
    assert "eof" in taker.told
    serving.close()


async def test_a_server_over_tls_takes_bodies_of_any_size() -> None:
    issuer = issuing.Issuer()

    async def echo(exchange: Exchange) -> None:
        exchange.respond(200, (), await exchange.body.read_all())

    context = (await issuer.source("a")).server_context(with_client=False, protocols=("http/1.1",))
    one = server.Server(echo, server.Options(tls=context))
    port = await one.listen("127.0.0.1", 0)
    body = os.urandom(500_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client(issuer.anchors))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    assert answer.endswith(body)
    writer.close()
    await one.stop(0.0)


async def test_a_transport_that_is_closed_twice_is_lost_as_any_other() -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, ())

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    source = await issuing.Issuer().source("a")
    one = server.Server(handle, server.Options(with_http1=False, tls=source.server_context(with_client=True)))
    pool = http2_pool.Pool(tls.connector(source.client_context, lambda _: True), http2.Limits())
    connection = await pool.connection(f"127.0.0.1:{await one.listen('127.0.0.1', 0)}")
    connection.close()
    connection.transport.close()
    async with asyncio.timeout(LIMIT):
        await one.stop(None)
    assert connection.is_lost
    pool.close()
    assert not faults


async def test_a_lost_connection_leaves_nothing_of_openssl_to_the_garbage_collector() -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, ())

    kept: list[weakref.ref[ssl.SSLObject]] = []
    freed: asyncio.Queue[object] = asyncio.Queue()

    def welcomes(transport: asyncio.BaseTransport) -> bool:
        kept.append(weakref.ref(transport.get_extra_info("ssl_object"), freed.put_nowait))
        return True

    source = await issuing.Issuer().source("a")
    options = server.Options(with_http1=False, tls=source.server_context(with_client=True), welcomes=welcomes)
    one = server.Server(handle, options)
    pool = http2_pool.Pool(tls.connector(source.client_context, lambda _: True), http2.Limits())
    address = f"127.0.0.1:{await one.listen('127.0.0.1', 0)}"
    gc.disable()
    try:
        connection = await pool.connection(address)
        welcomes(connection.transport)
        shown = connection.transport.get_extra_info("peercert")
        connection.close()
        async with asyncio.timeout(LIMIT):
            await freed.get()
            await freed.get()
        assert connection.transport.is_closing()
        assert connection.transport.get_extra_info("peercert") == shown
    finally:
        gc.enable()
        pool.close()
        await one.stop(0.0)
