"""bindings.kafka calls the app for each message of `topics`, and writes to `publishTopic`.

Keys, headers and groups are those of `pubsub.kafka`. An event that the app did not take is skipped, as by the original;
with `consumeRetryEnabled` it is tried again in its place, and those behind it in its partition wait.
"""

from collections.abc import Mapping, Sequence

from pydapr.components import component, option, options
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
from pydapr.components.drivers import kafka
from pydapr.components.drivers.kafka_consumer import Consumer, Gather
from pydapr.observe import logging

log = logging.get("dapr.contrib")


@options
class Options(kafka.Options):
    topics: str = option("The topics to read, by commas.", default="")
    publish_topic: str = option("The topic to write to.", default="")


@component("bindings.kafka", Options)
class Kafka(InputBinding, OutputBinding):
    operations = (CREATE,)

    def __init__(self, options: Options) -> None:
        self._kafka = kafka.Kafka(options, retries=False)
        self._topics = [one.strip() for one in options.topics.split(",") if one.strip()]
        self._publish_topic = options.publish_topic

    async def open(self) -> None:
        await self._kafka.open()

    async def close(self) -> None:
        await self._kafka.close()

    async def invoke(self, request: Request) -> Answer | None:
        if not self._publish_topic:
            raise BindingError("kafka binding: metadata property publishTopic is required to write")
        try:
            await self._kafka.publish(self._publish_topic, request.data, request.metadata)
        except kafka.Failed as error:
            raise BindingError(str(error)) from None
        return None

    async def read(self, handler: Handler) -> Reading:
        async def deliver(records: Sequence[kafka.Consumed]) -> Mapping[int, str]:
            try:
                data = await self._kafka.decoded(records[0].value, has_schema=False)
                await handler(Event(data, self._kafka.metadata(records[0])))
            except (NotProcessed, kafka.Failed) as error:
                return {0: str(error)}
            return {}

        if not self._topics:
            log.warning("kafka binding: no topic defined, input bindings will not be started")
            return _Reading(None)
        consumer = Consumer(self._kafka, self._topics, Gather(), deliver)
        try:
            await consumer.begin()
        except kafka.Failed as error:
            raise BindingError(str(error)) from None
        return _Reading(consumer)


class _Reading(Reading):
    def __init__(self, consumer: Consumer | None) -> None:
        self._consumer = consumer

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
