"""API logging: a line for each call, when it is asked for."""

import json
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR, GrpcApp, failure, invocation
from tests.integration.harness import Sidecar, World, eventually

SCOPE = "dapr.runtime.http-info"


def start(world: World, logging: str, *flags: str) -> Sidecar:
    text = f"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {{logging: {logging}}}\n"
    path = world.write("config.yaml", text)
    return world.sidecar("app", world.app(), "--config", str(path), "--log-as-json", *flags)


def calls(sidecar: Sidecar, scope: str = SCOPE) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in sidecar.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["scope"] == scope]


def test_line_tells_method_code_size_and_agent(world: World) -> None:
    sidecar = start(world, "{apiLogging: {enabled: true, omitHealthChecks: true}}", "--log-level", "error")

    sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/x?q=1", "User-Agent: me/1", body=b"hello")

    eventually(lambda: calls(sidecar), "a line")
    (line,) = calls(sidecar)
    assert line["method"] == f"POST /v1.0/invoke/{sidecar.app_id}/method/x"
    assert (line["code"], line["size"], line["useragent"]) == (200, 5, "me/1")
    assert (line["level"], line["msg"]) == ("info", "HTTP API Called")
    assert line["duration"] < 1000


@pytest.mark.parametrize(
    ("verb", "target", "name"),
    [
        ("GET", "/v1.0/metadata", "GetMetadata"),
        ("PUT", "/v1.0/metadata/key", "PutMetadata"),
        ("GET", "/v1.0/invoke/{app}/method/secret", "InvokeService/{app}"),
        ("GET", "/unknown", "InvokeService"),
    ],
)
def test_line_without_urls_names_the_method(world: World, verb: str, target: str, name: str) -> None:
    sidecar = start(world, "{apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}")

    sidecar.call(verb, target.format(app=sidecar.app_id), body=b"")

    eventually(lambda: calls(sidecar), "a line")
    assert [line["method"] for line in calls(sidecar)] == [name.format(app=sidecar.app_id)]


def test_health_checks_are_logged_unless_omitted(world: World) -> None:
    sidecar = start(world, "{}", "--enable-api-logging")

    eventually(lambda: calls(sidecar), "a line")
    assert {line["method"] for line in calls(sidecar)} == {"GET /v1.0/healthz"}


def test_flag_wins_over_the_configuration(world: World) -> None:
    sidecar = start(world, "{apiLogging: {enabled: true}}", "--enable-api-logging=false")

    assert not calls(sidecar)


# -- gRPC --


def grpc_calls(sidecar: Sidecar) -> list[dict[str, Any]]:
    return calls(sidecar, "dapr.runtime.grpc.api-info")


def test_grpc_lines_tell_method_code_and_agent(world: World) -> None:
    sidecar = start(world, "{apiLogging: {enabled: true, obfuscateURLs: true}}", "--log-level", "error")
    grpc_app = GrpcApp()
    other = world.sidecar("other", grpc_app.port, "--app-protocol", "grpc")
    metadata = (("dapr-app-id", other.app_id),)

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}", (("grpc.primary_user_agent", "me/1"),)) as channel:
        channel.unary_unary(DAPR + "GetMetadata")(b"", timeout=10)
        failure(lambda: channel.unary_unary("/my.Service/Fail")(b"", timeout=10, metadata=metadata))
        list(channel.stream_stream("/my.Service/Each")(iter([b"a"]), timeout=10, metadata=metadata))
        failure(lambda: channel.unary_unary(DAPR + "InvokeService")(invocation("nobody", "m"), timeout=10))
    eventually(lambda: len(grpc_calls(sidecar)) == 4, "a line for each call")
    grpc_app.close()

    lines = grpc_calls(sidecar)
    assert [(line["method"], line["code"]) for line in lines] == [
        (DAPR + "GetMetadata", 0),
        ("/my.Service/Fail", 10),
        ("/my.Service/Each", 0),
        (DAPR + "InvokeService", 13),
    ]
    assert all(line["useragent"].startswith("me/1") and line["duration"] < 10_000 for line in lines)
    assert {line["msg"] for line in lines} == {"gRPC API Called"}


def test_a_failure_of_an_http_app_is_the_code_of_the_line(world: World) -> None:
    app = world.app(http_wire.always(http_wire.answer("404 Not Found")))
    path = world.write("config.yaml", "kind: Configuration\nspec: {logging: {apiLogging: {enabled: true}}}\n")
    sidecar = world.sidecar("app", app, "--config", str(path), "--log-as-json")

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        failure(lambda: channel.unary_unary(DAPR + "InvokeService")(invocation(sidecar.app_id, "m"), timeout=10))

    eventually(lambda: grpc_calls(sidecar), "a line")
    assert [line["code"] for line in grpc_calls(sidecar)] == [5]


def test_grpc_calls_that_are_turned_away_are_not_logged(world: World) -> None:
    rules = "{allowed: [{name: metadata, version: v1, protocol: grpc}]}"
    text = f"kind: Configuration\nspec: {{api: {rules}, logging: {{apiLogging: {{enabled: true}}}}}}\n"
    path = world.write("config.yaml", text)
    flags = ("--config", str(path), "--log-as-json")
    sidecar = world.daprd("app", None, *flags, environment={"DAPR_API_TOKEN": "secret"}).await_ready()

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        metadata = (("dapr-api-token", "secret"),)
        failure(lambda: channel.unary_unary(DAPR + "GetMetadata")(b"", timeout=10))
        failure(lambda: channel.unary_unary(DAPR + "GetState")(b"", timeout=10, metadata=metadata))
        channel.unary_unary(DAPR + "GetMetadata")(b"", timeout=10, metadata=metadata)

    eventually(lambda: grpc_calls(sidecar), "a line")
    assert [line["method"] for line in grpc_calls(sidecar)] == [DAPR + "GetMetadata"]


def test_grpc_calls_are_not_logged_without_being_asked_for(world: World) -> None:
    sidecar = start(world, "{apiLogging: {enabled: true}}", "--enable-api-logging=false")

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        channel.unary_unary(DAPR + "GetMetadata")(b"", timeout=10)

    assert not grpc_calls(sidecar)
