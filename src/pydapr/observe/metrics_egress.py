"""Metrics of messages on their way from the app to brokers; names and labels are the original's (v1.18.3,
`pkg/diagnostics/component_monitoring.go`). Recorded by `blocks.pubsub.publish`.
"""

from collections.abc import Sequence

from pydapr.observe.metrics import Count, Registry, Spread

Series = tuple[Count, Spread]
"""How many, and how long they took."""


class EgressMetrics:
    """Gives who publishes the series of a topic. `latencies` are bounds in milliseconds."""

    def __init__(self, registry: Registry, latencies: Sequence[float], namespace: str) -> None:
        name, labels = "dapr_component_pubsub_egress_", ("app_id", "component", "namespace", "success", "topic")
        self._count = registry.counter(
            f"{name}count", "The number of outgoing messages published to the pub/sub component.", *labels
        )
        self._latencies = registry.histogram(
            f"{name}latencies",
            "The latency of the response from the pub/sub component.",
            latencies,
            *labels,
            scale=1000,
        )
        self._bulk_count = registry.counter(
            f"{name}bulk_count", "The number of bulk publish calls to the pub/sub component.", *labels
        )
        self._bulk_latencies = registry.histogram(
            f"{name}bulk_latencies",
            "The latency of the response for the bulk publish call from the pub/sub component.",
            latencies,
            *labels,
            scale=1000,
        )
        self._namespace = namespace

    def single(self, component: str, topic: str, is_success: bool) -> Series:
        """Of messages published one by one."""
        labels = (component, self._namespace, "true" if is_success else "false", topic)
        return self._count.get(*labels), self._latencies.get(*labels)

    def bulk(self, component: str, topic: str, is_success: bool) -> Series:
        """Of calls that publish many."""
        labels = (component, self._namespace, "true" if is_success else "false", topic)
        return self._bulk_count.get(*labels), self._bulk_latencies.get(*labels)
