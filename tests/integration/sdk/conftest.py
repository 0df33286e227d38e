"""Programs written with the official Python SDK, each a process of its own, against our sidecars.

The SDK's generated modules have the names that ours have, so no process may import both.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.harness import Sidecar, World, free_port

PROGRAMS = Path(__file__).parent / "programs"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if all(importlib.util.find_spec(name) is not None for name in ("dapr", "cloudevents")):
        return
    missing = pytest.mark.skip(reason="the official SDK (PyPI: dapr[grpc]) is not installed")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(missing)


Call = Callable[..., Any]


@pytest.fixture
def call(world: World) -> Call:
    """Runs a task of `calls.py` beside a sidecar."""

    def run(sidecar: Sidecar | None, task: str, target: str, *address: str, **environment: str) -> Any:
        ports = {"DAPR_HTTP_PORT": str(sidecar.http), "DAPR_GRPC_PORT": str(sidecar.grpc)} if sidecar else {}
        made = subprocess.run(
            [sys.executable, str(PROGRAMS / "calls.py"), task, target, *address],
            env={**world.environment, "DAPR_HEALTH_TIMEOUT": "20", **ports, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        return json.loads(made.stdout.splitlines()[-1])

    return run


@pytest.fixture
def sdk_app(world: World) -> Iterator[int]:
    """The port of an app written with the SDK; it listens when its sidecar is ready."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(PROGRAMS / "app.py"), str(port)], env=world.environment)
    yield port
    process.kill()
    process.wait()
