"""When a circuit breaker trips: an expression of CEL over its counts becomes a function.

An expression that has no value, because a name in it is unknown or a divisor is zero, does not trip.
"""

from __future__ import annotations

from pydapr.lib import cel
from pydapr.policy.breaker import Counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Trip = Callable[[Counts], bool]

NAMES = {
    "requests": "requests",
    "totalSuccesses": "total_successes",
    "totalFailures": "total_failures",
    "consecutiveSuccesses": "consecutive_successes",
    "consecutiveFailures": "consecutive_failures",
}
"""What a rule calls a count, and what `Counts` calls it."""

Invalid = cel.Invalid
"""The expression cannot be compiled."""


def compile(expression: str) -> Trip:
    """The function that says whether to trip. Raises `Invalid`."""
    rule = cel.compile(expression)

    def trip(counts: Counts) -> bool:
        try:
            return rule({name: getattr(counts, slot) for name, slot in NAMES.items()}) is True
        except cel.Failed:
            return False

    return trip
