"""Thousands of proxied streams at a time on one connection: all are opened, carry messages and end."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.faults.conftest import ROOT
from tests.integration.harness import World


@pytest.mark.parametrize("on_one_connection", [100_000, 100], ids=["app-takes-all", "app-takes-100-a-connection"])
def test_many_streams_at_a_time(on_one_connection: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_streams", "2000", str(on_one_connection)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    assert ended.stdout.count("2000 streams: all open") == 2


def test_a_sidecar_may_open_as_many_files_as_the_system_allows(world: World) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        sidecar = world.daprd()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sidecar.await_ready()

    for line in Path(f"/proc/{sidecar.pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            assert line.split()[3:5] == [str(hard), str(hard)]
