"""A sidecar on JetStream: publishing, a message that the app refuses first, and state in a bucket."""

import json
from collections.abc import Iterator, Mapping

import pytest
from tests.conformance import message_servers, servers
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.http_wire import Message, Wire


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()


def component(world: World, name: str, type_: str, metadata: Mapping[str, str]) -> None:
    pairs = [{"name": key, "value": value} for key, value in metadata.items()]
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": type_, "version": "v1", "metadata": pairs},
    }
    world.write(f"resources/{name}.yaml", json.dumps(document))


def test_messages_come_until_they_are_taken_and_state_is_kept(world: World) -> None:
    orders: list[str] = []

    def serve(wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        if request.target == "/dapr/subscribe":
            wanted = [{"pubsubname": "broker", "topic": "orders", "route": "/orders"}]
            wire.send(http_wire.answer(body=json.dumps(wanted).encode()))
            return
        if request.target == "/orders":
            orders.append(json.loads(body)["data"]["order"])
        first = request.target == "/orders" and len(orders) == 1
        wire.send(http_wire.answer("500 Internal Server Error" if first else "200 OK"))

    bucket, _ = message_servers.bucket()
    with message_servers.stream(["orders"]) as (metadata, _):
        component(world, "broker", "pubsub.jetstream", {**metadata, "durableName": "orders"})
        component(world, "store", "state.jetstream", bucket)
        sidecar = world.sidecar("app", world.app(serve), "--resources-path", str(world.folder / "resources"))

        for number in range(3):
            body, kind = json.dumps({"order": f"order {number}"}).encode(), "Content-Type: application/json"
            assert sidecar.call("POST", "/v1.0/publish/broker/orders", kind, body=body).status == 204

        harness.eventually(lambda: set(orders) == {"order 0", "order 1", "order 2"}, "all of them")
        harness.eventually(lambda: orders.count("order 0") == 2, "the first one again")
        body = json.dumps([{"key": "a", "value": {"b": 1}}]).encode()
        assert sidecar.call("POST", "/v1.0/state/store", body=body).status == 204
        assert json.loads(sidecar.call("GET", "/v1.0/state/store/a").body) == {"b": 1}
        assert sidecar.call("DELETE", "/v1.0/state/store/a").status == 204
        assert sidecar.call("GET", "/v1.0/state/store/a").status == 204
        assert sidecar.call("POST", "/v1.0/publish/broker/nowhere", body=b"1").status == 500
        sidecar.kill()
