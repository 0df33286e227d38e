"""Connections to brokers that break in the middle of a frame: what was acknowledged is delivered, and nothing hangs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from uuid import uuid4

import pytest
from tests.conformance import message_servers, redis_servers, servers

from pydapr import components
from pydapr.components.pubsub import Message, NotProcessed, PubSub, PubSubError

SECONDS = 60.0
PUBLISHERS, EACH = 5, 80
EVERY, BREAKS = 20_000, 5
"""After so many bytes a connection breaks, so often."""


class Valve:
    """Passes bytes on to a port, until it breaks the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.breaks, self._passed = BREAKS, 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            writer.transport.abort()
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(997):
                writer.write(data)
                await writer.drain()
                self._passed += len(data)
                if self._passed >= EVERY and self.breaks:
                    self._passed, self.breaks = 0, self.breaks - 1
                    break
        writer.transport.abort()


@contextlib.contextmanager
def rabbitmq(topic: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    kept = {"deletedWhenUnused": "false", "deliveryMode": "2", "requeueInFailure": "true"}
    yield {**metadata, **kept, "consumerID": topic, "reconnectWaitSeconds": "100ms"}


@contextlib.contextmanager
def mosquitto(topic: str) -> Iterator[Mapping[str, str]]:
    yield {**servers.shared(message_servers.mosquitto)[0], "consumerID": topic}


@contextlib.contextmanager
def mosquitto_exactly_once(topic: str) -> Iterator[Mapping[str, str]]:
    yield {**servers.shared(message_servers.mosquitto)[0], "consumerID": topic, "qos": "2"}


@contextlib.contextmanager
def jetstream(topic: str) -> Iterator[Mapping[str, str]]:
    with message_servers.stream([topic]) as (metadata, _):
        yield {**metadata, "durableName": "mine", "ackWait": "1s"}


@contextlib.contextmanager
def redis(topic: str) -> Iterator[Mapping[str, str]]:
    metadata, _ = servers.shared(redis_servers.alone)
    yield {**metadata, "consumerID": topic, "processingTimeout": "1s", "redeliverInterval": "500ms"}


@contextlib.asynccontextmanager
async def opened(type_: str, metadata: Mapping[str, str], address: str) -> AsyncIterator[tuple[PubSub, Valve]]:
    """A broker's component that reaches it by a valve."""
    given = dict(metadata)
    if "redisPort" in given:
        given[address] += ":" + given.pop("redisPort")
    port = int(given[address].rpartition(":")[2].rstrip("/"))
    valve = Valve(port)
    listening = await asyncio.start_server(valve.talk, "127.0.0.1", 0)
    given[address] = given[address].replace(f":{port}", f":{listening.sockets[0].getsockname()[1]}")
    found = components.find(type_)
    assert found is not None
    made = found.make(components.read(found.options, given))
    assert isinstance(made, PubSub)
    try:
        await made.open()
        yield made, valve
    finally:
        await asyncio.wait_for(made.close(), SECONDS)
        listening.close()


@pytest.mark.parametrize(
    ("server", "type_", "address"),
    [
        (rabbitmq, "pubsub.rabbitmq", "connectionString"),
        (mosquitto, "pubsub.mqtt3", "url"),
        (mosquitto_exactly_once, "pubsub.mqtt3", "url"),
        (jetstream, "pubsub.jetstream", "natsURL"),
        (redis, "pubsub.redis", "redisHost"),
    ],
)
async def test_nothing_acknowledged_is_lost_when_connections_break(
    server: Callable[[str], contextlib.AbstractContextManager[Mapping[str, str]]], type_: str, address: str
) -> None:
    topic = f"topic{uuid4().hex}"
    acknowledged, handled = set[bytes](), set[bytes]()
    everything = asyncio.Event()

    async def handle(message: Message) -> None:
        is_first = message.data not in handled
        handled.add(message.data)
        if len(acknowledged) == PUBLISHERS * EACH and acknowledged <= handled:
            everything.set()
        if is_first and message.data.startswith(b"10 "):
            raise NotProcessed("not at first")

    async def publish(broker: PubSub, publisher: int) -> None:
        number = done = 0
        while done < EACH:
            number += 1
            data = b"%d of %d " % (number, publisher) + bytes(600)
            try:
                await broker.publish(Message(topic, data))
            except PubSubError:
                await asyncio.sleep(0.01)
                continue
            acknowledged.add(data)
            done += 1

    manager = server(topic)
    metadata = await asyncio.to_thread(manager.__enter__)
    try:
        async with opened(type_, metadata, address) as (broker, valve):
            subscription = await broker.subscribe(topic, {}, handle)
            async with asyncio.timeout(SECONDS):
                await asyncio.gather(*(publish(broker, one) for one in range(PUBLISHERS)))
                if not acknowledged <= handled:
                    await everything.wait()
            await asyncio.wait_for(subscription.close(), SECONDS)
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
    assert valve.breaks == 0
