"""What pubsub.kafka does beside what every broker does: keys, headers, partitions, groups, schemas, logins."""

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from tests.conformance import kafka_servers, servers
from tests.conformance.test_pubsub import Inbox

from pydapr import components
from pydapr.components.pubsub import Entry, Limits, Message, PubSub, PubSubError

SECONDS = 30.0


def settings(**more: str) -> dict[str, str]:
    metadata, _ = servers.shared(kafka_servers.alone)
    quick = {"initialOffset": "oldest", "backOffDuration": "100ms", "heartbeatInterval": "300ms"}
    return {**metadata, **quick, "consumerID": uuid4().hex, **more}


def make(metadata: Mapping[str, str]) -> PubSub:
    found = components.find("pubsub.kafka")
    assert found is not None
    made = found.make(components.read(found.options, metadata))
    assert isinstance(made, PubSub)
    return made


@contextlib.asynccontextmanager
async def opened(metadata: Mapping[str, str]) -> AsyncIterator[PubSub]:
    broker = make(metadata)
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


@pytest.fixture
def topic() -> str:
    return f"topic{uuid4().hex}"


async def with_partitions(topic: str, count: int) -> str:
    brokers = settings()["brokers"]
    await asyncio.to_thread(kafka_servers.create_topic, brokers, topic, count)
    return topic


async def delivered(broker: PubSub, topic: str, count: int, metadata: Mapping[str, str] | None = None) -> list[Message]:
    """The first messages of a topic."""
    inbox = Inbox()
    subscription = await broker.subscribe(topic, metadata or {}, inbox.take)
    await inbox.until(lambda: len(inbox.taken) >= count)
    await subscription.close()
    return inbox.taken


# -- what is in a record --


async def test_what_came_with_a_message_arrives_beside_what_kafka_knows(topic: str) -> None:
    async with opened(settings()) as broker:
        await broker.publish(Message(topic, b"data", {"partitionKey": "key", "colour": "grün"}))

        [message] = await delivered(broker, topic, 1)

    told = dict(message.metadata)
    assert int(told.pop("__timestamp")) > 1_700_000_000_000
    assert told == {
        "__key": "key", "__offset": "0", "__partition": "0", "__topic": topic, "colour": "grün", "partitionKey": "key",
    }  # fmt: skip


async def test_headers_are_escaped_where_they_are_to_be(topic: str) -> None:
    async with opened(settings(escapeHeaders="true")) as broker:
        await broker.publish(Message(topic, b"data", {"__key": "a b", "colour": "grün & blau"}))

        [message] = await delivered(broker, topic, 1)

    assert message.metadata["__key"] == "a+b"
    assert message.metadata["colour"] == "gr%C3%BCn+%26+blau"


async def test_headers_are_left_out_where_they_are_to_be(topic: str) -> None:
    async with opened(settings()) as plain, opened(settings(excludeHeaderMetaRegex="^secret|^__key$")) as broker:
        await broker.publish(Message(topic, b"one", {"secret-a": "1", "open": "2"}))
        await plain.publish(Message(topic, b"two", {"secret-b": "1", "open": "2"}))

        written = await delivered(plain, topic, 2)
        read = await delivered(broker, topic, 2)

    assert "secret-a" not in written[0].metadata and "secret-b" in written[1].metadata
    assert not [name for one in read for name in one.metadata if name.startswith("secret")]


@pytest.mark.parametrize("metadata", [{}, {"partitionKey": "key"}])
async def test_null_is_a_record_without_a_value(topic: str, metadata: Mapping[str, str]) -> None:
    async with opened(settings()) as broker:
        await broker.publish(Message(topic, b"null", {**metadata, "colour": "blue"}))
        await broker.publish(Message(topic, b"", {}))

        messages = await delivered(broker, topic, 2)

    assert [one.data for one in messages] == [b"null", b""]
    assert messages[0].metadata["colour"] == "blue"


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_messages_are_compressed(topic: str, compression: str) -> None:
    async with opened(settings(compression=compression)) as broker:
        await broker.publish(Message(topic, b"data" * 1000))

        [message] = await delivered(broker, topic, 1)

    assert message.data == b"data" * 1000


# -- partitions --


async def test_keys_lead_to_the_partitions_to_which_they_lead_in_the_original(topic: str) -> None:
    await with_partitions(topic, 7)
    # sarama's hash partitioner: FNV-1a of the key as a signed number, and of what is left its absolute value.
    wanted = {"a": 0x100000000 - 0xE40C292C, "foobar": 0x100000000 - 0xBF9CF968, "": 0x100000000 - 0x811C9DC5}
    async with opened(settings()) as broker:
        for key in wanted:
            await broker.publish(Message(topic, key.encode(), {"partitionKey": key}))

        messages = await delivered(broker, topic, 3)

    assert {one.metadata["__key"]: int(one.metadata["__partition"]) for one in messages} == {
        key: number % 7 for key, number in wanted.items()
    }


async def test_partition_can_be_chosen(topic: str) -> None:
    await with_partitions(topic, 3)
    async with opened(settings()) as broker:
        for number in ("0", "1", "2"):
            await broker.publish(Message(topic, number.encode(), {"partitionNumber": number}))

        messages = await delivered(broker, topic, 3)

        assert all(one.data.decode() == one.metadata["__partition"] for one in messages)
        for wrong, text in (("3", "out of range, topic has 3 partitions"), ("-1", "non-negative"), ("x", "invalid")):
            with pytest.raises(PubSubError, match=text):
                await broker.publish(Message(topic, b"", {"partitionNumber": wrong}))


async def test_bulk_tells_which_entries_failed(topic: str) -> None:
    async with opened(settings(maxMessageBytes="1000")) as broker:
        data = {"small": b"x", "large": b"x" * 2000, "small too": b"y"}
        entries = [Entry(id_, Message(topic, one)) for id_, one in data.items()]

        failed = await broker.publish_many(topic, entries, {"colour": "blue"})
        messages = await delivered(broker, topic, 2)

    assert failed.keys() == {"large"} and "larger than" in failed["large"]
    assert [(one.data, one.metadata["colour"]) for one in messages] == [(b"x", "blue"), (b"y", "blue")]


async def test_a_message_that_is_refused_holds_up_its_partition_only(topic: str) -> None:
    await with_partitions(topic, 2)
    tries = Counter[bytes]()

    def refuse(message: Message) -> bool:
        tries[message.data] += 1
        return message.data == b"0-0" and not tries[b"1-4"]

    inbox = Inbox(refuse)
    async with opened(settings()) as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        for number in range(5):
            for partition in "01":
                await broker.publish(Message(topic, f"{partition}-{number}".encode(), {"partitionNumber": partition}))
        await inbox.until(lambda: len(inbox.taken) == 10)
        await subscription.close()

    for partition in "01":
        kept = [one.data.decode() for one in inbox.taken if one.data.startswith(partition.encode())]
        assert kept == [f"{partition}-{number}" for number in range(5)]


async def test_tries_come_to_an_end_where_they_are_to(topic: str) -> None:
    inbox = Inbox(lambda message: message.data == b"bad")
    async with opened(settings(backOffMaxRetries="2")) as broker:
        subscription = await broker.subscribe(topic, {}, inbox.take)
        for data in (b"bad", b"good"):
            await broker.publish(Message(topic, data))
        await inbox.has([b"good"])
        await subscription.close()

    assert [one.data for one in inbox.begun] == [b"bad", b"bad", b"bad", b"good"]


async def test_of_a_bulk_only_what_was_refused_is_tried_again(topic: str) -> None:
    seen: list[list[bytes]] = []
    done = asyncio.Event()

    async def take(entries: Sequence[Entry]) -> Mapping[str, str]:
        seen.append([entry.message.data for entry in entries])
        if len(seen) == 2:
            done.set()
            return {}
        return {entry.id: "refused" for entry in entries if entry.message.data in (b"1", b"3")}

    async with opened(settings()) as broker:
        for number in range(5):
            await broker.publish(Message(topic, b"%d" % number))
        subscription = await broker.subscribe_many(topic, {}, Limits(5, 5.0), take)
        await asyncio.wait_for(done.wait(), SECONDS)
        await subscription.close()

    assert seen == [[b"0", b"1", b"2", b"3", b"4"], [b"1", b"3"]]


# -- groups --


async def test_group_begins_where_the_topic_ended_when_it_subscribed(topic: str) -> None:
    inbox = Inbox()
    async with opened(settings(initialOffset="newest")) as broker:
        await broker.publish(Message(topic, b"before"))
        subscription = await broker.subscribe(topic, {}, inbox.take)
        await broker.publish(Message(topic, b"after"))  # joining the group goes on meanwhile
        await inbox.has([b"after"])
        await subscription.close()

    assert inbox.data() == [b"after"]


async def test_nothing_is_lost_while_members_come_and_go(topic: str) -> None:
    await with_partitions(topic, 4)
    metadata = settings()
    seen: dict[str, list[int]] = defaultdict(list)
    count = 600

    all_came = asyncio.Event()

    async def take(message: Message) -> None:
        await asyncio.sleep(0.002)
        seen[message.metadata["__partition"]].append(int(message.data))
        if sum(map(len, seen.values())) >= count and len({one for some in seen.values() for one in some}) == count:
            all_came.set()

    async def publish(broker: PubSub) -> None:
        for number in range(count):
            await broker.publish(Message(topic, b"%d" % number))
            await asyncio.sleep(0.005)

    async with opened(metadata) as first, opened(metadata) as second, opened(metadata) as third:
        publishing = asyncio.create_task(publish(first))
        one = await first.subscribe(topic, {}, take)
        await asyncio.sleep(0.5)
        two = await second.subscribe(topic, {}, take)
        await asyncio.sleep(1)
        three = await third.subscribe(topic, {}, take)
        await asyncio.sleep(1)
        await one.close()
        await publishing
        await asyncio.wait_for(all_came.wait(), SECONDS)
        for left in (two, three):
            await left.close()

    # Each is committed before its partition goes to another, so that none came twice; and none overtook another.
    for numbers in seen.values():
        assert numbers == sorted(set(numbers))


async def test_all_partitions_can_be_looked_at(topic: str) -> None:
    await with_partitions(topic, 3)
    async with opened(settings()) as broker:
        for number in range(9):
            await broker.publish(Message(topic, b"%d" % number, {"partitionNumber": str(number % 3)}))

        first, after = await broker.browse(topic, "", 4, {})
        second, end = await broker.browse(topic, after, 100, {})
        with pytest.raises(PubSubError, match="no place in a topic"):
            await broker.browse(topic, "somewhere", 1, {})

    assert [one.message.data for one in (*first, *second)] == [b"%d" % one for one in (0, 3, 6, 1, 4, 7, 2, 5, 8)]
    assert (len(first), end) == (4, "")


# -- schemas --

SCHEMA = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "price", "type": "double"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "OLD"]}, "default": "NEW"},
        {"name": "raw", "type": "bytes", "default": ""},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "counts", "type": {"type": "map", "values": ["int", "string"]}, "default": {}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
        {"name": "next", "type": ["null", "Order"], "default": None},
    ],
}


class _Registry(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]] = []  # noqa: RUF012  # one server, one list

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("authorization", "")))
        known = {
            "/schemas/ids/42": {"schema": json.dumps(SCHEMA)},
            "/subjects/orders-value/versions/latest": {
                "id": 42, "version": 1, "subject": "orders-value", "schema": json.dumps(SCHEMA),
            },
        }  # fmt: skip
        found = known.get(self.path)
        body = json.dumps(found or {"error_code": 40401, "message": "Subject not found."}).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def registry() -> Iterator[str]:
    _Registry.asked.clear()
    with serving(_Registry) as url:
        yield url


AVRO = {"valueSchemaType": "Avro"}


async def test_values_are_in_avro_between_apps_that_say_so(registry: str) -> None:
    order = {
        "id": 2**40, "price": 3, "note": "hi", "kind": "OLD", "raw": "\u00ff\u0000", "tags": ["a", "b"],
        "counts": {"x": 1, "y": "two"}, "at": 1_700_000_000_000, "next": {"id": 1, "price": 1.5},
    }  # fmt: skip
    secret = {"schemaRegistryAPIKey": "me", "schemaRegistryAPISecret": "pass"}
    async with opened(settings(schemaRegistryURL=registry, **secret)) as broker:
        await broker.publish(Message("orders", json.dumps(order).encode(), AVRO))
        await broker.publish(Message("orders", json.dumps(order).encode(), AVRO))

        [raw, *_] = await delivered(broker, "orders", 2)
        asked = list(_Registry.asked)
    async with opened(settings(schemaRegistryURL=registry)) as other:
        decoded = (await delivered(other, "orders", 2, AVRO))[0]

    assert raw.data[:5] == b"\0\0\0\0\x2a"
    rest: dict[str, Any] = {"note": None, "kind": "NEW", "raw": "", "tags": [], "counts": {}, "at": 0, "next": None}
    assert b'"price":3,' in decoded.data
    assert json.loads(decoded.data) == {**order, "next": {"id": 1, "price": 1.5, **rest}}
    login = "Basic " + base64.b64encode(b"me:pass").decode()
    assert asked == [("/subjects/orders-value/versions/latest", login)]  # it is kept


async def test_avro_s_own_json(registry: str, topic: str) -> None:
    order = {
        "id": 1, "price": 2.5, "note": {"string": "hi"}, "kind": "OLD", "raw": "\u00ff", "tags": [],
        "counts": {"x": {"int": 1}}, "at": 5, "next": None,
    }  # fmt: skip
    async with opened(settings(schemaRegistryURL=registry, useAvroJSON="true")) as broker:
        inbox = Inbox()
        subscription = await broker.subscribe("orders", AVRO, inbox.take)
        await broker.publish(Message("orders", json.dumps(order).encode(), {**AVRO, "mark": topic}))
        await inbox.until(lambda: any(one.metadata.get("mark") == topic for one in inbox.taken))
        await subscription.close()

    [message] = [one for one in inbox.taken if one.metadata.get("mark") == topic]
    assert json.loads(message.data) == order


@pytest.mark.parametrize(
    ("topic_", "data", "metadata", "text"),
    [
        ("orders", b'{"id": "one", "price": 1}', AVRO, "'one' is no long"),
        ("orders", b'{"price": 1}', AVRO, "field id is missing"),
        ("orders", b'{"id": 1, "price": 1, "kind": "ODD"}', AVRO, "'ODD' is no enum"),
        ("orders", b'{"id": 1, "price": 1, "more": 1}', AVRO, "it has no field more"),
        ("orders", b'{"id": 1, "price": 1, "note": 5}', AVRO, "none of a union's types"),
        ("orders", b"no json", AVRO, "does not fit the schema"),
        ("unknown", b"{}", AVRO, "404: Subject not found."),
        ("orders", b"{}", {"valueSchemaType": "Protobuf"}, "'Protobuf' is not a supported value"),
    ],
)
async def test_values_that_do_not_fit(
    registry: str, topic_: str, data: bytes, metadata: Mapping[str, str], text: str
) -> None:
    async with opened(settings(schemaRegistryURL=registry)) as broker:
        with pytest.raises(PubSubError, match=text):
            await broker.publish(Message(topic_, data, metadata))


async def test_schemas_without_a_registry_are_an_error(topic: str) -> None:
    async with opened(settings()) as broker:
        with pytest.raises(PubSubError, match="schema registry details not set"):
            await broker.publish(Message(topic, b"{}", AVRO))
        with pytest.raises(PubSubError, match="not a supported value"):
            await broker.subscribe(topic, {"valueSchemaType": "x"}, Inbox().take)


# -- logins --


@pytest.mark.parametrize("mechanism", ["PLAINTEXT", "SHA-256", "SHA-512"])
async def test_brokers_that_want_to_know_who_comes(topic: str, mechanism: str) -> None:
    given, _ = servers.shared(kafka_servers.with_sasl)
    metadata = {**given, "initialOffset": "oldest", "consumerID": "one", "saslMechanism": mechanism}
    async with opened(metadata) as broker:
        await broker.publish(Message(topic, b"data"))

        [message] = await delivered(broker, topic, 1)

    assert message.data == b"data"
    with pytest.raises(OSError, match="kafka error: "):
        async with opened({**metadata, "saslPassword": "wrong"}):
            pass


async def test_brokers_that_show_and_want_certificates(topic: str) -> None:
    given, _ = servers.shared(kafka_servers.with_tls)
    metadata = {**given, "initialOffset": "oldest", "consumerID": "one"}
    async with opened(metadata) as broker:
        await broker.publish(Message(topic, b"data"))

        [message] = await delivered(broker, topic, 1)

    assert message.data == b"data"
    other, _ = kafka_servers.self_signed("other")
    for wrong in ({"caCert": other}, {"authType": "certificate"}, {"clientCert": "", "clientKey": ""}):
        with pytest.raises(OSError, match="kafka error: "):
            async with opened({**metadata, **wrong}):
                pass


@pytest.fixture
def token_endpoint() -> Iterator[str]:
    """Where tokens come from that nobody has signed, which the broker takes as it is set up."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            now = time.time()
            claims = {"sub": "app", "iat": now - 1, "exp": now + 600}
            parts = [base64.urlsafe_b64encode(json.dumps(one).encode()) for one in ({"alg": "none"}, claims)]
            token = ".".join([*(part.decode().rstrip("=") for part in parts), ""])
            body = json.dumps({"access_token": token, "expires_in": 600}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with serving(Answers) as url:
        yield f"{url}/token"


async def test_brokers_that_want_a_token(topic: str, token_endpoint: str) -> None:
    given, _ = servers.shared(kafka_servers.with_sasl)
    metadata = {
        "brokers": given["brokers"], "authType": "oidc", "disableTls": "true", "initialOffset": "oldest",
        "consumerID": "one", "oidcTokenEndpoint": token_endpoint, "oidcClientID": "me", "oidcClientSecret": "secret",
    }  # fmt: skip
    async with opened(metadata) as broker:
        await broker.publish(Message(topic, b"data"))

        [message] = await delivered(broker, topic, 1)

    assert message.data == b"data"
    with pytest.raises(OSError, match="kafka error: error generating oauth2 token"):
        async with opened({**metadata, "oidcTokenEndpoint": "http://127.0.0.1:1/token"}):
            pass


async def test_no_broker_is_an_error() -> None:
    [port] = servers.free_ports(1)

    with pytest.raises(OSError, match="kafka error: Unable to bootstrap"):
        async with opened({"brokers": f"127.0.0.1:{port}", "authType": "none"}):
            pass
