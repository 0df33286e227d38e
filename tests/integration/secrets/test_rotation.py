"""Secrets that change while the sidecar runs: components that use them are opened again, and no request is lost."""

import json
import os
import threading
from pathlib import Path

from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire, answer

RESOURCES = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: secrets}}
spec:
  type: secretstores.local.file
  version: v1
  metadata: [{{name: secretsFile, value: {secrets!r}}}]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: store}}
spec:
  type: state.sqlite
  version: v1
  metadata:
  - {{name: connectionString, secretKeyRef: {{name: path, key: path}}}}
auth: {{secretStore: secrets}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: broker}}
spec:
  type: pubsub.sqlite
  version: v1
  metadata:
  - {{name: connectionString, secretKeyRef: {{name: queue, key: queue}}}}
auth: {{secretStore: secrets}}
"""


def told(world: World, **secrets: str) -> Path:
    """The file with the secrets, as it is from now on; it is never half written."""
    new = world.write("secrets.new", json.dumps(secrets))
    path = world.folder / "secrets.json"
    os.replace(new, path)
    return path


def start(world: World, app: object = None, **secrets: str) -> Sidecar:
    world.write("resources/all.yaml", RESOURCES.format(secrets=str(told(world, **secrets))))
    return world.sidecar("rotating", app, "--resources-path", str(world.folder / "resources"))  # type: ignore[arg-type]


def save(sidecar: Sidecar, key: str) -> int:
    return sidecar.call("POST", "/v1.0/state/store", body=json.dumps([{"key": key, "value": key}]).encode()).status


def test_the_api_has_the_new_secret(world: World) -> None:
    files = {"path": str(world.folder / "1.db"), "queue": str(world.folder / "q.db")}
    sidecar = start(world, **files, plain="old")
    assert json.loads(sidecar.call("GET", "/v1.0/secrets/secrets/plain").body) == {"plain": "old"}

    told(world, **files, plain="new")

    eventually(lambda: b"new" in sidecar.call("GET", "/v1.0/secrets/secrets/plain").body, "the new secret")
    assert "is opened again" not in sidecar.log


def test_a_store_is_opened_again_under_load(world: World) -> None:
    queue = str(world.folder / "q.db")
    sidecar = start(world, path=str(world.folder / "1.db"), queue=queue)
    statuses: list[int] = []
    is_over = threading.Event()

    def load(name: int) -> None:
        while not is_over.is_set():
            statuses.append(save(sidecar, f"{name}-{len(statuses)}"))

    threads = [threading.Thread(target=load, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in (2, 3, 4):
            told(world, path=str(world.folder / f"{number}.db"), queue=queue)
            eventually(lambda: sidecar.log.count("is opened again") == number - 1, "the next store")  # noqa: B023
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    assert set(statuses) == {204} and len(statuses) > 20
    assert save(sidecar, "last") == 204
    assert sidecar.call("GET", "/v1.0/state/store/last").body == b'"last"'
    assert all((world.folder / f"{number}.db").exists() for number in (1, 2, 3, 4))
    assert sidecar.stop() == 0


def test_a_store_that_cannot_be_opened_leaves_the_old_one(world: World) -> None:
    queue = str(world.folder / "q.db")
    sidecar = start(world, path=str(world.folder / "1.db"), queue=queue)

    told(world, path="", queue=queue)

    sidecar.await_log("stays as it is")
    assert save(sidecar, "k") == 204


def test_a_file_that_cannot_be_read_leaves_the_old_secrets(world: World) -> None:
    sidecar = start(world, path=str(world.folder / "1.db"), queue=str(world.folder / "q.db"))

    (world.folder / "secrets.json").write_text("{")

    sidecar.await_log("The secrets stay what they were")
    assert sidecar.call("GET", "/v1.0/secrets/secrets/path").status == 200
    assert save(sidecar, "k") == 204


def test_a_subscription_goes_over_to_the_new_broker(world: World) -> None:
    seen: list[str] = []

    def app(wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        if request.target == "/dapr/subscribe":
            wire.send(answer(body=b'[{"pubsubname": "broker", "topic": "t", "route": "/on"}]'))
            return
        if request.target == "/on":
            seen.append(json.loads(body)["data"])
        wire.send(answer())

    path = str(world.folder / "1.db")
    sidecar = start(world, world.app(app), path=path, queue=str(world.folder / "q1.db"))

    def publish(data: str) -> int:
        return sidecar.call("POST", "/v1.0/publish/broker/t", body=json.dumps(data).encode()).status

    assert publish("before") == 204
    eventually(lambda: seen == ['"before"'] or seen == ["before"], "the first message")

    told(world, path=path, queue=str(world.folder / "q2.db"))
    sidecar.await_log("Component broker (pubsub.sqlite/v1) is opened again")

    assert publish("after") == 204
    eventually(lambda: len(seen) == 2 and "after" in seen[1], "the second message")
    assert (world.folder / "q2.db").exists()
    assert sidecar.stop() == 0
