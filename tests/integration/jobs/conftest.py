"""A scheduler for sidecars, ours and the original's (where PYDAPR_ORIGINAL names a folder with it)."""

import os
from collections.abc import Iterator

import pytest
from tests.integration import harness
from tests.integration.scheduler import process

ORIGINAL = [os.path.join(harness.ORIGINAL, "scheduler")]
ID = "dapr-scheduler-server-0"
"""Under mTLS the original takes no other."""
PROGRAMS = {"ours": process.OURS, "original": ORIGINAL}


class Scheduler:
    """One that can be killed and started again on the same ports and data."""

    def __init__(self, world: harness.World, program: list[str], *flags: str) -> None:
        self._folder, self._program, self._flags = world.folder / "scheduler", program, flags
        self._folder.mkdir()
        self._running: process.Scheduler | None = None

    @property
    def recovers_within(self) -> float:
        """Seconds from its start after a kill until it gives out jobs; the original waits for its own lease to end."""
        return 60.0 if self._program is ORIGINAL else 5.0

    @property
    def port(self) -> int:
        assert self._running is not None, "it was never started"
        return self._running.port

    @property
    def flags(self) -> tuple[str, str]:
        """What a sidecar is told of it."""
        return ("--scheduler-host-address", f"127.0.0.1:{self.port}")

    def start(self) -> "Scheduler":
        if self._running is None:
            self._running = process.Scheduler(self._folder, *self._flags, id=ID, program=self._program)
        else:
            self._running = self._running.again()
        try:
            harness.eventually(self._running.is_healthy, "the scheduler is ready")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()


@pytest.fixture(params=list(PROGRAMS))
def scheduler(request: pytest.FixtureRequest, world: harness.World) -> Iterator[Scheduler]:
    """One that is ready."""
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    made = Scheduler(world, PROGRAMS[request.param])
    yield made.start()
    made.kill()
