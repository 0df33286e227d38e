"""gRPC calls that pass through, under policies of the caller."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tests.integration import harness
from tests.integration.grpc_app import GrpcApp, failure
from tests.integration.harness import Sidecar, World

POLICIES = """kind: Resiliency
apiVersion: dapr.io/v1alpha1
metadata: {name: mine}
spec:
  policies:
    timeouts: {short: 250ms}
    retries:
      again: {duration: 1ms, maxRetries: 2}
      aborted: {duration: 1ms, maxRetries: 2, matching: {gRPCStatusCodes: "10"}}
      notFound: {duration: 1ms, maxRetries: 2, matching: {gRPCStatusCodes: "1-9,11-16"}}
      patient: {duration: 20ms, maxRetries: -1}
    circuitBreakers: {cb: {trip: consecutiveFailures >= 2, timeout: 60s}}
  targets: {apps: {CALLEE: {%s}}}
"""


class Moody(GrpcApp):
    """Aborts `failures` calls before it answers well; `tries` counts the calls."""

    def __init__(self, port: int = 0) -> None:
        self.failures = 0
        self.tries = 0
        super().__init__(port)

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        self.tries += 1
        if self.tries <= self.failures:
            call.set_trailing_metadata((("x-try", str(self.tries)),))
            call.abort(grpc.StatusCode.ABORTED, "not now")
        return super()._unary(kind, data, call)


@dataclass
class Pair:
    """Calls the app of `callee` through `caller`, which has the policies."""

    caller: Sidecar
    callee: Sidecar
    app: Moody
    channel: Any

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("dapr-app-id", self.callee.app_id),)

    def unary(self, data: bytes = b"data", method: str = "Unary", timeout: float = 20) -> bytes:
        call = self.channel.unary_unary(f"/my.Service/{method}")
        return bytes(call(data, timeout=timeout, metadata=self.metadata))

    def failure(self, method: str = "Unary", timeout: float = 20) -> tuple[str, str]:
        return failure(lambda: self.unary(method=method, timeout=timeout))

    def stream(self, messages: Iterator[bytes], *metadata: tuple[str, str]) -> Any:
        call = self.channel.stream_stream("/my.Service/Each")
        return call(messages, timeout=20, metadata=(*self.metadata, *metadata))


Guard = Callable[[str], Pair]


@pytest.fixture
def guard(world: World) -> Iterator[Guard]:
    """Two sidecars; the caller has `policies` for the callee."""
    made: list[Pair] = []

    def make(policies: str) -> Pair:
        app = Moody()
        text = (POLICIES % policies).replace("CALLEE", world.app_id("callee"))
        world.write("resources/resiliency.yaml", text)
        callee = world.daprd("callee", app.port, "--app-protocol", "grpc")
        caller = world.sidecar("caller", None, "--resources-path", str(world.folder / "resources"))
        channel = grpc.insecure_channel(f"127.0.0.1:{caller.grpc}")
        made.append(Pair(caller, callee.await_ready(), app, channel))
        return made[-1]

    yield make
    for pair in made:
        pair.channel.close()
        pair.app.close()


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_a_failing_call_is_made_again_until_it_succeeds(guard: Guard, size: int) -> None:
    pair = guard("retry: again")
    pair.app.failures = 2

    assert pair.unary(b"x" * size) == b"x" * size
    assert pair.app.tries == 3
    line = f"endpoint[{pair.callee.app_id}, {pair.callee.app_id}:/my.Service/Unary]"
    pair.caller.await_log(f"Recovered processing operation {line} after 3 attempts")


@pytest.mark.parametrize(("retries", "tries"), [("again", 3), ("aborted", 3), ("notFound", 1)])
def test_the_last_failure_is_the_apps_own(guard: Guard, retries: str, tries: int) -> None:
    pair = guard(f"retry: {retries}")
    pair.app.failures = 9

    with pytest.raises(grpc.RpcError) as error:
        pair.unary()

    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.ABORTED, "not now")
    assert dict(error.value.trailing_metadata())["x-try"] == str(tries)
    assert pair.app.tries == tries


def test_a_call_that_takes_too_long_is_given_up_in_the_app_too(guard: Guard) -> None:
    pair = guard("timeout: short")

    assert pair.failure("Hang") == ("DEADLINE_EXCEEDED", "context deadline exceeded")
    assert pair.app.was_cancelled.wait(10)


def test_an_open_breaker_spares_the_method_and_no_other(guard: Guard) -> None:
    pair = guard("circuitBreaker: cb")
    pair.app.failures = 2

    assert [pair.failure(), pair.failure()] == [("ABORTED", "not now")] * 2
    assert pair.failure() == ("UNKNOWN", "circuit breaker is open")
    assert pair.app.tries == 2
    assert pair.unary(method="Other") == b"data"
    line = f'Circuit breaker "{pair.callee.app_id}:/my.Service/Unary" changed state from closed to open'
    assert line in pair.caller.messages()


def test_retries_and_streams_do_not_go_together(guard: Guard) -> None:
    pair = guard("retry: again")
    text = "cannot use resiliency policies with retries on streaming RPCs"

    assert list(pair.stream(iter([b"one"]))) == [b"one"]
    assert failure(lambda: list(pair.stream(iter([b"one", b"two"])))) == ("FAILED_PRECONDITION", text)


def test_a_stream_that_says_so_outlives_timeout_and_retries(guard: Guard) -> None:
    pair = guard("timeout: short, retry: again, circuitBreaker: cb")

    def messages() -> Iterator[bytes]:
        yield b"one"
        threading.Event().wait(0.6)
        yield b"two"

    assert list(pair.stream(messages(), ("dapr-stream", "true"))) == [b"one", b"two"]


@pytest.mark.parametrize("metadata", [(), (("dapr-stream", "1"),)])
def test_a_sidecar_that_comes_back_is_waited_for(
    guard: Guard, world: World, metadata: tuple[tuple[str, str], ...]
) -> None:
    pair = guard("retry: patient")
    assert pair.unary() == b"data"
    pair.callee.kill()
    answers: list[bytes] = []

    thread = threading.Thread(target=lambda: answers.extend(pair.stream(iter([b"one"]), *metadata)))
    thread.start()
    pair.caller.await_log("Retrying in 20ms")
    port = str(pair.callee.internal)
    world.daprd("callee", pair.app.port, "--app-protocol", "grpc", "--dapr-internal-grpc-port", port).await_ready()
    thread.join(harness.LIMIT)

    assert answers == [b"one"]


def test_the_clients_deadline_ends_the_tries(guard: Guard) -> None:
    pair = guard("retry: patient")
    pair.app.failures = 10**9

    assert pair.failure(timeout=0.3)[0] == "DEADLINE_EXCEEDED"
    assert pair.app.tries > 1


def test_the_callee_does_not_guard_its_own_app(world: World) -> None:
    app = Moody()
    app.failures = 1
    try:
        text = (POLICIES % "retry: again").replace("CALLEE", world.app_id("own"))
        world.write("resources/resiliency.yaml", text)
        flags = ("--app-protocol", "grpc", "--resources-path", str(world.folder / "resources"))
        sidecar = world.sidecar("own", app.port, *flags)
        with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
            call = channel.unary_unary("/my.Service/Unary")
            metadata = (("dapr-app-id", sidecar.app_id),)
            assert failure(lambda: call(b"", timeout=10, metadata=metadata)) == ("ABORTED", "not now")
    finally:
        app.close()
    assert app.tries == 1
