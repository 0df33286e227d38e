"""What the sidecar keeps itself: messages for later, events it has delivered, the outbox; and a look into topics."""

import base64
import json
import signal
import time
from typing import Any

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.pubsub.test_subscriptions import HttpApp
from tests.integration.state.stores import component

JSON = "Content-Type: application/json"


def queue(world: World) -> str:
    return component("ps", "pubsub.sqlite", connectionString=str(world.folder / "queue.db"))


def start(world: World, app: HttpApp | None, *resources: str) -> Sidecar:
    world.write("resources/all.yaml", "".join(resources))
    folder = str(world.folder / "resources")
    return world.sidecar("app", world.app(app.serve) if app is not None else None, "--resources-path", folder)


def publish(sidecar: Sidecar, topic: str, body: bytes = b"x", query: str = "") -> None:
    answer = sidecar.call("POST", f"/v1.0/publish/ps/{topic}{query}", body=body)
    assert answer.status == 204, answer.body


# -- later --


def test_a_message_comes_when_it_is_due(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t"})
    sidecar = start(world, app, component("ps", "pubsub.in-memory"))
    began = time.time()
    publish(sidecar, "t", b"later", "?metadata.deliverAfter=700ms&metadata.ttlInSeconds=60")
    publish(sidecar, "t", b"now")
    app.await_events(2)
    assert [data for _, data in app.events] == ["now", "later"]
    assert time.time() - began >= 0.7


def test_a_message_that_waits_outlives_its_sidecar(world: World) -> None:
    first = start(world, None, queue(world))
    publish(first, "t", b"held", f"?metadata.deliverAt={int(time.time() * 1000) + 1500}")
    first.send_signal(signal.SIGKILL)
    first.exit_code()

    app = HttpApp({"topic": "t", "route": "/t"})
    start(world, app, queue(world))
    app.await_events(1)
    assert app.events == [("/t", "held")]


def test_times_that_are_none_are_refused(world: World) -> None:
    sidecar = start(world, None, component("ps", "pubsub.in-memory"))
    for query in ("deliverAt=soon", "deliverAfter=-1s", "deliverAfter=10000h"):
        answer = sidecar.call("POST", f"/v1.0/publish/ps/t?metadata.{query}", body=b"x")
        assert (answer.status, json.loads(answer.body)["errorCode"]) == (400, "ERR_PUBSUB_REQUEST_METADATA")


# -- not twice --


def test_an_event_is_delivered_once_over_restarts(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t", "metadata": {"dedup": "10m"}})
    port = world.app(app.serve).port
    world.write("resources/all.yaml", component("ps", "pubsub.in-memory"))
    flags = ("--resources-path", str(world.folder / "resources"))
    for _ in range(2):
        sidecar = world.sidecar("app", port, *flags)
        publish(sidecar, "t", b"one", "?metadata.cloudevent.id=1")
        publish(sidecar, "t", b"again", "?metadata.cloudevent.id=1")
        publish(sidecar, "t", b"other")
        app.await_events(1)
        harness.eventually(lambda: ("/t", "other") in app.events, "the other event")
        sidecar.stop()
        app.events.remove(("/t", "other"))
    assert app.events == [("/t", "one")]


# -- a look inside --


def test_dead_letters_are_seen_and_published_again(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t", "deadLetterTopic": "dead"})
    sidecar = start(world, app, queue(world))
    body = json.dumps({"answer": "500"}).encode()
    sidecar.call("POST", "/v1.0/publish/ps/t", JSON, body=body)

    def dead() -> list[dict[str, Any]]:
        found = sidecar.document("GET", "/v1.0-alpha1/publish/ps/dead")["messages"]
        assert isinstance(found, list)
        return found

    harness.eventually(dead, "a dead letter")
    [letter] = dead()
    assert (letter["event"]["data"], letter["event"]["topic"]) == ({"answer": "500"}, "t")

    before = len(app.events)
    answer = sidecar.call("POST", "/v1.0-alpha1/publish/ps/dead", JSON, body=b"{}")
    assert json.loads(answer.body) == {"replayed": [letter["id"]], "failed": {}, "after": ""}
    app.await_events(before + 1)


@pytest.mark.parametrize("body", [b"NaN", b'"\\ud800"', b"\x00\xff"])
def test_what_is_no_document_is_shown_in_base64(world: World, body: bytes) -> None:
    sidecar = start(world, None, queue(world))
    sidecar.call("POST", "/v1.0/publish/ps/t?metadata.rawPayload=true", JSON, body=body)

    [shown] = sidecar.document("GET", "/v1.0-alpha1/publish/ps/t")["messages"]

    assert (base64.b64decode(shown["data_base64"]), "event" in shown) == (body, False)


def test_not_every_broker_shows_its_messages(world: World) -> None:
    sidecar = start(world, None, component("ps", "pubsub.in-memory"))

    answer = sidecar.call("GET", "/v1.0-alpha1/publish/ps/t")
    assert (answer.status, json.loads(answer.body)["errorCode"]) == (501, "ERR_PUBSUB_BROWSE")
    for target, status in (("none/t", 404), ("ps/t?limit=0", 400)):
        assert sidecar.call("GET", f"/v1.0-alpha1/publish/{target}").status == status
    for body in (b"[]", b'{"to":1}', b'{"ids":"1"}', b"{"):
        assert sidecar.call("POST", "/v1.0-alpha1/publish/ps/t", JSON, body=body).status == 400


# -- outbox --


OUTBOX = component("mystore", "state.in-memory", outboxPublishPubsub="ps", outboxPublishTopic="t")


def transact(sidecar: Sidecar, *operations: dict[str, Any]) -> int:
    body = json.dumps({"operations": list(operations)}).encode()
    return sidecar.call("POST", "/v1.0/state/mystore/transaction", JSON, body=body).status


def upsert(key: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"operation": "upsert", "request": {"key": key, "value": value, **more}}


def test_what_a_transaction_writes_is_published(world: World) -> None:
    app = HttpApp({"topic": "t", "route": "/t"})
    sidecar = start(world, app, component("ps", "pubsub.in-memory"), OUTBOX)
    about = {"contentType": "application/json", "kind": "order"}
    assert (
        transact(sidecar, upsert("1", {"n": 1}, metadata=about), {"operation": "delete", "request": {"key": "2"}})
        == 204
    )
    app.await_events(1)
    event = json.loads(app.requests[0].body)
    assert (event["data"], event["kind"], event["id"][:7]) == ({"n": 1}, "order", "outbox-")
    assert json.loads(sidecar.call("GET", "/v1.0/state/mystore/1").body) == {"n": 1}

    projection = upsert("3", "shown", metadata={"outbox.projection": "true"})
    assert transact(sidecar, upsert("3", "kept"), projection) == 204
    app.await_events(2)
    assert app.events[1][1] == "shown"
    assert json.loads(sidecar.call("GET", "/v1.0/state/mystore/3").body) == "kept"


def test_a_transaction_is_not_begun_when_its_events_cannot_be_kept(world: World) -> None:
    outbox = component(
        "mystore", "state.in-memory", outboxPublishPubsub="ps", outboxPublishTopic="t", outboxPubsub="none"
    )
    sidecar = start(world, None, component("ps", "pubsub.in-memory"), outbox)
    body = json.dumps({"operations": [upsert("1", "no")]}).encode()
    answer = sidecar.call("POST", "/v1.0/state/mystore/transaction", JSON, body=body)
    assert (answer.status, json.loads(answer.body)["errorCode"]) == (500, "ERR_PUBLISH_OUTBOX")
    assert sidecar.call("GET", "/v1.0/state/mystore/1").status == 204
    sidecar.await_log("could not subscribe to internal outbox topic: outbox pubsub none not loaded")


def test_an_outbox_outlives_its_sidecar(world: World) -> None:
    """The transaction is done and the sidecar killed; its next life publishes."""
    file = str(world.folder / "state.db")
    store = component(
        "mystore", "state.sqlite", connectionString=file, outboxPublishPubsub="ps", outboxPublishTopic="t"
    )
    app = HttpApp({"topic": "t", "route": "/t"})
    sidecar = start(world, None, queue(world), store)
    for number in range(20):
        assert transact(sidecar, upsert(str(number), str(number))) == 204
    sidecar.send_signal(signal.SIGKILL)
    sidecar.exit_code()
    start(world, app, queue(world), store)
    harness.eventually(lambda: {data for _, data in app.events} == {str(one) for one in range(20)}, "all events", 60)
