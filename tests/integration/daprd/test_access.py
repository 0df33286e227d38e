"""Who may use the API: tokens, and browsers from elsewhere."""

import pytest
from tests.integration.harness import World


@pytest.mark.parametrize(
    ("verb", "target", "status"),
    [
        ("GET", "/v1.0/healthz", 204),
        ("GET", "/v1.0/healthz/outbound", 204),
        ("GET", "/v1.0/metadata", 401),
        ("PUT", "/v1.0/metadata/a", 401),
        ("POST", "/v1.0/shutdown", 401),
        ("GET", "/v1.0/invoke/x/method/y", 401),
        ("GET", "/elsewhere", 401),
    ],
)
def test_token_is_wanted_on_all_but_health(shared_world: World, verb: str, target: str, status: int) -> None:
    if not shared_world.sidecars:
        shared_world.daprd("app", None, environment={"DAPR_API_TOKEN": "secret"})
    sidecar = shared_world.sidecars[0].await_ready()

    assert sidecar.call(verb, target).status == status
    if status == 401:
        assert sidecar.call("GET", "/v1.0/metadata", "dapr-api-token: secret").status == 200


@pytest.mark.parametrize(("origin", "allowed"), [("http://a.test", "http://a.test"), ("http://b.test", None)])
def test_browsers_from_allowed_origins(world: World, origin: str, allowed: str | None) -> None:
    sidecar = world.sidecar("app", None, "--allowed-origins", "http://a.test")

    preflight = sidecar.call("OPTIONS", "/v1.0/metadata", f"Origin: {origin}", "Access-Control-Request-Method: PUT")
    reply = sidecar.call("GET", "/v1.0/metadata", f"Origin: {origin}")

    assert (preflight.status, preflight.get("access-control-allow-origin")) == (200, allowed)
    assert (reply.status, reply.get("access-control-allow-origin")) == (200, allowed)
    assert "Enabled CORS HTTP middleware" in sidecar.messages()
