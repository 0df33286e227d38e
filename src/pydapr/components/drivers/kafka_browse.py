"""A look at what a Kafka topic holds, which takes nothing and commits nothing. Called by `pubsub.kafka`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.components.drivers.kafka import Consumed, Failed, Kafka, mapped

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

SECONDS = 30.0
"""How long a look may take."""

_WAIT_MS = 2000
"""After which the rest of a partition is taken to hold no messages, such as marks of transactions."""


async def browse(kafka: Kafka, topic: str, after: str, most: int) -> tuple[Sequence[Consumed], str]:
    """Up to `most` records, one partition behind the other, and where the next ones begin. Raises `Failed`."""
    with mapped(Failed):
        try:
            async with asyncio.timeout(SECONDS), kafka.consumer(None) as consumer:
                if topic not in await consumer.topics():
                    return (), ""  # asking for its partitions would make it
                return await _look(consumer, topic, await kafka.partitions(topic), _read(after), most)
        except TimeoutError:
            raise Failed(f"the brokers do not answer within {SECONDS:g}s") from None


async def _look(
    consumer: "AIOKafkaConsumer", topic: str, partitions: Sequence[int], after: Mapping[int, int], most: int
) -> tuple[Sequence[Consumed], str]:
    from aiokafka.structs import TopicPartition

    all_ = [TopicPartition(topic, number) for number in partitions]
    consumer.assign(all_)
    consumer.pause(*all_)
    begins, ends = await consumer.beginning_offsets(all_), await consumer.end_offsets(all_)
    found: list[Any] = []
    places = {one.partition: max(after.get(one.partition, 0), begins[one]) for one in all_}
    for one in all_:
        consumer.seek(one, places[one.partition])
        consumer.resume(one)
        while places[one.partition] < ends[one] and len(found) < most:
            got = await consumer.getmany(one, timeout_ms=_WAIT_MS, max_records=most - len(found))
            records = got.get(one, ())
            found += records
            places[one.partition] = records[-1].offset + 1 if records else ends[one]
        consumer.pause(one)
    is_over = all(places[one.partition] >= ends[one] for one in all_)
    return found, "" if is_over else ",".join(f"{number}-{offset}" for number, offset in places.items())


def _read(after: str) -> Mapping[int, int]:
    """Partitions and offsets, `0-7,1-3`."""
    try:
        return {int(number): int(offset) for number, offset in (one.split("-") for one in after.split(",") if one)}
    except ValueError:
        raise Failed(f"{after!r} is no place in a topic") from None
