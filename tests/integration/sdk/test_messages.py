"""Messages over streams with the SDK's client."""

import json
import subprocess
import sys

import pytest
from tests.integration.harness import World
from tests.integration.sdk.conftest import PROGRAMS

RESOURCE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: mypub}}
spec: {{type: {type}, version: v1, metadata: [{{name: connectionString, value: "{path}"}}]}}
"""


@pytest.mark.parametrize("type_", ["pubsub.in-memory", "pubsub.sqlite"])
def test_messages_come_over_a_stream_and_what_is_dropped_is_a_dead_letter(world: World, type_: str) -> None:
    world.write("resources/pubsub.yaml", RESOURCE.format(type=type_, path=world.folder / "messages.db"))
    sidecar = world.sidecar("app", None, "--resources-path", str(world.folder / "resources"))

    ports = {"DAPR_HTTP_PORT": str(sidecar.http), "DAPR_GRPC_PORT": str(sidecar.grpc), "DAPR_HEALTH_TIMEOUT": "20"}
    made = subprocess.run(
        [sys.executable, str(PROGRAMS / "messages.py"), "mypub"],
        env={**world.environment, **ports},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert made.returncode == 0, made.stdout + made.stderr
    assert json.loads(made.stdout.splitlines()[-1]) == {"taken": [1, 2, 3, 4], "letter": ["dead", 3]}
