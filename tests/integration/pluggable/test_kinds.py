"""Components of ours behind sockets, used by our sidecar and by the original as pluggable components.

The original runs when PYDAPR_ORIGINAL names a folder with its executables.
"""

import json
import os
import signal
from collections.abc import Callable

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire, answer
from tests.integration.pluggable.serving import Served, folder, resource

Serve = Callable[[str, str], Served]

JSON = "content-type: application/json"


@pytest.fixture(params=["ours", "original"])
def program(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "ours":
        return harness.OURS
    if not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    return [os.path.join(harness.ORIGINAL, "daprd")]


def start(world: World, program: list[str], resources: str, app: object = None) -> Sidecar:
    world.write("resources/all.yaml", resources)
    flags = ("--resources-path", str(world.folder / "resources"))
    made = world.daprd("plug", app, *flags, environment=folder(world), program=program)  # type: ignore[arg-type]
    return made.await_ready()


def post(sidecar: Sidecar, target: str, document: object, *headers: str) -> Message:
    return sidecar.call("POST", target, JSON, *headers, body=json.dumps(document).encode())


def test_state_with_etags_expiry_and_transactions(world: World, serve: Serve, program: list[str]) -> None:
    serve("state.sqlite", "lite")
    sidecar = start(world, program, resource("s", "state.lite", connectionString=str(world.folder / "s.db")))
    saved = [{"key": "a", "value": {"n": 1}}, {"key": "b", "value": "x", "metadata": {"ttlInSeconds": "600"}}]

    assert post(sidecar, "/v1.0/state/s", saved).status == 204
    got = sidecar.call("GET", "/v1.0/state/s/a")
    assert json.loads(got.body) == {"n": 1}
    assert sidecar.call("DELETE", "/v1.0/state/s/a", "if-match: 12345").status == 409
    found = {one["key"]: one for one in json.loads(post(sidecar, "/v1.0/state/s/bulk", {"keys": ["a", "b", "c"]}).body)}
    assert found["a"]["etag"] == got.get("etag") and "ttlExpireTime" in found["b"]["metadata"]
    assert "data" not in found["c"]

    operations = [
        {"operation": "upsert", "request": {"key": "d", "value": 4}},
        {"operation": "delete", "request": {"key": "a", "etag": got.get("etag")}},
    ]
    assert post(sidecar, "/v1.0/state/s/transaction", {"operations": operations}).status == 204
    assert sidecar.call("GET", "/v1.0/state/s/d").body == b"4"
    assert sidecar.call("GET", "/v1.0/state/s/a").status == 204
    listed = sidecar.document("GET", "/v1.0/metadata")["components"]
    assert {"ETAG", "TRANSACTIONAL", "TTL", "ACTOR"} <= set(listed[0]["capabilities"])


def test_queries_of_a_store_that_has_them(world: World, serve: Serve, program: list[str]) -> None:
    serve("state.sqlite", "lite")
    sidecar = start(world, program, resource("s", "state.lite", connectionString=str(world.folder / "s.db")))
    people = [
        {"key": str(n), "value": {"n": n, "org": "x"}, "metadata": {"contentType": "application/json"}}
        for n in range(5)
    ]
    assert post(sidecar, "/v1.0/state/s", people).status == 204
    query = {"filter": {"IN": {"n": [1, 3]}}, "sort": [{"key": "n", "order": "DESC"}]}

    answered = post(sidecar, "/v1.0-alpha1/state/s/query?metadata.contentType=application/json", query)

    assert answered.status == 200, answered.body
    assert [one["key"] for one in json.loads(answered.body)["results"]] == ["3", "1"]


def test_secrets_also_in_other_resources(world: World, serve: Serve, program: list[str]) -> None:
    serve("secretstores.local.file", "vaulted")
    serve("state.sqlite", "lite")
    secrets = world.write("secrets.json", json.dumps({"path": str(world.folder / "s.db"), "other": "o"}))
    by_secret = resource("s", "state.lite").replace(
        "metadata: []", "metadata: [{name: connectionString, secretKeyRef: {name: path, key: path}}]"
    )
    by_secret = by_secret.replace("---", "auth: {secretStore: v}\n---")
    sidecar = start(world, program, resource("v", "secretstores.vaulted", secretsFile=str(secrets)) + by_secret)

    assert json.loads(sidecar.call("GET", "/v1.0/secrets/v/other").body) == {"other": "o"}
    assert set(json.loads(sidecar.call("GET", "/v1.0/secrets/v/bulk").body)) == {"path", "other"}
    assert sidecar.call("GET", "/v1.0/secrets/v/none").status == 500
    assert post(sidecar, "/v1.0/state/s", [{"key": "k", "value": 1}]).status == 204
    assert (world.folder / "s.db").exists()


def test_output_binding(world: World, serve: Serve, program: list[str]) -> None:
    serve("bindings.localstorage", "files")
    (world.folder / "kept").mkdir()
    sidecar = start(world, program, resource("f", "bindings.files", rootPath=str(world.folder / "kept")))
    about = {"fileName": "f.txt"}

    assert post(sidecar, "/v1.0/bindings/f", {"operation": "create", "data": "plain!", "metadata": about}).status == 200
    assert post(sidecar, "/v1.0/bindings/f", {"operation": "get", "metadata": about}).body == b"plain!"
    assert post(sidecar, "/v1.0/bindings/f", {"operation": "get", "metadata": {"fileName": "none"}}).status == 500


def test_input_binding(world: World, serve: Serve, program: list[str]) -> None:
    serve("bindings.cron", "clock")
    events: list[str] = []

    def app(wire: Wire, message: Message) -> None:
        b"".join(wire.pieces())
        if message.verb == "POST":
            events.append(message.target)
        wire.send(answer())

    start(world, program, resource("tick", "bindings.clock", schedule="@every 1s"), world.app(app))

    eventually(lambda: "/tick" in events, "an event of the clock")


class Subscriber:
    """An app that takes the messages of one topic; the first one only at the second try."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, wire: Wire, message: Message) -> None:
        body = b"".join(wire.pieces())
        if message.target == "/dapr/subscribe":
            wire.send(answer("200 OK", JSON, body=b'[{"pubsubname": "p", "topic": "t", "route": "/on"}]'))
        elif message.target == "/on":
            self.seen.append(json.loads(body)["data"]["n"])
            wire.send(answer("500 Sorry" if self.seen == [0] else "200 OK"))
        else:
            wire.send(answer("404 Not Found"))


def test_messages_are_acknowledged_and_come_again(world: World, serve: Serve, program: list[str]) -> None:
    serve("pubsub.sqlite", "queue")
    app = Subscriber()
    broker = resource("p", "pubsub.queue", connectionString=str(world.folder / "q.db"), redeliverInterval="200ms")
    sidecar = start(world, program, broker, world.app(app))

    for n in range(3):
        assert post(sidecar, "/v1.0/publish/p/t", {"n": n}).status == 204
    entries = [{"entryId": str(n), "event": {"n": n}, "contentType": "application/json"} for n in (3, 4)]
    assert post(sidecar, "/v1.0-alpha1/publish/bulk/p/t", entries).status == 204

    eventually(lambda: set(app.seen) == {0, 1, 2, 3, 4} and app.seen.count(0) == 2, "all, the first one twice")
    assert sidecar.stop() == 0


def test_a_component_that_starts_anew_goes_on(world: World, serve: Serve) -> None:
    """Ours only: the original would not give it its metadata again, and not make the stream again."""
    store, queue = serve("state.sqlite", "lite"), serve("pubsub.sqlite", "queue")
    app = Subscriber()
    app.seen.append(-1)  # nothing is refused
    resources = resource("s", "state.lite", connectionString=str(world.folder / "s.db"))
    resources += resource("p", "pubsub.queue", connectionString=str(world.folder / "q.db"))
    sidecar = start(world, harness.OURS, resources, world.app(app))
    assert post(sidecar, "/v1.0/state/s", [{"key": "k", "value": 1}]).status == 204
    store.stop(signal.SIGKILL)
    queue.stop(signal.SIGKILL)

    refused = sidecar.call("GET", "/v1.0/state/s/k")
    assert refused.status == 500 and b"connect" in refused.body
    store.start()
    queue.start()

    assert sidecar.call("GET", "/v1.0/state/s/k").body == b"1"
    assert post(sidecar, "/v1.0/publish/p/t", {"n": 7}).status == 204
    eventually(lambda: 7 in app.seen, "the message")


def test_two_sidecars_with_one_name_for_different_metadata(world: World, serve: Serve) -> None:
    serve("state.sqlite", "lite")
    first = start(world, harness.OURS, resource("s", "state.lite", connectionString=str(world.folder / "1.db")))
    second = start(world, harness.OURS, resource("s", "state.lite", connectionString=str(world.folder / "2.db")))
    assert post(first, "/v1.0/state/s", [{"key": "k", "value": 1}]).status == 204

    assert second.call("GET", "/v1.0/state/s/k").status == 204
    assert first.call("GET", "/v1.0/state/s/k").body == b"1"
    assert (world.folder / "1.db").exists() and (world.folder / "2.db").exists()


def test_serving_ends_with_calls_and_streams_open(world: World, serve: Serve) -> None:
    queue = serve("pubsub.sqlite", "queue")
    broker = resource("p", "pubsub.queue", connectionString=str(world.folder / "q.db"))
    start(world, harness.OURS, broker, world.app(Subscriber()))

    assert queue.stop() == 0
    assert not queue.socket.exists()
