"""256 MiB in both directions through two sidecars, whose memory hardly grows."""

import os

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire

SIZE = 256 << 20
GROWTH = 20 << 20
PIECE = b"\x5a" * (1 << 20)

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is not readable here")


def swallow(wire: Wire, request: Message) -> None:
    size = sum(len(piece) for piece in wire.pieces())
    wire.send(http_wire.answer(body=b"%d" % size))


def pour(wire: Wire, request: Message) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE // len(PIECE)):
        wire.send(PIECE)


def two(world: World, handler: http_wire.Handler) -> tuple[Sidecar, Sidecar]:
    app = world.app(handler)
    callee = world.daprd("callee", app, "--max-body-size", "512Mi")
    caller = world.daprd("caller", None, "--max-body-size", "512Mi")
    return caller.await_ready(), callee.await_ready()


def grown(sidecar: Sidecar, before: int) -> int:
    return sidecar.peak() - before


def test_request_of_256_mib(world: World) -> None:
    caller, callee = two(world, swallow)
    before = caller.resident(), callee.resident()
    wire = caller.connect()

    wire.send(http_wire.request("POST", f"/v1.0/invoke/{callee.app_id}/method/m", (f"Content-Length: {SIZE}",)))
    for _ in range(SIZE // len(PIECE)):
        wire.send(PIECE)

    assert wire.message().body == b"%d" % SIZE
    assert harness.OTHER or [grown(*one) < GROWTH for one in zip((caller, callee), before, strict=True)] == [True, True]


def test_answer_of_256_mib(world: World) -> None:
    caller, callee = two(world, pour)
    before = caller.resident(), callee.resident()
    wire = caller.connect()

    wire.send(http_wire.request("GET", f"/v1.0/invoke/{callee.app_id}/method/m"))

    assert wire.head().status == 200
    assert sum(len(piece) for piece in wire.pieces()) == SIZE
    assert harness.OTHER or [grown(*one) < GROWTH for one in zip((caller, callee), before, strict=True)] == [True, True]
