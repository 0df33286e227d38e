"""The metric of spans that do not get to a collector, recorded by `observe.tracing_batches`. The original has none."""

from pydapr.observe.metrics import Registry


class SpanMetrics:
    """Counts for all exporters together: a span that two collectors miss counts twice."""

    def __init__(self, registry: Registry) -> None:
        self._dropped = registry.counter(
            "dapr_runtime_tracing_spans_dropped_total",
            "The number of spans that were not exported to a collector of traces.",
            "app_id",
            "reason",
        )

    def dropped(self, count: int, reason: str) -> None:
        """`reason` is one of those in `observe.tracing_batches`."""
        self._dropped.get(reason).inc(count)
