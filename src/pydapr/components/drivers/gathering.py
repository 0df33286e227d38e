"""Bulk subscriptions of brokers that know none: messages that come one by one are handed over many at a time.

Called by `components.pubsub`, for brokers that do not override `subscribe_many`. Each message's handler waits until its
bulk is done with, so the broker learns of each message what became of it, and holds back as many as it always does.
When a bulk goes is the original's rule (v1.18.3, `pkg/runtime/pubsub/default_bulksub.go`): when it is full, or when the
first message of it has waited long enough; and one after the other, in the order in which the messages came.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Mapping

from pydapr.components.pubsub import (
    IMMEDIATE,
    BulkHandler,
    Entry,
    Limits,
    Message,
    NotProcessed,
    PubSub,
    Subscription,
)
from pydapr.observe import logging

log = logging.get("bulk.subscribe")

_BROKEN_OFF = "the delivery was broken off"

_Waiting = tuple[Entry, "asyncio.Future[str | None]"]


async def subscribe(
    broker: PubSub, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
) -> Subscription:
    """As `PubSub.subscribe_many`. A broker that says `IMMEDIATE` is not made to wait for messages that cannot come."""
    seconds = 0.0 if IMMEDIATE in broker.features else limits.seconds
    gathering = Gathering(Limits(max(limits.messages, 1), seconds), handler)
    try:
        gathering.inner = await broker.subscribe(topic, metadata, gathering.take)
    except BaseException:
        await gathering.abandon()
        raise
    return gathering


class Gathering(Subscription):
    """Messages of one subscription until they are many. `inner` is where they come from."""

    inner: Subscription

    def __init__(self, limits: Limits, handler: BulkHandler) -> None:
        self._most, self._seconds = limits.messages, limits.seconds
        self._handler = handler
        self._waiting: deque[_Waiting] = deque()
        self._due: asyncio.TimerHandle | None = None
        self._is_due = False
        self._delivering: asyncio.Task[None] | None = None
        self._is_closing = False

    async def take(self, message: Message) -> None:
        """Returns when the bulk with this message in it is done with. Raises `NotProcessed`."""
        loop = asyncio.get_running_loop()
        entry = Entry(str(uuid.uuid4()), message)
        outcome: asyncio.Future[str | None] = loop.create_future()
        self._waiting.append((entry, outcome))
        if len(self._waiting) >= self._most or self._is_closing:
            self._flush()
        else:
            self._await_others()
        reason = await outcome  # when this is cancelled, so is `outcome`, and the bulk goes without it
        if reason is not None:
            raise NotProcessed(reason)

    async def close(self) -> None:
        self._is_closing = True
        if self._waiting:
            self._flush()
        try:
            await self.inner.close()
            if self._delivering is not None:
                await asyncio.wait((self._delivering,))
        except BaseException:
            await self.abandon()
            raise

    async def abandon(self) -> None:
        """Breaks off the bulk under way, and lets nothing follow it."""
        delivering = self._delivering
        if delivering is not None:
            delivering.cancel()
            await asyncio.wait((delivering,))
        self._stop_clock()
        for _, outcome in self._waiting:
            if not outcome.done():
                outcome.set_result(_BROKEN_OFF)
        self._waiting.clear()

    def _await_others(self) -> None:
        """The first of those that wait waits long enough from now on."""
        if self._due is None and not self._is_due:
            self._due = asyncio.get_running_loop().call_later(self._seconds, self._flush)

    def _stop_clock(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _flush(self) -> None:
        """What waits goes now, or as soon as the bulk before it is done with."""
        self._stop_clock()
        self._is_due = True
        if self._delivering is None:
            self._delivering = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._is_due or len(self._waiting) >= self._most:
                self._is_due = False
                bulk = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
                await self._deliver_one([one for one in bulk if not one[1].done()])
        finally:
            self._delivering = None
            if self._waiting:
                self._await_others()

    async def _deliver_one(self, bulk: list[_Waiting]) -> None:
        if not bulk:
            return
        failed: Mapping[str, str] = {}
        reason: str | None = _BROKEN_OFF
        try:
            failed = await self._handler([entry for entry, _ in bulk])
            reason = None
        except Exception as fault:  # the messages go back to the broker, and those that follow are still delivered
            reason = f"unexpected: {fault!r}"
            log.error(f"A bulk of {len(bulk)} messages could not be delivered: {fault!r}")
        finally:
            for entry, outcome in bulk:
                if not outcome.done():
                    outcome.set_result(failed.get(entry.id, reason))
