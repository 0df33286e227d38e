"""The metadata API."""

import pytest
from tests.integration import harness
from tests.integration.harness import World

VERSION = "edge" if harness.OTHER else "1.18.3"


def test_describes_the_sidecar(world: World) -> None:
    app = world.app()
    sidecar = world.sidecar("app", app, "--app-max-concurrency", "7")

    document = sidecar.document("GET", "/v1.0/metadata")

    document["enabledFeatures"].sort()
    assert document == {
        "id": sidecar.app_id,
        "runtimeVersion": VERSION,
        "enabledFeatures": ["HotReload", "WorkflowsRemoteActivityReminder"],
        "extended": {"daprRuntimeVersion": VERSION},
        "appConnectionProperties": {
            "port": app.port,
            "protocol": "http",
            "channelAddress": "127.0.0.1",
            "maxConcurrency": 7,
        },
        "actorRuntime": {"runtimeStatus": "DISABLED", "hostReady": False, "placement": "placement: disconnected"},
    }


def test_describes_health_checks(world: World) -> None:
    probes = ("--enable-app-health-check", "--app-health-check-path", "/up", "--app-health-probe-interval", "2")
    sidecar = world.daprd("app", world.app(), *probes).await_outbound()

    assert sidecar.document("GET", "/v1.0/metadata")["appConnectionProperties"]["health"] == {
        "healthCheckPath": "/up",
        "healthProbeInterval": "2s",
        "healthProbeTimeout": "500ms",
        "healthThreshold": 3,
    }


def test_is_written_as_the_original_writes_it(world: World) -> None:
    sidecar = world.sidecar()
    for key, value in (("z", b"1"), ("a%20b", b"<&>"), ("a+c", b"\xc3\xa9"), ("e", b"")):
        assert sidecar.call("PUT", f"/v1.0/metadata/{key}", body=value).status == 204

    reply = sidecar.call("GET", "/v1.0/metadata")

    assert reply.get("content-type") == "application/json"
    extended = f'"extended":{{"a b":"\\u003c\\u0026\\u003e","a c":"é","daprRuntimeVersion":"{VERSION}","e":"","z":"1"}}'
    assert extended.encode() in reply.body


@pytest.mark.parametrize("target", ["PUT /v1.0/metadata/a/b", "PUT /v1.0/metadata/", "POST /v1.0/metadata/a"])
def test_attributes_have_one_name(world: World, target: str) -> None:
    sidecar = world.sidecar()

    assert sidecar.call(*target.split(), body=b"x").status == 404
