"""Metrics of the operations that a building block has its components do; names and labels are the original's (v1.18.3,
`pkg/diagnostics/component_monitoring.go`). Recorded by the blocks.
"""

from collections.abc import Sequence

from pydapr.observe.metrics import Count, Registry, Spread


class OperationMetrics:
    """Records for one block, such as `secret`. `latencies` are bounds in milliseconds.

    A block with one operation only has no label for it.
    """

    def __init__(
        self,
        registry: Registry,
        block: str,
        latencies: Sequence[float],
        namespace: str,
        names_operations: bool = True,
    ) -> None:
        operation = ("operation",) if names_operations else ()
        name, labels = f"dapr_component_{block}_", ("app_id", "component", "namespace", *operation, "success")
        self._count = registry.counter(
            f"{name}count", f"The number of operations performed on the {block} component.", *labels
        )
        self._latencies = registry.histogram(
            f"{name}latencies",
            f"The latency of the response from the {block} component.",
            latencies,
            *labels,
            scale=1000,
        )
        self._namespace = namespace
        self._names_operations = names_operations
        self._known: dict[tuple[str, str, bool], tuple[Count, Spread]] = {}
        """Components are few, and so are operations: these series are kept."""

    def done(self, component: str, operation: str, is_success: bool, seconds: float) -> None:
        """An operation has ended, after all its tries."""
        key = (component, operation, is_success)
        found = self._known.get(key)
        if found is None:
            named = (operation,) if self._names_operations else ()
            labels = (component, self._namespace, *named, "true" if is_success else "false")
            found = self._known[key] = (self._count.get(*labels), self._latencies.get(*labels))
        found[0].inc()
        found[1].record(seconds)
