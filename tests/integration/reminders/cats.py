"""An app over HTTP with actors of the type Cat, which remembers what was asked of them."""

import json
import threading
import time
from collections import Counter
from typing import Any

from tests.integration import http_wire
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire


class Cats:
    """`times` has when each `remind/<name>` or `timer/<name>` of an actor came, `bodies` the last of each."""

    def __init__(self, world: World, idle: str = "1h") -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.bodies: dict[str, Any] = {}
        self.cancels: set[str] = set()
        self._lock = threading.Lock()
        self.app = world.app(self._handle)
        self.app.config = json.dumps({"entities": ["Cat"], "actorIdleTimeout": idle}).encode()

    def _handle(self, wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        path = request.target.strip("/").split("/")
        headers: list[str] = []
        if path[0] == "actors" and len(path) == 6:
            key = "/".join((path[2], *path[4:]))
            with self._lock:
                self.counts[key] += 1
                self.times.setdefault(key, []).append(time.monotonic())
                self.bodies[key] = json.loads(body)
            if path[5] in self.cancels:
                headers.append("X-Daprremindercancel: true")
        elif path[0] == "actors" and request.verb == "DELETE":
            with self._lock:
                self.counts[f"{path[2]}/deactivated"] += 1
        wire.send(http_wire.answer("200 OK", *headers))


def post(sidecar: Sidecar, path: str, **wanted: object) -> Message:
    """Registers a reminder or a timer of an actor."""
    return sidecar.call("POST", f"/v1.0/actors/Cat/{path}", body=json.dumps(wanted).encode())


def hosted(sidecar: Sidecar) -> Sidecar:
    """When the type lives there, and calls reach it."""
    target = "/v1.0/actors/Cat/first/method/meow"
    eventually(lambda: sidecar.call("POST", target).status == 200, "an actor answers")
    return sidecar
