"""Resiliency resources around a state store: a timeout and retries while others hold the file."""

import contextlib
import json
import sqlite3
import threading

from tests.integration.harness import Sidecar, World
from tests.integration.state import stores


def resiliency(**outbound: str) -> str:
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "r"},
        "spec": {
            "policies": {
                "timeouts": {"short": "200ms"},
                "retries": {"many": {"policy": "constant", "duration": "10ms", "maxRetries": 1000}},
            },
            "targets": {"components": {"lite": {"outbound": outbound}}},
        },
    }
    return json.dumps(document) + "\n---\n"


def save(sidecar: Sidecar, value: int) -> tuple[int, str]:
    body = json.dumps([{"key": "k", "value": value}]).encode()
    reply = sidecar.call("POST", "/v1.0/state/lite", body=body)
    return reply.status, reply.body.decode()


def test_timeout_ends_a_write_that_waits(world: World) -> None:
    sidecar = stores.start(world, stores.sqlite(world), resiliency(timeout="short")).await_ready()
    assert save(sidecar, 1)[0] == 204

    with contextlib.closing(sqlite3.connect(world.folder / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, text = save(sidecar, 2)
        assert sidecar.call("GET", "/v1.0/state/lite/k").body == b"1"
        other.execute("COMMIT")

    assert (status, json.loads(text)["errorCode"]) == (500, "ERR_STATE_SAVE")
    assert "context deadline exceeded" in text


def test_write_is_tried_again_until_it_can_be_done(world: World) -> None:
    policies = resiliency(timeout="short", retry="many")
    sidecar = stores.start(world, stores.sqlite(world), policies).await_ready()
    assert save(sidecar, 1)[0] == 204
    outcome: list[int] = []

    with contextlib.closing(sqlite3.connect(world.folder / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=lambda: outcome.append(save(sidecar, 2)[0]))
        writing.start()
        sidecar.await_log("Error processing operation component[lite] output. Retrying in 10ms")
        other.execute("COMMIT")
        writing.join(20)

    assert outcome == [204]
    assert sidecar.call("GET", "/v1.0/state/lite/k").body == b"2"
