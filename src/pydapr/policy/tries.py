"""The tries of one operation: their pauses, and the log lines of the first failure and of the recovery.

Called by `policy.runner`, and by `blocks.invoke` for the built-in retries.
"""

from __future__ import annotations

from pydapr.lib import durations
from pydapr.observe import logging
from pydapr.policy import retry

log = logging.get("dapr.runtime")


class Tries:
    """Counts the retries of an operation that is tried since `began`; `name` is for the log."""

    __slots__ = ("_name", "_schedule", "retries")

    def __init__(self, name: str, policy: retry.Retry, began: float) -> None:
        self._name = name
        self._schedule = retry.Schedule(policy, began)
        self.retries = 0

    def after_failure(self, now: float, chance: float, error: Exception) -> float | None:
        """Seconds until the next try, None when there is none. `chance` is between 0 and 1."""
        pause = self._schedule.after_failure(now, chance)
        if pause is None:
            return None
        self.retries += 1
        if self.retries == 1:
            log.warning(f"Error processing operation {self._name}. Retrying in {durations.text(pause)}…")
            log.debug(f"Error for operation {self._name} was: {error}")
        return pause

    def succeeded(self) -> None:
        if self.retries:
            log.info(f"Recovered processing operation {self._name} after {self.retries + 1} attempts")
