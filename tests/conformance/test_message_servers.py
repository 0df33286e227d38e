"""What RabbitMQ, MQTT and JetStream do beside the contract: dead letters, kinds of queues, sessions, consumers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest
from tests.conformance import message_servers, servers
from tests.conformance.test_pubsub import Inbox, numbered, once, publish, publish_patiently

from pydapr import components
from pydapr.components.pubsub import Message, PubSub, PubSubError
from pydapr.components.pubsub import jetstream as js_pubsub

SECONDS = 30.0


@contextlib.asynccontextmanager
async def opened(type_: str, metadata: Mapping[str, str]) -> AsyncIterator[PubSub]:
    found = components.find(type_)
    assert found is not None
    made = found.make(components.read(found.options, metadata))
    assert isinstance(made, PubSub)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture
def topic() -> str:
    return f"topic{uuid4().hex}"


# -- rabbitmq --


@contextlib.asynccontextmanager
async def rabbitmq(**more: str) -> AsyncIterator[PubSub]:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    kept = {"deletedWhenUnused": "false", "consumerID": "reader", "reconnectWaitSeconds": "100ms"}
    async with opened("pubsub.rabbitmq", {**metadata, **kept, **more}) as broker:
        yield broker


async def test_rabbitmq_message_that_nobody_took_is_a_dead_letter(topic: str) -> None:
    inbox, dead = Inbox(once({b"bad"})), Inbox()
    async with rabbitmq(enableDeadLetter="true") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await publish(broker, topic, b"bad", b"good")
        await inbox.has([b"good"])
        await subscription.close()

        async with rabbitmq() as other:
            # Its arguments are those of a dead-letter queue: lazy, and without an exchange for dead letters.
            queue = {"queueName": f"dlq-reader-{topic}"}
            with pytest.raises(PubSubError, match="PRECONDITION_FAILED"):
                await other.subscribe(f"dlx-reader-{topic}", queue, dead.take)
        assert await depth(f"dlq-reader-{topic}") == 1


async def depth(queue: str) -> int:
    """How many messages wait in a queue."""
    import aiormq

    metadata, _ = servers.shared(message_servers.rabbitmq)
    connection = await aiormq.connect(metadata["connectionString"])
    try:
        channel = await connection.channel()
        declared = await channel.queue_declare(queue, passive=True)
        return declared.message_count or 0
    finally:
        await connection.close()


async def test_rabbitmq_message_that_nobody_took_is_gone_by_default(topic: str) -> None:
    inbox = Inbox(once({b"bad"}))
    async with rabbitmq() as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        await publish(broker, topic, b"bad", b"good")
        await inbox.has([b"good"])
        await subscription.close()

        assert await depth(f"reader-{topic}") == 0
    assert [message.data for message in inbox.begun].count(b"bad") == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"queueType": "quorum"}, {"queueType": "classic"}, {"maxPriority": "300"}, {"singleActiveConsumer": "true"},
        {"maxLen": "10", "maxLenBytes": "10000"}, {"queueName": "my own queue"},
    ],
    ids=json.dumps,
)  # fmt: skip
async def test_rabbitmq_kinds_of_queues(topic: str, metadata: Mapping[str, str]) -> None:
    inbox = Inbox()
    async with rabbitmq() as broker:
        subscription = await broker.subscribe(topic, metadata, inbox.take)

        await publish(broker, topic, b"1")

        await inbox.has([b"1"])
        await subscription.close()
        assert await depth(metadata.get("queueName") or f"reader-{topic}") == 0


@pytest.mark.parametrize("metadata", [{"queueType": "stream"}, {"maxPriority": "x"}, {"maxLen": "-1"}], ids=json.dumps)
async def test_rabbitmq_queues_that_cannot_be(topic: str, metadata: Mapping[str, str]) -> None:
    async with rabbitmq() as broker:
        with pytest.raises(PubSubError, match=next(iter(metadata.values()))):
            await broker.subscribe(topic, metadata, Inbox().take)


async def test_rabbitmq_full_queue_drops_its_oldest_messages(topic: str) -> None:
    inbox = Inbox()
    async with rabbitmq(maxLen="3") as broker:
        await (await broker.subscribe(topic, {}, inbox.take)).close()
        await publish(broker, topic, *numbered(10))

        subscription = await broker.subscribe(topic, {}, inbox.take)

        await inbox.has(numbered(10)[-3:])
        await subscription.close()


async def test_rabbitmq_messages_of_higher_priority_come_first(topic: str) -> None:
    inbox = Inbox()
    async with rabbitmq(concurrencyMode="single", prefetchCount="1") as broker:
        ranked = {"maxPriority": "5"}
        await (await broker.subscribe(topic, ranked, inbox.take)).close()
        for rank in ("1", "5", "3", "none"):
            await publish(broker, topic, rank.encode(), priority=rank)

        subscription = await broker.subscribe(topic, ranked, inbox.take)

        await inbox.has([b"5", b"3", b"1", b"none"])
        assert inbox.data() == [b"5", b"3", b"1", b"none"]
        await subscription.close()


async def test_rabbitmq_routing_keys_of_a_topic_exchange(topic: str) -> None:
    inbox = Inbox()
    async with rabbitmq(exchangeKind="topic") as broker:
        subscription = await broker.subscribe(topic, {"routingKey": "a.*,b"}, inbox.take)

        for key in ("a.1", "b", "c", "a.2.3"):
            await publish(broker, topic, key.encode(), routingKey=key)
        await publish(broker, topic, b"none")

        await publish(broker, topic, b"last", routingKey="b")
        await inbox.has([b"a.1", b"b", b"last"])
        await subscription.close()


async def test_rabbitmq_properties_arrive_as_metadata_when_wanted(topic: str) -> None:
    inbox = Inbox()
    async with rabbitmq(publishMessagePropertiesToMetadata="true") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        given = {"messageID": "m1", "correlationid": "c1", "type": "t", "contentType": "text/x"}
        await broker.publish(Message(topic, b"1", given))

        await inbox.has([b"1"])
        shown = {"metadata.messageid": "m1", "metadata.correlationid": "c1", "metadata.type": "t"}
        assert inbox.taken[0].metadata == {**shown, "metadata.contenttype": "text/x"}
        await subscription.close()


async def test_rabbitmq_acknowledged_by_itself_what_came_is_finished_at_the_end(topic: str) -> None:
    inbox = Inbox()
    inbox.hold.clear()
    async with rabbitmq(autoAck="true", concurrencyMode="single") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await publish(broker, topic, *numbered(5))
        await inbox.until(lambda: bool(inbox.begun))
        closing = asyncio.create_task(subscription.close())
        inbox.hold.set()

        await asyncio.wait_for(closing, SECONDS)

        left = await depth(f"reader-{topic}")
        assert len(inbox.taken) + left == 5


@pytest.mark.parametrize("confirms", ["true", "false", ""])
async def test_rabbitmq_exchange_that_is_gone_meanwhile_is_made_again(topic: str, confirms: str) -> None:
    inbox = Inbox()
    more = {"publisherConfirm": confirms} if confirms else {}
    async with rabbitmq(deletedWhenUnused="true", **more) as broker:
        await publish(broker, topic, b"nobody has it")
        await (await broker.subscribe(topic, {}, inbox.take)).close()  # the exchange goes with its last queue

        await asyncio.gather(*(publish(broker, topic, one) for one in numbered(20, "lost")))
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await publish_until_taken(broker, topic, inbox)

        await subscription.close()


async def publish_until_taken(broker: PubSub, topic: str, inbox: Inbox) -> None:
    async with asyncio.timeout(SECONDS):
        while not inbox.taken:
            await publish_patiently(broker, topic, b"again")
            await asyncio.sleep(0.05)


async def test_rabbitmq_topic_of_another_kind_is_an_error_and_harms_no_other(topic: str) -> None:
    inbox = Inbox()
    async with rabbitmq() as broker, rabbitmq(exchangeKind="topic") as other:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        with pytest.raises(PubSubError, match="PRECONDITION_FAILED"):
            await publish(other, topic, b"0")
        with pytest.raises(PubSubError, match="PRECONDITION_FAILED"):
            await other.subscribe(topic, {}, inbox.take)

        await publish(other, f"{topic}x", b"0")
        await publish(broker, topic, b"1")
        await inbox.has([b"1"])
        await subscription.close()


@pytest.mark.parametrize("name", ["a$b", "x" * 300])
async def test_rabbitmq_topics_that_cannot_be(topic: str, name: str) -> None:
    async with rabbitmq() as broker:
        with pytest.raises(PubSubError, match="exchange"):
            await publish(broker, name, b"1")
        with pytest.raises(PubSubError, match=r"exchange|queue"):
            await broker.subscribe(name, {}, Inbox().take)
        with pytest.raises(PubSubError, match="Routing key too long"):
            await publish(broker, topic, b"1", routingKey="x" * 300)
        await publish(broker, topic, b"1")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"connectionString": "amqp://guest:hidden@127.0.0.1:1"}, "cannot connect to 127.0.0.1:1"),
        ({"connectionString": "PASSWORD"}, "cannot connect|Refused|ACCESS_REFUSED"),
    ],
)
async def test_rabbitmq_that_cannot_be_reached_ends_the_start(changes: Mapping[str, str], text: str) -> None:
    metadata, _ = servers.shared(message_servers.rabbitmq)
    if changes["connectionString"] == "PASSWORD":
        changes = {"connectionString": metadata["connectionString"].replace("guest:guest", "guest:hidden")}

    with pytest.raises(OSError, match=text) as raised:
        async with rabbitmq(**changes):
            raise AssertionError("it is open")

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("external", ["true", "false"])
async def test_rabbitmq_by_tls(topic: str, external: str) -> None:
    inbox = Inbox()
    servers.shared(message_servers.rabbitmq)
    metadata = message_servers.secrets[message_servers.rabbitmq]
    async with rabbitmq(**metadata, saslExternal=external, clientName="mine", heartBeat="30s") as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        await publish(broker, topic, b"1")

        await inbox.has([b"1"])
        await subscription.close()


async def test_rabbitmq_by_tls_that_is_not_trusted(topic: str) -> None:
    servers.shared(message_servers.rabbitmq)
    metadata = {**message_servers.secrets[message_servers.rabbitmq], "caCert": ""}

    with pytest.raises(OSError, match=r"(?i)certificate"):
        async with rabbitmq(**metadata):
            raise AssertionError("it is open")


# -- mqtt --


@contextlib.asynccontextmanager
async def mqtt(id_: str, **more: str) -> AsyncIterator[PubSub]:
    metadata, _ = servers.shared(message_servers.mosquitto)
    async with opened("pubsub.mqtt3", {**metadata, "consumerID": id_, **more}) as broker:
        yield broker


async def test_mqtt_shared_subscriptions_share(topic: str) -> None:
    inbox = Inbox()
    async with mqtt(f"{topic}1") as first, mqtt(f"{topic}2") as second:
        subscriptions = [await one.subscribe(f"$share/group/{topic}/+", {}, inbox.take) for one in (first, second)]

        for number in range(20):
            await publish(first, f"{topic}/a", b"%d" % number)

        await inbox.has([b"%d" % number for number in range(20)])
        assert len(inbox.taken) == 20
        for one in subscriptions:
            await one.close()


async def test_mqtt_retained_message_comes_to_who_subscribes_later(topic: str) -> None:
    inbox = Inbox()
    async with mqtt(f"{topic}1") as broker, mqtt(f"{topic}2") as later:
        await broker.publish(Message(topic, b"old", {"retain": "true"}))
        with pytest.raises(PubSubError, match="invalid retain"):
            await broker.publish(Message(topic, b"bad", {"retain": "maybe"}))

        subscription = await later.subscribe(topic, {}, inbox.take)

        await inbox.has([b"old"])
        assert inbox.taken[0].metadata == {"retained": "true"}
        await subscription.close()


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mqtt_qualities_of_service(topic: str, qos: str) -> None:
    inbox = Inbox()
    async with mqtt(topic, qos=qos) as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        await asyncio.gather(*(publish(broker, topic, one) for one in numbered(50)))

        await inbox.has(numbered(50))
        await subscription.close()


@pytest.mark.parametrize("how", ["kept", "clean", "forgotten"])
async def test_mqtt_what_comes_while_nobody_is_there(topic: str, how: str) -> None:
    early, late = Inbox(), Inbox()
    more = {"cleanSession": "true"} if how == "clean" else {}
    metadata = {"unsubscribeOnClose": "true"} if how == "forgotten" else {}
    async with mqtt(f"{topic}1", **more) as broker, mqtt(f"{topic}2") as publisher:
        await (await broker.subscribe(topic, metadata, early.take)).close()
        await publish(publisher, topic, b"between")

        subscription = await broker.subscribe(topic, metadata, late.take)
        await publish(publisher, topic, b"after")

        await late.has([b"between", b"after"] if how == "kept" else [b"after"])
        await subscription.close()


async def test_mqtt_two_of_one_name_do_not_throw_each_other_out_for_ever(topic: str) -> None:
    inbox = Inbox()
    async with mqtt(topic) as first, mqtt(topic) as second:
        subscription = await second.subscribe(topic, {}, inbox.take)

        await publish_patiently(first, topic, b"1")

        await inbox.until(lambda: b"1" in inbox.data())
        await subscription.close()


@pytest.mark.parametrize("name", ["", "a/+", "#", "a\0b", "x" * 70_000])
async def test_mqtt_topics_to_which_nothing_can_be_published(topic: str, name: str) -> None:
    async with mqtt(topic) as broker:
        with pytest.raises(PubSubError, match="failed to publish"):
            await publish(broker, name, b"1")
        await publish(broker, topic, b"1")


async def test_mqtt_subscription_without_a_topic(topic: str) -> None:
    async with mqtt(topic) as broker:
        with pytest.raises(PubSubError, match="topic name is empty"):
            await asyncio.wait_for(broker.subscribe("", {}, Inbox().take), SECONDS)


async def test_mqtt_by_tls(topic: str) -> None:
    inbox = Inbox()
    servers.shared(message_servers.mosquitto)
    async with mqtt(topic, **message_servers.secrets[message_servers.mosquitto]) as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)

        await publish(broker, topic, b"1")

        await inbox.has([b"1"])
        await subscription.close()


async def test_mqtt_by_tls_that_is_not_trusted(topic: str) -> None:
    servers.shared(message_servers.mosquitto)
    metadata = {**message_servers.secrets[message_servers.mosquitto], "caCert": ""}

    with pytest.raises(OSError, match=r"(?i)certificate"):
        async with mqtt(topic, **metadata):
            raise AssertionError("it is open")


async def test_mqtt_with_a_password(topic: str) -> None:
    metadata, _ = servers.shared(message_servers.mosquitto_with_password)
    async with mqtt(topic, **metadata) as broker:
        await publish(broker, topic, b"1")

    with pytest.raises(OSError, match=r"not authorized|bad user name") as raised:
        async with mqtt(topic, url=metadata["url"].replace("p%40ss", "hidden")):
            raise AssertionError("it is open")
    assert "hidden" not in str(raised.value)


# -- jetstream --


@contextlib.asynccontextmanager
async def jetstream(metadata: Mapping[str, str], **more: str) -> AsyncIterator[PubSub]:
    async with opened("pubsub.jetstream", {**metadata, **more}) as broker:
        yield broker


@contextlib.asynccontextmanager
async def stream(topic: str) -> AsyncIterator[message_servers.Served]:
    made = message_servers.stream([topic])
    served = await asyncio.to_thread(made.__enter__)
    try:
        yield served
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


async def test_jetstream_durable_consumer_goes_on_where_it_was(topic: str) -> None:
    first, second = Inbox(), Inbox()
    async with stream(topic) as (metadata, _):
        for inbox, data in ((first, numbered(5, "a")), (second, numbered(5, "b"))):
            async with jetstream(metadata, durableName="mine") as broker:
                subscription = await broker.subscribe(topic, {}, inbox.take)
                await publish(broker, topic, *data)
                await inbox.has(data)
                await subscription.close()


async def test_jetstream_what_a_durable_consumer_had_not_begun_comes_again_at_once(topic: str) -> None:
    first, second = Inbox(), Inbox()
    first.hold.clear()
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, durableName="mine") as broker:
            subscription = await broker.subscribe(topic, {}, first.take)
            await publish(broker, topic, *numbered(5))
            await first.until(lambda: bool(first.begun))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(subscription.close(), 0.1)

            subscription = await broker.subscribe(topic, {}, second.take)
            await second.has(numbered(5))
            await subscription.close()
    assert first.cancelled == 1


async def test_jetstream_group_shares_the_messages(topic: str) -> None:
    inboxes = [Inbox(), Inbox()]
    more = {"durableName": "mine", "queueGroupName": "group"}
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, **more) as first, jetstream(metadata, **more) as second:
            subscriptions = [
                await one.subscribe(topic, {}, inbox.take) for one, inbox in zip((first, second), inboxes, strict=True)
            ]
            await publish(first, topic, *numbered(100))

            await inboxes[0].until(lambda: b"".join(inboxes[0].data()) != b"")
            await inboxes[1].until(lambda: len(inboxes[0].taken) + len(inboxes[1].taken) == 100)
            assert {*inboxes[0].data(), *inboxes[1].data()} == set(numbered(100))
            assert all(inbox.taken for inbox in inboxes)
            for one in subscriptions:
                await one.close()


async def test_jetstream_consumer_that_the_server_has_forgotten_is_made_again_and_goes_on(topic: str) -> None:
    inbox = Inbox()
    async with stream(topic) as (metadata, restart):
        async with jetstream(metadata) as broker:
            subscription = await broker.subscribe(topic, {}, inbox.take)
            await publish(broker, topic, *numbered(5))
            await inbox.has(numbered(5))

            await message_servers.forget_consumers(metadata)
            await asyncio.to_thread(restart)
            await publish_patiently(broker, topic, b"after")

            await inbox.has([*numbered(5), b"after"])
            assert len(inbox.taken) == len(inbox.first_times())
            await subscription.close()


async def test_jetstream_durable_consumer_that_was_removed_is_made_again(topic: str) -> None:
    first, second = Inbox(), Inbox()
    with_name = {"durableName": "mine"}
    async with stream(topic) as (metadata, restart):
        async with jetstream(metadata, **with_name) as broker:
            subscription = await broker.subscribe(topic, {}, first.take)
            await message_servers.forget_consumers(metadata)
            await asyncio.to_thread(restart)
            await publish_patiently(broker, topic, b"after")
            await first.has([b"after"])
            await subscription.close()

        async with jetstream(metadata, **with_name) as broker:
            subscription = await broker.subscribe(topic, {}, second.take)
            await publish(broker, topic, b"later")
            await second.has([b"later"])
            await subscription.close()


async def test_jetstream_consumer_that_is_removed_while_connected_is_made_again(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(js_pubsub, "LOOK_SECONDS", 0.2)
    inbox = Inbox()
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, durableName="mine") as broker:
            subscription = await broker.subscribe(topic, {}, inbox.take)
            await publish(broker, topic, b"before")
            await inbox.has([b"before"])

            await message_servers.forget_consumers(metadata)
            await publish(broker, topic, b"after")

            await inbox.has([b"before", b"after"])
            await subscription.close()


async def test_jetstream_slow_handler_gets_no_message_twice(topic: str) -> None:
    inbox = Inbox()
    inbox.hold.clear()
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, durableName="mine", ackWait="300ms") as broker:
            subscription = await broker.subscribe(topic, {}, inbox.take)
            await publish(broker, topic, *numbered(3))
            await message_servers.redelivered(metadata, "mine", 3)
            inbox.hold.set()

            await publish(broker, topic, b"last")
            await inbox.has([*numbered(3), b"last"])

            assert inbox.data() == [*numbered(3), b"last"]
            await subscription.close()


async def test_jetstream_drops_an_event_that_comes_twice(topic: str) -> None:
    inbox = Inbox()
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata) as broker:
            subscription = await broker.subscribe(topic, {}, inbox.take)

            await publish(broker, topic, b'{"id": "1", "n": 1}', b'{"id": "1", "n": 2}', b'{"id": 1}', b'{"id": 1}')
            await publish(broker, topic, b"last")

            await inbox.has([b'{"id": "1", "n": 1}', b'{"id": 1}', b"last"])
            assert len(inbox.taken) == 4
            assert inbox.taken[0].metadata == {"Topic": topic}
            await subscription.close()


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"deliverPolicy": "all"}, numbered(5)),
        ({"deliverPolicy": "last"}, numbered(5)[-1:]),
        ({"deliverPolicy": "new"}, []),
        ({"deliverPolicy": "sequence", "startSequence": "3"}, numbered(5)[2:]),
        ({"deliverPolicy": "time", "startTime": "1600000000"}, numbered(5)),
        ({"ackPolicy": "none", "concurrency": "parallel"}, numbered(5)),
        ({"ackPolicy": "all"}, numbered(5)),
        ({"flowControl": "true", "heartbeat": "200ms", "maxAckPending": "2"}, numbered(5)),
        ({"backOff": "50ms, 1s", "maxDeliver": "5", "rateLimit": "1000000", "memoryStorage": "true"}, numbered(5)),
    ],
    ids=str,
)
async def test_jetstream_ways_to_deliver(topic: str, more: Mapping[str, str], wanted: list[bytes]) -> None:
    inbox = Inbox()
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, **more) as broker:
            await publish(broker, topic, *numbered(5))

            subscription = await broker.subscribe(topic, {}, inbox.take)
            await publish(broker, topic, b"last")

            await inbox.has([*wanted, b"last"])
            await subscription.close()


async def test_jetstream_many_messages_with_flow_control(topic: str) -> None:
    inbox = Inbox()
    more = {"flowControl": "true", "heartbeat": "200ms", "maxAckPending": "100000", "concurrency": "parallel"}
    async with stream(topic) as (metadata, _):
        async with jetstream(metadata, **more) as broker:
            await asyncio.gather(*(publish(broker, topic, one + bytes(10_000)) for one in numbered(2000)))

            subscription = await broker.subscribe(topic, {}, inbox.take)

            await inbox.has([one + bytes(10_000) for one in numbered(2000)])
            await subscription.close()


async def test_jetstream_topic_without_a_stream(topic: str) -> None:
    metadata, _ = servers.shared(message_servers.nats)
    async with jetstream(metadata) as broker:
        with pytest.raises(PubSubError, match="no response from stream"):
            await publish(broker, topic, b"1")
        with pytest.raises(PubSubError, match="nats"):
            await broker.subscribe(topic, {}, Inbox().take)


@pytest.mark.parametrize("type_", ["pubsub.jetstream", "state.jetstream"])
async def test_nats_that_cannot_be_reached_ends_the_start(type_: str) -> None:
    [port] = servers.free_ports(1)
    found = components.find(type_)
    assert found is not None
    metadata = {"natsURL": f"nats://127.0.0.1:{port}", "bucket": "b"}
    made = found.make(components.read(found.options, metadata))

    with pytest.raises(OSError, match=r"(?i)refused|connect"):
        await asyncio.wait_for(made.open(), SECONDS)

    await made.close()


@pytest.mark.parametrize("url", ["nats://host:port", "other://127.0.0.1:1", "nats://"])
async def test_nats_with_an_address_that_is_none_ends_the_start(url: str) -> None:
    with pytest.raises(OSError):
        async with jetstream({"natsURL": url}):
            raise AssertionError("it is open")


async def test_state_without_its_bucket_ends_the_start() -> None:
    metadata, _ = servers.shared(message_servers.nats)
    found = components.find("state.jetstream")
    assert found is not None
    made = found.make(components.read(found.options, {**metadata, "bucket": "none"}))

    with pytest.raises(OSError, match="no bucket none"):
        await made.open()

    await made.close()


@pytest.mark.parametrize("how", ["token", "tls", "jwt"])
async def test_nats_wants_to_know_who_we_are(topic: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = message_servers.nats_with(how)
    metadata = await asyncio.to_thread(made.__enter__)
    try:
        if how == "tls":
            monkeypatch.setenv("SSL_CERT_FILE", metadata["ca"])
        async with jetstream(metadata) as broker:
            with pytest.raises(PubSubError, match="no response from stream"):
                await publish(broker, topic, b"1")
        with pytest.raises(OSError, match=r"(?i)auth|certificate|tls|eof|ssl|reset|broken pipe"):
            async with jetstream({"natsURL": metadata["natsURL"]}):
                raise AssertionError("it is open")
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)
