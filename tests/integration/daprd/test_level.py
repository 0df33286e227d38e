"""The level of the log of a running process: SIGUSR1 switches to debug and back, of a sidecar and of sentry."""

import signal
import sys
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.sentry.authority import Authority

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")

POLICY = """apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: some
spec:
  policies:
    timeouts:
      short: 10s
  targets:
    apps:
      {app}:
        timeout: short
"""
SEEN = "level=debug"
"""In each line of that level."""


def switched(process: Sidecar | Authority, level: str) -> None:
    """Sends the signal, and waits until `level` is in force."""
    words = f"Received signal 'user defined signal 1'; log level set to: {level}"
    before = process.log.count(words)
    process.process.send_signal(signal.SIGUSR1)
    harness.eventually(lambda: process.log.count(words) > before, words)


@pytest.mark.parametrize("configured", ["info", "error"])
def test_a_sidecar_tells_more_and_again_less(world: World, configured: str) -> None:
    app = world.app()
    app_id = world.app_id("app")
    folder = world.write("resources/policy.yaml", POLICY.format(app=app_id)).parent
    flags = ("--resources-path", str(folder), "--log-level", configured)
    sidecar = world.daprd("app", app, *flags).await_ready()

    def lines() -> int:
        before = sidecar.log.count(SEEN)
        assert sidecar.call("GET", f"/v1.0/invoke/{app_id}/method/hello").status == 200
        return sidecar.log.count(SEEN) - before

    assert lines() == 0
    for _ in range(2):
        switched(sidecar, "debug")
        assert lines() > 0
        switched(sidecar, configured)
        assert lines() == 0
    assert sidecar.stop() == 0


async def test_so_does_sentry(tmp_path: Path) -> None:
    sentry = Authority(tmp_path)
    try:
        sentry.await_ready()
        await sentry.source("before")
        assert SEEN not in sentry.log
        switched(sentry, "debug")
        await sentry.source("between")
        assert "/between" in "".join(line for line in sentry.log.splitlines() if SEEN in line)
        switched(sentry, "info")
        await sentry.source("after")
        assert "/after" not in "".join(line for line in sentry.log.splitlines() if SEEN in line)
        assert sentry.stop() == 0
    finally:
        sentry.kill()


def test_where_debug_is_the_level_it_stays(world: World) -> None:
    sidecar = world.daprd("app", None, "--log-level", "Debug").await_ready()
    switched(sidecar, "debug")
    assert sidecar.stop() == 0
