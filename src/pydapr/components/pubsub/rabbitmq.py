"""pubsub.rabbitmq publishes to an exchange per topic, and subscribes with a queue per consumer ID and topic.

Names and arguments of exchanges and queues are the original's, so that its sidecars and ours share them. As there, a
message that nobody took is dropped, or goes to the dead-letter queue, unless `requeueInFailure` is set; and messages
outlive a restart of the broker only with `durable`, `deletedWhenUnused: "false"` and `deliveryMode: "2"`. Publishing
waits for the broker's confirmation unless `publisherConfirm` is set to false.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.drivers import rabbitmq
from pydapr.components.pubsub import (
    MESSAGE_TTL,
    Handler,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)
from pydapr.lib import truth, ttl
from pydapr.observe import logging

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel, DeliveredMessage

log = logging.get("dapr.contrib")

KINDS = ("fanout", "topic", "direct", "headers")
QUEUE_TYPES = ("classic", "quorum")
MODES = ("", "parallel", "single")

PATIENCE_SECONDS = 60.0
"""How long a subscription waits for a broker that is away before it is an error."""


@options
class Options:
    connection_string: str = option(
        "How to reach the broker: `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS.",
        default="",
        aliases=("host",),
    )
    protocol: str = option("`amqp` or `amqps`, where no connection string says it.", default="")
    hostname: str = option("The broker's host and port, where there is no connection string.", default="localhost")
    username: str = option("Who we are, where there is no connection string.", default="")
    password: str = option("The password of `username`.", default="")
    consumer_id: str = option("Who shares the messages of a topic; the app's id by default.", default="")
    durable: bool = option("Whether exchanges and queues outlive a restart of the broker.", default=True)
    deleted_when_unused: bool = option("Whether the broker removes a queue with its last consumer.", default=True)
    auto_ack: bool = option(
        "Whether a message is gone as soon as it is sent to a sidecar, handled or not.", default=False
    )
    delivery_mode: int = option("2 for messages that are kept on disk, 0 or 1 for others.", default=0)
    requeue_in_failure: bool = option("Whether a message that nobody took is delivered again.", default=False)
    prefetch_count: int = option("How many messages a subscription has at a time; 0 for 1000.", default=0)
    reconnect_wait_seconds: Seconds = option("The pause before connecting again.", default=Seconds(3))
    max_len: int = option("How many messages a queue keeps at most.", default=0)
    max_len_bytes: int = option("How many bytes a queue keeps at most.", default=0)
    exchange_kind: str = option("`fanout`, `topic`, `direct` or `headers`.", default="fanout")
    publisher_confirm: bool | None = option(
        "Whether publishing waits until the broker confirms that it has the message.", default=None
    )
    enable_dead_letter: bool = option("Whether messages that nobody took go to a queue `dlq-…`.", default=False)
    concurrency_mode: str = option(
        "`parallel`, or `single` for one message after the other.", default="", aliases=("concurrency",)
    )
    ttl_in_seconds: str = option("How long messages wait that do not say it themselves.", default="", aliases=("ttl",))
    client_name: str = option("What the broker shows as the connection's name.", default="")
    heart_beat: Seconds = option("How often both sides show that they are there.", default=Seconds(10))
    sasl_external: bool = option("Whether the client certificate says who we are.", default=False)
    ca_cert: str = option("Certificates to trust, as PEM; those of the system when empty.", default="")
    client_cert: str = option("Our certificate, as PEM.", default="")
    client_key: str = option("The key of our certificate, as PEM.", default="")
    publish_message_properties_to_metadata: bool = option(
        "Whether AMQP properties and headers arrive as metadata of a message.", default=False
    )


def place(given: Options) -> rabbitmq.Place:
    """Raises `Wrong`."""
    if given.connection_string:
        where = rabbitmq.place(given.connection_string)
        if given.protocol and given.protocol != where.scheme:
            raise Wrong(f"protocol does not match the connection string, protocol: {given.protocol}")
    else:
        where = rabbitmq.place(f"{given.protocol or 'amqp'}://{given.hostname}")
        if given.username:
            where = where.replace(user=given.username, password=given.password)
    for name, text in (("caCert", given.ca_cert), ("clientCert", given.client_cert), ("clientKey", given.client_key)):
        if text and "-----BEGIN" not in text:
            raise Wrong(f"invalid TLS configuration: invalid {name}")
    if given.sasl_external and not (given.ca_cert and given.client_cert and given.client_key):
        raise Wrong("saslExternal can only be set to true, when all these are set: caCert, clientCert, clientKey")
    return where.replace(
        name=given.client_name, heartbeat=given.heart_beat, is_external=given.sasl_external,
        ca_cert=given.ca_cert, client_cert=given.client_cert, client_key=given.client_key,
    )  # fmt: skip


@component("pubsub.rabbitmq", Options)
class RabbitMQ(PubSub):
    features = (MESSAGE_TTL,)

    def __init__(self, options: Options) -> None:
        if not 0 <= options.delivery_mode <= 2:
            raise Wrong("invalid RabbitMQ delivery mode, accepted values are between 0 and 2")
        if not 0 <= options.prefetch_count <= 255:
            raise Wrong("metadata property prefetchCount: between 0 and 255 is wanted")
        if options.exchange_kind not in KINDS:
            raise Wrong(f"invalid RabbitMQ exchange kind {options.exchange_kind}")
        if options.concurrency_mode not in MODES:
            raise Wrong(f"invalid concurrencyMode {options.concurrency_mode}")
        try:
            self._seconds = ttl.of({"ttl": options.ttl_in_seconds})
        except ValueError as error:
            raise Wrong(f"parse RabbitMQ ttl metadata with error: {error}") from None
        self._options = options
        self._pause = max(options.reconnect_wait_seconds, 0.05)
        self._server = rabbitmq.Server(place(options))
        self._publisher = rabbitmq.Publisher(
            self._server, confirms=options.publisher_confirm is not False, pause=self._pause
        )

    async def open(self) -> None:
        await self._server.open()

    async def close(self) -> None:
        await self._publisher.close()
        await self._server.close()

    async def publish(self, message: Message) -> None:
        topic, metadata = message.topic, message.metadata

        async def declare(channel: "AbstractChannel") -> None:
            await self._declare_exchange(channel, topic)

        about = rabbitmq.properties(
            metadata, delivery_mode=self._options.delivery_mode,
            seconds=self._ttl(metadata), rank=_priority(metadata),
        )  # fmt: skip
        try:
            await self._publisher.publish(topic, metadata.get("routingKey", ""), message.data, about, declare)
        except rabbitmq.Failed as error:
            raise PubSubError(f"rabbitmq pub/sub: {error}") from None

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        given = self._options
        queue = metadata.get("queueName", "")
        if not queue:
            if not given.consumer_id:
                raise PubSubError("consumerID is required for subscriptions that don't specify a queue name")
            queue = f"{given.consumer_id}-{topic}"
        arguments = self._arguments(queue, metadata)

        async def setup(channel: "AbstractChannel") -> str:
            await self._declare(channel, topic, queue, metadata.get("routingKey", ""), arguments)
            return queue

        consumer = rabbitmq.Consumer(
            self._server, setup, self._work(topic, handler),
            pause=self._pause, is_parallel=given.concurrency_mode != "single", prefetch=given.prefetch_count,
            acks_itself=given.auto_ack, leaves_first=not given.deleted_when_unused,
        )  # fmt: skip
        try:
            await consumer.begin(PATIENCE_SECONDS)
        except rabbitmq.Failed as error:
            raise PubSubError(f"rabbitmq pub/sub: cannot subscribe to '{topic}': {error}") from None
        return _Subscription(consumer)

    def _work(self, topic: str, handler: Handler) -> rabbitmq.Work:
        shows, requeues = self._options.publish_message_properties_to_metadata, self._options.requeue_in_failure

        async def work(message: "DeliveredMessage") -> bool | None:
            try:
                await handler(Message(topic, message.body, _properties(message) if shows else {}))
            except NotProcessed as error:
                log.error(f"rabbitmq pub/sub: handling message from topic '{topic}': {error}")
                return False if requeues else None
            return True

        return work

    # -- exchanges and queues --

    async def _declare_exchange(self, channel: "AbstractChannel", name: str) -> None:
        given = self._options
        await channel.exchange_declare(
            name, exchange_type=given.exchange_kind, durable=given.durable, auto_delete=given.deleted_when_unused
        )

    async def _declare(
        self, channel: "AbstractChannel", topic: str, queue: str, keys: str, arguments: Mapping[str, Any]
    ) -> None:
        given = self._options
        await self._declare_exchange(channel, topic)
        if given.enable_dead_letter:
            await self._declare_dead_letters(channel, queue)
        await channel.queue_declare(
            queue, durable=given.durable, auto_delete=given.deleted_when_unused, arguments=dict(arguments)
        )
        for key in keys.split(","):
            await channel.queue_bind(queue, topic, routing_key=key)

    async def _declare_dead_letters(self, channel: "AbstractChannel", queue: str) -> None:
        unused, exchange, dead = self._options.deleted_when_unused, f"dlx-{queue}", f"dlq-{queue}"
        await channel.exchange_declare(exchange, exchange_type="fanout", durable=True, auto_delete=unused)
        arguments = {**self._limits(), "x-queue-mode": "lazy"}
        await channel.queue_declare(dead, durable=True, auto_delete=unused, arguments=arguments)
        await channel.queue_bind(dead, exchange, routing_key="")

    def _limits(self) -> dict[str, Any]:
        given = self._options
        wanted = {"x-max-length": given.max_len, "x-max-length-bytes": given.max_len_bytes}
        return {name: limit for name, limit in wanted.items() if limit > 0}

    def _arguments(self, queue: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Those of a subscription's queue. Raises `PubSubError`."""
        made = self._limits()
        if self._options.enable_dead_letter:
            made["x-dead-letter-exchange"] = f"dlx-{queue}"
        if metadata.get("maxPriority"):
            made["x-max-priority"] = min(_number(metadata, "maxPriority"), 255)
        made["x-queue-type"] = metadata.get("queueType") or "classic"
        if made["x-queue-type"] not in QUEUE_TYPES:
            raise PubSubError(f"invalid queue type {made['x-queue-type']}. Valid types are classic and quorum")
        if truth.is_true(metadata.get("singleActiveConsumer", "")):
            made["x-single-active-consumer"] = True
        for key, name in (("maxLen", "x-max-length"), ("maxLenBytes", "x-max-length-bytes")):
            if metadata.get(key):
                made[name] = _number(metadata, key)
        return made

    def _ttl(self, metadata: Mapping[str, str]) -> float | None:
        try:
            own = ttl.of(metadata)
        except ValueError as error:
            log.warning(f"rabbitmq pub/sub: failed to parse the time to live: {error}, it is ignored.")
            own = None
        return self._seconds if own is None else own


class _Subscription(Subscription):
    def __init__(self, consumer: rabbitmq.Consumer) -> None:
        self._consumer = consumer

    async def close(self) -> None:
        await self._consumer.close()


def _priority(metadata: Mapping[str, str]) -> int | None:
    try:
        return rabbitmq.priority(metadata)
    except ValueError as error:
        log.warning(f"rabbitmq pub/sub: failed to parse priority: {error}, it is ignored.")
        return None


def _number(metadata: Mapping[str, str], key: str) -> int:
    text = metadata[key]
    if not (text.isascii() and text.isdecimal()):
        raise PubSubError(f"can't parse {key} {text} of the subscription's metadata")
    return int(text)


def _properties(message: "DeliveredMessage") -> dict[str, str]:
    """AMQP's properties and headers, by the original's names."""
    found = message.header.properties
    named = {
        "messageid": found.message_id, "correlationid": found.correlation_id, "type": found.message_type,
        "contenttype": found.content_type,
    }  # fmt: skip
    shown = {f"metadata.{name}": value for name, value in named.items() if value}
    for name, value in (found.headers or {}).items():
        if value is not None:
            shown[f"metadata.{name}"] = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return shown
