"""(e) Names of hosts that are not there: an error at once that names the host, and not asked for again and again."""

import json
import time

import pytest
from tests.integration.faults.conftest import by_format
from tests.integration.harness import World

UNKNOWN = "no-such-host.invalid"
"""No such name is ever given away (RFC 2606)."""

ENDPOINT = f"""
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: outside}}
spec: {{baseUrl: "https://{UNKNOWN}"}}
"""

KUBERNETES = f"""
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: c}}
spec:
  nameResolution: {{component: kubernetes, configuration: {{template: "{UNKNOWN}:50002"}}}}
"""


@pytest.mark.parametrize("target", ["outside", f"http://{UNKNOWN}"])
def test_an_endpoint_of_an_unknown_host(world: World, target: str) -> None:
    world.write("res/e.yaml", ENDPOINT)
    caller = world.sidecar("caller", None, "--resources-path", str(world.folder / "res"))

    began = time.monotonic()
    reply = caller.call("GET", f"/v1.0/invoke/{target}/method/m")
    took = time.monotonic() - began

    assert reply.status == 500
    assert f"dial tcp: lookup {UNKNOWN}: " in json.loads(reply.body)["message"]
    assert took < 10


@pytest.mark.parametrize("kind", ["kubernetes", "nameformat"])
def test_an_app_of_an_unknown_host(world: World, kind: str) -> None:
    if kind == "kubernetes":
        flags: tuple[str, ...] = ("--config", str(world.write("names.yaml", KUBERNETES)))
    else:
        flags = by_format(world, f"{{appid}}.{UNKNOWN}:50002")
    caller = world.sidecar("caller", None, *flags)

    began = time.monotonic()
    reply = caller.call("GET", "/v1.0/invoke/shop/method/m")
    took = time.monotonic() - began

    assert reply.status == 500
    assert f"{UNKNOWN}" in json.loads(reply.body)["message"]
    assert "no such host" in json.loads(reply.body)["message"]
    assert took < 10
