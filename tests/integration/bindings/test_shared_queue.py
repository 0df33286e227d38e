"""Our sidecars and the original's at one queue of RabbitMQ: each calls its app for what the other has written.

Runs when PYDAPR_ORIGINAL names a folder with the original executables.
"""

import functools
import json
import os
from collections.abc import Iterator

import pytest
from tests.conformance import message_servers, servers
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.http_wire import Message, Wire

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()


def _serve(events: list[Message], wire: Wire, request: Message) -> None:
    request.body = b"".join(wire.pieces())
    if request.verb == "POST":
        events.append(request)
    wire.send(http_wire.answer())


@pytest.mark.parametrize("first", PROGRAMS)
def test_each_reads_what_the_other_has_written(world: World, first: str) -> None:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    given = {
        "host": metadata["connectionString"], "queueName": f"queue-{world.mark}", "durable": "true", "ttl": "60s",
        "maxPriority": "3", "prefetchCount": "1",
    }  # fmt: skip
    component = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "queue"},
        "spec": {
            "type": "bindings.rabbitmq",
            "version": "v1",
            "metadata": [{"name": name, "value": value} for name, value in given.items()],
        },
    }
    world.write("resources/queue.yaml", json.dumps(component))
    events: dict[str, list[Message]] = {name: [] for name in PROGRAMS}
    sidecars = {}
    for name in sorted(PROGRAMS, key=lambda name: name != first):
        app = world.app(functools.partial(_serve, events[name]))
        flags = ("--resources-path", str(world.folder / "resources"))
        sidecars[name] = world.daprd(f"{name}-app", app, *flags, program=PROGRAMS[name]).await_ready()

    for name, sidecar in sidecars.items():
        for number in range(10):
            body = {"operation": "create", "data": f"{name}-{number}", "metadata": {"my header": "my value"}}
            answer = sidecar.call("POST", "/v1.0/bindings/queue", body=json.dumps(body).encode())
            assert answer.status in (200, 204), answer.body

    wanted = sorted(f'"{name}-{number}"'.encode() for name in PROGRAMS for number in range(10))
    harness.eventually(
        lambda: sorted(event.body for all_ in events.values() for event in all_) == wanted, "each at one of them"
    )
    assert all(events.values())
    headers = {name: [one.get("my+header") for one in all_] for name, all_ in events.items()}
    assert {value for values in headers.values() for value in values} == {"my value"}
