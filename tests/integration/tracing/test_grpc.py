"""The trace of a gRPC call: of the API, of InvokeService, of calls that pass through; also beside the original."""

import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration import harness
from tests.integration.collector import Collector
from tests.integration.grpc_app import DAPR, GrpcApp, failure, invocation
from tests.integration.harness import Sidecar, World
from tests.integration.tracing.conftest import otlp

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "10"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CLIENT, SERVER = 3, 2
PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}
WAYS = ["ours-ours", *(["ours-original", "original-ours"] if harness.ORIGINAL else [])]


class Client:
    """Calls a sidecar's gRPC API."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")

    def call(self, path: str, data: bytes, *metadata: tuple[str, str]) -> dict[str, Any]:
        """The answer's metadata."""
        method = self.channel.unary_unary(path)
        _, answer = method.with_call(data, metadata=metadata, timeout=15)
        return {item.key: item.value for item in answer.initial_metadata()}


@pytest.fixture
def grpc_app() -> Iterator[GrpcApp]:
    made = GrpcApp()
    yield made
    made.close()


def started(world: World, collector: Collector, name: str, app: int | None, *flags: str, kind: str = "ours") -> Sidecar:
    flags = (*otlp(world, collector), *flags)
    return world.daprd(name, app, *flags, environment=FAST, program=PROGRAMS[kind]).await_ready()


def test_a_call_of_the_api_leaves_a_span(world: World, collector: Collector) -> None:
    client = Client(started(world, collector, "app", None))
    metadata = (("traceparent", PARENT), ("baggage", "k=v"), ("dapr-note", "mine"), ("dapr-api-token", "hush"))
    assert client.call(DAPR + "GetMetadata", b"", *metadata)["baggage"] == "k=v"
    harness.eventually(lambda: collector.named(DAPR + "GetMetadata", CLIENT), "the span")
    span = collector.named(DAPR + "GetMetadata", CLIENT)[0]
    assert (span.trace, span.parent) == (PARENT[3:35], PARENT[36:52])
    assert span.attributes == {"dapr-note": "mine", "dapr.api": DAPR + "GetMetadata", "dapr.protocol": "grpc"}


def test_a_stream_of_the_api_leaves_a_span(world: World, collector: Collector) -> None:
    sidecar = started(world, collector, "app", None)
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        call = channel.stream_stream(DAPR + "EncryptAlpha1")
        answers = call(iter([b""]), timeout=10, metadata=(("traceparent", PARENT), ("dapr-note", "mine")))
        with pytest.raises(grpc.RpcError) as error:
            list(answers)
    harness.eventually(lambda: collector.named(DAPR + "EncryptAlpha1", CLIENT), "the span")
    span = collector.named(DAPR + "EncryptAlpha1", CLIENT)[0]
    assert (span.trace, span.parent) == (PARENT[3:35], PARENT[36:52])
    assert span.attributes == {"dapr-note": "mine", "dapr.api": DAPR + "EncryptAlpha1", "dapr.protocol": "grpc"}
    assert (span.code, span.message) == (2, error.value.details())


def test_a_span_tells_what_the_request_is_about(world: World, collector: Collector) -> None:
    client = Client(started(world, collector, "app", None))
    request = b"\x0a\x05vault\x12\x03key"
    code, message = failure(lambda: client.call(DAPR + "GetSecret", request))
    harness.eventually(lambda: collector.named(DAPR + "GetSecret", CLIENT), "the span")
    span = collector.named(DAPR + "GetSecret", CLIENT)[0]
    assert (code, span.code, span.message) == ("FAILED_PRECONDITION", 2, message)
    assert span.attributes == {
        "dapr.api": DAPR + "GetSecret",
        "dapr.protocol": "grpc",
        "db.connection_string": "secrets",
        "db.name": "vault",
        "db.statement": DAPR + "GetSecret",
        "db.system": "secrets",
        "rpc.service": "Dapr",
    }


def test_a_span_tells_which_model_is_talked_to(world: World, collector: Collector) -> None:
    client = Client(started(world, collector, "app", None))
    for method in ("ConverseAlpha1", "ConverseAlpha2"):
        failure(lambda method=method: client.call(DAPR + method, b"\x0a\x04echo"))  # type: ignore[misc]
        harness.eventually(lambda method=method: collector.named(DAPR + method, CLIENT), "the span")  # type: ignore[misc]
        span = collector.named(DAPR + method, CLIENT)[0]
        assert span.attributes == {"dapr.api": DAPR + method, "dapr.protocol": "grpc", "rpc.system": "echo"}


def test_baggage_that_is_none_is_refused(world: World, collector: Collector) -> None:
    client = Client(started(world, collector, "app", None))
    told = failure(lambda: client.call(DAPR + "GetMetadata", b"", ("baggage", "nonsense")))
    assert told == ("INVALID_ARGUMENT", 'invalid baggage header: invalid baggage list-member: "nonsense"')


@pytest.mark.parametrize("way", WAYS)
def test_an_invocation_is_one_trace(world: World, collector: Collector, way: str, grpc_app: GrpcApp) -> None:
    first, _, second = way.partition("-")
    callee = started(world, collector, "callee", grpc_app.port, "--app-protocol", "grpc", kind=second)
    client = Client(started(world, collector, "caller", None, kind=first))

    def is_found() -> bool:
        try:
            client.call(DAPR + "InvokeService", invocation(callee.app_id, "first"))
            return True
        except grpc.RpcError:
            return False

    harness.eventually(is_found, "the caller finds the callee")
    told = client.call(DAPR + "InvokeService", invocation(callee.app_id, "hello"))["traceparent"]
    name = f"CallLocal/{callee.app_id}/hello"
    harness.eventually(lambda: collector.named(name, CLIENT) and collector.named(name, SERVER), "both spans")
    above, below = collector.named(name, CLIENT)[0], collector.named(name, SERVER)[0]
    assert told == f"00-{above.trace}-{above.id}-01"
    assert (below.trace, below.parent) == (above.trace, above.id)
    assert grpc_app.told("traceparent") == [f"00-{below.trace}-{below.id}-01"]
    assert above.attributes == {
        "dapr.api": DAPR + "InvokeService",
        "dapr.protocol": "grpc",
        "net.peer.name": callee.app_id,
        "rpc.service": "ServiceInvocation",
    }
    assert below.attributes == {
        "dapr.api": "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
        "dapr.invoke_method": "hello",
        "dapr.protocol": "grpc",
        "rpc.service": "ServiceInvocation",
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_passes_through_is_one_trace(
    world: World, collector: Collector, way: str, grpc_app: GrpcApp
) -> None:
    first, _, second = way.partition("-")
    callee = started(world, collector, "callee", grpc_app.port, "--app-protocol", "grpc", kind=second)
    client = Client(started(world, collector, "caller", None, kind=first))
    target = ("dapr-app-id", callee.app_id)

    def is_found() -> bool:
        try:
            client.call("/some.Service/First", b"x", target)
            return True
        except grpc.RpcError:
            return False

    harness.eventually(is_found, "the caller finds the callee")
    answer = client.call("/some.Service/Unary", b"x", target, ("traceparent", PARENT), ("baggage", "k=v"))
    assert answer["baggage"] == "k=v"
    name = "/some.Service/Unary"
    harness.eventually(lambda: collector.named(name, CLIENT) and collector.named(name, SERVER), "both spans")
    above, below = collector.named(name, CLIENT)[0], collector.named(name, SERVER)[0]
    assert (above.trace, above.parent) == (PARENT[3:35], PARENT[36:52])
    assert (below.trace, below.parent) == (above.trace, above.id)
    assert above.attributes == {"dapr-app-id": callee.app_id}
    assert set(below.attributes) == {"dapr-caller-app-id", "dapr-callee-app-id"}
    # The metadata have both, the client's and the caller's; the app's library keeps the last.
    assert grpc_app.told("traceparent") == [f"00-{above.trace}-{above.id}-01"]


def test_a_call_that_names_no_app_is_told_so(world: World, collector: Collector) -> None:
    client = Client(started(world, collector, "app", None))
    told = failure(lambda: client.call("/some.Service/Unary", b"x"))
    assert told == ("UNKNOWN", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata")
