"""What placement has said of who hosts what, and what of it may be gone by now. Pure; used by `placed`.

Placement has all sidecars of a namespace change from one table to the next in steps, each of which all of them have
taken before the next begins: a round is announced; the new table comes (`update`), and who hosts what others will be
given lets it go; all have done so (`unlock`). In between, an actor that moves is nobody's: its type is blocked, but for
those that stay where they are. That no actor is in two places rests on three rules. A type is blocked from the moment
its hosts change. An actor of it counts as staying only if it has had the same host in every table since the last
`unlock`. After `drop` nothing is known: who was away cannot tell what others were given meanwhile, so that all types
are blocked until the next `unlock`. (The original, v1.18.3, `pkg/actors/internal/placement/loops/disseminator`, blocks
whole types, and compares with the table from before it was away.)
"""

from __future__ import annotations

from pydapr.lib.ring import Points, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Blocked(Exception):
    """It is not settled now where the actor is."""


class Table:
    """The table in force. `look_up` is cheap, everything else is for when placement says something."""

    def __init__(self) -> None:
        self._types: dict[str, tuple[Ring, Mapping[str, str]]] = {}
        self._before: dict[str, list[Ring | None]] = {}
        """By blocked type, the rings that it had since the last `unlock`, None for none."""
        self._points = Points(0)
        self.is_known = False
        """Whether there is a table."""

    def look_up(self, actor_type: str, actor_id: str) -> tuple[str, str] | None:
        """Name and app id of the host of an actor; None when nobody hosts its type. Raises `Blocked`."""
        if not self.is_known:
            raise Blocked
        found = self._types.get(actor_type)
        before = self._before.get(actor_type) if self._before else None
        if found is None:
            if before is not None:
                raise Blocked
            return None
        ring, hosts = found
        name = ring.find(actor_id)
        if before is not None:
            for earlier in before:
                if earlier is None or earlier.find(actor_id) != name:
                    raise Blocked
        return name, hosts[name]

    def find(self, actor_type: str, actor_id: str) -> str | None:
        """The name of the host of an actor by the newest table, settled or not; None when there is none."""
        found = self._types.get(actor_type)
        return None if found is None else found[0].find(actor_id)

    def update(self, members: Mapping[str, Mapping[str, str]], replicas: int) -> list[str]:
        """Takes a new table over: for each type the names of its hosts, with the app id of each.

        Returns the types whose hosts are others than before, sorted; they are blocked now."""
        old, self._types = self._types, {}
        rings = {ring.hosts: ring for ring, _ in old.values()}
        if replicas != self._points.replicas:
            self._points, rings = Points(replicas), {}  # the same hosts at other points: everything may have moved
        for actor_type, hosts in members.items():
            names = frozenset(hosts)
            if not names or replicas < 1:
                continue  # nobody can be found for it
            ring = rings.get(names)
            if ring is None:
                ring = rings[names] = Ring(names, self._points)
            self._types[actor_type] = ring, hosts
        changed = [name for name in {**old, **self._types} if old.get(name) != self._types.get(name)]
        for name in changed:
            self._before.setdefault(name, []).append(old[name][0] if name in old else None)
        self.is_known = True
        self._points.keep({name for ring, _ in self._types.values() for name in ring.hosts})
        return sorted(changed)

    def unlock(self) -> list[str]:
        """Everybody has let go what has moved. The types that were blocked, sorted; they are no longer."""
        released = sorted(self._before)
        self._before = {}
        return released

    def drop(self) -> None:
        """Nothing is known any more."""
        self._types, self._before, self.is_known = {}, {}, False
