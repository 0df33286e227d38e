"""Kafka for components: metadata under the original's names, one producer, and a consumer for each subscription.

Used by `pubsub.kafka` and `bindings.kafka`; home of `aiokafka` (an extra), with `kafka_consumer` and `kafka_login`. How
messages look, to which partition a key leads and what headers become is the original's (components-contrib v1.18,
`common/component/kafka`, on sarama), so that sidecars of both kinds share topics and groups.
"""

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from pydapr.components import Seconds, Wrong, option, options
from pydapr.components.drivers import kafka_login
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.policy import retry as policy

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from pydapr.components.drivers.schema_registry import Registry

Consumed = Any
"""What came of a topic: the library's `ConsumerRecord`."""

KEYS = ("partitionKey", "__key")
PARTITION = "partitionNumber"
VALUE_SCHEMA_TYPE = "valueschematype"
ACKS: Mapping[str, int | str] = {"": "all", "all": "all", "local": 1, "none": 0}
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
STRATEGIES = ("range", "sticky", "roundrobin")
NULL = b"null"
"""How a record without a value, which deletes in a compacted topic, looks to apps."""

SAME_SECONDS = 30.0
"""How long the library does not repeat itself in the log."""

TOPIC_SECONDS = 5.0
"""How long is waited for a topic that does not exist, which the broker may just be making."""


@options
class Options(kafka_login.Options):
    brokers: str = option("The brokers, `host:port` by commas.", default="")
    consumer_group: str = option("The consumer group, `consumerID` where it is not given.", default="")
    consumer_id: str = option("The consumer group where `consumerGroup` names none.", default="")
    client_id: str = option("How the brokers' logs and quotas know us.", default="pydapr")
    initial_offset: str = option("Where a group begins: `newest` or `oldest`.", default="newest")
    max_message_bytes: int = option("The largest message.", default=1024 * 1024)
    consume_retry_enabled: bool | None = option(
        "Try a message that was not taken again; else it is skipped. True for pub/sub, false for bindings.",
        default=None,
    )
    consume_retry_interval: str = option(
        "The pause before a lost subscription is taken up again, a duration or milliseconds.", default="100ms"
    )
    back_off_policy: str = option("The pauses between tries: `constant` or `exponential`.", default="constant")
    back_off_duration: Seconds = option("The pause, when it is constant.", default=Seconds(5))
    back_off_initial_interval: Seconds = option("The first pause, when they grow.", default=Seconds(0.5))
    back_off_max_interval: Seconds = option("The longest pause, when they grow.", default=Seconds(60))
    back_off_max_elapsed_time: Seconds = option("For how long is tried, when pauses grow.", default=Seconds(900))
    back_off_max_retries: int = option("How often is tried again, -1 for ever.", default=-1)
    heartbeat_interval: Seconds = option("How often a consumer says that it is there.", default=Seconds(3))
    session_timeout: Seconds = option("After which silence a consumer is gone.", default=Seconds(10))
    consumer_group_rebalance_strategy: str = option("`range`, `sticky` or `roundrobin`.", default="range")
    channel_buffer_size: int = option("How many messages of a partition may wait here.", default=256)
    consumer_fetch_min: int = option("How many bytes the broker gathers before it answers.", default=1)
    consumer_fetch_default: int = option("How many bytes of a partition are fetched at a time.", default=1024 * 1024)
    client_connection_topic_metadata_refresh_interval: Seconds = option(
        "How often is asked who has which partition.", default=Seconds(480)
    )
    read_timeout: Seconds = option("How long a broker may take to answer, or to connect.", default=Seconds(30))
    producer_required_acks: str = option(
        "Who has a message before it counts as published: `all`, `local` or `none`.", default="all"
    )
    compression: str = option("`none`, `gzip`, `snappy`, `lz4` or `zstd`.", default="none")
    escape_headers: bool = option("Escape values of headers, and keys, as in URLs.", default=False)
    exclude_header_meta_regex: str = option("Headers and metadata that are not passed on.", default="")
    version: str = option("The brokers' version; nothing depends on it here.", default="")
    schema_registry_url: str = option("The URL of the schema registry.", default="")
    schema_registry_api_key: str = option("The user for it.", default="")
    schema_registry_api_secret: str = option("The password for it.", default="")
    schema_caching_enabled: bool = option("Keep the latest schemas of topics.", default=True)
    schema_latest_version_cache_ttl: Seconds = option("For how long.", default=Seconds(300))
    use_avro_json: bool = option("Read and write Avro's own JSON instead of plain JSON.", default=False)


class Failed(Exception):
    """Kafka did not do it. The message is the reason."""


class Reading(Record):
    """What consumers need of the options."""

    group: str
    initial: str
    buffer: int
    retry: policy.Retry | None
    """How a message that was not taken is tried again, None for not at all."""
    pause: float


class Kafka:
    """The brokers. `open` raises `OSError`, the rest `Failed`; all within a bounded time."""

    def __init__(self, given: Options, retries: bool) -> None:
        """Whether a message `retries` is for when the metadata do not say. Raises `Wrong`."""
        _check(given)
        self._given = given
        self._login = kafka_login.Login(given)
        self._skips = re.compile(given.exclude_header_meta_regex) if given.exclude_header_meta_regex else None
        wants = retries if given.consume_retry_enabled is None else given.consume_retry_enabled
        self.reading = Reading(
            given.consumer_group or given.consumer_id,
            given.initial_offset.lower() or "newest",
            max(given.channel_buffer_size, 1),
            _retry(given) if wants else None,
            _milliseconds(given.consume_retry_interval, "consumeRetryInterval"),
        )
        self._producer: AIOKafkaProducer | None = None
        self._registry: Registry | None = None

    async def open(self) -> None:
        from aiokafka import AIOKafkaProducer

        _calm()
        given = self._given
        with mapped(OSError, "kafka error"):
            producer = AIOKafkaProducer(
                **self._common(),
                acks=ACKS[given.producer_required_acks.lower()],
                compression_type=None if given.compression in ("", "none") else given.compression,
                max_request_size=given.max_message_bytes or 1024 * 1024,
                partitioner=partition,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
        self._producer = producer
        if given.schema_registry_url:
            from pydapr.components.drivers import schema_registry

            self._registry = schema_registry.Registry(
                given.schema_registry_url,
                (given.schema_registry_api_key, given.schema_registry_api_secret),
                given.schema_latest_version_cache_ttl if given.schema_caching_enabled else 0.0,
                given.use_avro_json,
            )

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if self._registry is not None:
            self._registry.close()
        await self._login.close()
        if producer is not None:
            # A message that no broker takes holds it up until its time is over.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._given.read_timeout + 1):
                    await producer.stop()

    # -- to the brokers --

    async def publish(self, topic: str, data: bytes, metadata: Mapping[str, str]) -> None:
        with mapped(Failed):
            await (await self._send(topic, data, metadata))

    async def publish_many(
        self, topic: str, entries: Sequence[tuple[str, bytes, Mapping[str, str]]]
    ) -> Mapping[str, str]:
        """The ids of those that failed, each with the reason. Those for one partition keep their order."""
        failed: dict[str, str] = {}
        sent: list[tuple[str, Any]] = []
        for id_, data, metadata in entries:
            try:
                with mapped(Failed):
                    sent.append((id_, await self._send(topic, data, metadata)))
            except Failed as error:
                failed[id_] = str(error)
        for id_, future in sent:
            try:
                with mapped(Failed):
                    await future
            except Failed as error:
                failed[id_] = str(error)
        return failed

    async def _send(self, topic: str, data: bytes, metadata: Mapping[str, str]) -> Any:
        """A future that is done when the brokers have it."""
        producer = self._producer
        if producer is None:
            raise Failed("component is closed")
        value = await self._encoded(topic, data, metadata)
        key, number = None, None
        for name, given in metadata.items():
            if name in KEYS:
                key = given.encode()
            elif name == PARTITION:
                number = _number(given)
        headers = [(name, given.encode()) for name, given in metadata.items() if not self._is_skipped(name)]
        if number is not None:
            count = len(await producer.partitions_for(topic))
            if number >= count:
                raise Failed(f"partition number {number} is out of range, topic has {count} partitions")
        if value is None and key is None:
            return await self._send_nothing(producer, topic, number, headers)
        return await producer.send(topic, value, key, number, headers=headers)

    async def _send_nothing(
        self, producer: "AIOKafkaProducer", topic: str, number: int | None, headers: list[tuple[str, bytes]]
    ) -> Any:
        """Neither key nor value, which the library takes in batches only."""
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        batch.close()
        if number is None:
            number = random.choice(sorted(await producer.partitions_for(topic)))
        return await producer.send_batch(batch, topic, partition=number)

    async def _encoded(self, topic: str, data: bytes, metadata: Mapping[str, str]) -> bytes | None:
        if data == NULL:
            return None
        if not metadata or not is_avro(metadata):
            return data
        return await self._schemas().encode(topic, data)

    def _schemas(self) -> "Registry":
        if self._registry is None:
            raise Failed("schema registry details not set")
        return self._registry

    # -- from the brokers --

    @contextlib.asynccontextmanager
    async def consumer(self, group: str | None) -> "AsyncIterator[AIOKafkaConsumer]":
        """One that is connected and has subscribed to nothing, of no group if there is none. Raises the library's
        errors."""
        from aiokafka import AIOKafkaConsumer

        given = self._given
        made = AIOKafkaConsumer(
            **self._common(),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest" if self.reading.initial == "oldest" else "latest",
            partition_assignment_strategy=_strategy(given.consumer_group_rebalance_strategy),
            heartbeat_interval_ms=int(given.heartbeat_interval * 1000),
            session_timeout_ms=int(given.session_timeout * 1000),
            # How long handlers take is their own affair; that we live is what heartbeats tell.
            max_poll_interval_ms=2**31 - 1,
            rebalance_timeout_ms=60_000,
            fetch_min_bytes=max(given.consumer_fetch_min, 1),
            max_partition_fetch_bytes=max(given.consumer_fetch_default, 1),
        )
        try:
            await made.start()
            yield made
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(given.session_timeout):
                    await made.stop()

    async def partitions(self, topic: str) -> Sequence[int]:
        """Those of a topic, of none that does not exist, which the broker then makes if it may."""
        from aiokafka.errors import UnknownTopicOrPartitionError

        if self._producer is None:
            raise Failed("component is closed")
        try:
            async with asyncio.timeout(TOPIC_SECONDS):
                return sorted(await self._producer.partitions_for(topic))
        except (TimeoutError, UnknownTopicOrPartitionError):
            return ()

    def metadata(self, record: Consumed) -> dict[str, str]:
        """What an app learns of a record beside its value."""
        escape: Callable[[bytes], str] = _escaped if self._given.escape_headers else _text
        told = {} if record.key is None else {"__key": escape(record.key)}
        told["__offset"] = str(record.offset)
        told["__topic"] = record.topic
        told["__timestamp"] = str(record.timestamp)
        told["__partition"] = str(record.partition)
        for name, value in record.headers:
            if not self._is_skipped(name):
                told[name] = escape(value or b"")
        return told

    async def decoded(self, value: bytes | None, has_schema: bool) -> bytes:
        """A record's value as apps get it. Raises `Failed`."""
        if value is None:
            return NULL
        return await self._schemas().decode(value) if has_schema else value

    # -- within --

    def _is_skipped(self, name: str) -> bool:
        return self._skips is not None and self._skips.search(name) is not None

    def _common(self) -> dict[str, Any]:
        given = self._given
        return {
            "bootstrap_servers": [one.strip() for one in given.brokers.split(",")],
            "client_id": given.client_id or "pydapr",
            "request_timeout_ms": int((given.read_timeout if given.read_timeout > 0 else 30) * 1000),
            "metadata_max_age_ms": int(given.client_connection_topic_metadata_refresh_interval * 1000) or 480_000,
            "retry_backoff_ms": max(int(self.reading.pause * 1000), 10),
            **self._login.arguments(),
        }


@contextlib.contextmanager
def mapped(to: type[Exception], prefix: str = "") -> Iterator[None]:
    """The library's errors, and those of the schema registry, become `to`."""
    from aiokafka.errors import KafkaError

    try:
        yield
    except (KafkaError, kafka_login.Refused) as error:
        said = str(error).removeprefix(f"{type(error).__name__}: ") or type(error).__name__
        raise to(f"{prefix}: {said}" if prefix else said) from error
    except Failed as error:
        raise to(str(error)) from None


def is_avro(metadata: Mapping[str, str]) -> bool:
    """Raises `Failed`."""
    type_ = next((value for name, value in metadata.items() if name.lower() == VALUE_SCHEMA_TYPE), "none")
    if type_.lower() not in ("avro", "none"):
        raise Failed(f"error parsing schema type. '{type_}' is not a supported value")
    return type_.lower() == "avro"


def partition(key: bytes | None, all_: Sequence[int], available: Sequence[int]) -> int:
    """To which partition a key leads: as in sarama, by FNV-1a; without a key, by chance."""
    if key is None:
        return random.choice(available or all_)
    mark = 0x811C9DC5
    for byte in key:
        mark = ((mark ^ byte) * 0x01000193) & 0xFFFFFFFF
    return all_[(mark if mark < 2**31 else 2**32 - mark) % len(all_)]


class _Calm(logging.Filter):
    """Lets the library say the same thing once in a while only: without a broker it says it 100 times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._said.get(record.msg, 0.0):
            return False
        if len(self._said) > 500:
            self._said.clear()
        self._said[record.msg] = now + SAME_SECONDS
        return True


_filter = _Calm()


def _calm() -> None:
    """A logger's filter is not heeded by those below it, so each of the library's gets it."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "aiokafka":
            logging.getLogger(name).addFilter(_filter)


def _check(given: Options) -> None:
    """Raises `Wrong`, in the original's words."""
    if not given.brokers:
        raise Wrong("kafka error: missing 'brokers' attribute")
    if given.initial_offset.lower() not in ("", "newest", "oldest"):
        raise Wrong(f"kafka error: invalid initialOffset: {given.initial_offset}")
    if given.compression not in ("", *COMPRESSIONS):
        raise Wrong(f"kafka error: invalid compression: {given.compression}")
    if given.version and not re.fullmatch(r"\d+\.\d+\.\d+(\.\d+)?", given.version):
        raise Wrong("kafka error: invalid kafka version")
    if given.producer_required_acks.lower() not in ACKS:
        raise Wrong(
            f"kafka error: invalid value for 'producerRequiredAcks': \"{given.producer_required_acks}\" "
            '(must be "all", "local", or "none")'
        )
    if given.back_off_policy.lower() not in ("constant", "exponential"):
        raise Wrong(f"invalid backOffPolicy: {given.back_off_policy}, it is constant or exponential")
    if given.heartbeat_interval <= 0 or given.session_timeout < 2 * given.heartbeat_interval:
        raise Wrong("kafka error: sessionTimeout must be at least twice the heartbeatInterval")
    try:
        re.compile(given.exclude_header_meta_regex)
    except re.error as error:
        raise Wrong(f"metadata property excludeHeaderMetaRegex: {error}") from None


def _retry(given: Options) -> policy.Retry:
    return policy.Retry(
        is_exponential=given.back_off_policy.lower() == "exponential",
        duration=given.back_off_duration,
        initial_interval=given.back_off_initial_interval,
        max_interval=given.back_off_max_interval,
        max_elapsed=given.back_off_max_elapsed_time,
        max_retries=given.back_off_max_retries,
    )


def _strategy(name: str) -> Sequence[Any]:
    if name.lower() == "sticky":
        from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

        return (StickyPartitionAssignor,)
    if name.lower() == "roundrobin":
        from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

        return (RoundRobinPartitionAssignor,)
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor

    return (RangePartitionAssignor,)


def _number(text: str) -> int:
    """Raises `Failed`."""
    try:
        number = int(text)
    except ValueError:
        raise Failed(f'invalid partitionNumber metadata value "{text}"') from None
    if number < 0:
        raise Failed(f"partitionNumber must be non-negative, got {number}")
    return number


def _milliseconds(text: str, name: str) -> float:
    try:
        return int(text) / 1000 if text.isdecimal() else max(durations.parse(text or "0s"), 0.0)
    except ValueError:
        raise Wrong(f"kafka error: invalid value for '{name}' attribute: {text!r}") from None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _escaped(value: bytes) -> str:
    return quote_plus(value)
