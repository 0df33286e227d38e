"""Subscriptions over a stream: what a client gets, what becomes of what it answers, and how streams end."""

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.pubsub.streams import DROP, RETRY, Request, Stream, initial, publish


@pytest.fixture
def channel() -> Iterator[Callable[[Sidecar], Any]]:
    """Makes a channel to a sidecar."""
    made: list[Any] = []

    def make(sidecar: Sidecar) -> Any:
        made.append(grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def flags(world: World, type_: str = "pubsub.in-memory", **metadata: str) -> tuple[str, str]:
    resource = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "mypub"},
        "spec": {
            "type": type_,
            "version": "v1",
            "metadata": [{"name": name, "value": value} for name, value in metadata.items()],
        },
    }
    world.write("resources/broker.yaml", json.dumps(resource))
    return "--resources-path", str(world.folder / "resources")


def durable(world: World) -> tuple[str, str]:
    """A broker that keeps what nobody has taken."""
    return flags(world, "pubsub.sqlite", connectionString=str(world.folder / "pubsub.db"))


Channel = Callable[[Sidecar], Any]


def test_a_client_gets_events_and_the_metadata_tell_of_it(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("app", None, *flags(world))
    stream = Stream(channel(sidecar), initial()).greeted()
    assert sidecar.document("GET", "/v1.0/metadata")["subscriptions"] == [
        {
            "pubsubname": "mypub",
            "topic": "orders",
            "rules": [{"path": "/"}],
            "deadLetterTopic": "",
            "type": "STREAMING",
        }
    ]
    publish(sidecar, '{"id":7}')
    publish(sidecar, '{"id":8}')
    first = stream.event()
    assert (first.topic, first.pubsub_name, first.path, first.data) == ("orders", "mypub", "/", b'{"id":7}')
    stream.say(first)
    second = stream.event()
    assert second.data == b'{"id":8}'
    stream.say(second)
    stream.half_close()
    assert stream.failure() == ("UNKNOWN", "EOF")
    harness.eventually(
        lambda: not sidecar.document("GET", "/v1.0/metadata").get("subscriptions"), "the subscription is gone"
    )


@pytest.mark.parametrize(
    ("request_", "failure"),
    [
        (initial(pubsub=""), ("UNKNOWN", "pubsubName is required")),
        (initial(topic=""), ("UNKNOWN", "topic is required")),
        (initial(pubsub="nix"), ("INVALID_ARGUMENT", "pubsub nix is not found")),
        (Request(), ("UNKNOWN", "initial request is required")),
    ],
)
def test_a_client_that_wants_what_is_not_there_is_told(
    world: World, channel: Channel, request_: Request, failure: tuple[str, str]
) -> None:
    sidecar = world.sidecar("app", None, *flags(world))
    assert Stream(channel(sidecar), request_).failure() == failure


def test_without_any_broker_none_is_found(world: World, channel: Channel) -> None:
    sidecar = world.sidecar()
    assert Stream(channel(sidecar), initial()).failure() == ("INVALID_ARGUMENT", "pubsub mypub is not found")


def test_a_client_cannot_want_something_else_later(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("app", None, *flags(world))
    stream = Stream(channel(sidecar), initial()).greeted()
    stream.send(initial(topic="more"))
    assert stream.failure() == ("UNKNOWN", "duplicate initial request received")


@pytest.mark.parametrize("status", [RETRY, DROP, 9])
def test_what_a_client_does_not_take_becomes_a_dead_letter(world: World, channel: Channel, status: int) -> None:
    sidecar = world.sidecar("app", None, *flags(world))
    to = channel(sidecar)
    letters = Stream(to, initial(topic="dead")).greeted()
    stream = Stream(to, initial(dead_letter="dead")).greeted()
    publish(sidecar, '{"id":1}')
    event = stream.event()
    stream.say(event, status)
    letter = letters.event()
    assert (letter.id, letter.topic, letter.data) == (event.id, "dead", b'{"id":1}')


def test_what_a_client_leaves_with_comes_to_the_next(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("app", None, *durable(world))
    to = channel(sidecar)
    first = Stream(to, initial(dead_letter="dead")).greeted()
    publish(sidecar, '{"id":1}')
    event = first.event()
    first.cancel()
    second = Stream(to, initial(dead_letter="dead")).greeted()
    again = second.event()
    assert (again.id, again.data) == (event.id, b'{"id":1}')
    second.say(again)


def test_the_sidecar_ends_when_its_clients_have_answered(world: World, channel: Channel) -> None:
    sidecar = world.sidecar("app", None, *durable(world))
    to = channel(sidecar)
    stream = Stream(to, initial()).greeted()
    silent = Stream(to)
    publish(sidecar, '{"id":1}')
    event = stream.event()
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Dapr is shutting down")
    stream.say(event)
    assert stream.failure() == ("UNKNOWN", "stream closed")
    assert silent.failure() == ("UNKNOWN", "api server closed")
    assert sidecar.exit_code() == 0
    other = world.sidecar("app", None, *durable(world))
    publish(other, '{"id":2}')
    assert Stream(channel(other), initial()).greeted().event().data == b'{"id":2}'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_not_answered_at_the_end_comes_again(world: World, channel: Channel, number: signal.Signals) -> None:
    short = ("--dapr-graceful-shutdown-seconds", "1")
    sidecar = world.sidecar("app", None, *durable(world), *short)
    stream = Stream(channel(sidecar), initial(dead_letter="dead")).greeted()
    publish(sidecar, '{"id":1}')
    event = stream.event()
    assert sidecar.stop(number) != 0
    other = world.sidecar("app", None, *durable(world))
    again = Stream(channel(other), initial()).greeted().event()
    assert (again.id, again.data) == (event.id, b'{"id":1}')


def test_a_client_that_never_says_what_it_wants_does_not_hold_up_an_end_without_brokers(
    world: World, channel: Channel
) -> None:
    sidecar = world.sidecar("app", None, "--dapr-graceful-shutdown-seconds", "30")
    to = channel(sidecar)
    silent = Stream(to)
    assert Stream(to, initial()).failure()[1] == "pubsub mypub is not found"  # so the first one has arrived, too
    sidecar.send_signal(signal.SIGTERM)
    assert silent.failure()[1] == "initial request is required"
    assert sidecar.exit_code() == 0
