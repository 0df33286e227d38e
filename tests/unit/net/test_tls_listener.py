"""Who connects over TLS and says nothing is in nobody's way, and is gone in the end."""

import asyncio
import contextlib
import ssl

import pytest
from tests.unit.security import issuing

from pydapr.net import server, tls_listener
from pydapr.net.exchange import Exchange
from pydapr.security import tls

LIMIT = 20.0


async def _ask(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


async def _answer(exchange: Exchange) -> None:
    exchange.respond(200, ())


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_of_many_that_say_nothing_the_oldest_go(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_listener.Listener.__init__, "__defaults__", (5,))
    issuer = issuing.Issuer()
    context = (await issuer.source("a")).server_context(with_client=False, protocols=("http/1.1",))
    one = server.Server(_answer, server.Options(tls=context))
    port = await one.listen("127.0.0.1", 0)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(one.stop, 0.0)
        silent = []
        for _ in range(12):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(said)
            silent.append(reader)
            assert b"200 OK" in await _ask(port, tls.client(issuer.anchors))
        async with asyncio.timeout(LIMIT):
            for reader in silent[:7]:  # before the time for handshakes is over
                with contextlib.suppress(ConnectionError):
                    await reader.read()


async def test_an_end_is_one_for_those_that_have_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = issuing.Issuer()
    one = server.Server(_answer, server.Options(tls=(await issuer.source("a")).server_context(with_client=False)))
    port = await one.listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0)

    await one.stop(0.0)

    async with asyncio.timeout(LIMIT / 4):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.close()
