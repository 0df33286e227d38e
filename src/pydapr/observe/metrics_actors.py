"""Metrics of actors; names and labels are the original's (v1.18.3, `pkg/diagnostics/service_monitoring.go`).

What the original declares and never counts (status reports, table operations, the number of reminders) is not here.
Recorded by `blocks.actors`.
"""

from pydapr.observe.metrics import Count, Registry


class ActorMetrics:
    """Records."""

    def __init__(self, registry: Registry) -> None:
        name = "dapr_runtime_actor_"
        self._rebalanced = registry.counter(
            name + "rebalanced_total", "The number of the actor rebalance requests.", "app_id", "actor_type"
        )
        self._deactivated = registry.counter(
            name + "deactivated_total", "The number of the successful actor deactivation.", "app_id", "actor_type"
        )
        self._not_deactivated = registry.counter(
            name + "deactivated_failed_total", "The number of the failed actor deactivation.", "app_id", "actor_type"
        )
        self._pending = registry.gauge(
            name + "pending_actor_calls",
            "The number of pending actor calls waiting to acquire the per-actor lock.",
            "app_id", "actor_type",
        )  # fmt: skip
        self._timers = registry.gauge(name + "timers", "The number of actor timer requests.", "app_id", "actor_type")
        self._timers_fired = registry.counter(
            name + "timers_fired_total", "The number of actor timers fired requests.",
            "app_id", "actor_type", "success",
        )  # fmt: skip
        self._reminders_fired = registry.counter(
            name + "reminders_fired_total", "The number of actor reminders fired requests.",
            "app_id", "actor_type", "success",
        )  # fmt: skip

    def pending(self, actor_type: str) -> Count:
        """How many calls of a type wait for the turn of their actor; changed by who has them wait, which keeps it."""
        return self._pending.get(actor_type)

    def halted(self, actor_type: str) -> None:
        """An actor has to go, for whatever reason."""
        self._rebalanced.get(actor_type).inc()

    def deactivated(self, actor_type: str, is_success: bool) -> None:
        """The app was told that an actor is gone, or could not be told."""
        (self._deactivated if is_success else self._not_deactivated).get(actor_type).inc()

    def timers(self, actor_type: str, present: int) -> None:
        """How many timers actors of a type have now."""
        self._timers.get(actor_type).set(present)

    def timer_fired(self, actor_type: str, is_success: bool) -> None:
        self._timers_fired.get(actor_type, _SUCCESS[is_success]).inc()

    def reminder_fired(self, actor_type: str, is_success: bool) -> None:
        self._reminders_fired.get(actor_type, _SUCCESS[is_success]).inc()


_SUCCESS = {True: "true", False: "false"}
