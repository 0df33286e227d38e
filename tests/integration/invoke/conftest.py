"""Two sidecars, `caller` and `callee`, shared by the tests of a file; the callee's app is each test's own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.integration import http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App, Handler, Message


@dataclass
class Pair:
    """Calls the app of `callee` through `caller`, or by `callee` itself when `is_own`."""

    caller: Sidecar
    callee: Sidecar
    app: App

    def url(self, method: str) -> str:
        return f"/v1.0/invoke/{self.callee.app_id}/method/{method}"

    def call(self, verb: str, method: str, *headers: str, body: bytes | None = None) -> Message:
        return self.caller.call(verb, self.url(method), *headers, body=body)

    def serve(self, handler: Handler) -> None:
        self.app.handler = handler
        self.app.seen.clear()
        self.app.faults.clear()


@pytest.fixture(scope="module")
def _running(shared_world: World) -> tuple[Sidecar, Sidecar, App]:
    app = shared_world.app()
    caller, callee = shared_world.daprd("caller"), shared_world.daprd("callee", app)
    return caller.await_ready(), callee.await_ready(), app


@pytest.fixture
def remote(_running: tuple[Sidecar, Sidecar, App]) -> Iterator[Pair]:
    """Over two sidecars."""
    pair = Pair(*_running)
    pair.serve(http_wire.echo)
    yield pair
    pair.caller.disconnect()


@pytest.fixture(params=["remote", "own"])
def pair(request: pytest.FixtureRequest, _running: tuple[Sidecar, Sidecar, App]) -> Iterator[Pair]:
    """Over two sidecars, and once more to the app's own sidecar."""
    caller, callee, app = _running
    pair = Pair(caller if request.param == "remote" else callee, callee, app)
    pair.serve(http_wire.echo)
    yield pair
    pair.caller.disconnect()
