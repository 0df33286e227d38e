"""Actors of an app written with the official SDK: methods, state, reminders and timers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.harness import Sidecar, World, eventually, free_port
from tests.integration.reminders.conftest import Plane
from tests.integration.sdk.conftest import PROGRAMS


@pytest.fixture
def cats(world: World) -> Iterator[Sidecar]:
    """The sidecar of an app whose actors can be called."""
    plane = Plane(world, "ours")
    program = None
    try:
        plane.scheduler.start()
        eventually(plane.placement.is_ready, "placement is ready")
        port = free_port()
        sidecar = world.daprd("app", port, *plane.flags)
        program = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "actors.py"), str(port)],
            env={**world.environment, "DAPR_HTTP_PORT": str(sidecar.http), "DAPR_HEALTH_TIMEOUT": "20"},
        )
        yield sidecar.await_ready()
    finally:
        if program is not None:
            program.kill()
            program.wait()
        plane.close()


def test_an_actor_of_the_sdk_is_reminded_and_keeps_its_state(cats: Sidecar) -> None:
    def ask(method: str, body: bytes = b"") -> Any:
        answer = cats.call("PUT", f"/v1.0/actors/Cat/c1/method/{method}", body=body)
        assert answer.status == 200, answer.body
        return json.loads(answer.body) if answer.body else None

    def told(key: str) -> Any:
        return ask("Tell")[key]

    eventually(lambda: cats.status("/v1.0/actors/Cat/c1/state/none") == 204, "the type is hosted")
    eventually(lambda: cats.call("PUT", "/v1.0/actors/Cat/c1/method/Tell").status == 200, "the actor answers")
    ask("Begin", b'{"a": 1}')
    assert told("told") == {"a": 1}
    eventually(lambda: (told("fed") or ["", 0])[1] > 1, "the reminder comes again")
    eventually(lambda: (told("petted") or ["", 0])[1] > 1, "the timer comes again")
    assert (told("fed")[0], told("petted")[0]) == ("feed fish", "softly")
    ask("End")
    assert cats.status("/v1.0/actors/Cat/c1/reminders/feed") == 404
