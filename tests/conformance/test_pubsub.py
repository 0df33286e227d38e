"""Every broker runs through these cases; a new one needs its entry in `BROKERS`.

An entry says what the broker promises beyond the least; what it does not promise is skipped for it. Its metadata is
that of the component without `consumerID`, which the cases choose. A broker with a server of its own is given by a
context manager that starts the server and yields how to restart it. Cases share servers: each has its own topics.
"""

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conformance import kafka_servers, message_servers, redis_servers, servers

from pydapr import components
from pydapr.components import pubsub
from pydapr.components.pubsub import Browsed, Entry, Limits, Message, NotProcessed, PubSub, PubSubError, Subscription

SECONDS = 30.0
"""How long anything may take that does not happen at once."""

# What an entry may promise.
SHARED = "SHARED"
"""Other components of the same metadata are at the same broker."""
GROUPS = "GROUPS"
"""Each `consumerID` gets every message, and those who have the same share them."""
KEEPS = "KEEPS"
"""What is published while nobody of a group that has subscribed before is there, waits for it."""
REDELIVERS = "REDELIVERS"
"""A message that was not processed comes again."""
ORDERED = "ORDERED"
"""Messages of one publisher, with the metadata `ordered`, arrive in order, also when one of them comes again."""
METADATA = "METADATA"
"""The metadata of a message arrives with it."""
BROWSES = "BROWSES"

EVERYTHING = frozenset({SHARED, GROUPS, KEEPS, REDELIVERS, ORDERED, METADATA, BROWSES})


@dataclass
class Ready:
    """A broker that can be opened. `restart` ends its server and starts it again with what it had."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    promises: frozenset[str] = frozenset()
    restart: Callable[[], Awaitable[None]] | None = None
    ordered: Mapping[str, str] = field(default_factory=dict)
    """Metadata of messages whose order matters."""
    ordered_subscription: Mapping[str, str] = field(default_factory=dict)
    """Metadata of a subscription whose order matters."""
    wildcard: str = "{}.*"
    """How all topics below one are subscribed to, if the broker says that it has wildcards."""
    below: str = "{}.{}"
    """How a topic below another is called."""
    largest: int = 900_000
    """Bytes of a message that it must take."""
    takes_nothing: bool = True
    """Whether a message may be empty."""


Serve = Callable[[Path], contextlib.AbstractContextManager[Ready]]
"""Makes a broker ready, with a folder for its files; raises `pytest.skip` where its server is not at hand."""


def served(restart: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """`Ready.restart` of a server that is restarted by a call that blocks."""
    return functools.partial(asyncio.to_thread, restart)


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[Ready]:
    yield Ready(promises=frozenset({METADATA}), wildcard="{}*")


def _redis(served_: redis_servers.Served) -> Ready:
    metadata, restart = served_
    return Ready(
        {**metadata, "processingTimeout": "500ms", "redeliverInterval": "200ms"},
        EVERYTHING - {ORDERED},
        restart=served(restart),
    )


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Ready]:
    yield _redis(servers.shared(redis_servers.alone))


@contextlib.contextmanager
def redis_with_tls(folder: Path) -> Iterator[Ready]:
    yield _redis(servers.shared(redis_servers.with_tls))


@contextlib.contextmanager
def redis_with_sentinel(folder: Path) -> Iterator[Ready]:
    yield _redis(servers.shared(redis_servers.with_sentinel))


@contextlib.contextmanager
def redis_cluster(folder: Path) -> Iterator[Ready]:
    yield _redis(servers.shared(redis_servers.cluster))


def _kafka(initial: str, promises: frozenset[str]) -> Ready:
    metadata, restart = servers.shared(kafka_servers.alone)
    return Ready(
        {**metadata, "initialOffset": initial, "backOffDuration": "100ms", "heartbeatInterval": "500ms"},
        promises,
        restart=served(restart),
        ordered={"partitionKey": "one"},
    )


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[Ready]:
    yield _kafka("oldest", EVERYTHING)


@contextlib.contextmanager
def kafka_from_newest(folder: Path) -> Iterator[Ready]:
    yield _kafka("newest", EVERYTHING - {BROWSES, KEEPS})


@contextlib.contextmanager
def jetstream(folder: Path) -> Iterator[Ready]:
    with message_servers.stream(["*", "conformance.*"]) as (metadata, restart):
        kept = {"ackWait": "200ms", "deliverPolicy": "all"}
        yield Ready({**metadata, **kept}, frozenset({SHARED, REDELIVERS}), served(restart))


@contextlib.contextmanager
def jetstream_in_order(folder: Path) -> Iterator[Ready]:
    with jetstream(folder) as ready:
        metadata = {**ready.metadata, "maxAckPending": "1", "ackWait": "0"}
        yield dataclasses.replace(ready, metadata=metadata, promises=ready.promises | {ORDERED}, restart=None)


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(message_servers.mosquitto)
    promises = frozenset({SHARED, KEEPS, REDELIVERS})
    yield Ready(metadata, promises, served(restart), wildcard="{}/#", below="{}/{}")


@contextlib.contextmanager
def mosquitto_exactly_once(folder: Path) -> Iterator[Ready]:
    with mosquitto(folder) as ready:
        yield dataclasses.replace(ready, metadata={**ready.metadata, "qos": "2"}, restart=None)


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(message_servers.rabbitmq)
    kept = {"deletedWhenUnused": "false", "deliveryMode": "2", "requeueInFailure": "true"}
    promises = frozenset({SHARED, GROUPS, KEEPS, REDELIVERS})
    yield Ready({**metadata, **kept, "reconnectWaitSeconds": "100ms"}, promises, served(restart))


@contextlib.contextmanager
def rabbitmq_in_order(folder: Path) -> Iterator[Ready]:
    with rabbitmq(folder) as ready:
        ordered = {"concurrencyMode": "single", "prefetchCount": "1"}
        yield Ready({**ready.metadata, **ordered}, ready.promises | {ORDERED})


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Ready]:
    metadata = {"connectionString": str(folder / "pubsub.db")}
    yield Ready(metadata, EVERYTHING, ordered={"partitionKey": "one"})


BROKERS: dict[str, Sequence[Serve]] = {
    "pubsub.in-memory": [in_memory],
    "pubsub.jetstream": [jetstream, jetstream_in_order],
    "pubsub.mqtt3": [mosquitto, mosquitto_exactly_once],
    "pubsub.rabbitmq": [rabbitmq, rabbitmq_in_order],
    "pubsub.kafka": [kafka, kafka_from_newest],
    "pubsub.redis": [redis, redis_with_tls, redis_with_sentinel, redis_cluster],
    "pubsub.sqlite": [sqlite],
}
CASES = [pytest.param(type_, one, id=f"{type_}-{one.__name__}") for type_, all_ in BROKERS.items() for one in all_]
pytestmark = pytest.mark.parametrize(("type_", "serve"), CASES)


class Brokers:
    """Opens components at one broker, each as a sidecar of its own would, and closes them with their subscriptions."""

    def __init__(self, type_: str, ready: Ready) -> None:
        self._type, self.ready = type_, ready
        self._mark = uuid4().hex[:12]
        self._made: list[PubSub] = []
        self._subscriptions: list[Subscription] = []

    async def open(self, group: str = "one") -> PubSub:
        found = components.find(self._type)
        assert found is not None
        metadata = {**self.ready.metadata, "consumerID": f"{group}-{self._mark}"}
        made = found.make(components.read(found.options, metadata))
        assert isinstance(made, PubSub)
        self._made.append(made)
        await made.open()
        return made

    async def subscribe(
        self, broker: PubSub, topic: str, inbox: "Inbox", metadata: Mapping[str, str] = pubsub.NO_METADATA
    ) -> Subscription:
        made = await broker.subscribe(topic, metadata, inbox.take)
        self._subscriptions.append(made)
        return made

    async def subscribe_many(
        self, broker: PubSub, topic: str, handler: pubsub.BulkHandler, limits: Limits
    ) -> Subscription:
        made = await broker.subscribe_many(topic, {}, limits, handler)
        self._subscriptions.append(made)
        return made

    def needs(self, *promises: str) -> None:
        missing = set(promises) - self.ready.promises
        if missing:
            pytest.skip(f"the broker does not promise {', '.join(sorted(missing))}")

    async def close(self) -> None:
        async with asyncio.timeout(SECONDS):
            for one in self._subscriptions:
                await one.close()
            for made in self._made:
                await made.close()


@pytest.fixture
def ready(serve: Serve, tmp_path: Path) -> Iterator[Ready]:
    with serve(tmp_path) as one:
        yield one


@pytest.fixture
async def brokers(type_: str, ready: Ready) -> AsyncIterator[Brokers]:
    made = Brokers(type_, ready)
    yield made
    await made.close()


@pytest.fixture
async def broker(brokers: Brokers) -> PubSub:
    return await brokers.open()


@pytest.fixture
def topic() -> str:
    """A topic that no other case uses, on servers that all share."""
    return f"conformance{uuid4().hex}"


class Inbox:
    """Takes messages and remembers them; refuses those that `refuse` is true for; `hold` keeps them under way."""

    def __init__(self, refuse: Callable[[Message], bool] = lambda message: False) -> None:
        self.begun: list[Message] = []
        self.taken: list[Message] = []
        self.cancelled = 0
        self.times: list[float] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self._refuse = refuse
        self._changed = asyncio.Condition()

    async def take(self, message: Message) -> None:
        self.begun.append(message)
        self.times.append(time.time())
        await self._tell()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._refuse(message):
            raise NotProcessed("the case refuses it")
        self.taken.append(message)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(is_true)

    async def has(self, wanted: Iterable[bytes]) -> None:
        """Waits until all of these were taken, and fails if there was anything else."""
        expected = set(wanted)
        try:
            await self.until(lambda: expected <= {message.data for message in self.taken})
        except TimeoutError:
            missing = expected - {message.data for message in self.taken}
            pytest.fail(f"{len(missing)} of {len(expected)} did not come: {sorted(missing)[:5]}")
        assert {message.data for message in self.taken} == expected

    def data(self) -> list[bytes]:
        return [message.data for message in self.taken]

    def first_times(self) -> list[bytes]:
        """What was taken, without what came again, in order."""
        return list(dict.fromkeys(self.data()))


def once(refused: set[bytes]) -> Callable[[Message], bool]:
    """Refuses each of these messages the first time that it comes."""
    left = set(refused)

    def refuse(message: Message) -> bool:
        if message.data not in left:
            return False
        left.discard(message.data)
        return True

    return refuse


def numbered(count: int, mark: str = "message") -> list[bytes]:
    return [f"{mark}-{number:04}".encode() for number in range(count)]


async def publish(broker: PubSub, topic: str, *data: bytes, **given: str) -> None:
    for one in data:
        await broker.publish(Message(topic, one, given))


async def publish_patiently(broker: PubSub, topic: str, data: bytes) -> None:
    """Publishes to a broker that may be away, until it takes the message."""
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(PubSubError):
                await broker.publish(Message(topic, data))
                return
            await asyncio.sleep(0.05)


# -- one after the other --


async def test_message_arrives_as_it_was_published(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)

    await publish(broker, topic, b'{"id": "1", "data": {"name": "first"}}')

    await inbox.has([b'{"id": "1", "data": {"name": "first"}}'])
    assert inbox.taken[0].topic == topic


ODD = [b"plain", b"\x00\xff\x80bytes\r\n", b"null", b"{}", "grüße 🎈".encode(), bytes(range(256)), b" ", b"\n"]


async def test_bytes_arrive_as_they_are(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    odd = [*ODD, b""] if brokers.ready.takes_nothing else ODD

    await publish(broker, topic, *odd)

    await inbox.has(odd)


async def test_large_message_arrives(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    large = [bytes(range(1, 256)) * (size // 255) for size in (70_000, brokers.ready.largest)]

    await publish(broker, topic, *large)

    await inbox.has(large)


async def test_metadata_arrives_with_its_message(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(METADATA)
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)

    await publish(broker, topic, b"1", colour="blue", shape="ründ 🎈")
    await publish(broker, topic, b"2")

    await inbox.has([b"1", b"2"])
    [first] = [message for message in inbox.taken if message.data == b"1"]
    [second] = [message for message in inbox.taken if message.data == b"2"]
    assert (first.metadata["colour"], first.metadata["shape"]) == ("blue", "ründ 🎈")
    assert not {"colour", "shape"} & second.metadata.keys()


async def test_topics_are_apart(brokers: Brokers, broker: PubSub, topic: str) -> None:
    first, second = Inbox(), Inbox()
    await brokers.subscribe(broker, f"{topic}a", first)
    await brokers.subscribe(broker, f"{topic}b", second)

    for number in range(10):
        await publish(broker, f"{topic}a", b"a%d" % number)
        await publish(broker, f"{topic}b", b"b%d" % number)
        await publish(broker, f"{topic}c", b"nobody reads this")

    await first.has([b"a%d" % number for number in range(10)])
    await second.has([b"b%d" % number for number in range(10)])


async def test_publishing_to_a_topic_that_nobody_reads_succeeds(broker: PubSub, topic: str) -> None:
    await publish(broker, topic, *numbered(3))


async def test_many_published_at_once_arrive(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    wanted = numbered(200)

    await asyncio.gather(*(publish(broker, topic, one) for one in wanted))

    await inbox.has(wanted)


async def test_each_message_arrives_once_when_nothing_goes_wrong(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)

    await publish(broker, topic, *numbered(50))
    await inbox.has(numbered(50))
    await publish(broker, topic, b"last")
    await inbox.has([*numbered(50), b"last"])

    assert max(Counter(inbox.data()).values()) == 1


# -- order, and what was not processed --


async def test_order_is_kept(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(ORDERED)
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox, brokers.ready.ordered_subscription)

    await publish(broker, topic, *numbered(100), **brokers.ready.ordered)

    await inbox.has(numbered(100))
    assert inbox.first_times() == numbered(100)


async def test_order_is_kept_when_messages_come_again(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(ORDERED, REDELIVERS)
    inbox = Inbox(once({b"message-0000", b"message-0003", b"message-0009"}))
    await brokers.subscribe(broker, topic, inbox, brokers.ready.ordered_subscription)

    await publish(broker, topic, *numbered(10), **brokers.ready.ordered)

    await inbox.has(numbered(10))
    assert inbox.first_times() == numbered(10)


async def test_message_that_was_not_processed_comes_again(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(REDELIVERS)
    refused = set(numbered(3))
    inbox = Inbox(once(refused))
    await brokers.subscribe(broker, topic, inbox)

    await publish(broker, topic, *numbered(6))

    await inbox.has(numbered(6))
    seen = Counter(message.data for message in inbox.begun)
    assert all(seen[data] >= 2 for data in refused)


async def test_message_comes_again_until_it_is_processed(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(REDELIVERS)
    tries = Counter[bytes]()

    def refuse(message: Message) -> bool:
        tries[message.data] += 1
        return tries[message.data] < 4

    inbox = Inbox(refuse)
    await brokers.subscribe(broker, topic, inbox)

    await publish(broker, topic, b"stubborn")

    await inbox.has([b"stubborn"])
    assert tries[b"stubborn"] >= 4


# -- groups --


async def test_each_group_gets_every_message(brokers: Brokers, topic: str) -> None:
    brokers.needs(GROUPS)
    inboxes = [Inbox(), Inbox()]
    for name, inbox in zip(("one", "two"), inboxes, strict=True):
        await brokers.subscribe(await brokers.open(name), topic, inbox)

    await publish(await brokers.open("publisher"), topic, *numbered(20))

    for inbox in inboxes:
        await inbox.has(numbered(20))


async def test_members_of_a_group_share_the_messages(brokers: Brokers, topic: str) -> None:
    brokers.needs(GROUPS)
    inbox = Inbox()
    for _ in range(2):
        await brokers.subscribe(await brokers.open(), topic, inbox)

    await publish(await brokers.open("publisher"), topic, *numbered(60))

    await inbox.has(numbered(60))
    # A broker may give a few of them twice while it sorts out who has what.
    assert len(inbox.taken) <= 75


async def test_group_that_was_away_gets_what_it_missed(brokers: Brokers, topic: str) -> None:
    brokers.needs(KEEPS)
    early, late = Inbox(), Inbox()
    reader = await brokers.open()
    subscription = await brokers.subscribe(reader, topic, early)
    await publish(reader, topic, b"early")
    await early.has([b"early"])
    await subscription.close()
    await reader.close()

    await publish(await brokers.open("publisher"), topic, *numbered(10))
    await brokers.subscribe(await brokers.open(), topic, late)

    await late.has(numbered(10))


async def test_messages_of_a_member_that_leaves_go_to_others(brokers: Brokers, topic: str) -> None:
    brokers.needs(GROUPS, REDELIVERS, KEEPS)
    leaving, staying = Inbox(), Inbox()
    leaving.hold.clear()
    first = await brokers.open()
    subscription = await brokers.subscribe(first, topic, leaving)
    publisher = await brokers.open("publisher")
    await publish(publisher, topic, *numbered(5))
    await leaving.until(lambda: bool(leaving.begun))

    closing = asyncio.create_task(subscription.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait((closing,))
    await first.close()
    await brokers.subscribe(await brokers.open(), topic, staying)

    await staying.has(numbered(5))
    assert leaving.cancelled == len(leaving.begun)
    assert not leaving.taken


# -- the end of a subscription --


async def test_closing_waits_for_what_is_under_way(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    inbox.hold.clear()
    subscription = await brokers.subscribe(broker, topic, inbox)
    await publish(broker, topic, b"under way")
    await inbox.until(lambda: bool(inbox.begun))

    closing = asyncio.create_task(subscription.close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    inbox.hold.set()
    await asyncio.wait_for(closing, SECONDS)

    assert inbox.data() == [b"under way"]


async def test_what_was_processed_before_the_end_does_not_come_again(brokers: Brokers, topic: str) -> None:
    brokers.needs(KEEPS)
    first, second = Inbox(), Inbox()
    reader = await brokers.open()
    subscription = await brokers.subscribe(reader, topic, first)
    await publish(reader, topic, *numbered(10))
    await first.has(numbered(10))
    await subscription.close()
    await publish(reader, topic, b"later")

    await brokers.subscribe(reader, topic, second)

    await second.has([b"later"])


async def test_nothing_is_taken_after_the_end(brokers: Brokers, broker: PubSub, topic: str) -> None:
    closed, other = Inbox(), Inbox()
    subscription = await brokers.subscribe(broker, topic, closed)
    await publish(broker, topic, b"before")
    await closed.has([b"before"])
    await subscription.close()
    await subscription.close()

    await publish(broker, topic, b"after")
    await brokers.subscribe(broker, f"{topic}x", other)
    await publish(broker, f"{topic}x", b"elsewhere")

    await other.has([b"elsewhere"])
    assert closed.data() == [b"before"]


async def test_subscribing_that_is_cancelled_leaves_nothing_behind(
    brokers: Brokers, broker: PubSub, topic: str
) -> None:
    given_up, inbox = Inbox(), Inbox()
    trying = asyncio.create_task(broker.subscribe(topic, {}, given_up.take))
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.wait((trying,))
    if not trying.cancelled():
        await trying.result().close()  # it was quicker

    await brokers.subscribe(broker, topic, inbox)
    await publish(broker, topic, *numbered(5))

    await inbox.has(numbered(5))
    assert not given_up.begun


async def test_closed_broker_can_be_closed_again(brokers: Brokers) -> None:
    broker = await brokers.open()

    await broker.close()
    await broker.close()


# -- many at once --


async def test_bulk_is_published(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    entries = [Entry(str(number), Message(topic, data)) for number, data in enumerate(numbered(30))]

    failed = await broker.publish_many(topic, entries, {})

    assert not failed
    await inbox.has(numbered(30))


async def test_empty_bulk_is_published(broker: PubSub, topic: str) -> None:
    assert not await broker.publish_many(topic, [], {})


async def test_order_within_a_bulk_is_kept(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(ORDERED)
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox, brokers.ready.ordered_subscription)
    messages = [Message(topic, data, brokers.ready.ordered) for data in numbered(30)]

    assert not await broker.publish_many(topic, [Entry(str(n), one) for n, one in enumerate(messages)], {})

    await inbox.has(numbered(30))
    assert inbox.first_times() == numbered(30)


async def test_many_are_delivered_together(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()
    sizes: list[int] = []

    async def take(entries: Sequence[Entry]) -> Mapping[str, str]:
        sizes.append(len(entries))
        assert len({entry.id for entry in entries}) == len(entries)
        for entry in entries:
            await inbox.take(entry.message)
        return {}

    await brokers.subscribe_many(broker, topic, take, Limits(7, 0.05))
    await asyncio.gather(*(publish(broker, topic, one) for one in numbered(50)))

    await inbox.has(numbered(50))
    assert 1 <= max(sizes) <= 7


async def test_of_many_those_that_failed_come_again(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(REDELIVERS)
    inbox = Inbox()
    refuse = once({b"message-0002", b"message-0005"})

    async def take(entries: Sequence[Entry]) -> Mapping[str, str]:
        failed = {entry.id: "refused" for entry in entries if refuse(entry.message)}
        for entry in entries:
            if entry.id not in failed:
                await inbox.take(entry.message)
        return failed

    await brokers.subscribe_many(broker, topic, take, Limits(5, 0.1))
    await publish(broker, topic, *numbered(10))

    await inbox.has(numbered(10))


async def test_single_message_does_not_wait_for_others(brokers: Brokers, broker: PubSub, topic: str) -> None:
    inbox = Inbox()

    async def take(entries: Sequence[Entry]) -> Mapping[str, str]:
        for entry in entries:
            await inbox.take(entry.message)
        return {}

    await brokers.subscribe_many(broker, topic, take, Limits(1000, 0.05))
    await publish(broker, topic, b"alone")

    await inbox.has([b"alone"])


# -- what not every broker has --


async def test_wildcard_gets_what_is_below(brokers: Brokers, broker: PubSub, topic: str) -> None:
    if pubsub.WILDCARDS not in broker.features:
        pytest.skip("the broker has no wildcards")
    inbox = Inbox()
    await brokers.subscribe(broker, brokers.ready.wildcard.format(topic), inbox)
    below = [brokers.ready.below.format(topic, name) for name in ("a", "b")]

    for number, one in enumerate(below):
        await publish(broker, one, b"%d" % number)
    await publish(broker, brokers.ready.below.format(f"x{topic}", "a"), b"elsewhere")

    await inbox.has([b"0", b"1"])


async def test_message_whose_time_is_over_is_not_delivered(brokers: Brokers, topic: str) -> None:
    brokers.needs(KEEPS)
    early, late = Inbox(), Inbox()
    reader = await brokers.open()
    if pubsub.MESSAGE_TTL not in reader.features:
        pytest.skip("the broker does not end messages by itself")
    subscription = await brokers.subscribe(reader, topic, early)
    await publish(reader, topic, b"early", ttlInSeconds="60")
    await early.has([b"early"])
    await subscription.close()

    await publish(reader, topic, b"short", ttlInSeconds="1")
    await publish(reader, topic, b"long", ttlInSeconds="60")
    await publish(reader, topic, b"endless")
    await asyncio.sleep(1.5)  # it is time itself that is waited for
    await brokers.subscribe(reader, topic, late)

    await late.has([b"long", b"endless"])


async def test_delayed_message_comes_no_sooner_than_it_is_due(brokers: Brokers, broker: PubSub, topic: str) -> None:
    if not broker.delays:
        pytest.skip("the broker does not delay messages")
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    due = time.time() + 0.7

    await broker.publish(Message(topic, b"later", deliver_at=due))
    await broker.publish(Message(topic, b"past", deliver_at=due - 1000))
    await publish(broker, topic, b"now")

    await inbox.has([b"later", b"past", b"now"])
    assert inbox.data()[-1] == b"later"
    assert inbox.times[-1] >= due


async def test_delayed_message_waits_while_nobody_is_there(brokers: Brokers, topic: str) -> None:
    brokers.needs(KEEPS)
    early, late = Inbox(), Inbox()
    reader = await brokers.open()
    if not reader.delays:
        pytest.skip("the broker does not delay messages")
    subscription = await brokers.subscribe(reader, topic, early)
    due = time.time() + 0.5
    await reader.publish(Message(topic, b"later", deliver_at=due))
    await subscription.close()
    await reader.close()

    await brokers.subscribe(await brokers.open(), topic, late)

    await late.has([b"later"])
    assert late.times[0] >= due
    assert not early.begun


async def test_messages_can_be_looked_at(brokers: Brokers, topic: str) -> None:
    brokers.needs(BROWSES)
    inbox = Inbox()
    reader = await brokers.open()
    subscription = await brokers.subscribe(reader, topic, inbox)
    await subscription.close()
    began = time.time()
    await publish(reader, topic, *numbered(7), colour="blue")

    seen: list[Browsed] = []
    after = ""
    while True:
        page, after = await reader.browse(topic, after, 3, {})
        assert len(page) <= 3
        seen += page
        if not after:
            break

    assert [one.message.data for one in seen] == numbered(7)
    assert len({one.id for one in seen}) == 7
    assert seen[0].message.metadata["colour"] == "blue"
    assert all(one.time is not None and began - 60 < one.time < began + 60 for one in seen)
    await brokers.subscribe(reader, topic, inbox)
    await inbox.has(numbered(7))


async def test_topic_without_messages_can_be_looked_at(brokers: Brokers, broker: PubSub, topic: str) -> None:
    brokers.needs(BROWSES)

    assert await broker.browse(topic, "", 10, {}) == ([], "")


# -- restarts --


async def test_subscription_outlives_a_restart_of_the_broker(brokers: Brokers, broker: PubSub, topic: str) -> None:
    if brokers.ready.restart is None:
        pytest.skip("there is no server to restart")
    inbox = Inbox()
    await brokers.subscribe(broker, topic, inbox)
    await publish(broker, topic, b"before")
    await inbox.has([b"before"])

    await brokers.ready.restart()
    await publish_patiently(broker, topic, b"after")

    await inbox.has([b"before", b"after"])


async def test_message_under_way_outlives_a_restart_of_the_broker(brokers: Brokers, broker: PubSub, topic: str) -> None:
    if brokers.ready.restart is None:
        pytest.skip("there is no server to restart")
    brokers.needs(KEEPS, REDELIVERS)
    inbox = Inbox()
    inbox.hold.clear()
    await brokers.subscribe(broker, topic, inbox)
    await publish(broker, topic, *numbered(3))
    await inbox.until(lambda: bool(inbox.begun))

    await brokers.ready.restart()
    inbox.hold.set()

    await inbox.has(numbered(3))


async def test_kept_messages_outlive_a_restart_of_the_broker(brokers: Brokers, topic: str) -> None:
    if brokers.ready.restart is None:
        pytest.skip("there is no server to restart")
    brokers.needs(KEEPS)
    early, late = Inbox(), Inbox()
    reader = await brokers.open()
    subscription = await brokers.subscribe(reader, topic, early)
    await subscription.close()
    await publish(reader, topic, *numbered(10))

    await brokers.ready.restart()
    await brokers.subscribe(await brokers.open(), topic, late)

    await late.has(numbered(10))
