"""bindings.rabbitmq writes messages to one queue, and calls the app for each message in it.

The queue and its arguments are the original's, so that its sidecars and ours share it. A message that the app did not
take goes back to the queue. Writing returns when the broker has confirmed the message.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.bindings import (
    CREATE,
    Answer,
    BindingError,
    Event,
    Handler,
    InputBinding,
    NotProcessed,
    OutputBinding,
    Reading,
    Request,
)
from pydapr.components.drivers import rabbitmq
from pydapr.lib import ttl
from pydapr.observe import logging

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel, DeliveredMessage

log = logging.get("dapr.contrib")

PERSISTENT = 2


@options
class Options:
    host: str = option("How to reach the broker: `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS.")
    queue_name: str = option("The queue.")
    exclusive: bool = option("Whether the queue is for this connection only, and ends with it.", default=False)
    durable: bool = option("Whether the queue outlives a restart of the broker.", default=False)
    delete_when_unused: bool = option("Whether the broker removes the queue with its last consumer.", default=False)
    prefetch_count: int = option("How many messages the sidecar has at a time; 0 for 1000.", default=0)
    max_priority: str = option("Makes it a queue with priorities, up to this one.", default="")
    reconnect_wait_in_seconds: Seconds = option("The pause before connecting again.", default=Seconds(5))
    ttl: str = option("How long messages wait that do not say it themselves.", default="", aliases=("ttlInSeconds",))
    ca_cert: str = option("Certificates to trust, as PEM; those of the system when empty.", default="")
    client_cert: str = option("Our certificate, as PEM.", default="")
    client_key: str = option("The key of our certificate, as PEM.", default="")
    external_sasl: bool = option(
        "Whether the client certificate says who we are.", default=False, aliases=("saslExternal",)
    )


@component("bindings.rabbitmq", Options)
class RabbitMQ(InputBinding, OutputBinding):
    operations = (CREATE,)

    def __init__(self, options: Options) -> None:
        self._options = options
        for name, text, what in (
            ("caCert", options.ca_cert, "ca certificate"), ("clientCert", options.client_cert, "client certificate"),
            ("clientKey", options.client_key, "client certificate key"),
        ):  # fmt: skip
            if text and "-----BEGIN" not in text:
                raise Wrong(f"metadata property {name}: invalid {what}")
        if options.prefetch_count < 0 or options.prefetch_count > 65535:
            raise Wrong("metadata property prefetchCount: between 0 and 65535 is wanted")
        self._arguments = _arguments(options)
        self._pause = max(options.reconnect_wait_in_seconds, 0.05)
        self._server = rabbitmq.Server(
            rabbitmq.place(options.host).replace(
                ca_cert=options.ca_cert,
                client_cert=options.client_cert,
                client_key=options.client_key,
                is_external=options.external_sasl,
            )
        )
        self._publisher = rabbitmq.Publisher(self._server, confirms=True, pause=self._pause)

    async def open(self) -> None:
        await self._server.open()
        try:
            await self._server.do(f"cannot declare queue '{self._options.queue_name}'", self._declare)
        except rabbitmq.Failed as error:
            raise OSError(str(error)) from None

    async def close(self) -> None:
        await self._publisher.close()
        await self._server.close()

    async def invoke(self, request: Request) -> Answer | None:
        if request.operation != CREATE:
            raise BindingError(f"operation {request.operation} is not supported; there is {CREATE}")
        try:
            seconds = ttl.of(request.metadata)
            rank = rabbitmq.priority(request.metadata)
        except ValueError as error:
            raise BindingError(f"failed to get the metadata of a message: {error}") from None
        about = rabbitmq.properties(
            request.metadata, delivery_mode=PERSISTENT, seconds=seconds, rank=rank, headers=dict(request.metadata)
        )
        try:
            await self._publisher.publish("", self._options.queue_name, request.data, about, self._declare)
        except rabbitmq.Failed as error:
            raise BindingError(f"failed to publish message: {error}") from None
        return None

    async def read(self, handler: Handler) -> Reading:
        async def setup(channel: "AbstractChannel") -> str:
            await self._declare(channel)
            return self._options.queue_name

        async def work(message: "DeliveredMessage") -> bool:
            try:
                await handler(Event(message.body, _metadata(message.header.properties.headers or {})))
            except NotProcessed as error:
                log.error(f"rabbitmq binding: the app did not take a message: {error}")
                return False
            return True

        consumer = rabbitmq.Consumer(
            self._server, setup, work, pause=self._pause, is_parallel=False,
            prefetch=self._options.prefetch_count, leaves_first=not self._options.delete_when_unused,
        )  # fmt: skip
        try:
            await consumer.begin(0)
        except rabbitmq.Failed as error:
            raise BindingError(f"cannot consume queue '{self._options.queue_name}': {error}") from None
        return _Reading(consumer)

    async def _declare(self, channel: "AbstractChannel") -> None:
        given = self._options
        await channel.queue_declare(
            given.queue_name, durable=given.durable, auto_delete=given.delete_when_unused, exclusive=given.exclusive,
            arguments=dict(self._arguments),
        )  # fmt: skip


class _Reading(Reading):
    def __init__(self, consumer: rabbitmq.Consumer) -> None:
        self._consumer = consumer

    async def close(self) -> None:
        await self._consumer.close()


def _arguments(given: Options) -> dict[str, Any]:
    made: dict[str, Any] = {}
    try:
        seconds = ttl.of({"ttl": given.ttl})
    except ValueError as error:
        raise Wrong(f"failed to parse TTL: {error}") from None
    if seconds is not None:
        made["x-message-ttl"] = int(seconds * 1000)
    if given.max_priority:
        if not (given.max_priority.isascii() and given.max_priority.isdecimal()):
            raise Wrong(f"can't parse maxPriority field: {given.max_priority!r} is no number")
        made["x-max-priority"] = min(int(given.max_priority), 255)
    return made


def _metadata(headers: Mapping[str, Any]) -> dict[str, str]:
    """Headers that are text; their names are escaped, because they become those of an HTTP request."""
    return {quote_plus(name): value for name, value in headers.items() if isinstance(value, str)}
