"""Reading TLS into one buffer: what arrives is whole and its own, and the ends of connections come through."""

import asyncio
import os

import pytest
from tests.unit.security import issuing

from pydapr.net import buffered, dial, server
from pydapr.net.exchange import Exchange
from pydapr.security import tls

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
