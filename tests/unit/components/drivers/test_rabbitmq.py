"""How RabbitMQ is named in metadata, and what a message's metadata become of it."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.drivers import rabbitmq
from pydapr.components.drivers.rabbitmq import Place

SECONDS = 10.0


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


@pytest.mark.parametrize(("error", "text"), [(Exception(), "the connection was lost"), (EOFError("end"), "end")])
def test_error_of_any_class_says_that_the_connection_is_lost(error: Exception, text: str) -> None:
    with pytest.raises(rabbitmq.Failed, match=f"cannot x: {text}") as raised, rabbitmq.mapped("cannot x"):
        raise error
    assert raised.value.is_lost


class Silence:
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        self.place = Place()
        self.connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read()
        writer.close()


@pytest.fixture
async def silence() -> AsyncIterator[Silence]:
    made = Silence()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.place = Place(host="127.0.0.1", port=listening.sockets[0].getsockname()[1])
    yield made
    listening.close()


async def test_many_who_wait_for_a_broker_that_says_nothing_wait_for_one_try(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "CONNECT_SECONDS", 0.3)
    server = rabbitmq.Server(silence.place)

    tries = asyncio.gather(*(server.channel() for _ in range(100)), return_exceptions=True)
    found = await asyncio.wait_for(tries, SECONDS)

    assert [str(one) for one in found if isinstance(one, rabbitmq.Failed) and one.is_lost] == [
        f"cannot connect to 127.0.0.1:{silence.place.port}: the broker does not answer"
    ] * 100
    assert silence.connections == 1
    await server.close()


async def test_publishing_ends_in_time_however_many_tries_are_left(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "PUBLISH_SECONDS", 0.3)
    server = rabbitmq.Server(silence.place)
    publisher = rabbitmq.Publisher(server, confirms=True, pause=0.01)
    about = rabbitmq.properties({}, delivery_mode=0, seconds=None, rank=None)

    with pytest.raises(rabbitmq.Failed, match="the broker does not answer"):
        await asyncio.wait_for(publisher.publish("e", "", b"1", about), SECONDS)
    await publisher.close()
    await server.close()
