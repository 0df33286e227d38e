"""Metrics of messages on their way from brokers to the app; names and labels are the original's (v1.18.3,
`pkg/diagnostics/component_monitoring.go`). Recorded by `blocks.pubsub`.
"""

from collections.abc import Sequence

from pydapr.observe.metrics import Count, Registry, Spread

SUCCESS, RETRY, DROP = "success", "retry", "drop"
"""What becomes of a message."""

_BLOCK = "dapr_component_pubsub_ingress_"
_LABELS = ("app_id", "component", "namespace", "process_status", "topic")


class IngressMetrics:
    """Records for all subscriptions. `latencies` are bounds in milliseconds."""

    def __init__(self, registry: Registry, latencies: Sequence[float], namespace: str) -> None:
        labels = ("app_id", "component", "namespace", "process_status", "status", "topic")
        self._count = registry.counter(
            f"{_BLOCK}count", "The number of incoming messages arriving from the pub/sub component.", *labels
        )
        self._latencies = registry.histogram(
            f"{_BLOCK}latencies", "The consuming app event processing latency.", latencies, *labels, scale=1000
        )
        self._bulk_count = registry.counter(
            f"{_BLOCK}bulk_count",
            "The number of incoming bulk subscribe calls arriving from the bulk pub/sub component.",
            *_LABELS,
        )
        self._bulk_events = registry.counter(
            f"{_BLOCK}bulk_event_count",
            "Total number of incoming messages arriving from the bulk pub/sub component via Bulk Subscribe.",
            *_LABELS,
        )
        self._bulk_latencies = registry.histogram(
            f"{_BLOCK}bulk_latencies",
            "The consuming app event processing latency for the bulk pub/sub component.",
            latencies,
            *_LABELS,
            scale=1000,
        )
        self._namespace = namespace
        self._known: dict[tuple[str, str, str, str], tuple[Count, Spread]] = {}
        """Topics that an app subscribes to are few."""

    def event(self, component: str, topic: str, process_status: str, seconds: float, status: str = "") -> None:
        """A message has been delivered, or could not be; `status` where it is not the same."""
        key = (component, topic, process_status, status)
        found = self._known.get(key)
        if found is None:
            labels = (component, self._namespace, process_status, status or process_status, topic)
            found = (self._count.get(*labels), self._latencies.get(*labels))
            if len(self._known) < 1000:
                self._known[key] = found
        found[0].inc()
        if seconds:
            found[1].record(seconds)

    def bulk(self, component: str, topic: str, seconds: float) -> None:
        """Many messages have been delivered at once."""
        self._bulk_count.get(component, self._namespace, "", topic).inc()
        if seconds:
            self._bulk_latencies.get(component, self._namespace, "", topic).record(seconds)

    def bulk_events(self, component: str, topic: str, process_status: str, count: int) -> None:
        """So many of them had this outcome."""
        if count > 0:
            self._bulk_events.get(component, self._namespace, process_status, topic).inc(count)
