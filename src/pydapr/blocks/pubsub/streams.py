"""Streams that clients of the API open for a topic's messages: the third `deliver.Target` beside the two kinds of apps.

Opened by `api.grpc.subscribe`, ended by it when the client goes, and by `daprd` when the sidecar does. A stream has a
subscription of its own, however many there are of a topic. What holds of it is the original's (v1.18.3,
`pkg/runtime/pubsub/streamer`, `pkg/api/grpc/subscribe.go`), but for messages that the client has and never speaks of:
they stay with the broker, and are neither tried again on a stream that is gone nor made dead letters.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydapr.blocks.pubsub import Broker, deliver, errors, routing, spans, to_grpc
from pydapr.blocks.pubsub.deliver import DROP, RETRY, SUCCESS, Around, Closed, Delivery, NotTaken, Undeliverable
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.subscriptions import STREAMING, Subscribed
from pydapr.components import pubsub
from pydapr.components.pubsub import PubSubError
from pydapr.net.body import BodyError
from pydapr.observe import logging
from pydapr.wire import topicevents

if TYPE_CHECKING:
    from pydapr.observe.metrics_ingress import IngressMetrics
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime.pubsub.streamer")
outcome_log = logging.get("dapr.runtime.processor.pubsub.subscription.streaming")

PATH = "/"
"""What events on a stream say of their route: there is one."""

_GONE = -1
"""In place of a status: nobody will answer for the event."""

GONE_SECONDS = 1.0
"""How long dead letters that are under way may take when the client has gone; nothing else can end well then."""

Send = Callable[[bytes], Awaitable[None]]
"""Sends an event, a `TopicEventRequest`, to the client. Raises `BodyError` when the client is gone."""


class NotOpened(Exception):
    """There will be no messages for a stream, for the reason that is given."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"failed to create subscription for {name}: {reason}")


class AppStream:
    """The client at the other end, as a `deliver.Target`; `number` is what the log calls it."""

    def __init__(
        self, number: int, send: Send, metrics: "IngressMetrics | None" = None, tracer: "Tracer | None" = None
    ) -> None:
        self.number = number
        self._send, self._metrics, self._tracer = send, metrics, tracer
        self._waiting: dict[str, deque[asyncio.Future[int]]] = {}
        """Who waits for the outcome of an event, by the event's id; a broker may have brought it twice."""
        self.is_there = True

    async def deliver(self, event: Event) -> bool:
        """As `deliver.Target` says."""
        if not self.is_there:
            raise Closed
        try:
            message = to_grpc.request(event)
        except (NotTaken, Undeliverable):
            self._count(event, RETRY, 0.0)
            raise
        span = spans.begin(self._tracer, event)[1] if self._tracer is not None else None
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome: asyncio.Future[int] = loop.create_future()
        given = event.fields.get("id")
        name = given if isinstance(given, str) else ""
        waiting = self._waiting.setdefault(name, deque())
        waiting.append(outcome)
        try:
            await self._send(message)
            if span is not None:
                span.end()
            status = await outcome
        except BodyError:
            raise Closed from None
        finally:
            if outcome in waiting:
                waiting.remove(outcome)
            if not waiting and self._waiting.get(name) is waiting:
                del self._waiting[name]
        if status == _GONE:
            raise Closed
        return self._said(event, status, loop.time() - began)

    def processed(self, name: str, status: int) -> None:
        """The client is done with the event of this id."""
        waiting = self._waiting.get(name)
        while waiting:
            outcome = waiting.popleft()
            if not outcome.done():
                outcome.set_result(status)
                return
        log.error(f"no client stream expecting publish response for id {name} ConnectionID{self.number}")

    def close(self) -> None:
        """Nobody is there any more."""
        self.is_there = False
        for waiting in self._waiting.values():
            for outcome in waiting:
                if not outcome.done():
                    outcome.set_result(_GONE)

    def _said(self, event: Event, status: int, seconds: float) -> bool:
        """What a status of the client means."""
        if status == topicevents.SUCCESS:
            self._count(event, SUCCESS, seconds)
            return True
        if status == topicevents.DROP:
            outcome_log.warning(f"DROP status returned from app while processing pub/sub event {event.shown_id}")
            self._count(event, DROP, seconds)
            return False
        self._count(event, RETRY, seconds)
        processing = f"returned from app while processing pub/sub event {event.shown_id}"
        if status == topicevents.RETRY:
            raise NotTaken(f"RETRY status {processing}: retriable error occurred")
        raise NotTaken(f"unknown status {processing}, status: {status}, err: retriable error occurred")

    def _count(self, event: Event, process_status: str, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.event(event.pubsub, event.topic, process_status, seconds)


class Opened:
    """A stream whose messages come."""

    def __init__(self, client: AppStream, wanted: Subscribed, delivery: Delivery) -> None:
        self.client, self.wanted = client, wanted
        self._delivery = delivery
        self.subscription: pubsub.Subscription | None = None
        self._ending: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """No message follows; those that the client has it may still speak of."""
        if self.subscription is None:
            return
        if self._ending is None:
            patience = deliver.END_SECONDS if self.client.is_there else GONE_SECONDS
            self._ending = asyncio.ensure_future(self._delivery.close(self.subscription, patience))
        await asyncio.wait((self._ending,))


class Session:
    """A call of the API, from its first moment on. `over` is why the sidecar ends it, as the client reads it."""

    def __init__(self) -> None:
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.opened: Opened | None = None

    def end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)


class Streams:
    """All streams of a sidecar. `brokers` are those that are open, by the names of their components. `is_over` says
    that the sidecar stops already."""

    def __init__(
        self, brokers: Mapping[str, Broker], around: Around, tracer: "Tracer | None" = None, is_over: bool = False
    ) -> None:
        self._brokers, self._around, self._tracer = brokers, around, tracer
        self._sessions: list[Session] = []
        self._last = 0
        self._is_over = is_over

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A call for as long as it lasts."""
        made = Session()
        self._sessions.append(made)
        if self._is_over:
            made.end("api server closed")
        try:
            yield made
        finally:
            self._sessions.remove(made)

    async def open(
        self, session: Session, name: str, topic: str, metadata: Mapping[str, str], dead_letter: str, send: Send
    ) -> AppStream:
        """Has messages go to `send` from now on. Raises `NotOpened`, and `DaprError`."""
        if self._is_over:
            raise errors.MetadataInvalid("", "subscriber is closed", {})
        broker = self._brokers.get(name)
        if broker is None:
            raise errors.PubSubNotFound(name, {})
        if not broker.scopes.can_subscribe(topic):
            reason = f"subscription to topic '{topic}' on pubsub '{name}' is not allowed"
            raise NotOpened(name, reason)
        self._last += 1
        client = AppStream(self._last, send, self._around.metrics, self._tracer)
        wanted = Subscribed(name, topic, (routing.Rule(PATH),), metadata, dead_letter, kind=STREAMING)
        delivery = Delivery(broker, wanted, client, self._around, asyncio.get_running_loop().time())
        opened = Opened(client, wanted, delivery)
        session.opened = opened
        try:
            opened.subscription = await broker.pubsub.subscribe(broker.topic(topic), metadata, delivery.deliver)
        except PubSubError as error:
            session.opened = None
            reason = f"failed to subscribe to topic {topic}: {broker.pubsub.scrub(str(error))}"
            raise NotOpened(name, reason) from None
        log.info(f"Subscribing to pubsub '{name}' topic '{topic}' ConnectionID {client.number}")
        return client

    async def close(self, session: Session) -> None:
        """The client of a call is gone, or has to go: what it has not spoken of stays with the broker."""
        opened = session.opened
        if opened is not None:
            opened.client.close()
            await opened.end()
            session.opened = None

    def subscribed(self) -> Sequence[Subscribed]:
        """What the streams that are open are subscribed to."""
        return [session.opened.wanted for session in self._sessions if session.opened is not None]

    async def end(self) -> None:
        """The sidecar stops: messages that clients have are waited for, then the streams end."""
        self._is_over = True
        await asyncio.gather(*(self._end(session) for session in self._sessions))

    async def _end(self, session: Session) -> None:
        if session.opened is None:
            session.end("api server closed")
            return
        await session.opened.end()
        session.end("stream closed")
