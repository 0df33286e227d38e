"""API lists of a Configuration: what is closed is not there."""

import pytest
from tests.integration.harness import Sidecar, World

CONFIGURATION = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: c}}
spec:
  api: {rules}
"""

NO_TARGET = b'"errorCode":"ERR_DIRECT_INVOKE"'


def start(world: World, rules: str) -> Sidecar:
    path = world.write("config.yaml", CONFIGURATION.format(rules=rules))
    return world.sidecar("app", world.app(), "--config", str(path))


def test_denied_api_answers_like_an_unknown_path(world: World) -> None:
    sidecar = start(world, "{denied: [{name: metadata, version: v1, protocol: http}]}")

    reply = sidecar.call("GET", "/v1.0/metadata")

    assert reply.status == 404
    assert NO_TARGET in reply.body
    assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/x").status == 200


@pytest.mark.parametrize("path", ["/v1.0/invoke/{}/method/x", "/v1.0/shutdown", "/x"])
def test_allowed_api_closes_all_others(world: World, path: str) -> None:
    sidecar = start(world, "{allowed: [{name: metadata, version: v1, protocol: http}]}")

    reply = sidecar.call("POST", path.format(sidecar.app_id), f"dapr-app-id: {sidecar.app_id}")

    assert (reply.status, reply.body) == (404, b"404 page not found\n")
    assert sidecar.status("/v1.0/metadata") == 200
    assert sidecar.status("/v1.0/healthz/outbound") == 204
