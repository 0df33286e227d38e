"""An exchange that keeps its answer, and a handler at the end of the pipeline that keeps what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pydapr.components.middleware import Middleware
from pydapr.net.body import Body
from pydapr.net.exchange import Exchange, Header, Headers


class Asked(Exchange):
    """A request; `status`, `told` and `sent` are what was answered."""

    def __init__(
        self, target: bytes = b"/", headers: list[Header] | None = None, body: bytes = b"", method: bytes = b"GET"
    ) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers or [], Body.of(body)
        self.context, self.trace = (), None
        self.is_begun = self.is_finished = False
        self.status = 0
        self.told: dict[bytes, bytes] = {}
        self.sent = b""
        self.address = "192.0.2.1:4000"

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.begin(status, headers)
        self.sent += body
        self.is_finished = True

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        self.status, self.told = status, dict(headers)

    async def write(self, data: bytes) -> None:
        self.sent += data

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True

    def abort(self) -> None:
        self.status = -1

    @property
    def peer(self) -> str:
        return self.address


class End:
    """Echoes the body and keeps each exchange as it arrived."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        exchange.respond(200, [(b"content-type", b"text/plain")], await exchange.body.read_all())


@pytest.fixture
def end() -> End:
    return End()


Passing = Callable[[Middleware, Asked], Awaitable[Asked]]


@pytest.fixture
def passing(end: End) -> Passing:
    """Sends an exchange through a middleware to `end`, and gives it back."""

    async def through(middleware: Middleware, asked: Asked) -> Asked:
        await middleware.wrap(end)(asked)
        return asked

    return through


class Web:
    """A server on this machine: `pages` are status, content type and body by path; `asked` what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str, str]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
        body = (await reader.readexactly(length)).decode()
        path = head.split(" ")[1]
        self.asked.append((path, head, body))
        status, kind, text = self.pages.get(path, (404, "text/plain", ""))
        told = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}"
        writer.write(told.encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    made = Web()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    await server.wait_closed()
