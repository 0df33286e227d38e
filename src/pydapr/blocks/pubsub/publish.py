"""Publishing: may the app, in which envelope, to which broker, under which policies.

Called by the faces, by `deliver` for dead letters and by `outbox`; goes on to `cloudevents` and `components.pubsub`.
Messages that are to be delivered later go by `Later` where the broker cannot hold them. Rules and words are the
original's (v1.18.3, `pkg/api/http/http.go`, `pkg/api/grpc/grpc.go`, `pkg/runtime/pubsub/publisher`).
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.errors import (
    BulkFailed,
    EntryIdInvalid,
    Forbidden,
    MetadataInvalid,
    NameEmpty,
    NoCloudEvent,
    PublishFailed,
    PubSubNotFound,
    TopicEmpty,
)
from pydapr.components import pubsub
from pydapr.components.pubsub import Entry, Message, PubSubError
from pydapr.errors import Code
from pydapr.observe import tracing
from pydapr.policy import resiliency
from pydapr.policy.breaker import Refused
from pydapr.policy.runner import CodeFailure, DeadlineExceeded, Runner

if TYPE_CHECKING:
    from pydapr.blocks.pubsub.cloudevents import Envelope
    from pydapr.observe.metrics_egress import EgressMetrics, Series
    from pydapr.wire.tracecontext import Trace

T = TypeVar("T")

RAW = "rawPayload"
"""Metadata: what is published goes to the broker as it is."""

_MOST_LINES = 1000
"""Topics that are remembered with what publishing to them needs."""

_MOST_TYPES = 16
"""Content types of a topic that are remembered."""

_FAILURES = (PubSubError, DeadlineExceeded, Refused, CodeFailure)

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")

_HTTP: Mapping[int, int] = {
    Code.OK: 200, Code.CANCELLED: 408, Code.UNKNOWN: 500, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429, Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501, Code.INTERNAL: 500, Code.UNAVAILABLE: 503, Code.DATA_LOSS: 500,
}  # fmt: skip
"""What a broker's code means where policies match those of HTTP."""


class Later(Protocol):
    """Who keeps messages until they are due."""

    def due(self, broker: Broker, metadata: Mapping[str, str]) -> float | None:
        """When a message with this metadata is to be delivered, in Unix seconds; None for at once.

        Raises `MetadataInvalid`.
        """

    async def hold(self, broker: Broker, message: Message) -> None:
        """Keeps a message, whose topic is the broker's name for it, until its `deliver_at`. Raises `PubSubError`."""


class Line:
    """A topic of a broker, and what publishing to it needs each time."""

    __slots__ = ("broker", "bulk", "can_publish", "envelopes", "has_ttl", "single", "topic")

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker = broker
        self.topic = broker.topic(topic)
        """The broker's name for it."""
        self.can_publish = broker.scopes.can_publish(topic)
        self.has_ttl = pubsub.MESSAGE_TTL in broker.pubsub.features
        self.envelopes: dict[str, Envelope] = {}
        self.single: dict[bool, Series] = {}
        self.bulk: dict[bool, Series] = {}


class Publisher:
    """The brokers by name. Public methods raise `DaprError`; names of topics are the app's."""

    def __init__(
        self, app_id: str, brokers: Mapping[str, Broker], policies: "resiliency.Resiliency | None" = None
    ) -> None:
        self.app_id = app_id
        self.brokers = brokers
        self._policies = policies
        self._runner = Runner(PubSubError)
        self._make: Callable[[str, str, str, str], Envelope] | None = None
        self._lines: dict[tuple[str, str], Line] = {}
        self.metrics: EgressMetrics | None = None
        self.tracer: tracing.Tracer | None = None
        self.later: Later | None = None

    def line(self, name: str, topic: str, metadata: Mapping[str, str]) -> Line:
        """The way to a topic. `metadata` is told with errors."""
        found = self._lines.get((name, topic))
        if found is not None:
            return found
        broker = self.brokers.get(name)
        if not name:
            raise NameEmpty(metadata)
        if broker is None:
            raise PubSubNotFound(name, metadata)
        if not topic:
            raise TopicEmpty(name, metadata)
        if len(self._lines) >= _MOST_LINES:
            del self._lines[next(iter(self._lines))]
        found = self._lines[name, topic] = Line(broker, topic)
        return found

    def is_raw(self, line: Line, metadata: Mapping[str, str]) -> bool:
        """Whether what is published shall go as it is."""
        text = metadata.get(RAW)
        if not text or text in _FALSE:
            return False
        if text in _TRUE:
            return True
        fault = f"rawPayload value must be a valid boolean: actual is '{text}'"
        raise MetadataInvalid(line.broker.name, fault, metadata)

    async def publish(
        self,
        line: Line,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        trace: "Trace | None",
        *,
        is_http: bool,
    ) -> None:
        """Publishes one event, in an envelope unless the metadata say that it is raw."""
        parent, state = _told(trace)
        at = None
        if metadata and self.later is not None:
            at = self.later.due(line.broker, metadata)
        if not metadata or not self.is_raw(line, metadata):
            data = self._enveloped(line, topic, data, content_type, parent, state, metadata, at)
        elif not is_http:
            metadata = {**metadata, "traceid": parent.decode(), "tracestate": state.decode("latin-1")}
        began, is_success = perf_counter(), False
        try:
            if not line.can_publish:
                raise Forbidden(line.broker.name, topic, self.app_id)
            await self._send(line.broker, Message(line.topic, data, metadata, "", at), is_http)
            is_success = True
        except _FAILURES as error:
            raise PublishFailed(line.broker.name, topic, line.broker.pubsub.scrub(str(error))) from None
        finally:
            if self.metrics is not None:
                series = line.single.get(is_success)
                if series is None:
                    series = self.metrics.single(line.broker.name, topic, is_success)
                    line.single[is_success] = series
                series[0].inc()
                series[1].record(perf_counter() - began)

    async def publish_many(
        self,
        line: Line,
        topic: str,
        events: Sequence[Entry],
        metadata: Mapping[str, str],
        trace: "Trace | None",
        *,
        span: str,
        is_http: bool,
    ) -> None:
        """Publishes many events, each with a span of its own that is called `span`. Raises `BulkFailed`, too."""
        self._check_ids(line, topic, events)
        spans: list[tracing.Span] = []
        failure: str | None = None
        try:
            at = self.later.due(line.broker, metadata) if metadata and self.later is not None else None
            events = [self._due(line, event, at) for event in events]
            if not self.is_raw(line, metadata):
                events = [self._wrapped(line, topic, event, trace, span, spans) for event in events]
            await self._bulk(line, topic, events, metadata, is_http)
        except Exception as error:
            failure = str(error)
            raise
        finally:
            for one in spans:
                one.failure = failure
                one.end()

    async def send(
        self, name: str, topic: str, data: bytes, metadata: Mapping[str, str], content_type: str = ""
    ) -> None:
        """Publishes bytes as they are, without a metric: dead letters, and what the outbox has put aside.

        Raises `PubSubNotFound`, `Forbidden`, `PublishFailed`.
        """
        line = self.line(name, topic, pubsub.NO_METADATA)
        if not line.can_publish:
            raise Forbidden(name, topic, self.app_id)
        try:
            await self._send(line.broker, Message(line.topic, data, metadata, content_type), is_http=False)
        except _FAILURES as error:
            raise PublishFailed(name, topic, line.broker.pubsub.scrub(str(error))) from None

    # -- envelopes --

    def _enveloped(
        self,
        line: Line,
        topic: str,
        data: bytes,
        content_type: str,
        parent: bytes,
        state: bytes,
        metadata: Mapping[str, str],
        at: float | None,
    ) -> bytes:
        envelope = line.envelopes.get(content_type)
        if envelope is None:
            envelope = self._envelope(line, topic, content_type)
            if len(line.envelopes) < _MOST_TYPES:
                line.envelopes[content_type] = envelope
        try:
            return envelope.around(data, parent, state, metadata, line.has_ttl, at)
        except ValueError as error:
            raise NoCloudEvent(line.broker.name, self.app_id, str(error)) from None

    def _envelope(self, line: Line, topic: str, content_type: str) -> "Envelope":
        if self._make is None:
            from pydapr.blocks.pubsub import cloudevents  # it needs msgspec, which takes 3 ms to import

            self._make = functools.partial(cloudevents.Envelope, cloudevents.Ids(), cloudevents.Clock())
        return self._make(self.app_id, line.broker.name, topic, content_type)

    def _wrapped(
        self, line: Line, topic: str, event: Entry, trace: "Trace | None", span: str, spans: list[tracing.Span]
    ) -> Entry:
        """An event in its envelope, part of the trace by a span of its own."""
        if trace is not None and trace.is_known and self.tracer is not None:
            above, trace = trace, self.tracer.below(trace.traceparent, trace.tracestate)
            if self.tracer.sink is not None and tracing.is_sampled(trace):
                parent = above.traceparent[36:52]
                spans.append(tracing.Span(trace, parent, span, tracing.PRODUCER, self.tracer.sink))
        given = event.message
        data = self._enveloped(
            line, topic, given.data, given.content_type, *_told(trace), given.metadata, given.deliver_at
        )
        return Entry(event.id, Message(given.topic, data, given.metadata, given.content_type, given.deliver_at))

    def _check_ids(self, line: Line, topic: str, events: Sequence[Entry]) -> None:
        known = {event.id for event in events}
        if len(known) != len(events) or "" in known:
            raise EntryIdInvalid(line.broker.name, topic, self.app_id)

    # -- brokers --

    async def _send(self, broker: Broker, message: Message, is_http: bool) -> None:
        """Raises what is in `_FAILURES`."""
        if message.deliver_at is not None and not broker.pubsub.delays and self.later is not None:
            await self.later.hold(broker, message)
        elif self._policies is None:
            await broker.pubsub.publish(message)
        else:
            await self._under_policies(broker, is_http, lambda: broker.pubsub.publish(message))

    async def _bulk(
        self, line: Line, topic: str, events: Sequence[Entry], metadata: Mapping[str, str], is_http: bool
    ) -> None:
        began, is_success = perf_counter(), False
        try:
            if not line.can_publish:
                raise Forbidden(line.broker.name, topic, self.app_id)
            await self._bulk_under_policies(line, topic, events, metadata, is_http)
            is_success = True
        finally:
            if self.metrics is not None:
                series = line.bulk.get(is_success)
                if series is None:
                    series = line.bulk[is_success] = self.metrics.bulk(line.broker.name, topic, is_success)
                series[0].inc()
                series[1].record(perf_counter() - began)

    async def _bulk_under_policies(
        self, line: Line, topic: str, events: Sequence[Entry], metadata: Mapping[str, str], is_http: bool
    ) -> None:
        """Publishes `events`; another try publishes those that failed. Raises `BulkFailed`."""
        broker = line.broker
        left: Sequence[Entry] = events
        failed: Mapping[str, str] = {}

        async def attempt() -> None:
            nonlocal left, failed
            failed = {}
            failed = await self._many(broker, line.topic, left, metadata)
            left = [event for event in left if event.id in failed]
            if left:
                raise PubSubError(failed[left[0].id])

        try:
            await self._under_policies(broker, is_http, attempt)
        except _FAILURES as error:
            fault = broker.pubsub.scrub(str(error))
            if not failed or isinstance(error, DeadlineExceeded | Refused):
                failed = {event.id: fault for event in left}
            told = {name: broker.pubsub.scrub(reason) for name, reason in failed.items()}
            raise BulkFailed(broker.name, topic, fault, told) from None

    async def _many(
        self, broker: Broker, topic: str, events: Sequence[Entry], metadata: Mapping[str, str]
    ) -> dict[str, str]:
        """Publishes what is due now, and holds the rest; the ids of those that failed, each with the reason."""
        now, failed = list(events), dict[str, str]()
        if self.later is not None and not broker.pubsub.delays:
            now = [event for event in events if event.message.deliver_at is None]
            for event in events:
                if event.message.deliver_at is None:
                    continue
                try:
                    await self.later.hold(broker, event.message)
                except PubSubError as error:
                    failed[event.id] = str(error)
        try:
            if now:
                failed.update(await broker.pubsub.publish_many(topic, now, metadata))
        except PubSubError as error:
            if len(now) == len(events):
                raise
            failed.update({event.id: str(error) for event in now})  # what is held must not be held again
        return failed

    def _due(self, line: Line, event: Entry, at: float | None) -> Entry:
        """The entry as the broker is to have it. `at` is when the request has it delivered, if not at once."""
        given = event.message
        if given.metadata and self.later is not None:
            at = self.later.due(line.broker, given.metadata)
        return Entry(event.id, Message(line.topic, given.data, given.metadata, given.content_type, at))

    async def _under_policies(self, broker: Broker, is_http: bool, operation: Callable[[], Awaitable[T]]) -> T:
        definition = None
        if self._policies is not None:
            now = asyncio.get_running_loop().time()
            definition = self._policies.component(broker.name, resiliency.PUBSUB, resiliency.OUTBOUND, now)
        if definition is None:
            return await operation()

        async def attempt() -> T:
            try:
                return await operation()
            except PubSubError as error:
                code = _HTTP.get(error.code, 500) if is_http else error.code
                raise CodeFailure(code, str(error)) from None

        return await self._runner.run(definition, attempt, lambda: True)


def _told(trace: "Trace | None") -> tuple[bytes, bytes]:
    """What an event says of the trace that it is part of."""
    return (trace.traceparent, trace.tracestate) if trace is not None and trace.is_known else (b"", b"")
