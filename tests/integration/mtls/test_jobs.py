"""Jobs by a scheduler that speaks mTLS: it is known by its id, and knows the app by its own."""

from collections.abc import Iterator

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.jobs.conftest import PROGRAMS, Scheduler
from tests.integration.mtls.conftest import Mesh
from tests.integration.sentry.authority import Authority


@pytest.fixture(params=list(PROGRAMS))
def scheduler(request: pytest.FixtureRequest, world: World, sentry: Authority) -> Iterator[Scheduler]:
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    anchors = world.write("anchors.pem", sentry.anchors)
    made = Scheduler(
        world, PROGRAMS[request.param], "--tls-enabled=true", f"--sentry-address={sentry.address}",
        f"--trust-anchors-file={anchors}", "--trust-domain=localhost", f"--identity-directory-write={world.folder}/tls",
    )  # fmt: skip
    yield made.start()
    made.kill()


def test_a_job_comes(mesh: Mesh, scheduler: Scheduler) -> None:
    app = mesh.world.app(http_wire.always(http_wire.answer()))
    sidecar = mesh.sidecar("app", app, *scheduler.flags)

    answer = sidecar.call("POST", "/v1.0/jobs/j", body=b'{"dueTime": "0s", "data": "x"}')

    assert answer.status == 204, answer.body
    harness.eventually(lambda: app.seen, "the job comes")
    assert (app.last.target, app.last.body) == ("/job/j", b'"x"')


def test_a_sidecar_without_identity_finds_no_scheduler(mesh: Mesh, scheduler: Scheduler) -> None:
    sidecar = mesh.world.daprd("app", None, *scheduler.flags).await_outbound()

    sidecar.await_log("Failed to connect to scheduler host")

    assert sidecar.status("/v1.0/healthz") == 500


def test_another_service_is_no_scheduler(mesh: Mesh) -> None:
    other = mesh.sidecar("other")
    sidecar = mesh.daprd("app", None, "--scheduler-host-address", f"127.0.0.1:{other.internal}").await_outbound()

    sidecar.await_log("unexpected SPIFFE ID")

    assert sidecar.status("/v1.0/healthz") == 500
