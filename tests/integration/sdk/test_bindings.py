"""Bindings with the SDK: events over gRPC, operations by its client."""

import json
import subprocess
import sys

from tests.integration.bindings.conftest import component
from tests.integration.harness import World, eventually, free_port
from tests.integration.sdk.conftest import PROGRAMS


def test_an_event_comes_and_is_kept(world: World) -> None:
    folder = world.folder / "files"
    text = component("tick", "bindings.cron", schedule="@every 100ms")
    text += component("files", "bindings.localstorage", rootPath=str(folder))
    flags = ("--resources-path", str(world.write("resources/all.yaml", text).parent), "--app-protocol", "grpc")
    port = free_port()
    sidecar = world.daprd("sdk", port, *flags)
    ports = {"DAPR_HTTP_PORT": str(sidecar.http), "DAPR_GRPC_PORT": str(sidecar.grpc), "DAPR_HEALTH_TIMEOUT": "20"}

    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "bindings.py"), str(port)], env={**world.environment, **ports}
    )
    try:
        eventually(lambda: (folder / "made.json").exists() and (folder / "made.json").read_bytes(), "the file", 30)
    finally:
        process.kill()
        process.wait()

    assert json.loads((folder / "event.json").read_bytes()) == {"zone": "Local", "text": ""}
    assert json.loads((folder / "made.json").read_bytes()) == {"fileName": "event.json"}
