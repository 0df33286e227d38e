"""Bulk subscriptions: what the app gets at once, and what becomes of each message."""

import json
import signal
import threading
from collections import Counter
from typing import Any

import pytest
from tests.integration import harness, http_wire
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2


def flags(world: World, type_: str, *, seconds: float = 0.2, dead_letter: str = "") -> tuple[str, ...]:
    """A broker, and a bulk subscription to its topic `orders`, with another route for what is urgent."""
    metadata = [{"name": "connectionString", "value": str(world.folder / "pubsub.db")}]
    broker = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "mypub"},
        "spec": {"type": type_, "version": "v1", "metadata": metadata if type_ == "pubsub.sqlite" else []},
    }
    subscription = {
        "apiVersion": "dapr.io/v2alpha1",
        "kind": "Subscription",
        "metadata": {"name": "sub"},
        "spec": {
            "pubsubname": "mypub",
            "topic": "orders",
            "routes": {"default": "/orders", "rules": [{"match": "event.data.urgent == true", "path": "/urgent"}]},
            "deadLetterTopic": dead_letter,
            "bulkSubscribe": {"enabled": True, "maxMessagesCount": 5, "maxAwaitDurationMs": int(seconds * 1000)},
        },
    }
    world.write("resources/broker.yaml", json.dumps(broker))
    world.write("resources/sub.yaml", json.dumps(subscription))
    return "--resources-path", str(world.folder / "resources")


def publish(sidecar: Sidecar, *numbers: int, urgent: bool = False) -> None:
    entries = [
        {"entryId": str(number), "event": {"n": number, "urgent": urgent}, "contentType": "application/json"}
        for number in numbers
    ]
    headers = ("Content-Type: application/json",)
    body = json.dumps(entries).encode()
    answer = sidecar.call("POST", "/v1.0/publish/bulk/mypub/orders", *headers, body=body)
    assert answer.status == 204, answer.body


class HttpApp:
    """Remembers paths and numbers of bulks; says `status` of a number, once if `once`."""

    def __init__(self, statuses: dict[int, str] | None = None, once: bool = True) -> None:
        self.statuses, self.once = statuses or {}, once
        self.bulks: list[tuple[str, list[int]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def counts(self) -> Counter[int]:
        """How often each number came."""
        return Counter(number for _, numbers in self.bulks for number in numbers)

    def serve(self, wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        if request.verb != "POST":
            wire.send(http_wire.answer("404 Not Found"))
            return
        entries: list[dict[str, Any]] = json.loads(body)["entries"]
        numbers = [entry["event"]["data"]["n"] for entry in entries]
        self.bulks.append((request.target, numbers))
        self.may_answer.wait(harness.LIMIT)
        statuses = [self._status(entry["entryId"], number) for entry, number in zip(entries, numbers, strict=True)]
        answer = json.dumps({"statuses": [one for one in statuses if one]}).encode()
        wire.send(http_wire.answer("200 OK", "Content-Type: application/json", body=answer))

    def _status(self, entry: str, number: int) -> dict[str, str] | None:
        given = self.statuses.get(number, "SUCCESS")
        if self.once:
            self.statuses.pop(number, None)
        return {"entryId": entry, "status": given} if given else None


@pytest.mark.parametrize("type_", ["pubsub.in-memory", "pubsub.sqlite"])
def test_messages_come_many_at_a_time_each_to_its_route(world: World, type_: str) -> None:
    app = HttpApp()
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world, type_))
    publish(sidecar, *range(7))
    publish(sidecar, 7, 8, urgent=True)
    harness.eventually(lambda: len(app.counts) == 9, "all messages")
    assert all(len(numbers) <= 5 for _, numbers in app.bulks)
    assert {path for path, numbers in app.bulks if set(numbers) & {7, 8}} == {"/urgent"}
    assert {path for path, numbers in app.bulks if set(numbers) & set(range(7))} == {"/orders"}
    assert max(app.counts.values()) == 1


def test_only_what_the_app_did_not_take_comes_again(world: World) -> None:
    app = HttpApp({1: "RETRY", 2: "", 3: "DROP"})
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world, "pubsub.sqlite"))
    publish(sidecar, *range(5))
    wanted = {0: 1, 1: 2, 2: 2, 3: 1, 4: 1}
    harness.eventually(lambda: app.counts == wanted, "1 and 2 again")


def test_what_the_app_does_not_take_becomes_a_dead_letter_alone(world: World) -> None:
    app = HttpApp({1: "RETRY", 3: "DROP"}, once=False)
    letters: list[int] = []

    def serve(wire: Wire, request: Message) -> None:
        if request.target == "/dead":
            letters.append(json.loads(b"".join(wire.pieces()))["data"]["n"])
            wire.send(http_wire.answer())
        else:
            app.serve(wire, request)

    resources = flags(world, "pubsub.sqlite", dead_letter="dead")
    dead = {
        "apiVersion": "dapr.io/v2alpha1",
        "kind": "Subscription",
        "metadata": {"name": "dead"},
        "spec": {"pubsubname": "mypub", "topic": "dead", "routes": {"default": "/dead"}},
    }
    world.write("resources/dead.yaml", json.dumps(dead))
    sidecar = world.sidecar("app", world.app(serve), *resources)
    publish(sidecar, *range(5))
    harness.eventually(lambda: sorted(letters) == [1, 3], "two dead letters")
    assert app.counts == dict.fromkeys(range(5), 1)
    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
    assert 'component="mypub"' in page
    assert 'process_status="DROP",topic="orders"} 2' in page
    assert 'process_status="SUCCESS",topic="orders"} 3' in page


def test_what_the_app_has_at_the_end_is_done_with(world: World) -> None:
    app = HttpApp()
    app.may_answer.clear()
    resources = flags(world, "pubsub.sqlite")
    sidecar = world.sidecar("app", world.app(app.serve), *resources)
    publish(sidecar, *range(5))
    harness.eventually(lambda: app.bulks, "a bulk")
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Dapr is shutting down")
    app.may_answer.set()
    assert sidecar.exit_code() == 0
    other = HttpApp()
    again = world.sidecar("app", world.app(other.serve), *resources)
    publish(again, 99)
    harness.eventually(lambda: other.counts[99] == 1, "the next message")
    assert app.counts + other.counts == {**dict.fromkeys(range(5), 1), 99: 1}


class BulkGrpcApp(GrpcApp):
    """Takes bulks, by the alpha name only."""

    def __init__(self) -> None:
        self.paths: list[tuple[str, list[bytes]]] = []
        super().__init__()

    def service(self, details: Any) -> Any:
        if details.method.endswith("/OnBulkTopicEvent"):
            return None
        return super().service(details)

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        if kind != "OnBulkTopicEventAlpha1":
            return b""
        request = appcallback_pb2.TopicEventBulkRequest.FromString(data)
        self.paths.append((request.path, [entry.cloud_event.data for entry in request.entries]))
        statuses = [appcallback_pb2.TopicEventBulkResponseEntry(entry_id=entry.entry_id) for entry in request.entries]
        return appcallback_pb2.TopicEventBulkResponse(statuses=statuses).SerializeToString()


def test_an_app_that_speaks_grpc_takes_bulks_by_the_name_that_it_knows(world: World) -> None:
    app = BulkGrpcApp()
    try:
        resources = flags(world, "pubsub.sqlite")
        sidecar = world.sidecar("app", app.port, "--app-protocol", "grpc", *resources)
        publish(sidecar, 1, 2)
        harness.eventually(lambda: sum(len(found) for _, found in app.paths) == 2, "two events")
        assert {path for path, _ in app.paths} == {"/orders"}
        found = sorted(json.loads(data)["n"] for _, many in app.paths for data in many)
        assert found == [1, 2]
    finally:
        app.close()
