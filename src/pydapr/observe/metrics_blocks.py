"""Metrics of the operations that a building block has its components do; names and labels are the original's (v1.18.3,
`pkg/diagnostics/component_monitoring.go`). Recorded by the blocks.
"""

from collections.abc import Sequence

from pydapr.observe.metrics import LONGEST, Count, Registry, Spread

KNOWN = 1024
"""Operations of components whose series are kept."""


class OperationMetrics:
    """Records for one block, such as `secret`. `latencies` are bounds in milliseconds.

    A block with one operation only has no label for it. `texts` are the help of count and latencies where the original
    has words of its own for a block.
    """

    def __init__(
        self,
        registry: Registry,
        block: str,
        latencies: Sequence[float],
        namespace: str,
        names_operations: bool = True,
        texts: tuple[str, str] | None = None,
    ) -> None:
        counted, timed = texts or (
            f"The number of operations performed on the {block} component.",
            f"The latency of the response from the {block} component.",
        )
        operation = ("operation",) if names_operations else ()
        name, labels = f"dapr_component_{block}_", ("app_id", "component", "namespace", *operation, "success")
        self._count = registry.counter(f"{name}count", counted, *labels)
        self._latencies = registry.histogram(f"{name}latencies", timed, latencies, *labels, scale=1000)
        self._namespace = namespace
        self._names_operations = names_operations
        self._known: dict[tuple[str, str, bool], tuple[Count, Spread]] = {}
        """Those of components are few. But an app may ask for bindings of any name, and them for whatever it likes."""

    def done(self, component: str, operation: str, is_success: bool, seconds: float) -> None:
        """An operation has ended, after all its tries."""
        key = (component, operation, is_success)
        found = self._known.get(key)
        if found is None:
            named = (operation,) if self._names_operations else ()
            labels = (component, self._namespace, *named, "true" if is_success else "false")
            found = (self._count.get(*labels), self._latencies.get(*labels))
            if len(component) + len(operation) <= LONGEST:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[key] = found
        found[0].inc()
        found[1].record(seconds)
