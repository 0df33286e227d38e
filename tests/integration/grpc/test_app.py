"""Apps that speak gRPC or HTTP/2: invoked over HTTP and gRPC, here and through another sidecar."""

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.integration.grpc_app import DAPR, GrpcApp, invocation
from tests.integration.harness import Sidecar, World

from pydapr.proto.dapr.proto.common.v1 import common_pb2

Channel = Callable[[Sidecar], Any]
GRPC = ("--app-protocol", "grpc")


@pytest.fixture(params=["here", "elsewhere"])
def ends(request: pytest.FixtureRequest, world: World, grpc_app: GrpcApp) -> tuple[Sidecar, Sidecar]:
    """Caller and callee, whose app speaks gRPC."""
    callee = world.sidecar("callee", grpc_app.port, *GRPC)
    return (callee if request.param == "here" else world.sidecar("caller")), callee


def test_http_reaches_the_app(ends: tuple[Sidecar, Sidecar], grpc_app: GrpcApp) -> None:
    caller, callee = ends
    grpc_app.answer.data, grpc_app.answer.content_type = b"pong" * 50_000, b"text/x"

    reply = caller.call(
        "POST", f"/v1.0/invoke/{callee.app_id}/method/a/b?q=1", "X-Mine: 1", "Content-Type: text/y", body=b"ping"
    )

    assert (reply.status, reply.body, reply.get("content-type")) == (200, b"pong" * 50_000, "text/x")
    asked = common_pb2.InvokeRequest.FromString(grpc_app.request)
    assert (asked.method, asked.data.value, asked.content_type) == ("a/b", b"ping", "text/y")
    assert (asked.http_extension.verb, asked.http_extension.querystring) == (3, "q=1")
    assert grpc_app.told("x-mine") == ["1"]


def test_errors_of_the_app_are_http_statuses(ends: tuple[Sidecar, Sidecar], grpc_app: GrpcApp) -> None:
    caller, callee = ends
    grpc_app.answer.code, grpc_app.answer.message = 5, b"no such"

    reply = caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m")

    assert (reply.status, json.loads(reply.body)) == (404, {"code": 5, "message": "no such"})


def test_invoke_service_passes_answer_and_metadata(
    ends: tuple[Sidecar, Sidecar], channel: Channel, grpc_app: GrpcApp
) -> None:
    caller, callee = ends
    grpc_app.answer.data = b"pong"
    call = channel(caller).unary_unary(DAPR + "InvokeService")

    answer, told = call.with_call(invocation(callee.app_id, "m"), timeout=10, metadata=(("z-bin", b"\0\xff"),))

    assert common_pb2.InvokeResponse.FromString(answer).data.value == b"pong"
    assert dict(told.initial_metadata())["x-first"] == "1" and dict(told.trailing_metadata())["x-last"] == "2"
    assert grpc_app.told("z-bin") == [b"\0\xff"]


def test_invoke_service_passes_errors(ends: tuple[Sidecar, Sidecar], channel: Channel, grpc_app: GrpcApp) -> None:
    caller, callee = ends
    grpc_app.answer.code, grpc_app.answer.message = 10, b"not now"
    call = channel(caller).unary_unary(DAPR + "InvokeService")

    with pytest.raises(grpc.RpcError) as failed:
        call(invocation(callee.app_id, "m"), timeout=10)

    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.ABORTED, "not now")


def test_the_health_of_a_grpc_app_is_asked(world: World, grpc_app: GrpcApp) -> None:
    sidecar = world.sidecar("healthy", grpc_app.port, *GRPC, "--enable-app-health-check")
    sidecar.await_log("App entered healthy status")


def test_an_app_that_speaks_http2_is_invoked(world: World) -> None:
    """A sidecar's own HTTP port speaks h2c; it serves as the app."""
    behind = world.sidecar("behind")
    sidecar = world.sidecar("front", behind.http, "--app-protocol", "h2c")

    reply = sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/v1.0/metadata")

    assert reply.status == 200 and json.loads(reply.body)["id"] == behind.app_id
