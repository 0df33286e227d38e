"""What pubsub.redis does with a stream beside what every broker does: its layout and bounds, who has which message."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest
from tests.conformance import redis_servers, servers
from tests.conformance.test_pubsub import Inbox

from pydapr import components
from pydapr.components.drivers import redis
from pydapr.components.pubsub import Message, PubSub, PubSubError

SECONDS = 20.0
GROUP = "group"


def settings(**more: str) -> Mapping[str, str]:
    metadata, _ = servers.shared(redis_servers.alone)
    return {**metadata, "consumerID": GROUP, **more}


@contextlib.asynccontextmanager
async def opened(**more: str) -> AsyncIterator[PubSub]:
    found = components.find("pubsub.redis")
    assert found is not None
    broker = found.make(components.read(found.options, settings(**more)))
    assert isinstance(broker, PubSub)
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


@pytest.fixture
async def server() -> AsyncIterator[redis.Server]:
    made = redis.client(redis.settings(components.read(redis.Options, settings())))
    assert isinstance(made, redis.Server)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def topic() -> str:
    return f"stream{uuid4().hex}"


async def ask(server: redis.Server, *command: str | bytes | int) -> object:
    [reply] = await server.run("", [command])
    return reply


async def until_pending(server: redis.Server, topic: str, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while await pending(server, topic) != count:  # noqa: ASYNC110  # Redis tells nobody
            await asyncio.sleep(0.01)


async def pending(server: redis.Server, topic: str) -> int:
    reply = await ask(server, "XPENDING", topic, GROUP)
    assert isinstance(reply, list)
    return int(reply[0])


async def test_message_is_written_as_the_original_writes_it(server: redis.Server, topic: str) -> None:
    async with opened() as broker:
        await broker.publish(Message(topic, b"\x00data", {"colour": "grün"}))
        await broker.publish(Message(topic, b""))

    entries = await ask(server, "XRANGE", topic, "-", "+")
    assert isinstance(entries, list)
    assert [fields for _, fields in entries] == [
        [b"data", b"\x00data", b"metadata", '{"colour":"grün"}'.encode()],
        [b"data", b"", b"metadata", b"{}"],
    ]


async def test_entries_of_others_are_read(server: redis.Server, topic: str) -> None:
    inbox = Inbox()
    await ask(server, "XADD", topic, "*", "metadata", '{"a":"b"}', "other", "x", "data", "one")
    await ask(server, "XADD", topic, "*", "metadata", '{"a":1}', "data", "two")
    await ask(server, "XADD", topic, "*", "nothing", "known")

    async with opened(concurrency="1") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await inbox.has([b"one", b"two", b""])
        await subscription.close()

    assert [dict(one.metadata) for one in inbox.taken] == [{"a": "b"}, {}, {}]


async def test_stream_is_kept_short(server: redis.Server, topic: str) -> None:
    async with opened(maxLenApprox="100") as broker:
        for _ in range(600):
            await broker.publish(Message(topic, b"data"))

    length = await ask(server, "XLEN", topic)
    assert isinstance(length, int) and 100 <= length < 300


async def test_old_entries_leave_the_stream(server: redis.Server, topic: str) -> None:
    for number in range(1, 401):
        await ask(server, "XADD", topic, f"{number}-1", "data", "old")

    async with opened(streamTTL="1h") as broker:
        await broker.publish(Message(topic, b"new"))

    length = await ask(server, "XLEN", topic)
    assert isinstance(length, int) and length < 200


async def test_message_that_another_has_read_and_not_acknowledged_is_taken_over(
    server: redis.Server, topic: str
) -> None:
    inbox = Inbox()
    await ask(server, "XGROUP", "CREATE", topic, GROUP, "0", "MKSTREAM")
    await ask(server, "XADD", topic, "*", "data", "left behind")
    await ask(server, "XREADGROUP", "GROUP", GROUP, GROUP, "STREAMS", topic, ">")

    async with opened(processingTimeout="300", redeliverInterval="100ms") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await inbox.has([b"left behind"])
        await subscription.close()

    assert await pending(server, topic) == 0


async def test_message_that_left_the_stream_leaves_the_group_too(server: redis.Server, topic: str) -> None:
    inbox = Inbox()
    await ask(server, "XGROUP", "CREATE", topic, GROUP, "0", "MKSTREAM")
    gone = await ask(server, "XADD", topic, "*", "data", "gone")
    await ask(server, "XADD", topic, "*", "data", "there")
    await ask(server, "XREADGROUP", "GROUP", GROUP, GROUP, "STREAMS", topic, ">")
    assert isinstance(gone, bytes)
    await ask(server, "XDEL", topic, gone)

    async with opened(processingTimeout="100ms", redeliverInterval="50ms") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await inbox.has([b"there"])
        await until_pending(server, topic, 0)
        await subscription.close()

    assert inbox.data() == [b"there"]


async def test_group_that_was_deleted_is_made_again(server: redis.Server, topic: str) -> None:
    inbox = Inbox()
    async with opened() as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(Message(topic, b"before"))
        await inbox.has([b"before"])

        await ask(server, "DEL", topic)
        await broker.publish(Message(topic, b"after"))

        await inbox.has([b"before", b"after"])
        await subscription.close()


async def test_handler_that_takes_too_long_is_ended_and_its_message_comes_again(topic: str) -> None:
    inbox = Inbox()
    inbox.hold.clear()
    async with opened(processingTimeout="200ms", redeliverInterval="50ms") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(Message(topic, b"slow"))
        await inbox.until(lambda: len(inbox.begun) >= 2)
        inbox.hold.set()

        await inbox.has([b"slow"])
        await subscription.close()

    assert inbox.cancelled >= 1


async def test_message_that_waits_here_stays_ours(topic: str) -> None:
    """Another instance, which looks for what nobody handles, does not take it."""
    busy, idle = Inbox(), Inbox()
    busy.hold.clear()
    async with opened(processingTimeout="2s", redeliverInterval="200ms", concurrency="1") as broker:
        first = await broker.subscribe(topic, {}, busy.take)
        await broker.publish(Message(topic, b"under way"))
        await busy.until(lambda: bool(busy.begun))
        for number in range(5):
            await broker.publish(Message(topic, b"%d" % number))
        await asyncio.sleep(1.6)  # longer than half of the timeout, when waiting messages are claimed again
        async with opened(processingTimeout="1500ms", redeliverInterval="100ms") as other:
            second = await other.subscribe(topic, {}, idle.take)
            await asyncio.sleep(0.5)
            await second.close()
        busy.hold.set()
        await busy.has([b"under way", b"0", b"1", b"2", b"3", b"4"])
        await first.close()

    assert not [one for one in idle.taken if one.data != b"under way"]


async def test_what_waits_is_given_back_at_the_end(server: redis.Server, topic: str) -> None:
    first, second = Inbox(), Inbox()
    first.hold.clear()
    async with opened(concurrency="1") as broker:
        subscription = await broker.subscribe(topic, {}, first.take)
        for number in range(5):
            await broker.publish(Message(topic, b"%d" % number))
        await first.until(lambda: bool(first.begun))
        closing = asyncio.create_task(subscription.close())
        await asyncio.sleep(0.05)
        first.hold.set()
        await closing

        # 60 seconds would have to pass if it had not been given back.
        again = await broker.subscribe(topic, {}, second.take)
        await second.has([b"%d" % number for number in range(1, 5)])
        await again.close()

    assert first.data() == [b"0"]
    assert await pending(server, topic) == 0


async def test_without_redelivery_what_was_read_is_handled_before_the_end(server: redis.Server, topic: str) -> None:
    inbox = Inbox(lambda message: message.data == b"1")
    async with opened(redeliverInterval="0", concurrency="1") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        inbox.hold.clear()
        for number in range(5):
            await broker.publish(Message(topic, b"%d" % number))
        await inbox.until(lambda: bool(inbox.begun))
        await until_pending(server, topic, 5)
        closing = asyncio.create_task(subscription.close())
        inbox.hold.set()
        await closing

    handled = [one.data for one in inbox.begun]
    assert handled == sorted(set(handled))
    assert await pending(server, topic) == 1  # the one that was refused


async def test_no_more_are_handled_at_a_time_than_is_said(topic: str) -> None:
    inbox = Inbox()
    inbox.hold.clear()
    async with opened(concurrency="3") as broker:
        subscriptions = [await broker.subscribe(f"{topic}{name}", {}, inbox.take) for name in "ab"]
        for number in range(10):
            await broker.publish(Message(f"{topic}{'ab'[number % 2]}", b"%d" % number))
        await inbox.until(lambda: len(inbox.begun) == 3)
        await asyncio.sleep(0.1)
        assert len(inbox.begun) == 3
        inbox.hold.set()
        await inbox.has([b"%d" % number for number in range(10)])
        for one in subscriptions:
            await one.close()


async def test_what_redis_refuses_is_an_error(server: redis.Server, topic: str) -> None:
    await ask(server, "SET", topic, "no stream")

    async with opened() as broker:
        with pytest.raises(PubSubError, match="redis streams: error from publish: WRONGTYPE"):
            await broker.publish(Message(topic, b"data"))
        with pytest.raises(PubSubError, match="WRONGTYPE"):
            await broker.subscribe(topic, {}, Inbox().take)
        with pytest.raises(PubSubError, match="WRONGTYPE"):
            await broker.browse(topic, "", 10, {})


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"processingTimeout": "soon"}, "processingTimeout: 'soon' is no duration"),
        ({"redeliverInterval": "soon"}, "redeliverInterval: 'soon' is no duration"),
        ({"concurrency": "0"}, "concurrency must be at least 1"),
        ({"queueDepth": "0"}, "queueDepth must be at least 1"),
        ({"queueDepth": "many"}, "queueDepth: 'many' is no number"),
    ],
)
async def test_metadata_that_cannot_be_used(metadata: Mapping[str, str], text: str) -> None:
    with pytest.raises(components.Wrong, match=text):
        async with opened(**metadata):
            pass


async def test_no_server_is_an_error() -> None:
    [port] = servers.free_ports(1)

    with pytest.raises(OSError, match=f"redis streams: error connecting to redis at 127.0.0.1:{port}"):
        async with opened(redisPort=str(port), redisMaxRetries="-1"):
            pass
