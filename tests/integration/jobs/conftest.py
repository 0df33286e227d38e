"""A scheduler as a process, ours and the original's (where PYDAPR_ORIGINAL names a folder with it)."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from tests.integration import harness

ORIGINAL = [os.path.join(harness.ORIGINAL, "scheduler")]
PROGRAMS = {"ours": [sys.executable, "-m", "pydapr", "scheduler"], "original": ORIGINAL}


class Scheduler:
    """One that can be killed and started again on the same ports and data."""

    def __init__(self, world: harness.World, program: list[str], *flags: str) -> None:
        self._world, self._program, self._flags = world, program, flags
        self.port, self._health, self._metrics, self._client, self._peer = (harness.free_port() for _ in range(5))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def recovers_within(self) -> float:
        """Seconds from its start after a kill until it gives out jobs; the original waits for its own lease to end."""
        return 60.0 if self._program is ORIGINAL else 5.0

    @property
    def flags(self) -> tuple[str, str]:
        """What a sidecar is told of it."""
        return ("--scheduler-host-address", f"127.0.0.1:{self.port}")

    def start(self) -> "Scheduler":
        ports = {
            "--port": self.port, "--healthz-port": self._health, "--metrics-port": self._metrics,
            "--etcd-client-port": self._client,
        }  # fmt: skip
        arguments = [f"{flag}={port}" for flag, port in ports.items()]
        arguments += [
            "--listen-address=127.0.0.1", "--healthz-listen-address=127.0.0.1",
            "--override-broadcast-host-port", f"127.0.0.1:{self.port}", "--id=dapr-scheduler-server-0",
            f"--etcd-initial-cluster=dapr-scheduler-server-0={'https' if self._flags else 'http'}://127.0.0.1:{self._peer}",
            f"--etcd-data-dir={self._world.folder / 'scheduler'}",
        ]  # fmt: skip
        with (self._world.folder / "scheduler.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program, *arguments, *self._flags],
                env=self._world.environment,
                cwd=self._world.folder,
                stdout=log,
                stderr=log,
            )
        harness.eventually(self._is_ready, "the scheduler is ready")
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "the scheduler has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(params=list(PROGRAMS))
def scheduler(request: pytest.FixtureRequest, world: harness.World) -> Iterator[Scheduler]:
    """One that is ready."""
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    made = Scheduler(world, PROGRAMS[request.param])
    yield made.start()
    made.kill()
