"""Placement that speaks mTLS: it is known by its id, and knows the sidecar by its own."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.integration import harness
from tests.integration.harness import World
from tests.integration.mtls.conftest import Mesh
from tests.integration.sentry.authority import Authority

PROGRAMS = {
    "ours": [sys.executable, "-m", "pydapr", "placement"],
    "original": [os.path.join(harness.ORIGINAL, "placement")],
}


@pytest.fixture(params=PROGRAMS)
def address(request: pytest.FixtureRequest, world: World, sentry: Authority) -> Iterator[str]:
    """Of a placement."""
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    flags = {
        "--trust-anchors-file": world.write("anchors.pem", sentry.anchors),
        "--sentry-address": sentry.address,
        "--trust-domain": "localhost",
        "--initial-cluster": f"dapr-placement-0=127.0.0.1:{harness.free_port()}",
        **{name: harness.free_port() for name in ("--port", "--healthz-port", "--metrics-port")},
    }
    given = [str(part) for part in itertools.chain(*flags.items())]
    with (world.folder / "placement.log").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAMS[request.param], "--tls-enabled", *given],
            env={**world.environment, "NAMESPACE": "default"},
            stdout=log,
            stderr=log,
        )
    yield f"127.0.0.1:{flags['--port']}"
    process.kill()
    process.wait()


def test_a_sidecar_is_told_where_actors_live(mesh: Mesh, address: str) -> None:
    sidecar = mesh.sidecar("app", None, "--placement-host-address", address)

    assert sidecar.document("GET", "/v1.0/metadata")["actorRuntime"]["placement"] == "placement: connected"


def test_a_sidecar_without_identity_finds_no_placement(mesh: Mesh, address: str) -> None:
    sidecar = mesh.world.daprd("app", None, "--placement-host-address", address).await_outbound()

    sidecar.await_log("Failed to connect to placement service")

    assert sidecar.status("/v1.0/healthz") == 500


def test_another_service_is_no_placement(mesh: Mesh) -> None:
    other = mesh.sidecar("other")
    sidecar = mesh.daprd("app", None, "--placement-host-address", f"127.0.0.1:{other.internal}").await_outbound()

    sidecar.await_log("unexpected SPIFFE ID")

    assert sidecar.status("/v1.0/healthz") == 500
