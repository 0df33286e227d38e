"""Components served at sockets by `dapr component serve`, and resources that name them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration import harness
from tests.integration.harness import World, eventually

SERVE = [sys.executable, "-m", "pydapr", "dapr", "component", "serve"]

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: {type}
  version: v1
  metadata: [{metadata}]
---
"""


def resource(name: str, type_: str, **metadata: str) -> str:
    pairs = [f"{{name: {key}, value: {value!r}}}" for key, value in metadata.items()]
    return COMPONENT.format(name=name, type=type_, metadata=", ".join(pairs))


class Served:
    """One such process."""

    def __init__(self, world: World, type_: str, name: str) -> None:
        self.socket = Path(folder(world)["DAPR_COMPONENTS_SOCKETS_FOLDER"], f"{name}.sock")
        self._arguments = [*SERVE, "--type", type_, "--name", name]
        self._world, self._name = world, name
        self.start()

    def start(self) -> None:
        self.log_path = self._world.folder / f"served-{self._name}.log"
        with self.log_path.open("ab") as log:
            environment = {**os.environ, **self._world.environment, **folder(self._world)}
            self.process = subprocess.Popen(self._arguments, env=environment, stdout=log, stderr=log)
        eventually(
            lambda: self.log_path.read_text().count("is served at") > 0 or self.process.poll() is not None, "served"
        )
        assert self.process.poll() is None, self.log_path.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(harness.LIMIT)
        self.log_path.unlink()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def folder(world: World) -> dict[str, str]:
    """Where the sockets of a world are; the path must be short enough for one."""
    path = Path("/tmp", f"pydapr-plug-{world.mark}")
    path.mkdir(exist_ok=True)
    return {"DAPR_COMPONENTS_SOCKETS_FOLDER": str(path)}
