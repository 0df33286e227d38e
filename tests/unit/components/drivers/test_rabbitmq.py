"""How RabbitMQ is named in metadata, and what a message's metadata become of it."""

import sys

import pytest

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.drivers import rabbitmq
from pydapr.components.drivers.rabbitmq import Place


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("amqp://localhost", Place()),
        ("amqp://host:1234/", Place(host="host", port=1234)),
        ("amqps://me:p%40ss@host/v%2Fh", Place("amqps", "host", 5671, "me", "p@ss", "v/h")),
        ("amqp://me@host/vhost", Place(host="host", user="me", password="", vhost="vhost")),
        ("amqp://[::1]:1", Place(host="::1", port=1)),
    ],
)
def test_places(url: str, wanted: Place) -> None:
    assert rabbitmq.place(url) == wanted


@pytest.mark.parametrize("url", ["", "localhost:5672", "http://host", "amqp://me:hidden@host:port"])
def test_no_places(url: str) -> None:
    with pytest.raises(Wrong) as raised:
        rabbitmq.place(url)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({}, None), ({"ttlInSeconds": "5"}, 5.0), ({"ttl": "1m"}, 60.0), ({"TTLINSECONDS": "100ms"}, 0.1),
        ({"ttl": "-1s"}, 0.0), ({"ttl": "0"}, 0.0), ({"ttl": ""}, None),
    ],
)  # fmt: skip
def test_time_to_live(metadata: dict[str, str], wanted: float | None) -> None:
    assert rabbitmq.ttl(metadata) == wanted


@pytest.mark.parametrize("text", ["x", "-5", "1.5"])
def test_no_time_to_live(text: str) -> None:
    with pytest.raises(ValueError, match="ttl value must be"):
        rabbitmq.ttl({"ttlInSeconds": text})


@pytest.mark.parametrize(("text", "wanted"), [("3", 3), ("-1", 0), ("1000", 255), ("", None)])
def test_priority(text: str, wanted: int | None) -> None:
    assert rabbitmq.priority({"priority": text}) == wanted


def test_properties_of_a_message() -> None:
    given = {"messageid": "m", "CORRELATIONID": "c", "type": "t", "contentType": "x/y"}

    made = rabbitmq.properties(given, delivery_mode=2, seconds=1.5, rank=3)
    plain = rabbitmq.properties({}, delivery_mode=0, seconds=None, rank=None)

    assert (made.message_id, made.correlation_id, made.message_type, made.content_type) == ("m", "c", "t", "x/y")
    assert (made.delivery_mode, made.expiration, made.priority) == (2, "1500", 3)
    assert (plain.content_type, plain.delivery_mode, plain.expiration) == ("text/plain", None, None)


@pytest.mark.parametrize(
    ("type_", "metadata", "module", "extra"),
    [
        ("pubsub.rabbitmq", {"consumerID": "a"}, "aiormq", "rabbitmq"),
        ("bindings.rabbitmq", {"host": "amqp://h", "queueName": "q"}, "aiormq", "rabbitmq"),
        ("pubsub.jetstream", {"natsURL": "nats://h"}, "nats.errors", "nats"),
        ("state.jetstream", {"natsURL": "nats://h", "bucket": "b"}, "nats.errors", "nats"),
        ("pubsub.jetstream", {"natsURL": "nats://h", "jwt": "j", "seedKey": "s"}, "nkeys", "nats"),
    ],
)
async def test_error_without_the_library_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, type_: str, metadata: dict[str, str], module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    found = components.find(type_)
    assert found is not None
    made = found.make(components.read(found.options, metadata))

    with pytest.raises(OSError, match=rf"pip install 'pydapr\[{extra}\]'"):
        await made.open()
    await made.close()
