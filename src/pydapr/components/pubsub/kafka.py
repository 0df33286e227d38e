"""pubsub.kafka has the messages in Kafka: topics are Kafka's, an app is a consumer group.

Sidecars of the original share topics and groups with ours. `partitionKey` of a request is the record's key, by which it
finds its partition; what else came with the request are its headers, which arrive as metadata beside `__key`,
`__offset`, `__partition`, `__timestamp` and `__topic`. The messages of a partition are handled one after the other, and
one that was not taken is tried again in its place (every 5 s, or as `backOff…` says) while those behind it wait.
`valueSchemaType: Avro`, of a request or a subscription, has values in Avro, with schemas of a registry.
"""

from collections.abc import Mapping, Sequence

from pydapr.components import component
from pydapr.components.drivers import kafka, kafka_browse
from pydapr.components.drivers.kafka_consumer import Consumer, Gather
from pydapr.components.pubsub import (
    BULK,
    Browsed,
    BulkHandler,
    Entry,
    Handler,
    Limits,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)


@component("pubsub.kafka", kafka.Options)
class Kafka(PubSub):
    features: Sequence[str] = (BULK,)

    def __init__(self, options: kafka.Options) -> None:
        self._kafka = kafka.Kafka(options, retries=True)

    async def open(self) -> None:
        await self._kafka.open()

    async def close(self) -> None:
        await self._kafka.close()

    async def publish(self, message: Message) -> None:
        try:
            await self._kafka.publish(message.topic, message.data, message.metadata)
        except kafka.Failed as error:
            raise PubSubError(str(error)) from None

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The request's metadata go before those of an entry, as in the original."""
        each = [(one.id, one.message.data, {**one.message.metadata, **metadata}) for one in entries]
        return await self._kafka.publish_many(topic, each)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        async def deliver(records: Sequence[kafka.Consumed]) -> Mapping[int, str]:
            try:
                await handler(await self._message(records[0], has_schema))
            except (NotProcessed, kafka.Failed) as error:
                return {0: str(error)}
            return {}

        has_schema = _has_schema(metadata)
        return await self._begin(Consumer(self._kafka, [topic], Gather(), deliver))

    async def subscribe_many(
        self, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
    ) -> Subscription:
        async def deliver(records: Sequence[kafka.Consumed]) -> Mapping[int, str]:
            try:
                entries = [
                    Entry(str(number), await self._message(one, has_schema)) for number, one in enumerate(records)
                ]
            except kafka.Failed as error:
                return dict.fromkeys(range(len(records)), str(error))
            failed = await handler(entries)
            return {int(id_): reason for id_, reason in failed.items()}

        has_schema = _has_schema(metadata)
        gather = Gather(max(limits.messages, 1), limits.seconds)
        return await self._begin(Consumer(self._kafka, [topic], gather, deliver))

    async def browse(
        self, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        try:
            has_schema = _has_schema(metadata)
            records, following = await kafka_browse.browse(self._kafka, topic, after, most)
            messages = [await self._message(one, has_schema) for one in records]
        except kafka.Failed as error:
            raise PubSubError(str(error)) from None
        return [
            Browsed(f"{one.partition}-{one.offset}", message, one.timestamp / 1000)
            for one, message in zip(records, messages, strict=True)
        ], following

    async def _begin(self, consumer: Consumer) -> Subscription:
        try:
            await consumer.begin()
        except kafka.Failed as error:
            raise PubSubError(str(error)) from None
        return _Reading(consumer)

    async def _message(self, record: kafka.Consumed, has_schema: bool) -> Message:
        value = await self._kafka.decoded(record.value, has_schema)
        return Message(record.topic, value, self._kafka.metadata(record))


class _Reading(Subscription):
    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def close(self) -> None:
        await self._consumer.close()


def _has_schema(metadata: Mapping[str, str]) -> bool:
    try:
        return kafka.is_avro(metadata)
    except kafka.Failed as error:
        raise PubSubError(str(error)) from None
