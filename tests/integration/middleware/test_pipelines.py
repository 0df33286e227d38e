"""Pipelines of middleware: before the API, and before the app."""

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: middleware.http.{type}
  version: v1
  metadata: {metadata}
"""


def start(world: World, pipeline: str, handlers: dict[str, str], **components: str) -> Sidecar:
    """A sidecar whose `pipeline` has the handlers (name → type), and with the components (name → metadata)."""
    lines = "".join(f"    - {{name: {name}, type: middleware.http.{type_}}}\n" for name, type_ in handlers.items())
    kind = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
    config = world.write("config.yaml", f"{kind}spec:\n  {pipeline}:\n    handlers:\n{lines}")
    world.write("resources/none.yaml", "")
    for name, metadata in components.items():
        type_, _, rest = metadata.partition(" ")
        world.write(f"resources/{name}.yaml", COMPONENT.format(name=name, type=type_, metadata=rest or "[]"))
    folder = str(world.folder / "resources")
    return world.daprd("app", world.app(), "--config", str(config), "--resources-path", folder)


def invoke(sidecar: Sidecar, method: str = "x", body: bytes | None = b"hello") -> http_wire.Message:
    return sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/{method}", body=body)


@pytest.mark.parametrize("pipeline", ["httpPipeline", "appHttpPipeline"])
def test_body_passes_the_middleware(world: World, pipeline: str) -> None:
    sidecar = start(world, pipeline, {"up": "uppercase"}, up="uppercase").await_ready()

    assert invoke(sidecar).body == b"HELLO"
    assert sidecar.document("GET", "/v1.0/metadata")["components"] == [
        {"name": "up", "type": "middleware.http.uppercase", "version": "v1"}
    ]


@pytest.mark.parametrize("pipeline", ["httpPipeline", "appHttpPipeline"])
def test_large_bodies_pass_in_pieces_both_ways(world: World, pipeline: str) -> None:
    both = "uppercase [{name: direction, value: both}]"
    sidecar = start(world, pipeline, {"up": "uppercase"}, up=both).await_ready()

    assert invoke(sidecar, body=b"a" * 3_000_000).body == b"A" * 3_000_000


def test_handlers_stand_in_the_order_of_the_configuration(world: World) -> None:
    routes = """routeralias [{name: routes, value: '{"/a": "/b", "/b": "/c"}'}]"""
    sidecar = start(world, "appHttpPipeline", {"one": "routeralias", "two": "routeralias"}, one=routes, two=routes)

    invoke(sidecar.await_ready(), "a?q=1")

    assert world.apps[0].last.target == "/c?q=1"


def test_what_the_middleware_refuses_does_not_reach_the_app(world: World) -> None:
    rule = "routerchecker [{name: rule, value: ^/ok$}]"
    sidecar = start(world, "appHttpPipeline", {"check": "routerchecker"}, check=rule).await_ready()

    assert invoke(sidecar, "ok").status == 200
    refused = invoke(sidecar, "no")

    assert (refused.status, refused.body) == (400, b"invalid router")
    assert [one.target for one in world.apps[0].seen] == ["/ok"]


def test_error_of_the_app_passes_the_middleware(world: World) -> None:
    sidecar = start(world, "appHttpPipeline", {"up": "uppercase"}, up="uppercase").await_ready()
    world.apps[0].close()

    reply = invoke(sidecar)

    assert reply.status == 500
    assert b"connection refused" in reply.body


def test_handler_without_component_is_left_out_and_logged(world: World) -> None:
    sidecar = start(world, "httpPipeline", {"up": "uppercase"}).await_ready()

    assert invoke(sidecar).body == b"hello"
    assert (
        "Pipeline server goes without up (middleware.http.uppercase): there is no such component" in sidecar.messages()
    )


@pytest.mark.parametrize(
    ("handlers", "component", "reason"),
    [
        ({"x": "ratelimit"}, "ratelimit [{name: maxRequestsPerSecond, value: '0'}]", "must be a positive value"),
        ({"x": "ratelimit"}, "uppercase", "x (middleware.http.ratelimit) is meant"),
        ({"x": "nothing"}, "nothing", "HTTP middleware middleware.http.nothing/v1 has not been registered"),
        ({"x": "opa"}, "opa", "metadata property rego is required"),
        ({"x": "wasm"}, "wasm [{name: url, value: 'oci://a/b'}]", "images (oci) cannot be fetched"),
        ({"x": "sentinel"}, "sentinel [{name: flowRules, value: '{'}]", "fail to load sentinel flow rules"),
    ],
)
def test_middleware_that_cannot_be_had_ends_the_start(
    world: World, handlers: dict[str, str], component: str, reason: str
) -> None:
    sidecar = start(world, "httpPipeline", handlers, x=component)

    assert sidecar.exit_code() == 1
    assert reason in sidecar.log


def test_error_names_component_key_and_file(world: World) -> None:
    sidecar = start(world, "httpPipeline", {}, x="ratelimit [{name: maxRequestsPerSecond, value: many}]")

    assert sidecar.exit_code() == 1
    assert "for x (middleware.http.ratelimit/v1)" in sidecar.log
    assert "metadata property maxRequestsPerSecond: 'many' is no number" in sidecar.log
    assert str(world.folder / "resources" / "x.yaml") in sidecar.log


def test_rate_is_limited(world: World) -> None:
    limit = "ratelimit [{name: maxRequestsPerSecond, value: 3}]"
    sidecar = start(world, "httpPipeline", {"limit": "ratelimit"}, limit=limit).await_ready()

    statuses = {invoke(sidecar).status for _ in range(6)}

    assert statuses == {200, 429}
    harness.eventually(lambda: invoke(sidecar).status == 200, "the bucket fills again")
