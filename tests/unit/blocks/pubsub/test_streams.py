"""Streams of clients: each event is answered for by its id, and what is not stays with the broker."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from pydapr.blocks.pubsub import Broker, errors
from pydapr.blocks.pubsub.deliver import Around
from pydapr.blocks.pubsub.scopes import Scopes
from pydapr.blocks.pubsub.streams import AppStream, NotOpened, Session, Streams
from pydapr.components import Seconds
from pydapr.components.pubsub import Message
from pydapr.components.pubsub.in_memory import InMemory, Options
from pydapr.net.body import Disconnected
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2
from pydapr.wire import topicevents


class World:
    """A broker, streams on it, and the dead letters that were published."""

    def __init__(self, scopes: Scopes | None = None) -> None:
        self.pubsub = InMemory(Options(redeliver_interval=Seconds(0)))
        self.broker = Broker("mypub", self.pubsub, scopes or Scopes())
        self.letters: list[str] = []
        """Topics of dead letters."""
        self.streams = Streams({"mypub": self.broker}, Around(self._publish))

    async def _publish(self, name: str, topic: str, data: bytes, metadata: Mapping[str, str], kind: str) -> None:
        self.letters.append(topic)

    async def publish(self, *ids: str) -> None:
        for name in ids:
            data = b'{"id":"%b","specversion":"1.0","datacontenttype":"application/json","data":1}' % name.encode()
            await self.pubsub.publish(Message("orders", data))


class Client:
    """The other end of a stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.is_gone = False
        self._leaving = world.streams.session()
        self.session: Session = self._leaving.__enter__()
        self.stream: AppStream | None = None

    async def open(self, name: str = "mypub", topic: str = "orders", dead_letter: str = "") -> "Client":
        self.stream = await self._world.streams.open(self.session, name, topic, {}, dead_letter, self._send)
        return self

    async def _send(self, data: bytes) -> None:
        if self.is_gone:
            raise Disconnected("gone")
        self.events.put_nowait(appcallback_pb2.TopicEventRequest.FromString(data).id)

    def say(self, name: str, status: int = topicevents.SUCCESS) -> None:
        assert self.stream is not None
        self.stream.processed(name, status)

    async def leave(self) -> None:
        await self._world.streams.close(self.session)
        self._leaving.__exit__(None, None, None)


async def begin() -> None:
    """Lets tasks that have been created come to where they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def test_the_next_event_comes_when_the_one_before_is_answered_for() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open()
        await world.publish("1", "2")
        assert await client.events.get() == "1"
        client.say("unknown")
        await asyncio.sleep(0)
        assert client.events.empty()
        client.say("1")
        assert await client.events.get() == "2"
        client.say("2")
        await client.leave()
        assert world.letters == []

    run(test)


@pytest.mark.parametrize("status", [topicevents.DROP, topicevents.RETRY, 7])
def test_what_the_client_does_not_take_becomes_a_dead_letter(status: int) -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open(dead_letter="dead")
        await world.publish("1", "2")
        client.say(await client.events.get(), status)
        assert await client.events.get() == "2"
        assert world.letters == ["dead"]
        client.say("2")
        await client.leave()

    run(test)


def test_each_of_several_streams_of_a_topic_has_a_subscription_of_its_own() -> None:
    async def test() -> None:
        world = World()
        clients = [await Client(world).open() for _ in range(2)]
        assert [wanted.topic for wanted in world.streams.subscribed()] == ["orders", "orders"]
        await world.publish("1")
        for client in clients:
            assert await client.events.get() == "1"
            client.say("1")
            await client.leave()
        assert world.streams.subscribed() == []

    run(test)


def test_a_message_that_a_client_leaves_with_is_no_dead_letter() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open(dead_letter="dead")
        await world.publish("1", "2")
        await client.events.get()
        await client.leave()
        assert world.letters == []
        other = await Client(world).open()
        for name in ("1", "2"):
            assert await other.events.get() == name
            other.say(name)
        await other.leave()

    run(test)


def test_a_client_that_cannot_be_reached_gets_nothing_more() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open()
        client.is_gone = True
        await world.publish("1")
        await client.leave()
        assert client.events.empty()

    run(test)


def test_the_end_waits_for_what_the_client_has_and_gives_it_nothing_more() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open()
        await world.publish("1")
        assert await client.events.get() == "1"
        ending = asyncio.create_task(world.streams.end())
        await begin()
        await world.publish("2")
        assert not client.session.over.done()
        client.say("1")
        await ending
        assert client.session.over.result() == "stream closed"
        assert client.events.empty()

    run(test)


def test_a_client_that_has_not_said_what_it_wants_is_sent_away_at_the_end() -> None:
    async def test() -> None:
        world = World()
        early = Client(world)
        await world.streams.end()
        assert early.session.over.result() == "api server closed"
        late = Client(world)
        assert late.session.over.result() == "api server closed"
        with pytest.raises(errors.MetadataInvalid, match="subscriber is closed"):
            await late.open()

    run(test)


def test_a_client_that_goes_while_the_end_waits_for_it_does_not_hold_it_up() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open()
        await world.publish("1")
        await client.events.get()
        ending = asyncio.create_task(world.streams.end())
        await begin()
        await client.leave()
        await ending

    run(test)


def test_what_cannot_be_subscribed_to_is_refused() -> None:
    async def test() -> None:
        world = World(Scopes(subscription=frozenset({"other"})))
        with pytest.raises(errors.PubSubNotFound, match="pubsub nix is not found"):
            await Client(world).open("nix")
        with pytest.raises(NotOpened, match="subscription to topic 'orders' on pubsub 'mypub' is not allowed"):
            await Client(world).open()
        await world.pubsub.close()
        with pytest.raises(NotOpened, match="failed to subscribe to topic other: component is closed"):
            await Client(world).open(topic="other")
        assert world.streams.subscribed() == []

    run(test)


def test_an_event_that_came_twice_is_answered_for_twice() -> None:
    async def test() -> None:
        world = World()
        client = await Client(world).open()
        stream = client.stream
        assert stream is not None
        await world.publish("1")
        await client.events.get()
        client.say("1")
        await world.publish("1")
        assert await client.events.get() == "1"
        client.say("1")
        await client.leave()

    run(test)
