"""Where a set of keys may be, and how it is kept fresh."""

import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pydapr import components
from pydapr.components.crypto import CryptoError
from pydapr.components.crypto.dapr_jwks import Jwks, Options

KEY = bytes(32)
Open = Callable[..., Jwks]


def key_set(*names: str) -> str:
    text = base64.urlsafe_b64encode(bytes(range(32))).decode()
    return json.dumps({"keys": [{"kty": "oct", "kid": name, "k": text} for name in names]})


@pytest.fixture
async def opened() -> AsyncIterator[list[Jwks]]:
    made: list[Jwks] = []
    yield made
    for one in made:
        await one.close()


async def opening(opened: list[Jwks], **given: str) -> Jwks:
    made = Jwks(components.read(Options, given))
    opened.append(made)
    await made.open()
    return made


async def knows(provider: Jwks, name: str) -> bool:
    try:
        wrapped = await provider.wrap(KEY, "A256KW", name)
    except CryptoError as error:
        assert str(error) == "failed to retrieve the key encryption key: key not found"
        return False
    return await provider.unwrap(wrapped, "A256KW", name) == KEY


class Server:
    """Serves a set, which may change."""

    def __init__(self) -> None:
        self.text, self.status, self.asked = key_set("a"), 200, threading.Semaphore(0)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(server.status)
                self.end_headers()
                self.wfile.write(server.text.encode())
                server.asked.release()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/keys"
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize(
    "encode", [lambda text: text, lambda text: base64.b64encode(text.encode()).decode().rstrip("=")]
)
async def test_the_set_itself(opened: list[Jwks], encode: Callable[[str], str]) -> None:
    provider = await opening(opened, jwks=encode(key_set("a", "b")))

    assert [await knows(provider, name) for name in ("a", "b", "c")] == [True, True, False]


async def test_a_file_is_read_again_when_it_changes(opened: list[Jwks], tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(key_set("a"))
    provider = await opening(opened, jwks=str(path))
    assert await knows(provider, "a")

    path.write_text('{"keys": [')
    assert await knows(provider, "a")
    path.write_text(key_set("b", "c"))
    assert [await knows(provider, name) for name in ("a", "b")] == [False, True]
    path.unlink()
    assert await knows(provider, "b")


async def test_a_url_is_asked_again_and_the_old_set_serves_meanwhile(opened: list[Jwks], server: Server) -> None:
    import asyncio

    provider = await opening(opened, jwks=server.url, minRefreshInterval="1s")
    assert await knows(provider, "a")
    server.status = 500
    assert server.asked.acquire(timeout=10)
    assert await asyncio.to_thread(server.asked.acquire, timeout=10)
    assert await knows(provider, "a")

    server.text, server.status = key_set("b"), 200
    async with asyncio.timeout(10):
        while not await knows(provider, "b"):  # noqa: ASYNC110  # a provider tells nobody
            await asyncio.sleep(0.01)
    assert not await knows(provider, "a")


@pytest.mark.parametrize("change", [{"status": 404}, {"text": "no"}])
async def test_a_url_without_a_set_cannot_be_opened(
    opened: list[Jwks], server: Server, change: dict[str, object]
) -> None:
    for name, value in change.items():
        setattr(server, name, value)

    with pytest.raises(OSError, match="failed to fetch JWKS"):
        await opening(opened, jwks=server.url)


@pytest.mark.parametrize("given", ["no such thing", "{}", "/no/file", "a\0b", "ftp://x/keys"])
async def test_what_is_no_set_is_refused(opened: list[Jwks], given: str) -> None:
    with pytest.raises(components.Wrong, match="jwks is no URL"):
        await opening(opened, jwks=given)
