"""Clients that begin something and take their time: each is sent away, all within the same quarter of a minute."""

import contextlib
import select
import socket
import time

from tests.integration.harness import World
from tests.wire import conftest as wire

from pydapr.net.server import PREFACE
from pydapr.wire import frames

LIMIT = 60.0
HTTP, GRPC, INTERNAL = "http", "grpc", "internal"
SETTLED = PREFACE + wire.settings()

BEGINNINGS = {
    "nothing, HTTP": (HTTP, b"", b""),
    "nothing, gRPC": (GRPC, b"", b""),
    "nothing, internal": (INTERNAL, b"", b""),
    "a line, and then a letter each second": (HTTP, b"GET / HTTP/1.1\r\nX: ", b"x"),
    "half a preface": (HTTP, PREFACE[:10], b""),
    "a preface, a letter each second": (GRPC, b"", PREFACE),
    "a preface and nothing else": (GRPC, PREFACE, b""),
    "half a frame": (INTERNAL, SETTLED + wire.settings()[:5], b""),
    "headers without an end": (GRPC, SETTLED + wire.frame(frames.HEADERS, 0, 1, b"\x82"), b""),
    "settings, and no answer to a ping": (HTTP, SETTLED, b""),
}
"""What is sent at once, and what letter by letter afterwards."""


def test_slow_clients_are_sent_away(world: World) -> None:
    sidecar = world.sidecar("app", world.app())
    clients = {}
    with contextlib.ExitStack() as stack:
        for name, (port, beginning, _) in BEGINNINGS.items():
            client = stack.enter_context(socket.create_connection(("127.0.0.1", getattr(sidecar, port)), 30))
            client.sendall(beginning)
            client.setblocking(False)
            clients[client] = name
        began = time.monotonic()
        count = 0
        while clients:
            assert time.monotonic() < began + LIMIT, f"still there: {sorted(clients.values())}"
            spoken, _, _ = select.select(list(clients), [], [], 1.0)
            for client in spoken:
                try:
                    data = client.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    del clients[client]
            for client, name in clients.items():
                rest = BEGINNINGS[name][2]
                with contextlib.suppress(OSError):
                    client.send(rest[count : count + 1] if len(rest) > 1 else rest)
            count += 1
        assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200
