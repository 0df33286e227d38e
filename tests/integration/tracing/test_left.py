"""Calls whose client has gone, or has let its time pass: their spans are errors, here as with the original."""

import os
import threading
from collections.abc import Iterator

import grpc
import pytest
from tests.integration import harness, http_wire
from tests.integration.collector import Collector, Span
from tests.integration.grpc_app import DAPR, GrpcApp, invocation
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire
from tests.integration.tracing.conftest import otlp

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "10"}
CLIENT, SERVER = 3, 2
PROGRAMS = {
    "ours": harness.OURS,
    **({"original": [os.path.join(harness.ORIGINAL, "daprd")]} if harness.ORIGINAL else {}),
}


class Slow:
    """An app over HTTP that answers when it is let."""

    def __init__(self) -> None:
        self.is_asked, self.may_go = threading.Event(), threading.Event()

    def handle(self, wire: Wire, request: Message) -> None:
        self.is_asked.set()
        self.may_go.wait(harness.LIMIT)
        wire.send(http_wire.answer())


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.may_go.set()


@pytest.fixture
def grpc_app() -> Iterator[GrpcApp]:
    made = GrpcApp()
    yield made
    made.close()


def started(world: World, collector: Collector, kind: str, app: object, *flags: str) -> Sidecar:
    flags = (*otlp(world, collector), *flags)
    port = app if isinstance(app, int) else world.app(app.handle).port if isinstance(app, Slow) else None
    return world.daprd("app", port, *flags, environment=FAST, program=PROGRAMS[kind]).await_ready()


def span(collector: Collector, name: str, kind: int = CLIENT) -> Span:
    harness.eventually(lambda: collector.named(name, kind), f"the span {name}")
    return collector.named(name, kind)[0]


@pytest.mark.parametrize("kind", list(PROGRAMS))
def test_a_client_over_http_that_leaves(world: World, collector: Collector, slow: Slow, kind: str) -> None:
    sidecar = started(world, collector, kind, slow)
    wire = sidecar.connect()
    wire.send(http_wire.request("GET", f"/v1.0/invoke/{sidecar.app_id}/method/slow"))
    assert slow.is_asked.wait(harness.LIMIT)
    wire.close()
    found = span(collector, f"CallLocal/{sidecar.app_id}/slow")
    assert (found.code, found.message) == (2, "Code(500): Internal Server Error")
    assert found.attributes["dapr.status_code"] == "500"


@pytest.mark.parametrize("kind", list(PROGRAMS))
def test_a_call_of_the_grpc_api_whose_time_is_over(world: World, collector: Collector, slow: Slow, kind: str) -> None:
    sidecar = started(world, collector, kind, slow)
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        invoke = channel.unary_unary(DAPR + "InvokeService")
        with pytest.raises(grpc.RpcError):
            invoke(invocation(sidecar.app_id, "slow"), timeout=1)
    found = span(collector, f"CallLocal/{sidecar.app_id}/slow")
    assert found.code == 2
    assert "context " in found.message


@pytest.mark.parametrize("kind", list(PROGRAMS))
def test_a_call_that_passes_through_and_is_cancelled(
    world: World, collector: Collector, grpc_app: GrpcApp, kind: str
) -> None:
    sidecar = started(world, collector, kind, grpc_app.port, "--app-protocol", "grpc")
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        call = channel.unary_unary("/my.Service/Hang").future(
            b"x", timeout=harness.LIMIT, metadata=(("dapr-app-id", sidecar.app_id),)
        )
        harness.eventually(lambda: grpc_app.request == b"x", "the app is asked")
        call.cancel()
        found = span(collector, "/my.Service/Hang", SERVER)
    assert (found.code, found.message) == (2, "context canceled")
