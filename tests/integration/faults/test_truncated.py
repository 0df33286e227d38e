"""(d) A peer that stops in the middle of a body: the client sees an answer that is not complete, or an error."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from tests.integration.faults.conftest import cut, over_grpc
from tests.integration.grpc_app import DAPR, GrpcApp, invocation
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Broken, Message, Wire, request

Channel = Callable[[Sidecar], Any]

ENDPOINT = """
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: outside}}
spec: {{baseUrl: "http://127.0.0.1:{port}"}}
"""


class Half:
    """An HTTP/2 server that answers each request with `head` and `part` and then stops: `close`, `reset` or `end`."""

    def __init__(self, head: list[tuple[str, str]], part: bytes, how: str, trailers: list[tuple[str, str]]) -> None:
        self._head, self._part, self._how, self._trailers = head, part, how, trailers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        talk.initiate_connection()
        with taken, contextlib.suppress(OSError):
            taken.sendall(talk.data_to_send())
            while data := taken.recv(65536):
                for event in talk.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self._answer(talk, event.stream_id)
                taken.sendall(talk.data_to_send())
                if self._how == "close" and talk.highest_inbound_stream_id:
                    return

    def _answer(self, talk: Any, stream: int) -> None:
        talk.send_headers(stream, self._head)
        talk.send_data(stream, self._part)
        if self._how == "reset":
            talk.reset_stream(stream, 2)
        elif self._how == "end":
            talk.send_headers(stream, self._trailers, end_stream=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def half() -> Iterator[Callable[..., Half]]:
    made: list[Half] = []

    def make(*what: Any) -> Half:
        made.append(Half(*what))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _breaks_off(wire: Wire, asked: Message) -> None:
    asked.body = b"".join(wire.pieces())
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo")
    wire.close()


@pytest.mark.parametrize("target", ["own", "remote", "outside"])
def test_chunks_that_break_off(world: World, target: str) -> None:
    app = world.app(_breaks_off)
    world.write("res/e.yaml", ENDPOINT.format(port=app.port))
    flags = ("--resources-path", str(world.folder / "res"))
    callee = world.sidecar("callee", None if target == "outside" else app, *flags)
    caller = world.sidecar("caller") if target == "remote" else callee
    wire = caller.connect()

    wire.send(request("GET", f"/v1.0/invoke/{'outside' if target == 'outside' else callee.app_id}/method/m"))

    assert cut(wire)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("length", [[], [("content-length", "10")]])
def test_data_of_http2_that_breaks_off(
    world: World, half: Callable[..., Half], how: str, length: list[tuple[str, str]]
) -> None:
    app = half([(":status", "200"), *length], b"hello", how, [])
    callee, caller = world.daprd("callee", app.port, "--app-protocol", "h2c"), world.sidecar("caller")
    callee.await_ready()
    for sidecar in (callee, caller):
        wire = sidecar.connect()
        wire.send(request("GET", f"/v1.0/invoke/{callee.app_id}/method/m"))

        assert cut(wire)


GRPC_HEAD = [(":status", "200"), ("content-type", "application/grpc")]
WHOLE = [("grpc-status", "0")]


@pytest.mark.parametrize("how", ["close", "reset", "end"])
def test_messages_of_grpc_that_break_off(world: World, channel: Channel, half: Callable[..., Half], how: str) -> None:
    app = half(GRPC_HEAD, b"\0\0\0\0\x64half", how, WHOLE)
    callee, caller = world.daprd("callee", app.port, "--app-protocol", "grpc"), world.sidecar("caller")
    callee.await_ready()

    for sidecar in (callee, caller):
        for method, data in (("/my.Service/M", b"x"), (DAPR + "InvokeService", invocation(callee.app_id, "m"))):
            error = over_grpc(channel(sidecar), method, data, callee.app_id)()
            assert error.partition(" ")[0] in ("UNAVAILABLE", "INTERNAL", "UNKNOWN"), (method, error)
        assert sidecar.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m").status >= 500


def test_an_answer_whose_sidecar_is_killed_breaks_off(world: World) -> None:
    def begins(wire: Wire, asked: Message) -> None:
        asked.body = b"".join(wire.pieces())
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.chunk(b"hello")

    callee, caller = world.sidecar("callee", world.app(begins)), world.sidecar("caller")
    wire = caller.connect()
    wire.send(request("GET", f"/v1.0/invoke/{callee.app_id}/method/m"))
    assert wire.head().status == 200
    assert wire.piece() == b"hello"

    callee.kill()

    with pytest.raises((Broken, ConnectionError)):
        wire.piece()


def test_a_stream_whose_sidecar_is_killed_is_unavailable(world: World, channel: Channel) -> None:
    app = GrpcApp()
    callee, caller = world.sidecar("callee", app.port, "--app-protocol", "grpc"), world.sidecar("caller")
    never = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"x"
        never.wait(20)

    stream = channel(caller).stream_stream("/my.Service/Each")(
        messages(), timeout=20, metadata=(("dapr-app-id", callee.app_id),)
    )
    assert next(stream) == b"x"

    callee.kill()

    with pytest.raises(grpc.RpcError) as failed:
        next(stream)
    never.set()
    app.close()
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
