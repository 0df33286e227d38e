"""Heads that are too large, and connections without number. Bodies are in `tests/integration/invoke/test_limits.py`,
messages of gRPC in `tests/integration/grpc`, the bound of connections in `tests/unit/net/test_server.py`."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from tests.integration.harness import Sidecar, World

TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n431 Request Header Fields Too Large"
)
GREW = 24 << 20


@pytest.fixture(scope="module")
def sidecar(shared_world: World) -> Sidecar:
    return shared_world.sidecar("app", shared_world.app())


def everything(client: socket.socket) -> bytes:
    """What comes until the sidecar closes."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % count for count in range(2000)) + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_head_beyond_the_buffer(sidecar: Sidecar, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.http), 30) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head)
        assert everything(client) == TOO_LARGE


def test_a_larger_buffer_takes_larger_heads(world: World) -> None:
    sidecar = world.sidecar("app", None, "--read-buffer-size", "64Ki")

    assert sidecar.call("GET", "/v1.0/healthz", "X: " + "x" * 60_000).status == 204


def test_a_head_without_end_costs_no_memory(sidecar: Sidecar) -> None:
    before = sidecar.resident()
    with socket.create_connection(("127.0.0.1", sidecar.http), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                client.sendall(b"x" * 65536)
    assert sidecar.resident() < before + GREW
    assert sidecar.status("/v1.0/healthz") == 204


@pytest.fixture
def crowd(sidecar: Sidecar) -> Iterator[list[socket.socket]]:
    """Clients that connect and say nothing."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            for port in (sidecar.http, sidecar.grpc, sidecar.internal)
            for _ in range(150)
        ]


def test_clients_that_say_nothing_are_in_nobodys_way(sidecar: Sidecar, crowd: list[socket.socket]) -> None:
    assert len(crowd) == 450
    assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200
