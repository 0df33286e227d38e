"""Real sidecars in a Dapr home of their own, and waiting for what they do.

Ours by default. `PYDAPR_ORIGINAL=/folder` names the original executables for the mixed mesh, and
`PYDAPR_TEST_DAPRD=/path/to/daprd` runs these tests against another daprd: that is how their expectations were
found. Nothing here sleeps for its own sake or knows a port beforehand; all waits have an end.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration import http_wire
from tests.integration.http_wire import App, Broken, Handler, Message, Wire

OURS = [sys.executable, "-m", "pydapr", "daprd"]
OTHER = os.environ.get("PYDAPR_TEST_DAPRD", "")
ORIGINAL = os.environ.get("PYDAPR_ORIGINAL", "")
LIMIT = 20.0


def eventually(is_true: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Waits until it is true; fails after the limit."""
    deadline = time.monotonic() + limit
    while not is_true():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.01)


def _lowest_outgoing() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return 32768


_given: set[int] = set()
_random = random.SystemRandom()


def free_port() -> int:
    """A port that nobody has, below those that outgoing connections are given.

    Tests that run side by side draw from ports of their own: what has been given is opened only later.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = 11_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = _random.randrange(first, _lowest_outgoing(), workers)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Sidecar:
    """A running daprd. Its ports are attributes; `app_id` is unique among all tests."""

    def __init__(
        self,
        world: "World",
        name: str,
        app_port: int,
        flags: tuple[str, ...],
        environment: dict[str, str],
        program: list[str],
    ) -> None:
        self.app_id = world.app_id(name)
        self.http, self.grpc, self.internal, self.metrics = (free_port() for _ in range(4))
        ports = {
            "--dapr-http-port": self.http,
            "--dapr-grpc-port": self.grpc,
            "--dapr-internal-grpc-port": self.internal,
            "--metrics-port": self.metrics,
        }
        arguments = ["--app-id", self.app_id]
        for flag, port in ports.items():
            if flag not in flags:
                arguments += [flag, str(port)]
        if app_port:
            arguments += ["--app-port", str(app_port)]
        self.log_path = world.folder / f"{self.app_id}-{uuid.uuid4().hex[:4]}.log"
        self.socket_path = ""
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*program, *arguments, *flags],
                env={**world.environment, **environment},
                cwd=world.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self.process.pid
        self._wires: list[Wire] = []

    # -- what it says --

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def messages(self) -> list[str]:
        """The messages of its text log, without time, scope and the rest."""
        found = []
        for _, text in re.findall(r'^time="[^"]*" level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)', self.log, re.MULTILINE):
            found.append(json.loads(text) if text.startswith('"') else text)
        return found

    def await_log(self, text: str, limit: float = LIMIT) -> None:
        eventually(lambda: text in self.log, f"{text!r} in the log", limit)

    # -- HTTP --

    def connect(self) -> Wire:
        """A connection, closed at the end of the test if not before."""
        wire = http_wire.connect(self.http, self.socket_path)
        self._wires.append(wire)
        return wire

    def disconnect(self) -> None:
        for wire in self._wires:
            wire.close()
        self._wires.clear()

    def call(self, verb: str, target: str, *headers: str, body: bytes | None = None, port: int = 0) -> Message:
        """One request on a connection of its own, and the whole answer."""
        wire = http_wire.connect(port or self.http, "" if port else self.socket_path)
        try:
            wire.send(http_wire.request(verb, target, headers, body))
            return wire.message(without_body=verb == "HEAD")
        finally:
            wire.close()

    def document(self, verb: str, target: str) -> Any:
        return json.loads(self.call(verb, target).body)

    def status(self, target: str) -> int:
        """The status of a GET, 0 while nobody listens."""
        try:
            return self.call("GET", target).status
        except (OSError, Broken):
            return 0

    def await_ready(self) -> "Sidecar":
        self._await_status("/v1.0/healthz", 204)
        return self

    def await_outbound(self) -> "Sidecar":
        self._await_status("/v1.0/healthz/outbound", 204)
        return self

    def _await_status(self, target: str, status: int) -> None:
        eventually(
            lambda: self.status(target) == status or self.process.poll() is not None, f"{target} of {self.app_id}"
        )
        assert self.process.poll() is None, f"{self.app_id} has ended"

    def resident(self) -> int:
        """Bytes of its memory that are in use."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """The most bytes that were ever in use."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise OSError(f"no {name}")

    # -- its end --

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, limit: float = LIMIT) -> int:
        return self.process.wait(limit)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send_signal(number)
        return self.exit_code()

    def kill(self) -> None:
        self.disconnect()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class World:
    """Apps and sidecars of one test, in an empty Dapr home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex[:6]
        self.sidecars: list[Sidecar] = []
        self.apps: list[App] = []
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DAPR_", "APP_"))},
            "HOME": str(folder),
            "DAPR_RUNTIME_PATH": str(folder),
        }

    def app_id(self, name: str) -> str:
        return f"{name}-{self.mark}"

    def app(self, handler: Handler = http_wire.echo, port: int = 0) -> App:
        """An app, listening."""
        app = App(handler, port)
        self.apps.append(app)
        return app

    def daprd(
        self,
        name: str = "app",
        app: App | int | None = None,
        *flags: str,
        environment: dict[str, str] | None = None,
        program: list[str] | None = None,
    ) -> Sidecar:
        """A sidecar, just started."""
        port = app.port if isinstance(app, App) else app or 0
        chosen = program or ([OTHER] if OTHER else OURS)
        sidecar = Sidecar(self, name, port, flags, environment or {}, chosen)
        self.sidecars.append(sidecar)
        return sidecar

    def sidecar(self, name: str = "app", app: App | int | None = None, *flags: str) -> Sidecar:
        """A sidecar that is ready."""
        return self.daprd(name, app, *flags).await_ready()

    def write(self, path: str, text: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def logs(self) -> str:
        return "\n".join(f"--- {one.log_path.name} ---\n{one.log[-8000:]}" for one in self.sidecars)

    def close(self) -> None:
        for sidecar in self.sidecars:
            sidecar.kill()
        for app in self.apps:
            app.close()
