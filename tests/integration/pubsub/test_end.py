"""The end of a sidecar while its app has a message: it is done with, or comes again, and none follows it."""

import json
import signal
import threading

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.http_wire import Message, Wire
from tests.integration.pubsub.streams import publish

MANY = 400
"""Messages: more than come in the moment before a sidecar that is told to end takes no more."""


class SlowApp:
    """Answers for a message when it may; `numbers` are those of messages that came."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.may_answer, self.is_healthy = threading.Event(), True

    def serve(self, wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        if request.target == "/orders":
            self.numbers.append(json.loads(body)["data"]["n"])
            self.may_answer.wait(harness.LIMIT)
            wire.send(http_wire.answer())
        elif request.target == "/healthz" and self.is_healthy:
            wire.send(http_wire.answer())
        else:
            wire.send(http_wire.answer("404 Not Found"))


def flags(world: World) -> tuple[str, ...]:
    """A broker that keeps what is not done with, and a subscription that takes one message after the other."""
    broker = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "mypub"},
        "spec": {
            "type": "pubsub.sqlite",
            "version": "v1",
            "metadata": [
                {"name": "connectionString", "value": str(world.folder / "pubsub.db")},
                {"name": "concurrency", "value": "1"},
            ],
        },
    }
    subscription = {
        "apiVersion": "dapr.io/v2alpha1",
        "kind": "Subscription",
        "metadata": {"name": "sub"},
        "spec": {
            "pubsubname": "mypub",
            "topic": "orders",
            "routes": {"default": "/orders"},
            "deadLetterTopic": "dead",
        },
    }
    world.write("resources/broker.yaml", json.dumps(broker))
    world.write("resources/sub.yaml", json.dumps(subscription))
    return "--resources-path", str(world.folder / "resources")


def test_a_message_that_the_app_has_is_done_with_and_the_others_wait_for_the_next(world: World) -> None:
    app = SlowApp()
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world))
    for number in range(MANY):
        publish(sidecar, f'{{"n":{number}}}')
    harness.eventually(lambda: app.numbers, "a message")
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Dapr is shutting down")
    app.may_answer.set()
    assert sidecar.exit_code() == 0
    assert len(app.numbers) < MANY
    other = SlowApp()
    other.may_answer.set()
    world.sidecar("app", world.app(other.serve), *flags(world))
    harness.eventually(lambda: len(app.numbers) + len(other.numbers) >= MANY, "what was left")
    assert app.numbers + other.numbers == list(range(MANY))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_message_that_the_app_does_not_answer_for_comes_again(world: World, number: signal.Signals) -> None:
    app = SlowApp()
    short = ("--dapr-graceful-shutdown-seconds", "1")
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world), *short)
    publish(sidecar, '{"n":1}')
    harness.eventually(lambda: app.numbers, "the message")
    assert sidecar.stop(number) != 0
    app.may_answer.set()
    other = SlowApp()
    other.may_answer.set()
    world.sidecar("app", world.app(other.serve), *flags(world))
    harness.eventually(lambda: other.numbers == [1], "the message again")


def test_while_the_end_is_held_up_the_app_gets_no_further_message(world: World) -> None:
    app = SlowApp()
    held = ("--dapr-block-shutdown-duration", "60s")
    probes = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")
    sidecar = world.sidecar("app", world.app(app.serve), *flags(world), *held, *probes)
    publish(sidecar, '{"n":1}')
    harness.eventually(lambda: app.numbers, "a message")
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Blocking graceful shutdown for 1m0s or until app reports unhealthy")
    publish(sidecar, '{"n":2}')
    app.may_answer.set()
    app.is_healthy = False
    sidecar.await_log("App reported unhealthy, entering shutdown")
    assert sidecar.exit_code() == 0
    assert app.numbers == [1]
