"""Limits of how many triggers are under way at a time: for an actor type, and for a concurrency key of one.

Used by `pool`. A limit is for all schedulers together, of which each has its share. What does not get through waits in
order at the gate that is full, and the next goes in as soon as one comes out. Rules are the original's (v1.18.3,
`pkg/scheduler/server/internal/pool`), except that a job waits at the gate which holds it up, and so holds up no other.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from pydapr.scheduler.metrics import Counts

MOST_PENDING = 100_000
"""How many wait for an actor type or a key; what comes beyond that fails."""

Key = tuple[str, str]
"""A namespace, and an actor type or `type:concurrency key`."""

T = TypeVar("T")


def share(limit: int, schedulers: int, position: int) -> int:
    """How many of `limit` one of the schedulers lets through: at least one, so that nothing starves."""
    if schedulers <= 1:
        return limit
    each, rest = divmod(limit, schedulers)
    return max(each + (position < rest), 1)


class Gate(Generic[T]):
    """How many are through, and who waits: things of the pool, with the gates that each has to pass."""

    def __init__(self, key: Key, limit: int) -> None:
        self.key, self.limit = key, limit
        self.holders = 0
        """Streams that ask for it."""
        self.inside = 0
        self.pending: OrderedDict[T, Sequence[Gate[T]]] = OrderedDict()
        self.waiting = 0
        """Those whose first gate this is, wherever they wait."""


class Gates(Generic[T]):
    """All gates. `let` is called with what waited and has passed all of its gates."""

    def __init__(self, counts: Counts, let: Callable[[T, Sequence[Gate[T]]], None]) -> None:
        self._counts = counts
        self._let = let
        self._gates: dict[Key, Gate[T]] = {}
        self._held: dict[object, Sequence[Key]] = {}
        self._where: dict[T, Gate[T]] = {}
        self._schedulers, self._position = 1, 0

    def set_limits(self, stream: object, limits: Mapping[Key, int]) -> list[T]:
        """Has a stream hold these limits, the last word counts; what waited for a limit that nobody holds any more."""
        before = self._held.pop(stream, ())
        if limits:
            self._held[stream] = tuple(limits)
        for key, limit in limits.items():
            gate = self._gates.get(key)
            if gate is None:
                gate = self._gates[key] = Gate(key, limit)
            gate.limit = limit
            gate.holders += 1
        freed = [one for key in before for one in self._let_go(key)]
        self._drain([self._gates[key] for key in limits])
        return freed

    def set_share(self, schedulers: int, position: int) -> None:
        """There are so many schedulers now, of which this is the one at `position`."""
        self._schedulers, self._position = max(schedulers, 1), position
        self.drain()

    def of(self, keys: Iterable[Key]) -> Sequence[Gate[T]]:
        """The gates in the way of something with these keys."""
        return [gate for key in keys if (gate := self._gates.get(key)) is not None] if self._gates else ()

    def enter(self, one: T, gates: Sequence[Gate[T]]) -> bool | None:
        """Whether `one` is through; if not it waits. None when there is no room to wait."""
        full = self._full(gates)
        if full is None:
            self._go_in(gates)
            return True
        self._counts.throttled.get(full.key[1]).value += 1
        if gates[0].waiting >= MOST_PENDING:
            return None
        full.pending[one] = gates
        self._where[one] = full
        self._count_pending(gates[0], 1)
        return False

    def leave(self, gates: Sequence[Gate[T]]) -> None:
        """One that was through has come out of these, and others go in."""
        self.go_back(gates)
        self._drain(gates)

    def go_back(self, gates: Sequence[Gate[T]]) -> None:
        """One that was just let through could not go on; that is no reason for others to try."""
        for gate in gates:
            gate.inside -= 1
            self._counts.in_flight.get(gate.key[1]).inc(-1)

    def forget(self, one: T) -> None:
        """`one` does not want to pass any more."""
        full = self._where.pop(one, None)
        if full is not None:
            self._count_pending(full.pending.pop(one)[0], -1)

    def drain(self) -> None:
        """Lets in who can go in."""
        self._drain(list(self._gates.values()))

    def _full(self, gates: Iterable[Gate[T]]) -> Gate[T] | None:
        for gate in gates:
            if gate.inside >= share(gate.limit, self._schedulers, self._position):
                return gate
        return None

    def _go_in(self, gates: Iterable[Gate[T]]) -> None:
        for gate in gates:
            gate.inside += 1
            # Added up: namespaces may have types and keys of the same name.
            self._counts.in_flight.get(gate.key[1]).inc()

    def _count_pending(self, gate: Gate[T], by: int) -> None:
        gate.waiting += by
        self._counts.pending.get(gate.key[1]).inc(by)

    def _drain(self, gates: Iterable[Gate[T]]) -> None:
        for gate in gates:
            while gate.pending and self._full((gate,)) is None:
                one, ways = gate.pending.popitem(last=False)
                full = self._full(ways)
                if full is not None:
                    full.pending[one] = ways
                    self._where[one] = full
                    continue
                del self._where[one]
                self._count_pending(ways[0], -1)
                self._go_in(ways)
                self._let(one, ways)

    def _let_go(self, key: Key) -> list[T]:
        """A stream does not hold this limit any more; what has waited for it if nobody does."""
        gate = self._gates[key]
        gate.holders -= 1
        if gate.holders:
            return []
        del self._gates[key]
        freed = list(gate.pending)
        for one in freed:
            self.forget(one)
        return freed
