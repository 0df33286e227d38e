"""Metrics of policies: how often each is applied and how often it has to act, and the state of breakers.

Recorded by `policy`; names and labels are the original's (v1.18.3, `pkg/diagnostics/resiliency_monitoring.go`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydapr.observe.metrics import Count, Registry

KNOWN = 1024
"""Targets whose recorders are kept."""

LONGEST = 512
"""Characters of the name of one that is kept."""

TIMEOUT, RETRY, CIRCUIT_BREAKER = "timeout", "retry", "circuitbreaker"
STATES = ("closed", "half-open", "open", "unknown")

_LABELS = ("app_id", "flow_direction", "name", "namespace", "policy", "status", "target")


class ResiliencyMetrics:
    """Records."""

    def __init__(self, registry: Registry) -> None:
        name = "dapr_resiliency_"
        self._loaded = registry.counter(
            name + "loaded", "Number of resiliency policies loaded.", "app_id", "name", "namespace"
        )
        text = "Number of times a resiliency policyKey has been applied to a building block."
        self.applied = registry.counter(name + "count", text, *_LABELS)
        text = (
            "Number of times a resiliency policyKey has been activated in a building block "
            "after a failure or after a state change."
        )
        self.activated = registry.counter(name + "activations_total", text, *_LABELS)
        text = (
            "A resiliency policy's current CircuitBreakerState state. "
            "0 is closed, 1 is half-open, 2 is open, and -1 is unknown."
        )
        self.state = registry.gauge(name + "cb_state", text, *_LABELS)
        self._watches: dict[tuple[str, str, str, str], Watch] = {}

    def loaded(self, name: str, namespace: str) -> None:
        """A resource was read without a fault."""
        self._loaded.get(name, namespace).inc()

    def watch(self, name: str, namespace: str, target: str, direction: str) -> Watch:
        """What is recorded of one target; `name` and `namespace` are those of the resource, `direction` is
        `inbound` or `outbound`."""
        key = (name, namespace, target, direction)
        found = self._watches.get(key)
        if found is None:
            found = Watch(self, key)
            if len(target) <= LONGEST:
                if len(self._watches) >= KNOWN:
                    self._watches.clear()
                self._watches[key] = found
        return found


class Watch:
    """Records what policies do for one target."""

    __slots__ = ("_direction", "_known", "_metrics", "_name", "_namespace", "_states", "_target")

    def __init__(self, metrics: ResiliencyMetrics, key: tuple[str, str, str, str]) -> None:
        self._metrics = metrics
        self._name, self._namespace, self._target, self._direction = key
        self._known: dict[tuple[str, str, bool], Count] = {}
        self._states: list[tuple[str, Count]] = []

    def _values(self, policy: str, status: str) -> tuple[str, ...]:
        return self._direction, self._name, self._namespace, policy, status, self._target

    def _count(self, policy: str, status: str, is_activation: bool) -> None:
        key = (policy, status, is_activation)
        found = self._known.get(key)
        if found is None:
            family = self._metrics.activated if is_activation else self._metrics.applied
            found = self._known[key] = family.get(*self._values(policy, status))
        found.value += 1

    def applied(self, has_timeout: bool, has_retry: bool, state: str | None) -> None:
        """An operation begins under policies; `state` is that of its breaker, if there is one."""
        if has_timeout:
            self._count(TIMEOUT, "", False)
        if has_retry:
            self._count(RETRY, "", False)
        if state is not None:
            self._count(CIRCUIT_BREAKER, state, False)
            if not self._states:
                get = self._metrics.state.get
                self._states = [(one, get(*self._values(CIRCUIT_BREAKER, one))) for one in STATES]
            for one, gauge in self._states:
                gauge.value = one == state

    def timed_out(self) -> None:
        """The time was up."""
        self._count(TIMEOUT, "", True)

    def retried(self) -> None:
        """An operation is tried again, for the first time."""
        self._count(RETRY, "", True)

    def changed(self, state: str) -> None:
        """The breaker is in another state now."""
        self._count(CIRCUIT_BREAKER, state, True)
