"""Our sidecars and the original's in one mesh: each calls the other, found by mDNS, and gets equal answers.

Runs when PYDAPR_ORIGINAL names a folder with the original executables. What two originals say to each other is
the measure; the few differences that are meant are taken out of the comparison by name.
"""

import itertools
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Handler, Message, Wire, always, answer

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

WAYS = ["original-ours", "ours-original", "ours-ours"]
MEASURE = "original-original"

FRAMING = {"date", "transfer-encoding", "content-length"}
TAKEN_OUT = FRAMING | {"user-agent", "accept-encoding", "content-type"}
"""Framing is chosen anew on each hop; the original adds Go's own agent, and guesses content types."""


class Mesh:
    """A caller and a callee of each kind, the callees with one app."""

    def __init__(self, world: World) -> None:
        self.app = world.app()
        program = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}
        self.callers: dict[str, Sidecar] = {}
        self.callees: dict[str, Sidecar] = {}
        for kind, command in program.items():
            self.callers[kind] = world.daprd(f"caller-{kind}", None, program=command)
            self.callees[kind] = world.daprd(f"callee-{kind}", self.app, program=command)
        for sidecar in world.sidecars:
            sidecar.await_ready()
        for caller, callee in itertools.product(self.callers.values(), self.callees.values()):
            url = f"/v1.0/invoke/{callee.app_id}/method/hello"
            harness.eventually(
                lambda caller=caller, url=url: caller.call("GET", url).status == 200,  # type: ignore[misc]
                f"{caller.app_id} finds {callee.app_id}",
            )

    def serve(self, handler: Handler) -> None:
        self.app.handler = handler
        self.app.seen.clear()

    def ends(self, way: str) -> tuple[Sidecar, str]:
        """The caller, and the URL of the callee's method `m`."""
        caller, callee = way.split("-")
        return self.callers[caller], f"/v1.0/invoke/{self.callees[callee].app_id}/method/m"

    def call(self, way: str, verb: str, suffix: str = "", *headers: str, body: bytes | None = None) -> Message:
        caller, url = self.ends(way)
        return caller.call(verb, url + suffix, *headers, body=body)


@pytest.fixture(scope="module")
def mesh(shared_world: World) -> Mesh:
    return Mesh(shared_world)


@pytest.fixture(autouse=True)
def _disconnected(mesh: Mesh) -> Iterator[None]:
    yield
    for sidecar in mesh.callers.values():
        sidecar.disconnect()


def told(message: Message, way: str, mesh: Mesh) -> tuple[str, list[tuple[str, str]], bytes]:
    """What a message says, apart from names of sidecars and the differences that are meant."""

    def plain(text: str) -> str:
        caller, callee = way.split("-")
        text = text.replace(mesh.callers[caller].app_id, "CALLER").replace(mesh.callees[callee].app_id, "CALLEE")
        return text.replace(str(mesh.callees[callee].internal), "INTERNAL")

    headers = sorted((name, plain(value)) for name, value in message.headers if name.lower() not in TAKEN_OUT)
    start = message.start if message.start.startswith("HTTP/") else plain(message.start)
    return start, headers, plain(message.body.decode("latin-1")).encode("latin-1")


def both_told(mesh: Mesh, way: str, verb: str, *headers: str, body: bytes | None = None) -> list[object]:
    """What the app and the client are told."""
    mesh.app.seen.clear()
    reply = mesh.call(way, verb, "?q=1&q=a%20b", *headers, body=body)
    return [told(message, way, mesh) for message in (reply, *mesh.app.seen)]


HEADERS = [
    "X-Multi: a",
    "X-Multi: b",
    "Cookie: a=b",
    "X-Forwarded-For: 1.2.3.4",
    "grpc-x: 1",
    "dapr-y: 2",
    "Connection: X-Gone",
    "X-Gone: 1",
    "User-Agent: me",
    "Content-Type: text/x",
    "Authorization: Bearer x",
    "dapr-caller-app-id: evil",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_requests_are_equal(mesh: Mesh, way: str, verb: str) -> None:
    mesh.serve(http_wire.echo)
    body = None if verb == "GET" else b"\x00body\xff"

    assert both_told(mesh, way, verb, *HEADERS, body=body) == both_told(mesh, MEASURE, verb, *HEADERS, body=body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 500, 503])
def test_answers_are_equal(mesh: Mesh, way: str, status: int) -> None:
    fields = ["Set-Cookie: a=1", "Set-Cookie: b=2", "X-A: 1", "Location: /x", "grpc-z: 1", "Connection: X-B", "X-B: 1"]
    mesh.serve(always(answer(f"{status} Words", *fields, body=b'{"error":"text of the app"}')))

    assert both_told(mesh, way, "GET") == both_told(mesh, MEASURE, "GET")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_are_equal(mesh: Mesh, way: str, status: int) -> None:
    mesh.serve(always(b"HTTP/1.1 %d X\r\nX-A: 1\r\n\r\n" % status))

    assert both_told(mesh, way, "GET") == both_told(mesh, MEASURE, "GET")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000, 3_000_000])
def test_bodies_of_any_size(mesh: Mesh, way: str, size: int) -> None:
    mesh.serve(http_wire.echo)
    body = os.urandom(size)

    assert mesh.call(way, "POST", body=body).body == body


@pytest.mark.parametrize("way", WAYS)
def test_bodies_in_chunks(mesh: Mesh, way: str) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (3, 70_000, 1)) + b"0\r\n\r\n"

    def handle(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)

    mesh.serve(handle)

    assert mesh.call(way, "POST", "", "Transfer-Encoding: chunked", body=chunks).body == b"x" * 70_004
    assert mesh.app.last.body == b"x" * 70_004


@pytest.mark.parametrize("way", WAYS)
def test_events_arrive_one_by_one(mesh: Mesh, way: str) -> None:
    seen = threading.Semaphore(0)

    def handle(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            wire.chunk(b"data: %d\n\n" % number)
            assert seen.acquire(timeout=10)
        wire.chunk(b"")

    mesh.serve(handle)
    caller, url = mesh.ends(way)
    wire = caller.connect()
    wire.send(http_wire.request("GET", url, ("Accept: text/event-stream",)))

    head = wire.head()
    assert head.get("content-type") == "text/event-stream", wire.piece()
    for number in range(3):
        assert wire.piece() == b"data: %d\n\n" % number
        seen.release()
    assert wire.piece() == b""


@pytest.mark.parametrize("way", WAYS)
def test_refused_methods_are_equal(mesh: Mesh, way: str) -> None:
    replies = [told(mesh.call(one, "GET", "%00"), one, mesh) for one in (way, MEASURE)]

    assert replies[0] == replies[1]


@pytest.mark.parametrize("way", WAYS)
def test_many_calls_at_once(mesh: Mesh, way: str) -> None:
    mesh.serve(http_wire.echo)

    def one(number: int) -> bool:
        body = b"%d" % number * 100
        return mesh.call(way, "POST", body=body).body == body

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(one, range(200))) == [True] * 200


@pytest.mark.parametrize("kind", ["ours", "original"])
def test_unknown_apps_are_errors(mesh: Mesh, kind: str) -> None:
    reply = mesh.callers[kind].call("GET", "/v1.0/invoke/nobody/method/m")

    assert reply.status == 500
    assert "failed to invoke, id: nobody, err: couldn't find service: nobody" in json.loads(reply.body)["message"]


def test_app_that_is_gone_is_told_alike(world: World) -> None:
    """Last of all: the apps are closed here, and one callee is killed."""
    app = world.app()
    mesh = Mesh(world)
    app.close()
    mesh.app.close()
    base = f"127.0.0.1:{mesh.app.port}"

    replies = {way: told(mesh.call(way, "POST", body=b"x"), way, mesh) for way in (*WAYS, MEASURE)}

    assert f'Post \\"http://{base}/m\\": dial tcp {base}: connect: connection refused'.encode() in replies[MEASURE][2]
    assert [way for way in WAYS if replies[way] != replies[MEASURE]] == []
