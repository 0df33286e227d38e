"""Cryptography, locks and configuration with the SDK's client."""

import json
import subprocess
import sys

from tests.integration.crypto import keys
from tests.integration.harness import World
from tests.integration.sdk.conftest import PROGRAMS

RESOURCE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec: {{type: {type}, version: v1, metadata: [{{name: connectionString, value: "{path}"}}]}}
---
"""


def test_cryptography_locks_and_configuration(world: World) -> None:
    keys.write(world)
    table = world.folder / "configuration.db"
    text = RESOURCE.format(name="locks", type="lock.sqlite", path=world.folder / "locks.db")
    world.write("resources/data.yaml", text + RESOURCE.format(name="store", type="configuration.sqlite", path=table))
    sidecar = keys.sidecar(world)

    ports = {"DAPR_HTTP_PORT": str(sidecar.http), "DAPR_GRPC_PORT": str(sidecar.grpc), "DAPR_HEALTH_TIMEOUT": "20"}
    made = subprocess.run(
        [sys.executable, str(PROGRAMS / "data.py"), str(table)],
        env={**world.environment, **ports},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert made.returncode == 0, made.stdout + made.stderr
    assert json.loads(made.stdout.splitlines()[-1]) == {
        "crypto": {"larger": True, "same": [True, True]},
        "lock": [True, False, "lock_belongs_to_others", "lock_does_not_exist"],
        "configuration": {"items": {"a": ["1", "1"], "b": ["2", "1"]}, "changed": {"a": ["3", "2"]}, "ended": True},
    }
