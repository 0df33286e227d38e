"""A control plane as processes, ours and the original's (where PYDAPR_ORIGINAL names a folder with it)."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App
from tests.integration.jobs.conftest import PROGRAMS, Scheduler

PLACEMENTS = {
    "ours": [sys.executable, "-m", "pydapr", "placement"],
    "original": [os.path.join(harness.ORIGINAL, "placement")],
}

STORE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec:
  type: state.in-memory
  version: v1
  metadata: [{name: actorStateStore, value: "true"}]
"""


class Placement:
    """A placement service of one process."""

    def __init__(self, world: World, program: list[str], *flags: str) -> None:
        self.port, self._health, metrics, peer = (harness.free_port() for _ in range(4))
        arguments = [
            f"--port={self.port}", f"--healthz-port={self._health}", f"--metrics-port={metrics}", "--id=p0",
            "--listen-address=127.0.0.1", "--healthz-listen-address=127.0.0.1",
            f"--initial-cluster=p0=127.0.0.1:{peer}", *flags,
        ]  # fmt: skip
        with (world.folder / "placement.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *arguments], env=world.environment, cwd=world.folder, stdout=log, stderr=log
            )

    def is_ready(self) -> bool:
        assert self._process.poll() is None, "placement has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Plane:
    """Placement and scheduler, both with `flags`."""

    def __init__(self, world: World, kind: str, *flags: str) -> None:
        self._world = world
        world.write("resources/store.yaml", STORE)
        self.placement = Placement(world, PLACEMENTS[kind], *flags)
        self.scheduler = Scheduler(world, PROGRAMS[kind], *flags)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a sidecar of actors is told."""
        return (
            "--placement-host-address", f"127.0.0.1:{self.placement.port}", *self.scheduler.flags,
            "--resources-path", str(self._world.folder / "resources"),
        )  # fmt: skip

    def sidecar(self, app: App | None, *flags: str) -> Sidecar:
        """A sidecar of actors that is ready; the same app each time."""
        return self._world.sidecar("app", app, *self.flags, *flags)

    def close(self) -> None:
        self.scheduler.kill()
        self.placement.kill()


@pytest.fixture(params=list(PROGRAMS))
def plane(request: pytest.FixtureRequest, world: World) -> Iterator[Plane]:
    """One that is ready."""
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    made = Plane(world, request.param)
    try:
        made.scheduler.start()
        harness.eventually(made.placement.is_ready, "placement is ready")
        yield made
    finally:
        made.close()
