"""What the scheduler counts. Made by `runtime`; names, texts and buckets are the original's."""

from pydapr.observe import metrics, metrics_process

LATENCIES = (0, 100, 500, 1000, 5000, 10000)
"""Bounds in milliseconds."""


class Counts:
    """The metrics of the scheduler. The registry is what the metrics port shows."""

    def __init__(self) -> None:
        self.registry = registry = metrics.Registry()
        registry.add(metrics_process.samples)
        self.connected = registry.gauge(
            "dapr_scheduler_sidecars_connected",
            "The number of dapr sidecars actively connected to the scheduler service.",
        ).get()
        self.created = _by_type(registry, "jobs_created_total", "The total number of jobs scheduled.")
        self.not_created = _by_type(
            registry, "jobs_created_failed_total", "The total number of failed job creation attempts."
        )
        self.triggered = _by_type(registry, "jobs_triggered_total", "The total number of successfully triggered jobs.")
        self.failed = _by_type(registry, "jobs_failed_total", "The total number of failed jobs.")
        self.undelivered = _by_type(registry, "jobs_undelivered_total", "The total number of undelivered jobs.")
        self.deleted = _by_type(registry, "jobs_deleted_total", "The total number of deleted jobs.")
        self.bulk_deleted = registry.counter(
            "dapr_scheduler_jobs_bulk_deleted_total", "The total number of bulk job deletion operations."
        ).get()
        latency = registry.histogram(
            "dapr_scheduler_trigger_latency",
            "The total time it takes to trigger a job from the scheduler service.",
            LATENCIES,
            "type",
            scale=1000,
        )
        self.latency = {kind: latency.get(kind) for kind in KINDS}
        errors = registry.counter(
            "dapr_scheduler_sidecar_errors_total",
            "The total number of sidecar communication and authorization errors.",
            "reason",
        )
        self.not_authorized, self.not_received = errors.get("auth_failed"), errors.get("recv_failed")
        self.not_sent = errors.get("send_failed")
        self.in_flight = registry.gauge(
            "dapr_scheduler_concurrency_inflight",
            "Current number of in-flight triggers subject to global concurrency limits on this scheduler instance.",
            "concurrency_key",
        )
        self.pending = registry.gauge(
            "dapr_scheduler_concurrency_pending",
            "Current number of triggers waiting for a concurrency slot on this scheduler instance.",
            "concurrency_key",
        )
        self.throttled = registry.counter(
            "dapr_scheduler_concurrency_throttled_total",
            "Total number of triggers that were throttled by global concurrency limits.",
            "concurrency_key",
        )


KINDS = ("job", "actor")


def _by_type(registry: metrics.Registry, name: str, text: str) -> dict[str, metrics.Count]:
    """The series for jobs of apps, and for reminders of actors."""
    family = registry.counter(f"dapr_scheduler_{name}", text, "type")
    return {kind: family.get(kind) for kind in (*KINDS, "unknown")}
