"""Metrics of jobs that the app is given; names and labels are the original's (v1.18.3,
`pkg/diagnostics/component_monitoring.go`). Recorded by `blocks.jobs`.
"""

from collections.abc import Sequence

from pydapr.observe.metrics import Registry

_OPERATION = "job_trigger_op"


class JobMetrics:
    """Counts and times deliveries. `latencies` are bounds in milliseconds."""

    def __init__(self, registry: Registry, latencies: Sequence[float], namespace: str) -> None:
        labels = ("app_id", "namespace", "operation")
        self._succeeded = registry.counter(
            "dapr_component_job_success_count", "The number of successful job triggers.", *labels
        )
        self._failed = registry.counter(
            "dapr_component_job_failure_count", "The number of failed job triggers.", *labels
        )
        self._latencies = registry.histogram(
            "dapr_component_job_latencies",
            "The latency of the response from the app that processed the triggered job.",
            latencies,
            *labels,
            "success",
            scale=1000,
        )
        self._namespace = namespace

    def triggered(self, is_success: bool, seconds: float) -> None:
        """The app has answered."""
        count = self._succeeded if is_success else self._failed
        count.get(self._namespace, _OPERATION).inc()
        self._latencies.get(self._namespace, _OPERATION, "true" if is_success else "false").record(seconds)
