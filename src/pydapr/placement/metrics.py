"""What placement counts. Made by `runtime`; names are the original's."""

from collections.abc import Callable, Iterable, Mapping

from pydapr.observe import metrics, metrics_process

Counts = Callable[[], Mapping[str, tuple[int, int]]]
"""Sidecars of each namespace, and those of them that host actors."""


class Metrics:
    """The metrics of placement. The registry is what the metrics port shows."""

    def __init__(self, counts: Counts) -> None:
        self.registry = registry = metrics.Registry()
        registry.add(metrics_process.samples)
        registry.add(self._refresh)
        self._counts = counts
        self._shown: set[metrics.Count] = set()
        self._runtimes = registry.gauge(
            "dapr_placement_runtimes_total",
            "The total number of runtimes reported to placement service.",
            "host_namespace",
        )
        self._actor_runtimes = registry.gauge(
            "dapr_placement_actor_runtimes_total",
            "The total number of actor runtimes reported to placement service.",
            "host_namespace",
        )
        self._leader = registry.gauge(
            "dapr_placement_leader_status",
            "Placement server leadership status (1 for leader, 0 for not leader).",
        ).get()
        self._raft_leader = registry.gauge(
            "dapr_placement_raft_leader_status",
            "Raft server leadership status (1 for leader, 0 for not leader).",
        ).get()

    def leads(self, is_leading: bool) -> None:
        """Whether this process leads from now on."""
        self._leader.set(is_leading)
        self._raft_leader.set(is_leading)

    def _refresh(self) -> Iterable[metrics.Sample]:
        """Counts when somebody looks. A namespace that once was stays, with nobody in it."""
        for series in self._shown:
            series.set(0)
        for name, numbers in self._counts().items():
            for family, number in zip((self._runtimes, self._actor_runtimes), numbers, strict=True):
                series = family.get(name)  # the same for all that are beyond the bound
                series.inc(number)
                self._shown.add(series)
        return ()
