"""A caller with a Resiliency resource, and the sidecar of an app that it calls."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App, Handler, Message, Wire, answer


@dataclass
class Guarded:
    """Calls the app of `callee` through `caller`, which has the policies."""

    caller: Sidecar
    callee: Sidecar
    app: App

    def url(self, method: str = "m") -> str:
        return f"/v1.0/invoke/{self.callee.app_id}/method/{method}"

    def call(self, method: str = "m", body: bytes = b"data") -> Message:
        return self.caller.call("POST", self.url(method), body=body)


Guard = Callable[[str, Handler], Guarded]


@pytest.fixture
def guard(world: World) -> Guard:
    """A caller whose policies are the text below `spec`; CALLEE in it becomes the app id of the callee."""

    def make(spec: str, handler: Handler) -> Guarded:
        app = world.app(handler)
        text = f"kind: Resiliency\napiVersion: dapr.io/v1alpha1\nmetadata: {{name: mine}}\nspec:\n{spec}"
        world.write("resources/resiliency.yaml", text.replace("CALLEE", world.app_id("callee")))
        callee = world.daprd("callee", app)
        caller = world.sidecar("caller", None, "--resources-path", str(world.folder / "resources"))
        return Guarded(caller, callee.await_ready(), app)

    return make


def in_turn(*answers: bytes) -> Handler:
    """An app with these answers in turn; the last one stays."""
    left = list(answers)

    def handle(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        wire.send(left.pop(0) if len(left) > 1 else left[0])

    return handle


def never(wire: Wire, request: Message) -> None:
    """An app that takes requests and does not answer."""
    request.body = b"".join(wire.pieces())
    wire.is_closed()


BAD = answer("503 Service Unavailable", "Content-Type: text/plain", "X-Reason: tired", body=b"not now")
