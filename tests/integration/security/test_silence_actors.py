"""No secret is in any line: what actors, reminders, timers and jobs carry stays out of the logs of the sidecar, of
placement and of the scheduler, at level debug, while half of it fails.
"""

import contextlib
import json
from collections.abc import Iterator

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire
from tests.integration.reminders.conftest import Plane

from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2, jobs_pb2

JSON = "Content-Type: application/json"
SECRETS = ("Authorization: Bearer bearer-hush", "X-Key: header-hush")
NOW = b'{"dueTime":"0s","data":"data-hush","callback":"callback-hush"}'
BAD = [b'{"dueTime":"hush"}', b'{"dueTime":"0s","period":"hush"}', b'{"dueTime":"0s","ttl":"hush"}', b'{"hush', b"hush"]
STATE = b'[{"operation":"upsert","request":{"key":"k","value":"state-hush"}}]'


class Actors:
    """An app whose actors and jobs fail at first; `done` are the targets that did not."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self._failed: set[str] = set()

    def handle(self, wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        fails = request.target not in self._failed and request.target.startswith(("/actors/", "/job/"))
        self._failed.add(request.target)
        if fails:
            wire.send(http_wire.answer("500 Oh", "Set-Cookie: cookie-hush", body=b"why it failed"))
        else:
            self.done.add(request.target)
            wire.send(http_wire.answer(body=b"answer-hush"))


@pytest.fixture
def plane(world: World) -> Iterator[Plane]:
    made = Plane(world, "ours", "--log-level=debug")
    try:
        made.scheduler.start()
        eventually(made.placement.is_ready, "placement is ready")
        yield made
    finally:
        made.close()


def test_no_secret_of_actors_and_jobs_is_in_any_line(world: World, plane: Plane) -> None:
    actors = Actors()
    app = world.app(actors.handle)
    app.config = json.dumps({"entities": ["Cat"]}).encode()
    config = world.write("config.yaml", "kind: Configuration\nspec: {tracing: {samplingRate: '1', stdout: true}}\n")
    flags = ("--log-level", "debug", "--enable-api-logging", "--config", str(config))
    sidecar = plane.sidecar(app, *flags)
    actor = "/v1.0/actors/Cat/1/"
    eventually(lambda: sidecar.call("PUT", actor + "method/first", body=b"").status == 200, "the actor answers")

    _over_http(sidecar, actor)
    _over_grpc(sidecar)
    wanted = {"/actors/Cat/1/method/remind/r", "/job/j"}
    eventually(lambda: wanted <= actors.done, "what failed comes again")
    page = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    assert sidecar.stop() == 0
    plane.close()

    logs = sidecar.log + "".join(path.read_text() for path in sorted(world.folder.rglob("*.log")))
    assert "HTTP API Called" in logs and "Sidecar connected" in logs and "p0" in logs
    assert [line for line in (logs + page).splitlines() if "hush" in line] == []


def _over_http(sidecar: Sidecar, actor: str) -> None:
    for _ in range(2):
        sidecar.call("PUT", actor + "method/m?q=query-hush", *SECRETS, body=b"body-hush")
    sidecar.call("POST", actor + "state", JSON, *SECRETS, body=STATE)
    assert b"hush" in sidecar.call("GET", actor + "state/k").body
    for target in (actor + "reminders/r", actor + "timers/t", "/v1.0/jobs/j"):
        for body in (*BAD, NOW):
            sidecar.call("POST", target, JSON, *SECRETS, body=body)
    sidecar.call("POST", actor + "state", JSON, body=b'[{"operation":"hush","request":{"key":"k"}}]')
    sidecar.call("POST", actor + "state", JSON, body=b'{"hush')
    sidecar.call("PUT", "/v1.0/actors/Nobody/1/method/m", *SECRETS, body=b"body-hush")


def _over_grpc(sidecar: Sidecar) -> None:
    calls = [
        ("InvokeActor", actors_pb2.InvokeActorRequest(actor_type="Cat", actor_id="1", method="g", data=b"data-hush")),
        ("InvokeActor", actors_pb2.InvokeActorRequest(actor_type="Cat", actor_id="1", method="g", data=b"data-hush")),
        ("ScheduleJobAlpha1", jobs_pb2.ScheduleJobRequest(job=jobs_pb2.Job(name="g", due_time="hush"))),
        (
            "RegisterActorReminder",
            actors_pb2.RegisterActorReminderRequest(
                actor_type="Cat", actor_id="1", name="g", due_time="0s", data=b"data-hush"
            ),
        ),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        for name, request in calls:
            for data in (request.SerializeToString(), b"\x0a\xffhush"):
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary(DAPR + name)(data, metadata=(("authorization", "bearer-hush"),), timeout=20)
