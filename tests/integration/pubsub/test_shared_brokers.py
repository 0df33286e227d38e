"""Our sidecars and the original's at one broker: each delivers what the other publishes, and a group shares messages.

Runs when PYDAPR_ORIGINAL names a folder with the original executables, whose daprd has no JetStream.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.conformance import kafka_servers, message_servers, redis_servers, servers
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}
SHARES, EACH = "shares", "each"
"""Whether the two sidecars of a case share the messages, or each gets them all."""


@contextlib.contextmanager
def rabbitmq(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    more = {"enableDeadLetter": "true", "maxLen": "1000", "ttlInSeconds": "600", "prefetchCount": "1"}
    yield {**metadata, **more, "consumerID": "shared", "deletedWhenUnused": "false"}


@contextlib.contextmanager
def rabbitmq_by_default(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    yield metadata


@contextlib.contextmanager
def mosquitto(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(message_servers.mosquitto)
    yield metadata


@contextlib.contextmanager
def redis(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(redis_servers.alone)
    yield metadata


@contextlib.contextmanager
def redis_with_group(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(redis_servers.alone)
    yield {**metadata, "consumerID": "shared", "queueDepth": "1", "concurrency": "1"}


@contextlib.contextmanager
def kafka(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(kafka_servers.alone)
    yield {**metadata, "initialOffset": "oldest"}


@contextlib.contextmanager
def kafka_with_group(id_: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(kafka_servers.alone)
    kafka_servers.create_topic(metadata["brokers"], f"orders-{id_}", partitions=4)
    yield {**metadata, "initialOffset": "oldest", "consumerGroup": f"shared-{id_}", "heartbeatInterval": "500ms"}


Serve = Callable[[str], contextlib.AbstractContextManager[Mapping[str, str]]]
BROKERS: Sequence[tuple[str, Serve, str]] = [
    ("pubsub.redis", redis, EACH),
    ("pubsub.redis", redis_with_group, SHARES),
    ("pubsub.kafka", kafka, EACH),
    ("pubsub.kafka", kafka_with_group, SHARES),
    ("pubsub.rabbitmq", rabbitmq, SHARES),
    ("pubsub.rabbitmq", rabbitmq_by_default, EACH),
    ("pubsub.mqtt3", mosquitto, EACH),
    ("pubsub.mqtt", mosquitto, EACH),
]


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()


class Pair:
    """A sidecar of each kind with an app each, that of `first` started first."""

    def __init__(self, world: World, type_: str, metadata: Mapping[str, str], first: str) -> None:
        self.topic = f"orders-{world.mark}"
        component = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "broker"},
            "spec": {
                "type": type_,
                "version": "v1",
                "metadata": [{"name": name, "value": value} for name, value in metadata.items()],
            },
        }
        world.write("resources/broker.yaml", json.dumps(component))
        flags = ("--resources-path", str(world.folder / "resources"))
        self.events: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
        self.sidecars: dict[str, Sidecar] = {}
        for name in sorted(PROGRAMS, key=lambda name: name != first):
            app = world.app(functools.partial(self._serve, self.events[name]))
            sidecar = world.daprd(f"{name}-app", app, *flags, program=PROGRAMS[name])
            self.sidecars[name] = sidecar.await_ready()

    def _serve(self, events: list[dict[str, Any]], wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        body = b""
        if request.target == "/dapr/subscribe":
            body = json.dumps([{"pubsubname": "broker", "topic": self.topic, "route": "/orders"}]).encode()
        elif request.target == "/orders":
            events.append(json.loads(request.body))
        wire.send(http_wire.answer(body=body))

    def publish(self, name: str, count: int) -> list[str]:
        """What was published."""
        data = [f"{name}-{number}" for number in range(count)]
        for one in data:
            target = f"/v1.0/publish/broker/{self.topic}"
            body, kind = json.dumps({"order": one}).encode(), "Content-Type: application/json"
            answer = self.sidecars[name].call("POST", target, kind, body=body)
            assert answer.status == 204, answer.body
        return data

    def delivered(self, name: str) -> list[str]:
        return [event["data"]["order"] for event in list(self.events[name])]


@pytest.mark.parametrize("first", PROGRAMS)
@pytest.mark.parametrize(("type_", "serve", "how"), BROKERS, ids=[f"{one[0]}-{one[1].__name__}" for one in BROKERS])
def test_messages_go_from_one_kind_of_sidecar_to_the_other(
    world: World, type_: str, serve: Serve, how: str, first: str
) -> None:
    with serve(world.mark) as metadata:
        pair = Pair(world, type_, metadata, first)

        wanted = sorted(pair.publish("ours", 10) + pair.publish("original", 10))

        if how == EACH:
            for name in PROGRAMS:
                harness.eventually(lambda name=name: sorted(pair.delivered(name)) == wanted, f"all of them at {name}")  # type: ignore[misc]
            keys = {name: {tuple(sorted(event)) for event in pair.events[name]} for name in PROGRAMS}
            assert keys["ours"] == keys["original"]
            return
        harness.eventually(
            lambda: sorted(pair.delivered("ours") + pair.delivered("original")) == wanted, "each at one of them"
        )

        def has_each_its_share() -> bool:
            """One that joined late gets some of those that are published from then on."""
            if all(pair.delivered(name) for name in PROGRAMS):
                return True
            pair.publish("ours", 1)
            return False

        harness.eventually(has_each_its_share, "some of them at each")
