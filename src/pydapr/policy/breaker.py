"""The circuit breaker: a state machine that spares a failing target. The time is an argument.

    closed ──tripped──▶ open ──rested──▶ half-open ──proved──▶ closed
                         ▲                   │
                         └──────failed───────┘

`policy.runner` calls `enter` before an operation and `leave` after it. States, counts and their moments are
those of gobreaker, which the original uses (v1.18.3, `pkg/resiliency/breaker`).
"""

from __future__ import annotations

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"

TRIPPED, RESTED, PROVED, FAILED = "tripped", "rested", "proved", "failed"

TRANSITIONS = {
    (CLOSED, TRIPPED): OPEN,
    (OPEN, RESTED): HALF_OPEN,
    (HALF_OPEN, PROVED): CLOSED,
    (HALF_OPEN, FAILED): OPEN,
}
"""All that can happen; whatever else is told changes nothing."""

DEFAULT_TIMEOUT = 60.0


class Refused(Exception):
    """The breaker did not let an operation begin; trying again soon does not help."""


class Open(Refused):
    """The target is spared."""

    def __init__(self) -> None:
        super().__init__("circuit breaker is open")


class TooMany(Refused):
    """As many operations as may try the target are under way already."""

    def __init__(self) -> None:
        super().__init__("too many requests")


class Counts:
    """What has happened since the state began, or since the last `interval`."""

    __slots__ = ("consecutive_failures", "consecutive_successes", "requests", "total_failures", "total_successes")

    def __init__(
        self,
        requests: int = 0,
        total_successes: int = 0,
        total_failures: int = 0,
        consecutive_successes: int = 0,
        consecutive_failures: int = 0,
    ) -> None:
        self.requests = requests
        self.total_successes = total_successes
        self.total_failures = total_failures
        self.consecutive_successes = consecutive_successes
        self.consecutive_failures = consecutive_failures

    def add(self, is_success: bool) -> None:
        if is_success:
            self.total_successes += 1
            self.consecutive_successes += 1
            self.consecutive_failures = 0
        else:
            self.total_failures += 1
            self.consecutive_failures += 1
            self.consecutive_successes = 0


def more_than_five(counts: Counts) -> bool:
    """What trips a breaker that does not say it."""
    return counts.consecutive_failures > 5


class Rules(Record):
    """A circuit breaker as a resource describes it. Seconds; an `interval` of 0 is for ever."""

    name: str
    max_requests: int = 1
    interval: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    trip: Callable[[Counts], bool] = more_than_five


class Breaker:
    """One target's breaker. `changed` hears its name, the state before and the state after each change."""

    __slots__ = ("_changed", "_counts", "_expiry", "_generation", "_rules", "_state", "name")

    def __init__(self, name: str, rules: Rules, changed: Callable[[str, str, str], None], now: float) -> None:
        self.name = name
        self._rules = rules
        self._changed = changed
        self._state = CLOSED
        self._generation = 0
        self._begin_counting(now)

    def state(self, now: float) -> str:
        self._pass_time(now)
        return self._state

    def enter(self, now: float) -> int:
        """Before an operation. What it returns goes to `leave`. Raises `Refused`."""
        self._pass_time(now)
        if self._state is OPEN:
            raise Open
        if self._state is HALF_OPEN and self._counts.requests >= self._rules.max_requests:
            raise TooMany
        self._counts.requests += 1
        return self._generation

    def leave(self, generation: int, is_success: bool, now: float) -> None:
        """After the operation. What began before the last change of state no longer counts."""
        self._pass_time(now)
        if generation != self._generation:
            return
        self._counts.add(is_success)
        event = self._event(is_success)
        if event:
            self._happen(event, now)

    def _event(self, is_success: bool) -> str:
        if self._state is CLOSED:
            return TRIPPED if not is_success and self._rules.trip(self._counts) else ""
        if not is_success:
            return FAILED
        return PROVED if self._counts.consecutive_successes >= self._rules.max_requests else ""

    def _pass_time(self, now: float) -> None:
        if self._expiry is None or now <= self._expiry:
            return
        if self._state is OPEN:
            self._happen(RESTED, now)
        else:
            self._begin_counting(now)

    def _happen(self, event: str, now: float) -> None:
        before, self._state = self._state, TRANSITIONS[self._state, event]
        self._begin_counting(now)
        self._changed(self.name, before, self._state)

    def _begin_counting(self, now: float) -> None:
        self._generation += 1
        self._counts = Counts()
        self._expiry: float | None = None
        if self._state is OPEN:
            self._expiry = now + self._rules.timeout
        elif self._state is CLOSED and self._rules.interval > 0:
            self._expiry = now + self._rules.interval


class Cache:
    """The breakers of one app or actor type; beyond `size` the one not asked for longest is forgotten."""

    __slots__ = ("_breakers", "_size")

    def __init__(self, size: int) -> None:
        self._breakers: dict[str, Breaker] = {}
        self._size = size

    def __len__(self) -> int:
        return len(self._breakers)

    def get(self, key: str, make: Callable[[str], Breaker]) -> Breaker:
        found = self._breakers.pop(key, None) or make(key)
        if len(self._breakers) >= self._size:
            del self._breakers[next(iter(self._breakers))]
        self._breakers[key] = found
        return found
