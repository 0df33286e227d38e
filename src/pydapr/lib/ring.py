"""Which of several hosts a key belongs to: a consistent hash, by which few keys move when a host comes or goes.

Used by `blocks.actors.table`. Every sidecar and the original (v1.18.3, `pkg/placement/hashing`) must find the same host
for the same key: hash, points and search are as there. A ring is worked out when it is first asked.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 2048
"""Keys per ring whose hosts are remembered."""


def hash_of(text: str) -> int:
    """Where a text stands on a ring: the first eight bytes of its BLAKE2b-512, the least significant first."""
    return int.from_bytes(blake2b(text.encode()).digest()[:8], "little")


class Points:
    """Where hosts stand on rings, worked out once for each. Each stands at `replicas` points."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self._of: dict[str, tuple[int, ...]] = {}

    def of(self, host: str) -> tuple[int, ...]:
        """The points of a host, by its name."""
        points = self._of.get(host)
        if points is None:
            points = self._of[host] = tuple([hash_of(f"{host}{number}") for number in range(self.replicas)])
        return points

    def keep(self, hosts: Iterable[str]) -> None:
        """Forgets all others."""
        kept = frozenset(hosts)
        self._of = {host: points for host, points in self._of.items() if host in kept}


class Ring:
    """The hosts of some names; there is one at least, and each has a point."""

    __slots__ = ("_found", "_owners", "_points", "_sorted", "hosts")

    def __init__(self, hosts: frozenset[str], points: Points) -> None:
        self.hosts = hosts
        self._points = points
        self._sorted: list[int] = []
        self._owners: dict[int, str] = {}
        self._found: dict[str, str] = {}

    def find(self, key: str) -> str:
        """The name of the host that `key` belongs to: of the first point at or behind its own, round the ring."""
        found = self._found.get(key)
        if found is not None:
            return found
        if not self._sorted:
            self._work_out()
        position = bisect_left(self._sorted, hash_of(key))
        owner = self._owners[self._sorted[position if position < len(self._sorted) else 0]]
        if len(self._found) >= REMEMBERED:
            self._found.clear()
        self._found[key] = owner
        return owner

    def _work_out(self) -> None:
        for host in sorted(self.hosts):  # in the same order everywhere, should two ever share a point
            self._owners.update(dict.fromkeys(self._points.of(host), host))
        self._sorted = sorted(self._owners)
