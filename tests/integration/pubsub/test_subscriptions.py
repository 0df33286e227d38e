"""Messages for the app: what it is subscribed to, which route an event takes, and when it comes."""

import json
import signal
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from tests.integration import harness, http_wire
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2 as pb

JSON = "Content-Type: application/json"


def resource(kind: str, name: str, api: str = "v1alpha1", **spec: Any) -> str:
    document = {"apiVersion": f"dapr.io/{api}", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return json.dumps(document)


def broker(**metadata: str) -> str:
    pairs = [{"name": name, "value": value} for name, value in metadata.items()]
    return resource("Component", "ps", type="pubsub.in-memory", version="v1", metadata=pairs)


def flags(world: World, *resources: str) -> tuple[str, ...]:
    for number, text in enumerate(resources or [broker()]):
        world.write(f"resources/{number}.yaml", text)
    return "--resources-path", str(world.folder / "resources")


def publish(sidecar: Sidecar, topic: str, data: object, kind: str = "application/json", query: str = "") -> None:
    body = json.dumps(data).encode()
    answer = sidecar.call("POST", f"/v1.0/publish/ps/{topic}{query}", f"Content-Type: {kind}", body=body)
    assert answer.status == 204, answer.body


class HttpApp:
    """An app that keeps what it gets, and answers by what the data say."""

    def __init__(self, *subscriptions: Mapping[str, Any]) -> None:
        self.subscriptions = [{"pubsubname": "ps", **one} for one in subscriptions]
        self.events: list[tuple[str, Any]] = []
        self.requests: list[Message] = []
        self.is_healthy = True
        self.may_answer = threading.Event()
        self.may_answer.set()

    def serve(self, wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        if request.target == "/dapr/subscribe":
            body = json.dumps(self.subscriptions).encode()
            wire.send(http_wire.answer("200 OK", JSON, body=body))
        elif request.target == "/health":
            wire.send(http_wire.answer("200 OK" if self.is_healthy else "503 No"))
        elif request.verb != "POST":
            wire.send(http_wire.answer("404 Not Found"))
        else:
            self._event(wire, request)

    def _event(self, wire: Wire, request: Message) -> None:
        event = json.loads(request.body)
        data = event.get("data", event.get("data_base64"))
        self.events.append((request.target, data))
        self.requests.append(request)
        self.may_answer.wait(harness.LIMIT)
        said = data.get("answer", "") if isinstance(data, dict) else ""
        if said.isdigit() and not (request.target == "/dead" or self.routes.count(request.target) > 2):
            wire.send(http_wire.answer(f"{said} Because"))
        else:
            wire.send(
                http_wire.answer("200 OK", JSON, body=json.dumps({"status": said} if said.isupper() else {}).encode())
            )

    @property
    def routes(self) -> list[str]:
        return [route for route, _ in self.events]

    def await_events(self, count: int) -> None:
        harness.eventually(lambda: len(self.events) >= count, f"{count} events")


RULES = {
    "rules": [
        {"match": "event.type == 'com.shop.order'", "path": "/orders"},
        {"match": "event.data.total > 100.0 && has(event.data.vip)", "path": "/large"},
    ],
    "default": "/others",
}


def test_an_app_says_what_it_is_subscribed_to_and_where_events_go(world: World) -> None:
    app = HttpApp({"topic": "t", "routes": RULES}, {"topic": "raw", "route": "raw", "metadata": {"rawPayload": "true"}})
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world))
    publish(sidecar, "t", {"total": 500, "vip": True})
    publish(sidecar, "t", {"total": 5, "vip": True})
    order = {"specversion": "1.0", "id": "1", "source": "shop", "type": "com.shop.order", "data": {"n": 1}}
    publish(sidecar, "t", order, kind="application/cloudevents+json")
    publish(sidecar, "raw", "bytes", query="?metadata.rawPayload=true")
    app.await_events(4)
    assert sorted(app.routes) == ["/large", "/orders", "/others", "/raw"]
    [request] = [one for one in app.requests if one.target == "/large"]
    assert request.get("Content-Type") == "application/cloudevents+json"
    assert request.get("pubsubname") == "ps"
    event = json.loads(request.body)
    assert (event["topic"], event["pubsubname"], event["data"]) == ("t", "ps", {"total": 500, "vip": True})
    shown = sidecar.document("GET", "/v1.0/metadata")["subscriptions"]
    rules = [*RULES["rules"], {"path": "/others"}]
    assert shown[0] == {"pubsubname": "ps", "topic": "t", "rules": rules, "deadLetterTopic": "", "type": "PROGRAMMATIC"}


def test_resources_say_it_too_but_the_app_comes_first(world: World) -> None:
    app = HttpApp({"topic": "both", "route": "/app"})
    resources = (
        broker(),
        resource("Subscription", "one", pubsubname="ps", topic="both", route="/resource"),
        resource("Subscription", "two", "v2alpha1", pubsubname="ps", topic="two", routes={"default": "/two"}),
    )
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world, *resources))
    publish(sidecar, "both", 1)
    publish(sidecar, "two", 2)
    app.await_events(2)
    assert sorted(app.events) == [("/app", 1), ("/two", 2)]
    types = {one["topic"]: one["type"] for one in sidecar.document("GET", "/v1.0/metadata")["subscriptions"]}
    assert types == {"both": "PROGRAMMATIC", "two": "DECLARATIVE"}


def test_what_the_app_cannot_take_becomes_a_dead_letter(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t", "deadLetterTopic": "dead"}, {"topic": "dead", "route": "/dead"})
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world))
    for answer in ("500", "404", "RETRY", "DROP", "SUCCESS"):
        publish(sidecar, "t", {"answer": answer})
        harness.eventually(lambda: app.routes.count("/t") >= 1, "a delivery")
        app.await_events(2 if answer != "SUCCESS" else 1)
        assert sorted(app.routes) == (["/dead", "/t"] if answer != "SUCCESS" else ["/t"])
        app.events.clear()


def test_policies_have_an_event_tried_again(world: World) -> None:
    policies: dict[str, Any] = {
        "policies": {"retries": {"again": {"policy": "constant", "duration": "10ms", "maxRetries": 5}}},
        "targets": {"components": {"ps": {"inbound": {"retry": "again"}}}},
    }
    app = HttpApp({"topic": "t", "route": "/t"})
    sidecar = world.sidecar(
        "app", world.app(app.serve), *flags(world, broker(), resource("Resiliency", "r", **policies))
    )
    publish(sidecar, "t", {"answer": "500"})
    app.await_events(3)
    sidecar.await_log("Recovered processing operation component[ps] input after 3 attempts")
    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
    ingress = [line for line in page.splitlines() if line.startswith("dapr_component_pubsub_ingress_count")]
    assert sorted((line.split('process_status="')[1].split('"')[0], line.split()[-1]) for line in ingress) == [
        ("retry", "2"), ("success", "1"),
    ]  # fmt: skip


def test_messages_come_when_the_app_does(world: World) -> None:
    app, port = HttpApp({"topic": "t", "route": "/t"}), harness.free_port()
    sidecar = world.daprd("app", port, *flags(world)).await_outbound()
    world.app(app.serve, port)
    sidecar.await_ready()
    publish(sidecar, "t", 1)
    app.await_events(1)


def test_messages_wait_while_the_app_is_unhealthy(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t"})
    probes = ("--enable-app-health-check", "--app-health-check-path", "/health", "--app-health-probe-interval", "1",
              "--app-health-probe-timeout", "500", "--app-health-threshold", "1")  # fmt: skip
    store = resource(
        "Component", "ps", type="pubsub.sqlite", version="v1",
        metadata=[{"name": "connectionString", "value": str(world.folder / "pubsub.db")}],
    )  # fmt: skip
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world, store), *probes)
    sidecar.await_log("app is subscribed to the following topics")
    publish(sidecar, "t", 1)
    app.await_events(1)
    app.is_healthy = False
    sidecar.await_log("App entered un-healthy status")
    publish(sidecar, "t", 2)
    app.is_healthy = True
    app.await_events(2)
    assert app.events == [("/t", 1), ("/t", 2)]
    assert sidecar.log.count("App entered healthy status") == 2


def test_no_more_events_than_allowed_are_with_the_app(world: World) -> None:
    app = HttpApp(*({"topic": f"t{number}", "route": f"/{number}"} for number in range(4)))
    app.may_answer.clear()
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world), "--app-max-concurrency", "2")
    for number in range(4):
        publish(sidecar, f"t{number}", number)
    app.await_events(2)
    assert sidecar.call("GET", "/v1.0/healthz").status == 204
    assert len(app.events) == 2
    app.may_answer.set()
    app.await_events(4)


def test_the_last_event_is_done_with_before_the_end(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t", "deadLetterTopic": "dead"})
    app.may_answer.clear()
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world))
    publish(sidecar, "t", 1)
    app.await_events(1)
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Dapr is shutting down")
    assert sidecar.process.poll() is None
    app.may_answer.set()
    assert sidecar.exit_code() == 0
    assert app.events == [("/t", 1)]


def test_a_resource_whose_rule_makes_no_sense_ends_the_start(world: World) -> None:
    routes = {"rules": [{"match": "event.type ==", "path": "/x"}]}
    bad = resource("Subscription", "bad", "v2alpha1", pubsubname="ps", topic="t", routes=routes)
    sidecar = world.daprd("app", None, *flags(world, broker(), bad))
    assert sidecar.exit_code() == 1
    assert "Subscription bad: Syntax error" in sidecar.log


@pytest.mark.parametrize(
    ("subscription", "line"),
    [
        ({"topic": "t"}, "topic t has an empty routes. removing from subscriptions list"),
        ({"topic": "t", "pubsubname": "who", "route": "/t"}, "there is no pubsub component who"),
        ({"topic": "t", "routes": {"rules": [{"match": "(", "path": "/t"}]}}, "failed to subscribe to topics: Syntax"),
        ({"topic": "secret", "route": "/t"}, "subscription to topic 'secret' on pubsub 'ps' is not allowed"),
        ({"topic": 5}, "error getting topics from app: Expected `str | null`, got `int`"),
    ],
)
def test_what_cannot_be_had_is_told(world: World, subscription: dict[str, Any], line: str) -> None:
    app = HttpApp(subscription)
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world, broker(protectedTopics="secret")))
    sidecar.await_log(line)


class RpcApp(GrpcApp):
    """Is subscribed to `t` with rules and to `raw`; answers by what the data say."""

    def __init__(self) -> None:
        self.events: list[pb.TopicEventRequest] = []
        self.metadata: list[dict[str, Any]] = []
        super().__init__()

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        if kind == "ListTopicSubscriptions":
            answer = pb.ListTopicSubscriptionsResponse()
            one = answer.subscriptions.add(pubsub_name="ps", topic="t", dead_letter_topic="dead")
            one.routes.rules.add(match="event.data.n == 1", path="/one")
            one.routes.default = "/else"
            answer.subscriptions.add(pubsub_name="ps", topic="raw", metadata={"rawPayload": "true"})
            answer.subscriptions.add(pubsub_name="ps", topic="dead")
            return answer.SerializeToString()
        if kind != "OnTopicEvent":
            return super()._unary(kind, data, call)
        event = pb.TopicEventRequest.FromString(data)
        self.events.append(event)
        self.metadata.append(dict(self.seen))
        drops = b"drop" in event.data and event.topic != "dead"
        status = pb.TopicEventResponse.DROP if drops else pb.TopicEventResponse.SUCCESS
        return pb.TopicEventResponse(status=status).SerializeToString()


def test_an_app_that_speaks_grpc_has_the_same(world: World) -> None:
    app = RpcApp()
    try:
        arguments = (*flags(world), "--app-protocol", "grpc")
        sidecar = world.daprd("app", app.port, *arguments, environment={"APP_API_TOKEN": "secret"}).await_ready()
        publish(sidecar, "t", {"n": 1})
        publish(sidecar, "t", {"n": 2, "drop": 1})
        publish(sidecar, "raw", "x", query="?metadata.rawPayload=true")
        harness.eventually(lambda: len(app.events) == 4, "four events")
        other, one, letter, raw = sorted(app.events, key=lambda event: (event.path or "~", event.topic))
        assert (one.path, one.topic, one.pubsub_name, json.loads(one.data)) == ("/one", "t", "ps", {"n": 1})
        assert (one.data_content_type, one.spec_version, one.source) == ("application/json", "1.0", sidecar.app_id)
        assert set(one.extensions) >= {"time", "traceparent", "traceid"}
        assert (other.path, letter.topic, other.id == letter.id) == ("/else", "dead", True)
        assert (raw.path, raw.data, raw.data_content_type) == ("", b'"x"', "application/octet-stream")
        assert {metadata["dapr-api-token"] for metadata in app.metadata} == {"secret"}
        assert {metadata["pubsubname"] for metadata in app.metadata} == {"ps"}
        types = [one["type"] for one in sidecar.document("GET", "/v1.0/metadata")["subscriptions"]]
        assert types == ["PROGRAMMATIC"] * 3
    finally:
        app.close()
