"""A placement service, and apps that host actors, for the tests of this folder."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import http_wire
from tests.integration.harness import LIMIT, ORIGINAL, OURS, Sidecar, World, eventually, free_port
from tests.integration.http_wire import App, Message, Wire

STORE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: st}
spec:
  type: state.sqlite
  version: v1
  metadata:
  - {name: connectionString, value: "FILE"}
  - {name: actorStateStore, value: "true"}
"""

PROGRAMS = ["ours", pytest.param("original", marks=pytest.mark.skipif(not ORIGINAL, reason="no original"))]

Answer = Callable[[Message], bytes | None]
"""The answer to a method as bytes for the wire, None for the usual one."""


class Placement:
    """One placement service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._raft = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        ports = {"--port": self.port, "--healthz-port": free_port(), "--metrics-port": free_port()}
        with (self._folder / "placement.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *[sys.executable, "-m", "pydapr", "placement", "--id", "p0"],
                    *["--initial-cluster", f"p0=127.0.0.1:{self._raft}"],
                    *itertools.chain(*[(flag, str(port)) for flag, port in ports.items()]),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        eventually(self._listens, "placement")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)
            self._process = None


class Host:
    """An app with actors. Notes what it is asked, and by how many calls one actor is busy at once."""

    def __init__(self, world: World, config: dict[str, Any], answer: Answer = lambda request: None) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._busy: dict[str, int] = {}
        self.most_at_once = 0
        self.seen: list[Message] = []
        self.gate = threading.Event()
        """While it is not set, methods named `slow` do not end."""
        self.farewell = threading.Event()
        """While it is not set, deactivations do not end."""
        self.farewell.set()
        self.app: App = world.app(self.handle)
        self.app.config = json.dumps(config).encode()

    def handle(self, wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        if not request.target.startswith("/actors/"):
            wire.send(http_wire.answer())
            return
        actor = "/".join(request.target.split("/")[2:4])
        with self._lock:
            self.seen.append(request)
            self._busy[actor] = self._busy.get(actor, 0) + 1
            self.most_at_once = max(self.most_at_once, self._busy[actor])
        if request.verb == "DELETE":
            self.farewell.wait(LIMIT)
        elif request.target.endswith("/slow"):
            self.gate.wait(LIMIT)
        answer = self._answer(request) or http_wire.answer("200 OK", "X-Host: " + str(id(self)), body=request.body)
        with self._lock:
            self._busy[actor] -= 1
        wire.send(answer)

    def targets(self, verb: str = "PUT") -> list[str]:
        with self._lock:
            return [request.target for request in self.seen if request.verb == verb]

    def last(self) -> Message:
        with self._lock:
            return self.seen[-1]


class ActorWorld:
    """What a test has: a placement service, a store that all share, and instances of apps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.placement = Placement(world.folder)
        world.write("resources/store.yaml", STORE.replace("FILE", str(world.folder / "actors.db")))

    def host(self, config: dict[str, Any] | None = None, answer: Answer = lambda request: None) -> Host:
        return Host(self.world, config if config is not None else {"entities": ["Cat"]}, answer)

    def sidecar(
        self, name: str, host: Host | None, *flags: str, program: str = "ours", resources: str = "resources"
    ) -> Sidecar:
        programs = {"ours": OURS, "original": [os.path.join(ORIGINAL, "daprd")]}
        started = self.world.daprd(
            name,
            host.app if host is not None else None,
            *["--placement-host-address", self.placement.address],
            *["--resources-path", str(self.world.folder / resources)],
            *flags,
            program=programs[program],
        )
        return started.await_ready()

    def close(self) -> None:
        self.world.close()
        self.placement.kill()


def call(sidecar: Sidecar, actor: str, method: str = "m", body: bytes = b"", *headers: str) -> Message:
    return sidecar.call("PUT", f"/v1.0/actors/{actor}/method/{method}", *headers, body=body)


def runtime(sidecar: Sidecar) -> dict[str, Any]:
    found: dict[str, Any] = sidecar.document("GET", "/v1.0/metadata")["actorRuntime"]
    return found


@pytest.fixture
def actors(world: World) -> Iterator[ActorWorld]:
    made = ActorWorld(world)
    yield made
    made.close()
