"""Delivers what comes from a broker: event, route, app, and what becomes of the message after that.

Made by `daprd.subscriptions`, one `Delivery` for each subscription; the broker calls it. Who takes the events is a
`Target`: the app over HTTP (`to_http`), over gRPC (`to_grpc`), or a stream that an app has opened. The order of the
steps, the outcomes and the words of the log are the original's (v1.18.3, `pkg/runtime/subscription/subscription.go`).
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from pydapr.blocks.pubsub import Broker, events, routing
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components import pubsub
from pydapr.components.pubsub import Message, NotProcessed
from pydapr.errors import DaprError
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.policy import breaker, resiliency, runner

if TYPE_CHECKING:
    from pydapr.observe.metrics_ingress import IngressMetrics
    from pydapr.policy.resiliency import Definition, Resiliency

log = logging.get("dapr.runtime.processor.subscription")

SUCCESS, RETRY, DROP = "success", "retry", "drop"
"""What becomes of a message, in the words of metrics."""

DEAD_LETTER_SECONDS = 30.0
"""How long publishing a dead letter may take."""

END_SECONDS = 30.0
"""How long messages that are under way may take when a subscription ends."""

SETTLE_SECONDS = 0.4
"""How long the broker has to note the outcome of the last messages when others are left with it."""

Publish = Callable[[str, str, bytes, Mapping[str, str], str], Awaitable[None]]
"""Publishes to a topic of a broker, by their names: data, metadata, content type. Raises `DaprError`."""


class Seen(Protocol):
    """Who knows what was delivered."""

    async def is_new(self, wanted: Subscribed, event: Event) -> bool:
        """Whether the event has not been delivered to the subscription yet."""

    async def delivered(self, wanted: Subscribed, event: Event) -> None:
        """The app has taken the event."""

    async def begin(self, wanted: Subscribed, event: Event) -> bool:
        """As `is_new`, once a copy of the event that is under way has come to its end. Who begins says `end`."""

    def end(self, wanted: Subscribed, event: Event) -> None:
        """The event is not under way any more. It may be said more than once."""


class Unusable(Exception):
    """The message cannot be delivered, whoever is there to take it. The message is the reason."""


class NotTaken(Exception):
    """The app did not take the event and may have it again. `cause` is what there is to tell of it."""

    def __init__(self, message: str, cause: str = "<nil>") -> None:
        super().__init__(message)
        self.cause = cause


class NotTakenByCode(runner.CodeFailure):
    """The same, with a status of HTTP or gRPC that a policy may look at."""

    def __init__(self, code: int, message: str, cause: str) -> None:
        super().__init__(code, message)
        self.cause = cause


class Undeliverable(Exception):
    """There is no way to the app. The message is the reason."""


class Closed(Exception):
    """Who takes the events takes no more: what is under way stays with the broker."""

    def __init__(self) -> None:
        super().__init__("subscription is closed")


class Target(Protocol):
    """Who takes events."""

    async def deliver(self, event: Event) -> bool:
        """Whether it took the event; False when it wants nothing of it.

        Raises `NotTaken`, `NotTakenByCode`, `Undeliverable` and `Closed`. It counts what became of the event.
        """


class Around(Record):
    """What all deliveries of a sidecar have in common."""

    publish: Publish
    policies: "Resiliency | None" = None
    metrics: "IngressMetrics | None" = None
    seen: Seen | None = None


_FAILURES = (NotTaken, Undeliverable, Closed)
_runner = runner.Runner(NotTaken, Undeliverable)
_ENDS = (*_FAILURES, runner.CodeFailure, runner.DeadlineExceeded, breaker.Refused)


class Delivery:
    """Messages of one subscription on their way to `target`: what the broker gives them to."""

    def __init__(self, broker: Broker, wanted: Subscribed, target: Target, around: Around, now: float) -> None:
        self.wanted = wanted
        self.around = around
        self._name, self._prefix = broker.name, broker.prefix
        self._target = target
        self._rules = wanted.rules
        only = wanted.rules[0] if len(wanted.rules) == 1 else None
        self._only_path = only.path if only is not None and only.holds is None else None
        self.definition: Definition | None = None
        if around.policies is not None:
            self.definition = around.policies.component(broker.name, resiliency.PUBSUB, resiliency.INBOUND, now)
        self._metrics = around.metrics
        self.seen = around.seen if wanted.dedup else None
        self._is_closing = False
        self._under_way = 0
        self._left = 0
        self._quiet: asyncio.Future[None] | None = None

    # -- one message --

    async def deliver(self, message: Message) -> None:
        """A `pubsub.Handler`."""
        if self._is_closing:
            await self._leave()
        self._under_way += 1
        try:
            await self._deliver(message)
        except NotProcessed:
            raise
        except Exception as fault:  # a fault of ours must not end what brings the messages
            log.error(f"unexpected fault while delivering a message of topic {message.topic}: {fault!r}")
            raise NotProcessed(f"unexpected: {fault!r}") from fault
        finally:
            self.ended()

    def ended(self) -> None:
        """Something that was under way is not any more."""
        self._under_way -= 1
        if self._quiet is not None:
            self._tell_quiet()

    async def _deliver(self, message: Message) -> None:
        topic = self.topic_of(message)
        try:
            event = self.read(message, topic)
            if events.has_expired(event.fields, time.time()):
                await self._expire(event)
                return
            path = self._only_path
            if path is None:
                path = self.route(event)
                if path is None:
                    await self._pass_over(event)
                    return
        except Unusable as reason:
            await self.give_up(message, topic, str(reason))
            return
        event.path = path
        if self.seen is None:
            await self._bring(event)
        elif not await self.seen.begin(self.wanted, event):
            self.count(topic, SUCCESS)
        else:
            try:
                await self._bring(event)
            finally:
                self.seen.end(self.wanted, event)

    async def _bring(self, event: Event) -> None:
        """To who takes the events, as the policies say; it is done with then, unless it raises `NotProcessed`."""
        try:
            if self.definition is None:
                await self._attempt(event)
            else:
                await _runner.run(self.definition, functools.partial(self._attempt, event), self._can_repeat)
        except _ENDS as failure:
            if self._is_closing or isinstance(failure, Closed):
                if self.seen is not None:
                    self.seen.end(self.wanted, event)
                await self.break_off()
            await self.give_up(event.message, event.topic, str(failure))
            return
        if self.seen is not None:
            await self.seen.delivered(self.wanted, event)

    def topic_of(self, message: Message) -> str:
        """The topic of a message as the app calls it."""
        topic = message.topic
        if self._prefix:
            topic = topic.replace(self._prefix, "", 1)
        return topic or self.wanted.topic

    def read(self, message: Message, topic: str) -> Event:
        """The event that a message is. Raises `Unusable`, which the log tells."""
        if self.wanted.is_raw is None:
            value = self.wanted.metadata["rawPayload"]
            reason = f"rawPayload value must be a valid boolean: actual is '{value}'"
            log.error(f"error deserializing pubsub metadata: {reason}")
            raise Unusable(reason)
        try:
            return events.read(message, self._name, topic, self.wanted.is_raw)
        except events.Unreadable as error:
            log.error(f"error deserializing cloud event in pubsub {self._name} and topic {topic}: {error}")
            raise Unusable(str(error)) from None

    def route(self, event: Event) -> str | None:
        """Where an event goes, None for nowhere. Raises `Unusable`, which the log tells."""
        try:
            return routing.path(self._rules, event.fields)
        except routing.Undecided as error:
            log.error(
                f"error finding matching route for event {event.shown_id} in pubsub {self._name} "
                f"and topic {event.topic}: {error}"
            )
            raise Unusable(str(error)) from None

    async def _expire(self, event: Event) -> None:
        when = events.shown(event.fields.get(events.EXPIRATION))
        log.warning(f"dropping expired pub/sub event {event.shown_id} as of {when}")
        self.count(event.topic, DROP)
        await self.bury(event.message)

    async def _pass_over(self, event: Event) -> None:
        log.debug(
            f"no matching route for event {event.shown_id} in pubsub {self._name} and topic {event.topic}; skipping"
        )
        self.count(event.topic, DROP, SUCCESS)
        await self.bury(event.message)

    async def _attempt(self, event: Event) -> None:
        try:
            if await self._target.deliver(event):
                return
        except (NotTaken, NotTakenByCode) as failure:
            log.warning(
                f"encountered a retriable error while publishing a subscribed message to topic {event.topic}, "
                f"err: {failure.cause}"
            )
            raise
        except Undeliverable as reason:
            log.error(
                f"encountered a non-retriable error while publishing a subscribed message to topic {event.topic}, "
                f"err: {reason}"
            )
            raise
        reason_of_loss = await self.bury(event.message)
        if reason_of_loss:
            log.warning(
                f"failed to send dropped message to dead letter queue for topic {event.topic}: {reason_of_loss}"
            )
            raise Undeliverable("pubsub message dropped")

    def _can_repeat(self) -> bool:
        return not self._is_closing

    # -- what cannot be delivered --

    async def give_up(self, message: Message, topic: str, reason: str) -> None:
        """The message becomes a dead letter, or goes back to the broker: then it raises `NotProcessed`."""
        if self.wanted.dead_letter and not await self.bury(message):
            self.count(topic, DROP)
            return
        self.count(topic, RETRY)
        raise NotProcessed(reason)

    async def bury(self, message: Message) -> str:
        """Publishes the message to the dead-letter topic, if there is one; why that failed, or empty text."""
        to = self.wanted.dead_letter
        if not to:
            return ""
        try:
            async with asyncio.timeout(DEAD_LETTER_SECONDS):
                await self.around.publish(self._name, to, message.data, message.metadata, message.content_type)
        except DaprError as error:
            reason = error.message
        except TimeoutError:
            reason = "context deadline exceeded"
        else:
            return ""
        log.error(
            f"error sending message to dead letter, origin topic: {message.topic} dead letter topic {to} err: {reason}"
        )
        return reason

    def count(self, topic: str, process_status: str, status: str = "") -> None:
        """An outcome that no answer of the app tells."""
        if self._metrics is not None:
            self._metrics.event(self._name, topic, process_status, 0.0, status)

    # -- the end --

    async def close(self, subscription: pubsub.Subscription, patience: float = END_SECONDS) -> None:
        """Ends `subscription`, which brings the messages. Those under way are delivered, if that succeeds at the next
        attempt; the others stay with the broker, and become no dead letters. It takes `patience` at most.
        """
        self._is_closing = True
        loop = asyncio.get_running_loop()
        self._quiet = quiet = loop.create_future()
        self._tell_quiet()
        closing = asyncio.ensure_future(subscription.close())
        try:
            await asyncio.wait((closing, quiet), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not closing.done() and quiet.done():
                # Outcomes are on their way to the broker now, which only waits for what is left with it.
                await asyncio.wait((closing,), timeout=SETTLE_SECONDS)
        finally:
            if not closing.done():
                closing.cancel()
            await asyncio.wait((closing,))
        if not closing.cancelled() and (fault := closing.exception()) is not None:
            log.error(f"error while unsubscribing from topic {self.wanted.topic}: {fault}")

    def _tell_quiet(self) -> None:
        """Nothing is under way but what is left with the broker, so only its end can end that."""
        if self._left and self._under_way == 0 and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    async def break_off(self) -> None:
        """Leaves what was under way with the broker: waits for the end of the subscription."""
        self._under_way -= 1
        try:
            await self._leave()
        finally:
            self._under_way += 1

    async def _leave(self) -> None:
        """Waits for the end of the subscription, which cancels the wait: the message stays with the broker."""
        self._left += 1
        self._tell_quiet()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._left -= 1
