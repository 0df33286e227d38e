"""bindings.mqtt3 writes messages to topics of an MQTT 3.1.1 broker, and calls the app for each message of one topic.

As in the original, reading and writing are clients of their own, `…-consumer` and `…-producer` after the consumer ID.
A message is acknowledged when the app has taken it. One that it did not take is tried again after 5 s as often as
`backOffMaxRetries` says, and after that once a minute; it stays with the broker until then.
"""

import asyncio

from pydapr.components import Wrong, component, option, options
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
from pydapr.components.drivers import mqtt, mqtt_packets
from pydapr.observe import logging

log = logging.get("dapr.contrib")

QOS = 1
PAUSE_SECONDS, LONG_PAUSE_SECONDS = 5.0, 60.0


@options
class Options:
    url: str = option("How to reach the broker: `tcp://user:password@host:1883`, or `ssl://` for TLS.")
    topic: str = option("What is read; and what is written to, where a request names no topic.")
    consumer_id: str = option("Begins the ids of the clients.")
    retain: bool = option(
        "Whether the broker keeps the last message of a topic for who subscribes later.", default=False
    )
    clean_session: bool = option("Whether the broker forgets us when we are away.", default=False)
    back_off_max_retries: int = option(
        "How often a message that the app did not take is tried again after 5 s; below 0 for ever.", default=0
    )
    qos: str = option("Has no effect any more; it is 1.", default="")
    ca_cert: str = option("Certificates to trust, as PEM; those of the system when empty.", default="")
    client_cert: str = option("Our certificate, as PEM.", default="")
    client_key: str = option("The key of our certificate, as PEM.", default="")


@component("bindings.mqtt3", Options)
class Mqtt3(InputBinding, OutputBinding):
    operations = (CREATE,)

    def __init__(self, options: Options) -> None:
        if not options.consumer_id:
            raise Wrong("missing consumerID")
        mqtt.check_certificates(options.ca_cert, options.client_cert, options.client_key)
        where = mqtt.place(options.url).replace(
            ca_cert=options.ca_cert, client_cert=options.client_cert, client_key=options.client_key
        )
        if options.qos:
            log.warning("Metadata property 'qos' has been deprecated and is ignored; qos is set to 1")
        self._topic, self._retains, self._tries = options.topic, options.retain, options.back_off_max_retries
        self._producer = mqtt.Client(where, f"{options.consumer_id}-producer", is_clean=options.clean_session)
        self._where, self._is_clean = where, options.clean_session
        self._consumer_id = f"{options.consumer_id}-consumer"
        self._opening = asyncio.Lock()
        self._reading: _Reading | None = None

    async def close(self) -> None:
        await self._producer.close()
        if self._reading is not None:
            await self._reading.close()

    async def invoke(self, request: Request) -> Answer | None:
        if request.operation != CREATE:
            raise BindingError(f"operation {request.operation} is not supported; there is {CREATE}")
        try:
            async with self._opening:
                if not self._producer.is_open:
                    await self._producer.open()
        except (OSError, ValueError) as error:
            raise BindingError(f"failed to create producer connection: {error}") from None
        topic = request.metadata.get("topic") or self._topic
        try:
            await self._producer.publish(topic, request.data, QOS, is_retained=self._retains)
        except mqtt.Failed as error:
            raise BindingError(f"failed to publish: {error}") from None
        return None

    async def read(self, handler: Handler) -> Reading:
        if self._reading is not None and not self._reading.is_closed:
            raise BindingError("the subscription is already active")
        consumer = mqtt.Client(self._where, self._consumer_id, is_clean=self._is_clean)

        async def handle(message: mqtt_packets.Publish) -> bool:
            try:
                await handler(Event(message.payload, {"topic": message.topic}))
            except NotProcessed as error:
                log.error(f"mqtt: the app did not take a message of topic {message.topic}: {error}")
                return False
            return True

        listening = mqtt.Listening(consumer, self._topic, QOS, handle, self._pause)
        try:
            await consumer.open()
            await consumer.subscribe(listening)
        except (OSError, ValueError, mqtt.Failed) as error:
            await consumer.close()
            raise BindingError(f"cannot read topic {self._topic}: {error}") from None
        except BaseException:
            await consumer.close()
            raise
        self._reading = _Reading(consumer, listening)
        return self._reading

    def _pause(self, tries: int) -> float:
        return PAUSE_SECONDS if self._tries < 0 or tries <= self._tries else LONG_PAUSE_SECONDS


class _Reading(Reading):
    def __init__(self, client: mqtt.Client, listening: mqtt.Listening) -> None:
        self._client, self._listening = client, listening
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True
        try:
            await self._listening.close()
        finally:
            await self._client.close()
