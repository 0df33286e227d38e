"""(c) Peers that accept and never answer, and machines that disappear: what bounds a call, and that nothing leaks."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tests.integration import harness, http_wire
from tests.integration.faults.conftest import Mute, always_at, open_files, over_grpc
from tests.integration.grpc_app import DAPR, GrpcApp, invocation
from tests.integration.harness import Sidecar, World

Channel = Callable[[Sidecar], Any]
CALLS = 200

ENDPOINT = """
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: {name}}}
spec: {{baseUrl: "{url}"}}
"""

IMPATIENT = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r}
spec:
  policies: {timeouts: {short: 500ms}}
  targets: {apps: {patient: {timeout: short}, callee: {timeout: short}}}
"""


def _given_up(caller: Sidecar, url: str, mute: Mute) -> None:
    """Many calls that their clients give up, when half of them have reached the peer."""
    before = len(mute.held)
    for _ in range(CALLS):
        caller.connect().send(http_wire.request("POST", url, body=b"x" * 1000))
    harness.eventually(lambda: len(mute.held) >= before + CALLS // 2, "calls arrive")
    caller.disconnect()


@pytest.mark.parametrize("target", ["app", "endpoint"])
def test_calls_that_clients_give_up_leave_nothing_behind(world: World, mute: Mute, target: str) -> None:
    world.write("res/e.yaml", ENDPOINT.format(name="slow", url=f"http://127.0.0.1:{mute.port}"))
    callee = world.daprd("callee", mute.port) if target == "app" else world.sidecar("callee")
    # It asks the app for its configuration first, and waits for that.
    harness.eventually(lambda: target != "app" or mute.held, "the app is asked")
    caller = world.sidecar("caller", None, "--resources-path", str(world.folder / "res"))
    url = f"/v1.0/invoke/{callee.app_id if target == 'app' else 'slow'}/method/m"
    _given_up(caller, url, mute)
    harness.eventually(lambda: mute.count_open() <= 1, "they are given up to the last")
    files, memory = open_files(callee) + open_files(caller), callee.resident() + caller.resident()

    for _ in range(4):
        _given_up(caller, url, mute)
    harness.eventually(lambda: mute.count_open() <= 1, "those are given up as well")

    harness.eventually(lambda: open_files(callee) + open_files(caller) <= files + 2, "files are closed")
    assert callee.resident() + caller.resident() < memory + 16_000_000


@pytest.mark.parametrize("target", ["callee", "patient"])
def test_a_timeout_of_resiliency_bounds_the_call(world: World, mute: Mute, target: str) -> None:
    world.write("res/r.yaml", IMPATIENT.replace("callee", world.app_id("callee")))
    world.write("res/e.yaml", ENDPOINT.format(name="patient", url=f"http://127.0.0.1:{mute.port}"))
    world.daprd("callee", mute.port)
    harness.eventually(lambda: mute.held, "the app is asked")
    caller = world.sidecar("caller", None, "--resources-path", str(world.folder / "res"))
    app_id = target if target == "patient" else world.app_id("callee")

    reply = caller.call("GET", f"/v1.0/invoke/{app_id}/method/m")

    assert reply.status == 500
    assert "context deadline exceeded" in json.loads(reply.body)["message"]


def test_a_sidecar_port_that_never_answers_is_an_error_until_it_does(world: World, channel: Channel) -> None:
    silent = Mute(harness.free_port())
    caller = world.sidecar("caller", None, *always_at(world, silent.port))
    ask = over_grpc(channel(caller), "/my.Service/Unary", b"x", "1", timeout=25)

    with ThreadPoolExecutor(20) as several:
        errors = list(several.map(lambda _: ask(), range(20)))
    replies = [caller.call("GET", "/v1.0/invoke/1/method/m") for _ in range(2)]
    silent.close()
    app = GrpcApp()
    flags = ("--app-id", "1", "--dapr-internal-grpc-port", str(silent.port), "--app-protocol", "grpc")
    world.sidecar("callee", app.port, *flags)
    harness.eventually(lambda: not ask(), "calls succeed")
    app.close()

    assert {error.partition(" ")[0] for error in errors} == {"UNAVAILABLE"}
    assert f"dial tcp 127.0.0.1:{silent.port}: i/o timeout" in errors[0]
    assert {reply.status for reply in replies} == {500}


class Relay:
    """Carries bytes between a caller and a port until it `is_hole`: from then on everything disappears in it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.is_hole = False
        self._held: list[socket.socket] = []
        self._start(self._accept)

    @staticmethod
    def _start(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            self._held.append(one)
            if not self.is_hole:
                other = socket.create_connection(("127.0.0.1", self._target))
                self._held.append(other)
                self._start(lambda one=one, other=other: self._carry(one, other))  # type: ignore[misc]
                self._start(lambda one=one, other=other: self._carry(other, one))  # type: ignore[misc]

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.is_hole:
                    target.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for one in [self._listening, *self._held]:
            one.close()


@pytest.fixture
def grpc_app() -> Iterator[GrpcApp]:
    made = GrpcApp()
    yield made
    made.close()


@pytest.mark.skipif(bool(harness.OTHER), reason="the names are ours")
def test_calls_in_flight_on_a_machine_that_is_gone_end(world: World, channel: Channel, grpc_app: GrpcApp) -> None:
    """No farewell comes from it, not even a reset of the connection: only silence tells, on both sides."""
    callee = world.sidecar("callee", grpc_app.port, "--app-id", "1", "--app-protocol", "grpc")
    relay = Relay(callee.internal)
    caller = world.sidecar("caller", None, *always_at(world, relay.port))
    to_caller = channel(caller)
    ask = over_grpc(to_caller, "/my.Service/Unary", b"x", "1")
    harness.eventually(lambda: not ask(), "calls succeed")
    hanging = to_caller.unary_unary("/my.Service/Hang").future(b"x", timeout=60, metadata=(("dapr-app-id", "1"),))
    stream = to_caller.stream_stream("/my.Service/Each")(_open_ended(), timeout=60, metadata=(("dapr-app-id", "1"),))
    assert next(stream) == b"x"
    harness.eventually(lambda: grpc_app.request == b"x", "the call has reached the app")

    relay.is_hole = True
    began = time.monotonic()
    codes = [hanging.exception(timeout=50).code(), _code(lambda: next(stream))]
    took = time.monotonic() - began
    harness.eventually(grpc_app.was_cancelled.is_set, "the callee has cancelled the call in its app", 40)
    refused = over_grpc(to_caller, DAPR + "InvokeService", invocation("1", "m"), "1", timeout=30)()
    relay.close()

    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2
    assert took < 40
    assert "keepalive ping" in hanging.exception().details()
    assert refused


def _open_ended() -> Iterator[bytes]:
    yield b"x"
    threading.Event().wait(60)


def _code(call: Callable[[], object]) -> Any:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("the call succeeded")
