"""Which protocol a connection gets, how many there may be, and how they end."""

import asyncio
import base64
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pydapr.net import files
from pydapr.net.exchange import Exchange, Handler
from pydapr.net.server import PREFACE, Server
from pydapr.wire import frames, http2

Net = Any
GET = b"GET /a HTTP/1.1\r\nHost: here\r\n"
SETTINGS = frames.settings([(frames.INITIAL_WINDOW_SIZE, 65535)])
UPGRADE = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
    + base64.urlsafe_b64encode(SETTINGS[9:]).rstrip(b"=")
    + b"\r\n\r\n"
)


class Client:
    """Reads what a server says in HTTP/2."""

    def __init__(self) -> None:
        self.bodies: dict[int, bytes] = {}
        self.resets: dict[int, http2.ErrorCode] = {}
        self.is_goaway = False

    def headers_received(self, stream: http2.Stream, headers: http2.Headers, end_stream: bool) -> None:
        self.bodies[stream.id] = b""

    def body_received(self, stream: http2.Stream, data: bytes, end_stream: bool) -> None:
        self.bodies[stream.id] += data

    def trailers_received(self, stream: http2.Stream, headers: http2.Headers) -> None: ...
    def stream_reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        self.resets[stream.id] = code

    def stream_writable(self, stream: http2.Stream) -> None: ...
    def pong_received(self, payload: bytes) -> None: ...
    def streams_available(self) -> None: ...
    def going_away(self, last_stream_id: int, code: http2.ErrorCode, debug: bytes) -> None:
        self.is_goaway = True


async def _read(raw: Any, h2: http2.Connection, until: Any) -> None:
    while not until():
        data = await asyncio.wait_for(raw.reader.read(65536), 10)
        assert data
        h2.receive(data)


async def test_a_preface_in_pieces_is_one(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    raw, client = await net.connect(), Client()
    h2 = http2.Connection(client, client=True)
    h2.start()
    h2.open_stream(((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"b")), True, None)
    for byte in h2.take_output():
        await raw.send(bytes((byte,)))
    await _read(raw, h2, lambda: client.bodies.get(1))
    assert client.bodies[1] == b"GET /a "


@pytest.mark.parametrize("begin", [b"P", b"PRI", PREFACE[:17]])
async def test_what_only_begins_like_a_preface_is_http1(net: Net, echo: Handler, begin: bytes) -> None:
    await net.serve(echo)
    raw = await net.connect()
    await raw.send(begin)
    answer = await raw.ask(b"OST / HTTP/1.1\r\nConnection: close\r\n\r\n" if begin == b"P" else b"X\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200" if begin == b"P" else b"HTTP/1.1 400")


async def test_a_server_of_one_protocol_refuses_the_other(net: Net, echo: Handler) -> None:
    await net.serve(echo, with_http2=False)
    assert (await net.ask(PREFACE + SETTINGS)).startswith(b"HTTP/1.1 4")
    await net.serve(echo, with_http1=False)
    assert await net.ask(GET + b"\r\n") == frames.settings(())


@pytest.mark.parametrize("is_split", [False, True])
async def test_an_upgrade_answers_its_request_on_stream_1(net: Net, echo: Handler, is_split: bool) -> None:
    await net.serve(echo, head_seconds=0.1)
    raw, client = await net.connect(), Client()
    if is_split:
        await raw.send(GET)
    await raw.send(UPGRADE if is_split else GET + UPGRADE)
    assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    h2 = http2.Connection(client, client=True)
    h2.start()
    stream = h2.open_stream((), True, None)  # stream 1, known to the server already
    h2.take_output()
    assert stream.id == 1
    await raw.send(PREFACE + SETTINGS)
    await _read(raw, h2, lambda: client.bodies.get(1))
    assert client.bodies[1] == b"GET /a "


@pytest.mark.parametrize(
    "request_",
    [
        GET + UPGRADE.replace(b"HTTP2-Settings: ", b"HTTP2-Settings: !"),
        GET + UPGRADE.replace(b", HTTP2-Settings\r\n", b"\r\n"),
        GET + UPGRADE.replace(b"HTTP2-Settings: ", b"X: "),
        GET.replace(b"1.1", b"1.0") + UPGRADE.replace(b"Upgrade,", b"Upgrade, keep-alive,"),
        GET + b"\r\n" + GET + UPGRADE,
    ],
)
async def test_an_upgrade_that_is_not_right_is_an_ordinary_request(net: Net, request_: bytes) -> None:
    later = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await later.wait()
        exchange.respond(200, (), await exchange.body.read_all())

    await net.serve(handle)
    raw = await net.connect()
    await raw.send(request_ + b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
    asyncio.get_running_loop().call_later(0.01, later.set)
    answer = await raw.rest()
    assert answer.count(b"HTTP/1.1 200") == request_.count(b"GET") + 1 and b"HTTP/1.1 101" not in answer


async def test_an_upgrade_with_a_body_is_an_ordinary_request(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    raw = await net.connect()
    await raw.send(b"POST /p HTTP/1.1\r\nContent-Length: 5\r\n" + UPGRADE + b"hello")
    assert (await raw.answer())[1] == b"POST /p hello"


async def test_connections_beyond_the_limit_are_closed(net: Net, echo: Handler) -> None:
    server: Server = await net.serve(echo, max_connections=2)
    kept = [await net.connect() for _ in range(2)]
    for raw in kept:
        await raw.send(GET + b"\r\n")
        await raw.answer()
    assert await net.ask(GET + b"\r\n") == b""
    for raw in kept:
        await raw.send(GET + b"Connection: close\r\n\r\n")
        assert b"200 OK" in await raw.rest()
    assert server.busy == 0


async def test_a_unix_socket_serves_and_goes_with_its_server(net: Net, echo: Handler, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server: Server = await net.serve(echo)
    await server.listen_unix(str(path))
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(GET + b"Connection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"GET /a ")
    writer.close()
    await server.stop(1)
    assert not path.exists()


async def test_a_dead_unix_socket_is_replaced_and_a_live_one_is_not(net: Net, echo: Handler, tmp_path: Path) -> None:
    import socket

    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    server: Server = await net.serve(echo)
    await server.listen_unix(path)
    with pytest.raises(OSError):
        await server.listen_unix(path)


async def test_a_stop_closes_idle_connections_at_once_and_lets_busy_ones_finish(net: Net) -> None:
    begun, later = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if exchange.target == b"/slow":
            begun.set()
            await later.wait()
        exchange.respond(200, (), exchange.target)

    server: Server = await net.serve(handle)
    silent, idle, busy = [await net.connect() for _ in range(3)]
    await idle.send(GET + b"\r\n")
    await idle.answer()
    await busy.send(b"GET /slow HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n")
    await begun.wait()
    stopping = asyncio.ensure_future(server.stop(10))
    assert await silent.rest() == await idle.rest() == b""
    later.set()
    answer = await busy.rest()
    assert answer.count(b"Connection: close") == answer.count(b"HTTP/1.1 200") == 1
    await stopping


async def test_a_stop_does_not_wait_longer_than_told(net: Net) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server: Server = await net.serve(handle)
    raw = await net.connect()
    await raw.send(GET + b"\r\n")
    await begun.wait()
    await asyncio.wait_for(server.stop(0.01), 5)
    await asyncio.wait_for(ended.wait(), 5)
    assert await raw.rest() == b""


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
@pytest.mark.parametrize("options", [["--http2"], ["--http2", "-d", "hello"], ["--http2-prior-knowledge", "-d", "hi"]])
async def test_curl_gets_its_answer_over_http2(net: Net, echo: Handler, options: list[str]) -> None:
    await net.serve(echo)
    url = f"http://127.0.0.1:{net.port}/a"
    answer = await asyncio.to_thread(subprocess.run, ["curl", "-sS", *options, url], capture_output=True)
    data = options[-1].encode() if "-d" in options else b""
    assert answer.stdout == (b"POST /a " + data if data else b"GET /a "), answer.stderr


@pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is not here")
@pytest.mark.parametrize("protocol", ["h2c", "http/1.1"])
async def test_h2load_gets_all_its_answers(net: Net, echo: Handler, protocol: str) -> None:
    await net.serve(echo)
    command = ["h2load", "-n500", "-c5", "-m10", f"-p{protocol}", f"http://127.0.0.1:{net.port}/"]
    answer = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    assert b"500 succeeded" in answer.stdout, answer.stdout


@pytest.mark.skipif(not shutil.which("nghttp"), reason="nghttp is not here")
@pytest.mark.parametrize("upgrade", [[], ["-u"]])
async def test_nghttp_gets_its_answer(net: Net, echo: Handler, upgrade: list[str]) -> None:
    await net.serve(echo)
    command = ["nghttp", *upgrade, f"http://127.0.0.1:{net.port}/a"]
    answer = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    assert answer.stdout.strip() == b"GET /a", answer.stderr


async def test_a_port_takes_its_share_of_the_files_that_there_may_be(
    net: Net, echo: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "allowed", lambda: 9)
    await net.serve(echo)
    kept = [await net.connect() for _ in range(2)]
    for raw in kept:
        await raw.send(GET + b"\r\n")
        await raw.answer()

    assert await net.ask(GET + b"\r\n") == b""


def test_a_process_may_have_as_many_files_as_the_system_gives_it() -> None:
    text = (
        "import resource; from pydapr.net import files; soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE); "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard)); files.allow(); print(files.allowed() == hard)"
    )
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout == b"True\n"
