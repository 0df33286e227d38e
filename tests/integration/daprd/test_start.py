"""How a sidecar starts: what it says, in which order, and what it does not start with."""

import json

from tests.integration import harness
from tests.integration.harness import World

IN_ORDER = [
    "Starting Dapr Runtime -- version ",
    "Log level set to: info",
    "mTLS is disabled. Skipping certificate request and tls validation",
    "loading default configuration",
    "Enabled features: ",
    "metrics server started on 0.0.0.0:{metrics}/",
    "standalone mode configured",
    "app id: {app_id}",
    "Initialized name resolution to ",
    "Loading components…",
    "Waiting for all outstanding components to be processed…",
    "All outstanding components processed",
    "Loading endpoints…",
    "Waiting for all outstanding http endpoints to be processed…",
    "All outstanding http endpoints processed",
    "Loading Declarative Subscriptions…",
    "gRPC server listening on TCP address: :{grpc}",
    "API gRPC server is running on port {grpc}",
    "Enabled max body size HTTP middleware with size 4194304 bytes",
    "HTTP server listening on TCP address: :{http}",
    "HTTP server is running on port {http}",
    "The request body size parameter is: 4194304 bytes",
    "gRPC server listening on pre-bound TCP address: [::]:{internal}",
    "Internal gRPC server is running on :{internal}",
    "application protocol: http. waiting on port {app}.  This will block until the app is listening on that port.",
    "application discovered on port {app}",
    "Application configuration loaded",
    "dapr initialized. Status: Running. Init Elapsed ",
]


def test_says_what_it_does_in_the_originals_order(world: World) -> None:
    app = world.app()
    sidecar = world.sidecar("app", app)
    values = {name: getattr(sidecar, name) for name in ("app_id", "http", "grpc", "internal", "metrics")}

    messages = iter(sidecar.messages())

    for expected in (line.format(app=app.port, **values) for line in IN_ORDER):
        assert any(message.startswith(expected) for message in messages), expected


def test_logs_json(world: World) -> None:
    sidecar = world.sidecar("app", None, "--log-as-json")

    lines = [json.loads(line) for line in sidecar.log.splitlines()]

    assert {line["app_id"] for line in lines} == {sidecar.app_id}
    assert {"time", "level", "type", "msg", "scope", "instance", "ver"} <= set(lines[0])
    last = lines[-1]
    assert last["msg"].startswith("dapr initialized. Status: Running.")
    assert (last["scope"], last["level"], last["type"]) == ("dapr.runtime", "info", "log")


def test_log_level_silences(world: World) -> None:
    sidecar = world.sidecar("app", None, "--log-level", "error")

    assert sidecar.messages() == []


def test_refuses_a_flag_it_does_not_know(world: World) -> None:
    sidecar = world.daprd("app", None, "--no-such-flag")

    assert sidecar.exit_code() == 2
    assert "unknown flag: --no-such-flag" in sidecar.log


def test_tells_its_version(world: World) -> None:
    sidecar = world.daprd("app", None, "--version")

    assert sidecar.exit_code() == 0
    assert sidecar.log == ("edge\n" if harness.OTHER else "1.18.3\n")


def fails(world: World, *flags: str) -> str:
    """The reason of a sidecar that does not start."""
    sidecar = world.daprd("app", None, *flags)
    assert sidecar.exit_code() == 1
    assert "level=fatal" in sidecar.log.splitlines()[-1]
    return sidecar.messages()[-1]


def test_needs_the_folder_of_resources(world: World) -> None:
    assert "no such file or directory" in fails(world, "--resources-path", str(world.folder / "none"))


def test_needs_the_configuration(world: World) -> None:
    path = world.folder / "none.yaml"

    reason = fails(world, "--config", str(path))

    assert reason.endswith(f"error loading configuration: stat {path}: no such file or directory")


def test_needs_an_app_id(world: World) -> None:
    sidecar = world.daprd("app", None, "--app-id", "")

    assert sidecar.exit_code() == 1
    assert "parameter app-id cannot be empty" in sidecar.log


def component(name: str, kind: str, more: str = "") -> str:
    return f"""
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {kind}
  version: v1
{more}
"""


def test_refuses_two_components_of_one_name(world: World) -> None:
    text = component("same", "state.in-memory") + "---" + component("same", "pubsub.in-memory")
    folder = world.write("resources/a.yaml", text).parent

    reason = fails(world, "--resources-path", str(folder))

    assert reason == (
        "Fatal error from runtime: failed to load components: duplicate definition of Component name "
        "same (pubsub.in-memory/v1) with existing same (state.in-memory/v1)"
    )


def test_refuses_a_component_of_an_unknown_type(world: World) -> None:
    folder = world.write("resources/a.yaml", component("b", "state.nosuch")).parent

    reason = fails(world, "--resources-path", str(folder))

    failure = "initialization error occurred for b (state.nosuch/v1)"
    assert reason.startswith(
        f"Fatal error from runtime: process component b error: [INIT_COMPONENT_FAILURE]: {failure}: "
        f"[CREATE_COMPONENT_FAILURE]: {failure}: couldn't find state store state.nosuch/v1; this version of pydapr has "
    )


def test_overlooks_it_when_told_to(world: World) -> None:
    folder = world.write("resources/a.yaml", component("b", "state.nosuch", "  ignoreErrors: true")).parent

    sidecar = world.sidecar("app", None, "--resources-path", str(folder))

    assert any(message.startswith("Ignoring error processing component: ") for message in sidecar.messages())


def test_overlooks_what_is_meant_for_others(world: World) -> None:
    text = component("b", "state.nosuch") + "scopes:\n- other\n"
    folder = world.write("resources/a.yaml", text).parent

    assert world.sidecar("app", None, "--resources-path", str(folder)).status("/v1.0/healthz") == 204
