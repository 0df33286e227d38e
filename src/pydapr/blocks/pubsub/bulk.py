"""Delivers many messages at once: each becomes an event, those of one route are one call of the app, each has its end.

Made by `daprd.subscriptions` in place of a `Delivery` when a subscription asks for it; the broker calls `deliver_many`,
or `components.drivers.gathering` for it. Who takes the events is a `BulkTarget`: `bulk_http` or `bulk_grpc`. Steps,
outcomes and words of the log are the original's (v1.18.3, `pkg/runtime/subscription/bulksubscription.go`), but for two
faults of it: events that no rule wants are not given to the app's root as well, and an event that cannot be read or
routed is never taken for delivered because others of its bulk were.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydapr.blocks.pubsub import Broker, events
from pydapr.blocks.pubsub.deliver import Around, Delivery, NotTaken, NotTakenByCode, Undeliverable, Unusable
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.subscriptions import Bulk as Bulked
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components import pubsub
from pydapr.components.pubsub import IMMEDIATE, Entry, Limits
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.policy import breaker, runner

log = logging.get("dapr.runtime.processor.subscription")
gathering_log = logging.get("bulk.subscribe")

SUCCESS, RETRY, DROP = "SUCCESS", "RETRY", "DROP"
"""What becomes of an entry, in the words of apps and of metrics."""

IGNORED = "IGNORED"
"""As `DROP`, but no dead letter: the app does not know the route at all."""

MAX_MESSAGES, MAX_AWAIT_MS = 100, 1000
"""Limits of a subscription that sets none."""

KIND = "com.dapr.event.sent.bulk"
"""What a bulk says it is."""

_SOME_FAILED = "few message(s) have failed during bulk subscribe operation"


class Item(Record):
    """An entry of a bulk as the app gets it; `is_raw` when its event is bytes that are no CloudEvent."""

    entry: Entry
    event: Event
    is_raw: bool


class Bulk(Record):
    """What one call of the app carries."""

    pubsub: str
    topic: str
    path: str
    items: Sequence[Item]

    @property
    def metadata(self) -> Mapping[str, str]:
        """What is known of all items together."""
        return {"pubsubName": self.pubsub}

    @property
    def id(self) -> str:
        """A new one for each call."""
        return str(uuid.uuid4())


class Refused(Record):
    """Why an entry is to come again."""

    reason: str


Outcome = str | Refused
"""What became of an entry: `SUCCESS`, `DROP`, `IGNORED`, or why it is to come again."""


class BulkTarget(Protocol):
    """Who takes bulks."""

    async def deliver(self, bulk: Bulk) -> Mapping[str, Outcome]:
        """What became of entries, by their ids; those that are missing are to come again.

        Raises `NotTaken`, `NotTakenByCode` and `Undeliverable` for all together.
        """


class _Report:
    """What became of the entries of a bulk, for metrics; an entry that was tried twice counts twice."""

    def __init__(self) -> None:
        self.counts = {SUCCESS: 0, RETRY: 0, DROP: 0}
        self.seconds = 0.0

    def count(self, status: str, many: int = 1) -> None:
        self.counts[status] += many


class BulkDelivery(Delivery):
    """Many messages of one subscription on their way to `target`."""

    def __init__(self, broker: Broker, wanted: Subscribed, target: BulkTarget, around: Around, now: float) -> None:
        super().__init__(broker, wanted, _Nobody(), around, now)
        self._bulk_target = target

    async def subscribe(self, broker: Broker) -> pubsub.Subscription:
        """Has messages come. Raises `PubSubError`."""
        wanted = self.wanted
        asked = wanted.bulk or Bulked()
        most, millis = asked.max_messages, asked.max_await_ms
        if IMMEDIATE in broker.pubsub.features and millis > 0:
            gathering_log.warning(
                f"bulk subscribe on topic '{wanted.topic}': maxAwaitDurationMs={millis}ms is ignored because the "
                "pubsub component declares immediate-flush; each message is delivered as soon as it arrives"
            )
        limits = Limits(most if most > 0 else MAX_MESSAGES, (millis if millis > 0 else MAX_AWAIT_MS) / 1000)
        topic = broker.topic(wanted.topic)
        return await broker.pubsub.subscribe_many(topic, wanted.metadata, limits, self.deliver_many)

    async def deliver_many(self, entries: Sequence[Entry]) -> Mapping[str, str]:
        """A `pubsub.BulkHandler`. What fails while the subscription ends stays with the broker, all of the bulk."""
        self._under_way += 1
        try:
            return await self._deliver_many(entries)
        except Exception as fault:  # a fault of ours must not end what brings the messages
            log.error(f"unexpected fault while delivering messages of topic {self.wanted.topic}: {fault!r}")
            return {entry.id: f"unexpected: {fault!r}" for entry in entries}
        finally:
            self.ended()

    async def _deliver_many(self, entries: Sequence[Entry]) -> Mapping[str, str]:
        report = _Report()
        failed: dict[str, str] = {}
        for path, items in (await self._sort(entries, failed, report)).items():
            await self._deliver_all(Bulk(self._name, self.wanted.topic, path, items), failed, report)
        if failed and self._is_closing:
            self._tell(report)
            await self.break_off()
        if failed:
            await self._bury_all(entries, failed, report)
        self._tell(report)
        return failed

    # -- before the app --

    async def _sort(
        self, entries: Sequence[Entry], failed: dict[str, str], report: _Report
    ) -> Mapping[str, Sequence[Item]]:
        """What goes to the app, by route."""
        found: dict[str, list[Item]] = {}
        for entry in entries:
            try:
                item = await self._item(entry, report)
            except Unusable as reason:
                failed[entry.id] = str(reason)
                report.count(RETRY)
                continue
            if item is not None:
                found.setdefault(item.event.path, []).append(item)
        return found

    async def _item(self, entry: Entry, report: _Report) -> Item | None:
        """An entry as the app gets it, None for one that it does not get. Raises `Unusable`."""
        message = entry.message
        event = self.read(message, self.topic_of(message))
        if events.has_expired(event.fields, time.time()):
            when = events.shown(event.fields.get(events.EXPIRATION))
            log.warning(f"dropping expired pub/sub event {event.shown_id} as of {when}")
            report.count(DROP)
            await self.bury(message)
            return None
        path = self.route(event)
        if path is None:
            log.warning(f"No matching route for event in pubsub {self._name} and topic {event.topic}; skipping")
            report.count(DROP)
            await self.bury(message)
            return None
        if self.seen is not None and not await self.seen.is_new(self.wanted, event):
            report.count(SUCCESS)
            return None
        event.path = path
        return Item(entry, event, bool(self.wanted.is_raw))

    # -- the app --

    async def _deliver_all(self, bulk: Bulk, failed: dict[str, str], report: _Report) -> None:
        """Delivers until nothing is left, or the policies say that it is enough."""
        left = {item.entry.id: item for item in bulk.items}
        reasons: dict[str, str] = {}

        async def attempt() -> None:
            began = time.perf_counter()
            try:
                sent = Bulk(bulk.pubsub, bulk.topic, bulk.path, list(left.values()))
                outcomes = await self._bulk_target.deliver(sent)
            except (NotTaken, NotTakenByCode, Undeliverable) as failure:
                report.count(RETRY, len(left))
                reasons.update(dict.fromkeys(left, str(failure)))
                raise
            finally:
                report.seconds = time.perf_counter() - began
            await self._note(outcomes, left, reasons, report)
            if left:
                raise NotTaken(_SOME_FAILED)

        try:
            if self.definition is None:
                await attempt()
            else:
                await _runner.run(self.definition, attempt, self._can_repeat)
        except _ENDS as failure:
            for name in left:
                failed[name] = reasons.get(name) or str(failure)

    async def _note(
        self, outcomes: Mapping[str, Outcome], left: dict[str, Item], reasons: dict[str, str], report: _Report
    ) -> None:
        """Takes from `left` what is done with. What the app has taken is out of it before anything is waited for."""
        done, dropped = [], []
        for name, item in list(left.items()):
            outcome = outcomes.get(name)
            if outcome is None:
                outcome = Refused(
                    "response not received, RETRY required while processing bulk subscribe event for entry id: " + name
                )
            if isinstance(outcome, Refused):
                report.count(RETRY)
                reasons[name] = outcome.reason
                continue
            report.count(DROP if outcome == IGNORED else outcome)
            if outcome == DROP:
                dropped.append(item)
            else:
                done.append(left.pop(name))
        for item in dropped:
            reason = await self.bury(item.entry.message)
            if reason:
                reasons[item.entry.id] = f"pubsub message dropped, and it could not become a dead letter: {reason}"
            else:
                done.append(left.pop(item.entry.id))
        if self.seen is not None:
            for item in done:
                await self.seen.delivered(self.wanted, item.event)

    # -- what cannot be delivered --

    async def _bury_all(self, entries: Sequence[Entry], failed: dict[str, str], report: _Report) -> None:
        """What failed become dead letters, if there is a topic for them."""
        if not self.wanted.dead_letter:
            return
        for entry in entries:
            if entry.id in failed and not await self.bury(entry.message):
                del failed[entry.id]
                report.count(DROP)
                report.count(RETRY, -1)

    def _tell(self, report: _Report) -> None:
        metrics = self._metrics
        if metrics is not None:
            metrics.bulk(self._name, self.wanted.topic, report.seconds)
            for status, count in report.counts.items():
                metrics.bulk_events(self._name, self.wanted.topic, status, count)


class _Nobody:
    async def deliver(self, event: Event) -> bool:
        raise Undeliverable("this subscription takes messages in bulk")


_runner = runner.Runner(NotTaken, Undeliverable)
_ENDS = (NotTaken, Undeliverable, runner.CodeFailure, runner.DeadlineExceeded, breaker.Refused)
