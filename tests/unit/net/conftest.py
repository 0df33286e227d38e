"""Both event loops for every test here, servers on free ports of the loopback, and clients that speak raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from pydapr.net import http1_client, pool
from pydapr.net.body import Body
from pydapr.net.dial import to
from pydapr.net.exchange import Exchange, Handler
from pydapr.net.server import Options, Server


def _debugged() -> asyncio.AbstractEventLoop:
    """asyncio's own loop, in debug mode."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": _debugged, "uvloop": uvloop.new_event_loop}


class Raw:
    """A client that sends bytes and reads what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(end), 10)

    async def exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), 10)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        pieces = []
        try:
            while piece := await asyncio.wait_for(self.reader.read(65536), 10):
                pieces.append(piece)
        except ConnectionError:
            pass
        return b"".join(pieces)

    async def ask(self, data: bytes) -> bytes:
        await self.send(data)
        return await self.rest()

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of an answer with Content-Length."""
        head = await self.until(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"Content-Length":
                return head, await self.exactly(int(value))
        return head, b""

    def close(self) -> None:
        self.writer.close()


class Net:
    """Makes servers and clients, and ends them."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.raw_servers: list[asyncio.Server] = []
        self.clients: list[Raw] = []
        self.pools: list[pool.Pool] = []
        self.port = 0

    async def serve(self, handler: Handler, **options: object) -> Server:
        server = Server(handler, Options(**options))  # type: ignore[arg-type]  # a test names what it means
        self.servers.append(server)
        self.port = await server.listen("127.0.0.1", 0)
        return server

    async def connect(self) -> Raw:
        client = Raw(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> bytes:
        """Sends `data` on a connection of its own; everything that comes back until it ends."""
        return await (await self.connect()).ask(data)

    async def serve_raw(self, script: Callable[[Raw], Awaitable[None]]) -> None:
        """A server that does what `script` says on each connection."""

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = Raw(reader, writer)
            self.clients.append(client)
            try:
                await script(client)
            except (asyncio.IncompleteReadError, ConnectionError):
                client.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        self.raw_servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    def pool(self, on_short: Callable[[int], None] | None = None) -> pool.Pool:
        made = pool.Pool(to("127.0.0.1", self.port), on_short)
        self.pools.append(made)
        return made

    async def get(self, target: bytes = b"/", on_short: Callable[[int], None] | None = None) -> http1_client.Response:
        return await self.pool(on_short).request(b"GET", target, [(b"host", b"here")], Body.of(b""))

    async def until(self, happens: Callable[[], object]) -> None:
        """Lets the loop turn until `happens` says so."""
        for _ in range(1_000_000):
            if happens():
                return
            await asyncio.sleep(0)
        raise AssertionError("it did not happen")

    async def close(self) -> None:
        for made in self.pools:
            made.close()
        for client in self.clients:
            client.close()
        for raw in self.raw_servers:
            raw.close()
        for server in self.servers:
            await server.stop(0)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net()
    yield made
    await made.close()


@pytest.fixture
def echo() -> Handler:
    """Answers with method, target and body."""

    async def handle(exchange: Exchange) -> None:
        body = await exchange.body.read_all()
        exchange.respond(200, (), b"%b %b %b" % (exchange.method, exchange.target, body))

    return handle
