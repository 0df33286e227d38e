"""API logging: a line for each call, when it is asked for."""

import json
from typing import Any

import pytest
from tests.integration.harness import Sidecar, World, eventually

SCOPE = "dapr.runtime.http-info"


def start(world: World, logging: str, *flags: str) -> Sidecar:
    text = f"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {{logging: {logging}}}\n"
    path = world.write("config.yaml", text)
    return world.sidecar("app", world.app(), "--config", str(path), "--log-as-json", *flags)


def calls(sidecar: Sidecar) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in sidecar.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["scope"] == SCOPE]


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
