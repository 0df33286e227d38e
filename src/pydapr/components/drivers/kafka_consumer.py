"""A subscription to Kafka: one member of the group, whose partitions are each handled one message after the other.

Made by `pubsub.kafka` and `bindings.kafka` with a `drivers.kafka.Kafka`. What was handled is committed a moment later,
and before a partition goes to another member. A message that was not taken is tried again in its place, so that the
order of a partition is kept. A group that begins at the newest messages begins where the topic ended when the
subscription was made, however long joining the group takes, and keeps that place.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydapr.components.drivers.kafka import Consumed, Failed, Kafka, mapped
from pydapr.net import tasks
from pydapr.observe import logging
from pydapr.policy import retry as policy

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.structs import TopicPartition

log = logging.get("dapr.contrib")

COMMIT_SECONDS = 0.5
"""How long what was handled may wait until it is committed."""

ANSWER_SECONDS = 5.0
"""How long a commit, or a look at what was committed, may take."""

PARTING_SECONDS = 30.0
"""How long a partition that goes to another member waits for the handler that is at it."""

_IDLE_MS = 60_000
_SLOWEST = 5.0
_LONG = 60.0
"""After which time without a failure the next one is a first one."""

Deliver = Callable[[Sequence[Consumed]], Awaitable[Mapping[int, str]]]
"""Hands records of one partition to whom they are for. Which of them were not taken, by their place, and why."""


class Gather:
    """How many records go together: no more than `most`, the first of which waits no longer than `seconds`."""

    __slots__ = ("most", "seconds")

    def __init__(self, most: int = 1, seconds: float = 0.0) -> None:
        self.most, self.seconds = most, seconds


class _Lane:
    """What came of one partition and waits for its turn."""

    __slots__ = ("is_over", "is_paused", "more", "partition", "records", "task")

    def __init__(self, partition: "TopicPartition") -> None:
        self.partition = partition
        self.records: deque[Consumed] = deque()
        self.more = asyncio.Event()
        self.is_over = asyncio.Event()
        self.is_paused = False
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self.is_over.set()
        self.more.set()


class Consumer:
    """Reads topics from `begin` until `close`, whatever becomes of the brokers in between."""

    def __init__(self, kafka: Kafka, topics: Sequence[str], gather: Gather, deliver: Deliver) -> None:
        self._kafka, self._topics, self._gather, self._deliver = kafka, topics, gather, deliver
        self._reading = kafka.reading
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._starts: dict[TopicPartition, int] = {}
        self._are_starts_known = False
        self._may_come = asyncio.Event()
        self._marks: dict[TopicPartition, int] = {}
        """What is to be committed."""
        self._committing: asyncio.Task[None] | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_leaving = False

    async def begin(self) -> None:
        """Raises `Failed`."""
        if not self._reading.group:
            raise Failed("kafka error: metadata property consumerGroup is required to read")
        began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(began))
        try:
            await asyncio.shield(began)
        except BaseException:
            self._is_closing = True
            await self._end()
            raise

    async def close(self) -> None:
        """Waits for the handlers that are at work, and commits what they have done."""
        self._is_closing = True
        try:
            for lane in self._lanes.values():
                lane.end()
            working = [lane.task for lane in self._lanes.values() if lane.task is not None]
            if working:
                await asyncio.wait(working)
        finally:
            await tasks.stop(lane.task for lane in self._lanes.values())
            await self._end()

    async def _end(self) -> None:
        """Ends reading, unless it is about to end by itself: a member that is stopped while it leaves the group would
        stay in it, heartbeats and all, and hold up the others."""
        if self._running is None:
            return
        if not self._is_leaving:
            self._running.cancel()
        await asyncio.wait((self._running,))

    # -- membership --

    async def _run(self, began: "asyncio.Future[None]") -> None:
        pause = 0.0
        while not self._is_closing:
            started = time.monotonic()
            try:
                with mapped(Failed):
                    async with self._kafka.consumer(self._reading.group) as consumer:
                        self._consumer = consumer
                        try:
                            await self._read(consumer, began)
                        finally:
                            self._is_leaving = True
                            await self._leave()
            except Exception as error:  # whatever the library fails with, the subscription goes on
                if not began.done():
                    began.set_exception(error if isinstance(error, Failed) else Failed(f"unexpected: {error!r}"))
                    return
                if not self._is_closing:
                    log.error(f"Error consuming {', '.join(self._topics)}. Retrying...: {error}")
            self._is_leaving = False
            if time.monotonic() - started > _LONG:
                pause = 0.0
            pause = min(max(pause * 2, self._reading.pause), _SLOWEST)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _read(self, consumer: "AIOKafkaConsumer", began: "asyncio.Future[None]") -> None:
        self._may_come.clear()
        there = {topic: await self._kafka.partitions(topic) for topic in self._topics}
        if any(there.values()):
            consumer.subscribe(list(self._topics), listener=_listener(self._come, self._go))
        if not self._are_starts_known:
            if self._reading.initial == "newest":
                self._starts = await self._ends(consumer, there)
            self._are_starts_known = True
        self._may_come.set()
        if not began.done():
            began.set_result(None)
        if not any(there.values()):
            raise Failed("there is no such topic")
        buffer = self._reading.buffer
        while not self._is_closing:  # the library may lose a cancellation
            for partition, records in (await consumer.getmany(timeout_ms=_IDLE_MS, max_records=buffer)).items():
                lane = self._lanes.get(partition)
                if lane is None or self._is_closing:
                    continue  # it comes again, to whoever has the partition then, from where it was committed
                lane.records.extend(records)
                lane.more.set()
                if lane.task is None and not lane.is_over.is_set():
                    lane.task = asyncio.create_task(self._work(lane))
                if len(lane.records) >= buffer and not lane.is_paused:
                    lane.is_paused = True
                    consumer.pause(partition)

    async def _ends(
        self, consumer: "AIOKafkaConsumer", there: Mapping[str, Sequence[int]]
    ) -> "dict[TopicPartition, int]":
        from aiokafka.structs import TopicPartition

        partitions = [TopicPartition(topic, number) for topic, numbers in there.items() for number in numbers]
        return dict(await consumer.end_offsets(partitions)) if partitions else {}

    async def _come(self, partitions: "Sequence[TopicPartition]") -> None:
        """These are ours from now on."""
        await self._may_come.wait()
        for one in partitions if self._reading.initial == "newest" else ():
            await self._find_start(one)
        for one in partitions:
            self._lanes[one] = _Lane(one)

    async def _find_start(self, partition: "TopicPartition") -> None:
        """Where reading begins, if the group has not committed anything yet."""
        while (consumer := self._consumer) is not None:
            try:
                with mapped(Failed):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        committed = await consumer.committed(partition)
                    if committed is None:
                        # A partition that was not there when we began has only messages that came since.
                        start = self._starts.get(partition, 0)
                        consumer.seek(partition, start)
                        self._mark(partition, start)
                    return
            except (Failed, TimeoutError) as error:
                log.error(f"Error looking for the offset of {partition.topic}/{partition.partition}: {error}")
                await asyncio.sleep(_SLOWEST / 10)

    async def _go(self, partitions: "Sequence[TopicPartition]") -> None:
        """These may be another's soon: nothing more of them is begun, and what was done is committed."""
        lanes = [lane for one in partitions if (lane := self._lanes.pop(one, None)) is not None]
        for lane in lanes:
            lane.end()
        working = [lane.task for lane in lanes if lane.task is not None]
        if working:
            await asyncio.wait(working, timeout=PARTING_SECONDS)
            await tasks.stop(one for one in working if not one.done())
        await self._commit()
        for one in partitions:
            self._marks.pop(one, None)

    async def _leave(self) -> None:
        """The consumer is about to end."""
        self._may_come.set()
        for lane in self._lanes.values():
            lane.end()
        await tasks.stop(lane.task for lane in self._lanes.values())
        self._lanes.clear()
        await tasks.stop((self._committing,))
        try:
            await self._commit()
        finally:
            self._consumer = None
            self._marks.clear()

    # -- one partition --

    async def _work(self, lane: _Lane) -> None:
        records, gather = lane.records, self._gather
        try:
            while records and not lane.is_over.is_set():
                if len(records) < gather.most and gather.seconds:
                    await self._wait_for_more(lane)
                    if lane.is_over.is_set():
                        return
                some = [records.popleft() for _ in range(min(gather.most, len(records)))]
                if lane.is_paused and len(records) <= self._reading.buffer // 2:
                    lane.is_paused = False
                    if self._consumer is not None:
                        self._consumer.resume(lane.partition)
                if not await self._hand_over(lane, some):
                    return
        finally:
            lane.task = None

    async def _wait_for_more(self, lane: _Lane) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._gather.seconds):
                while len(lane.records) < self._gather.most and not lane.is_over.is_set():
                    lane.more.clear()
                    await lane.more.wait()

    async def _hand_over(self, lane: _Lane, some: Sequence[Consumed]) -> bool:
        """Until all of them are done with; whether that is so."""
        schedule: policy.Schedule | None = None
        end = some[-1].offset + 1
        while left := await self._try(some):
            reason = next(iter(left.values()))
            some = [one for number, one in enumerate(some) if number in left]
            place = f"{lane.partition.topic}/{lane.partition.partition}/{some[0].offset}"
            if self._reading.retry is None:
                log.error(f"Error processing Kafka message: {place}. Error: {reason}.")
                break
            if schedule is None:
                schedule = policy.Schedule(self._reading.retry, time.monotonic())
            pause = schedule.after_failure(time.monotonic(), random.random())
            if pause is None:
                log.error(f"Too many failed attempts at processing Kafka message: {place}. Error: {reason}.")
                break
            log.warning(f"Error processing Kafka message: {place}. Error: {reason}. Retrying...")
            self._mark(lane.partition, some[0].offset)
            with suppress(TimeoutError):
                await asyncio.wait_for(lane.is_over.wait(), pause)
                return False
        self._mark(lane.partition, end)
        return True

    async def _try(self, some: Sequence[Consumed]) -> Mapping[int, str]:
        try:
            return await self._deliver(some)
        except Exception as fault:  # they come again, and those that follow them in their order
            return dict.fromkeys(range(len(some)), f"unexpected: {fault!r}")

    # -- what is done --

    def _mark(self, partition: "TopicPartition", offset: int) -> None:
        self._marks[partition] = offset
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_soon())

    async def _commit_soon(self) -> None:
        while self._marks:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        consumer, marks = self._consumer, self._marks
        if consumer is None or not marks:
            return
        self._marks = {}
        ours = {one: offset for one, offset in marks.items() if one in consumer.assignment()}
        try:
            with mapped(Failed):
                if ours:
                    async with asyncio.timeout(ANSWER_SECONDS):  # the library tries without end
                        await consumer.commit(ours)
        except (Failed, TimeoutError) as error:
            # What is ours still is committed the next time; the rest comes again to whoever has it now.
            log.debug(f"Kafka offsets are not committed: {error}")
            self._marks = {one: offset for one, offset in ours.items() if one in self._lanes} | self._marks


def _listener(come: Callable[..., Awaitable[None]], go: Callable[..., Awaitable[None]]) -> Any:
    from aiokafka.abc import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
        async def on_partitions_revoked(self, revoked: Any) -> None:
            await go(sorted(revoked))

        async def on_partitions_assigned(self, assigned: Any) -> None:
            await come(sorted(assigned))

    return Listener()
