"""The gRPC API of a sidecar: metadata, shutdown, tokens, limits, methods that are not there, reflection."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR, failure, invocation
from tests.integration.harness import Sidecar, World

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.runtime.v1 import metadata_pb2

Channel = Callable[[Sidecar], Any]
PROXY = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"


def test_metadata_are_told_and_set(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("meta")
    api = channel(sidecar)

    wanted = metadata_pb2.SetMetadataRequest(key="colour", value="blue").SerializeToString()
    assert api.unary_unary(DAPR + "SetMetadata")(wanted, timeout=10) == b""
    told = metadata_pb2.GetMetadataResponse.FromString(api.unary_unary(DAPR + "GetMetadata")(b"", timeout=10))

    assert told.id == sidecar.app_id and told.runtime_version == "1.18.3"
    assert told.extended_metadata["colour"] == "blue"
    assert told.actor_runtime.placement == "placement: disconnected"


@pytest.mark.parametrize(("force", "code"), [(False, 0), (True, 1)])
def test_shutdown_ends_the_process(world: World, channel: Channel, force: bool, code: int) -> None:
    sidecar = world.sidecar("end")
    metadata = (("dapr-force-shutdown", "true"),) if force else ()

    channel(sidecar).unary_unary(DAPR + "Shutdown")(b"", timeout=10, metadata=metadata)

    assert sidecar.exit_code() == code


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        (
            DAPR + "StartWorkflowBeta1",
            "UNIMPLEMENTED",
            "unknown method StartWorkflowBeta1 for service dapr.proto.runtime.v1.Dapr",
        ),
        (DAPR + "NoSuch", "UNKNOWN", PROXY),
        ("/my.Service/Method", "UNKNOWN", PROXY),
    ],
)
def test_what_is_not_there_is_an_error(
    shared_world: World, channel: Channel, method: str, code: str, text: str
) -> None:
    sidecar = shared_world.sidecars[0] if shared_world.sidecars else shared_world.sidecar("bare")

    assert failure(lambda: channel(sidecar).unary_unary(method)(b"", timeout=10)) == (code, text)


def test_a_token_is_asked_for(world: World, channel: Channel) -> None:
    sidecar = world.daprd("token", None, environment={"DAPR_API_TOKEN": "secret"}).await_ready()
    call = channel(sidecar).unary_unary(DAPR + "GetMetadata")

    assert failure(lambda: call(b"", timeout=10)) == ("UNAUTHENTICATED", "Unauthorized")
    assert failure(lambda: call(b"", timeout=10, metadata=(("dapr-api-token", "x"),)))[0] == "UNAUTHENTICATED"
    assert call(b"", timeout=10, metadata=(("dapr-api-token", "secret"),))


def test_requests_over_the_limit_are_refused(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("small", None, "--max-body-size", "1Mi")
    call = channel(sidecar).unary_unary(DAPR + "SetMetadata")

    assert failure(lambda: call(b"x" * 2_000_000, timeout=10)) == (
        "RESOURCE_EXHAUSTED",
        "grpc: received message larger than max (2000000 vs. 1048576)",
    )


def test_reflection_names_the_service(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("mirror")
    call = channel(sidecar).stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")

    answers = list(call(iter([b"\x3a\x01*", b"\x22\x1adapr.proto.runtime.v1.Dapr"]), metadata=(("dapr-app-id", "a"),)))

    assert b"dapr.proto.runtime.v1.Dapr" in answers[0] and b"dapr/proto/runtime/v1/dapr.proto" in answers[1]


@pytest.mark.parametrize("is_remote", [True, False])
def test_an_http_app_is_invoked(world: World, channel: Channel, is_remote: bool) -> None:
    app = world.app(
        http_wire.always(b"HTTP/1.1 201 C\r\nX-A: 1\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nok")
    )
    callee = world.sidecar("callee", app)
    caller = world.sidecar("caller") if is_remote else callee
    call = channel(caller).unary_unary(DAPR + "InvokeService")

    answer, told = call.with_call(
        invocation(callee.app_id, "a/b", b"body"), timeout=10, metadata=(("x-mine", "1"), ("y-bin", b"\0"))
    )

    assert common_pb2.InvokeResponse.FromString(answer).data.value == b"ok"
    metadata = dict(told.initial_metadata())
    assert (metadata["dapr-http-status"], metadata["x-a"], metadata["dapr-content-type"]) == ("201", "1", "text/x")
    seen = app.last
    assert (seen.get("x-mine"), seen.get("content-type"), seen.body) == ("1", "text/plain", b"body")
    assert seen.get("dapr-authority") == f"127.0.0.1:{caller.grpc}" and not seen.get("y-bin")


def test_a_status_of_an_http_app_is_a_code(world: World, channel: Channel) -> None:
    app = world.app(http_wire.always(b"HTTP/1.1 404 N\r\nContent-Length: 4\r\n\r\ngone"))
    sidecar = world.sidecar("own", app)
    call = channel(sidecar).unary_unary(DAPR + "InvokeService")

    with pytest.raises(grpc.RpcError) as failed:
        call(invocation(sidecar.app_id, "m"), timeout=10)

    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "Not Found")
    assert b"http.error_message" in dict(failed.value.trailing_metadata())["grpc-status-details-bin"]


def test_an_app_that_nobody_knows_is_an_internal_error(world: World, channel: Channel) -> None:
    call = channel(world.sidecar("alone")).unary_unary(DAPR + "InvokeService")

    code, text = failure(lambda: call(invocation("nobody", "m"), timeout=10))

    assert code == "INTERNAL" and text.startswith("failed to invoke, id: nobody, err: couldn't find service: nobody")
