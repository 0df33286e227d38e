"""The trace of an event that is delivered: below the one that the event says it is part of.

Called by `to_http` and `to_grpc`, and there only while tracing is on. Name and attributes of the span are the
original's (v1.18.3, `pkg/diagnostics/tracing.go`).
"""

from collections.abc import Iterable

from pydapr.blocks.pubsub.events import Event
from pydapr.observe import logging, tracing
from pydapr.wire import tracecontext
from pydapr.wire.tracecontext import Trace

log = logging.get("dapr.runtime.processor.pubsub.subscription.http")


class DeliverySpan(tracing.Span):
    """The delivery of one event. `topic` is set at once."""

    __slots__ = ("topic",)

    topic: str

    def attributes(self) -> list[tuple[str, str]]:
        return [("messaging.system", "pubsub"), ("messaging.destination.name", self.topic)]


def begin(tracer: tracing.Tracer, event: Event) -> tuple[Trace | None, DeliverySpan | None]:
    """The context of a delivery, None for an event that says nothing of a trace, and its span if it is sampled."""
    said = event.trace
    if not isinstance(said, str):
        if said is not None:
            log.debug(
                f"skipping tracing for pub/sub event {event.shown_id}: non-string trace id of type "
                f"{type(said).__name__}"
            )
        return None, None
    parent = tracecontext.parse(said.encode("utf-8", "replace"))
    trace = tracer.below(parent, b"") if parent else tracer.root()
    if tracer.sink is None or not tracing.is_sampled(trace):
        return trace, None
    span = DeliverySpan(trace, parent[36:52], f"pubsub/{event.topic}", tracing.CLIENT, tracer.sink)
    span.topic = event.topic
    return trace, span


def begin_all(tracer: tracing.Tracer, events: Iterable[Event]) -> tuple[Trace | None, list[DeliverySpan]]:
    """The same for events that are delivered together: the context is that of the last one that has any."""
    found, begun = None, []
    for event in events:
        trace, span = begin(tracer, event)
        found = trace or found
        if span is not None:
            begun.append(span)
    return found, begun


def answered(span: DeliverySpan, status: int) -> None:
    """The app answered with a status of HTTP."""
    if status >= 400:
        span.failed(tracing.failure_of(status))
    span.end()
