"""gRPC calls of any service that pass through sidecars to an app; also through the original's."""

import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.integration import harness
from tests.integration.grpc_app import GrpcApp, failure
from tests.integration.harness import Sidecar, World

Channel = Callable[[Sidecar], Any]
WAYS = ["own", "ours-ours", "ours-original", "original-ours"]
PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}


class Way:
    """A channel to the caller's API and the metadata that lead to the app."""

    def __init__(self, world: World, channel: Channel, app: GrpcApp, kind: str) -> None:
        first, _, second = kind.partition("-")
        callee_program = PROGRAMS[second or "ours"]
        self.callee = world.daprd("callee", app.port, "--app-protocol", "grpc", program=callee_program).await_ready()
        self.caller = self.callee
        if second:
            self.caller = world.daprd("caller", None, program=PROGRAMS[first]).await_ready()
        self.metadata = (("dapr-app-id", self.callee.app_id),)
        self.channel = channel(self.caller)
        harness.eventually(self._is_found, "the caller finds the callee")

    def _is_found(self) -> bool:
        try:
            return bool(self.unary("Unary", b"x") == b"x")
        except grpc.RpcError:
            return False

    def unary(self, method: str, data: bytes, *more: tuple[str, Any], timeout: float = 15) -> Any:
        call = self.channel.unary_unary(f"/my.Service/{method}")
        return call(data, timeout=timeout, metadata=(*self.metadata, *more))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, world: World, channel: Channel, grpc_app: GrpcApp) -> Way:
    if "original" in request.param and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    return Way(world, channel, grpc_app, request.param)


def test_calls_pass_as_they_are(way: Way, grpc_app: GrpcApp) -> None:
    assert way.unary("Unary", b"y" * 3_000_000, ("x-mine", "1"), ("z-bin", b"\0\xff")) == b"y" * 3_000_000

    assert (grpc_app.told("x-mine"), grpc_app.told("z-bin"), grpc_app.told("dapr-app-id")) == (["1"], [b"\0\xff"], [])
    is_remote = way.caller is not way.callee
    assert grpc_app.told("dapr-caller-app-id") == ([way.caller.app_id] if is_remote else [])
    assert grpc_app.told("dapr-callee-app-id") == ([way.callee.app_id] if is_remote else [])


def test_errors_and_trailers_pass(way: Way) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        way.unary("Fail", b"")

    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.ABORTED, "not now")
    assert dict(failed.value.trailing_metadata())["x-last"] == "2"


def test_streams_pass_message_by_message(way: Way) -> None:
    seen = threading.Semaphore(1)

    def messages() -> Iterator[bytes]:
        for number in range(30):
            assert seen.acquire(timeout=10)
            yield b"%d" % number

    answers = []
    for answer in way.channel.stream_stream("/my.Service/Each")(messages(), metadata=way.metadata, timeout=20):
        answers.append(answer)
        seen.release()
    assert answers == [b"%d" % number for number in range(30)]


def test_a_deadline_reaches_the_app(way: Way, grpc_app: GrpcApp) -> None:
    # An original on the way has the same deadline, and may say CANCELLED a moment before the client notices itself.
    assert failure(lambda: way.unary("Hang", b"", timeout=0.5))[0] in ("DEADLINE_EXCEEDED", "CANCELLED")
    assert grpc_app.was_cancelled.wait(10)


def test_giving_up_reaches_the_app(way: Way, grpc_app: GrpcApp) -> None:
    call = way.channel.unary_unary("/my.Service/Hang").future(b"", metadata=way.metadata)
    harness.eventually(lambda: grpc_app.request == b"", "the app has the call")
    threading.Event().wait(0.3)
    call.cancel()
    assert grpc_app.was_cancelled.wait(10)


def test_many_calls_at_once(way: Way) -> None:
    call = way.channel.unary_unary("/my.Service/Unary")
    futures = [call.future(b"%d" % number, metadata=way.metadata, timeout=30) for number in range(500)]
    assert [future.result() for future in futures] == [b"%d" % number for number in range(500)]


def test_tokens_do_not_pass_and_the_apps_own_is_added(world: World, channel: Channel, grpc_app: GrpcApp) -> None:
    environment = {"APP_API_TOKEN": "of-the-app", "DAPR_API_TOKEN": "of-dapr"}
    flags = ("--app-protocol", "grpc")
    sidecar = world.daprd("own", grpc_app.port, *flags, environment=environment).await_ready()
    metadata = (("dapr-app-id", sidecar.app_id), ("dapr-api-token", "of-dapr"))

    channel(sidecar).unary_unary("/my.Service/Unary")(b"", timeout=10, metadata=metadata)

    assert grpc_app.told("dapr-api-token") == ["of-the-app"]


def test_an_app_that_nobody_knows_is_unknown(world: World, channel: Channel) -> None:
    call = channel(world.sidecar("alone")).unary_unary("/my.Service/Unary")
    code, text = failure(lambda: call(b"", timeout=10, metadata=(("dapr-app-id", "nobody"),)))
    assert code == "UNKNOWN" and "nobody" in text


def test_an_app_without_grpc_is_unavailable(world: World, channel: Channel) -> None:
    class Http1(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Http1) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sidecar = world.sidecar("http", server.server_address[1])
        call = channel(sidecar).unary_unary("/my.Service/Unary")
        told = failure(lambda: call(b"", timeout=10, metadata=(("dapr-app-id", sidecar.app_id),)))
        server.shutdown()
    assert told[0] == "UNAVAILABLE"
