"""What the sidecars of one namespace are ordered, so that all of them go by one table of who hosts which actors.

Pure: events in (`join`, `report`, `leave`, `tick`), with the time as an argument; what to send and whom to close out.
Driven by `namespaces`. The protocol is the original's (v1.18.3): a round takes all sidecars through LOCK, UPDATE (which
carries the table) and UNLOCK, each begun when all have acknowledged the one before.

- What changes during LOCK goes into the table of that round; what changes later makes another round follow at once.
  When rounds have followed each other for long, because a sidecar does not stop changing, they are set apart: actors
  are called between them.
- A sidecar may take `timeout` in one round, all its waiting summed up. One that takes longer is closed, and a new
  round begins with the others. It may come back; the more often this happened, the longer it waits until others
  have to wait for it again.
- Without types of actors a sidecar changes nothing: it is sent the table of the last round, and acknowledges from the
  next round on.
- Sidecars that come back to a placement that knows of nobody yet have followed another one, and may host what that has
  given them: the first round waits a moment for the rest of them, so that nobody is given it before they let it go.
- Of several sidecars at the same place the newest counts. Nobody waits for the others, which are gone as a rule.
- Versions only grow.
"""

from collections.abc import Iterator, Sequence

from pydapr.lib.record import Record

UNKNOWN, REPORT, LOCK, UPDATE, UNLOCK = range(5)
"""What a sidecar reports, by the numbers of the protocol. UNKNOWN acknowledges whatever is due: so old ones do."""

WORDS = {LOCK: "lock", UPDATE: "update", UNLOCK: "unlock"}
"""What is ordered."""

LEAST_SHARE = 0.125
"""What part of `timeout` each phase leaves to a sidecar that was slow in those before."""

LEAST_REST, MOST_REST = 0.02, 1.0
"""A round costs those that wait for it as long as it lasts; it counts as so many seconds at least, and at most."""

ALLOWANCE = 1.0
"""Seconds of rounds that may follow each other without a rest; of more, others have as long between rounds."""

RETURN_SECONDS = 1.0
"""How long the first round waits for sidecars that come back. They try again after three quarters of a second."""

LONGEST_WAIT = 8
"""How many times `timeout` a sidecar that does not acknowledge waits at most before it is let in again."""

FORGET = 64
"""How many times `timeout` it takes until that is forgotten."""

MOST_STRIKES = 10_000

_EARLY = 1e-6
"""Seconds by which a timer may come before it is due."""


class Host(Record):
    """A sidecar as it reports itself."""

    name: str
    """Where it is reached."""
    id: str
    """Of its app."""
    entities: tuple[str, ...] = ()
    """Types of actors, sorted."""
    port: int = 0
    load: int = 0
    pod: str = ""
    api_level: int = 0
    operation: int = REPORT
    returns: bool = False
    """Whether it has followed a placement before."""


class Table(Record):
    """What a round tells everybody."""

    version: int
    hosts: tuple[Host, ...]
    """Those with types of actors."""


class Order(Record):
    """One order to many streams; UPDATE has a table."""

    operation: int
    version: int
    streams: Sequence[int]
    table: Table | None = None


class Close(Record):
    """Streams that have not acknowledged this version in time."""

    streams: Sequence[int]
    version: int


Action = Order | Close


class _Member:
    """A stream that takes part in rounds."""

    __slots__ = ("host", "spent")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.spent = 0.0
        """Seconds that others have waited for it in this round."""


class _Waiting:
    """A stream that has come, and takes part when the next round begins."""

    __slots__ = ("host", "not_before")

    def __init__(self, host: Host, not_before: float) -> None:
        self.host = host
        self.not_before = not_before


class _Strikes:
    """How often a sidecar has not acknowledged in time, and until when that is remembered."""

    __slots__ = ("count", "until")

    def __init__(self) -> None:
        self.count = 0
        self.until = 0.0


class Rounds:
    """One namespace. Streams have numbers that the caller gives."""

    def __init__(self, timeout: float, window: float) -> None:
        self._timeout, self._window = timeout, window
        self._members: dict[int, _Member] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._places: dict[str, list[int]] = {}
        """The members at each place, the newest last."""
        self._strikes: dict[tuple[str, str], _Strikes] = {}
        self._phase = REPORT
        self._awaited: set[int] = set()
        self._asked_at = self._phase_due = 0.0
        self._closed_until = float("-inf")
        """No round begins before, so that changes gather."""
        self._began_at = self._ended_at = float("-inf")
        self._debt = 0.0
        """Seconds of rounds for which there was no rest yet."""
        self._is_changed = False
        """Whether there is something that the table of the last round does not say."""
        self._version = 0
        self._table = Table(0, ())

    # -- events --

    def join(self, stream: int, host: Host, now: float) -> list[Action]:
        """A sidecar has come."""
        if host.returns and self._version == 0 and self._closed_until < now:
            self._closed_until = now + RETURN_SECONDS
        self._waiting[stream] = _Waiting(host, now + self._penalty(host, now))
        return self._go_on(now)

    def leave(self, stream: int, now: float) -> list[Action]:
        """A stream has ended; also good for one that is not known any more."""
        waiting = self._waiting.pop(stream, None)
        if waiting is not None:
            # The original makes a round of it, and others may count on seeing one.
            self._is_changed = self._is_changed or (bool(waiting.host.entities) and now >= waiting.not_before)
            return self._go_on(now)
        if stream not in self._members:
            return []
        self._remove(stream)
        if self._phase == REPORT:
            return self._go_on(now)
        return self._advance(now)

    def report(self, stream: int, operation: int, version: int | None, host: Host, now: float) -> list[Action]:
        """A sidecar has said something after its first message."""
        waiting = self._waiting.get(stream)
        if waiting is not None:
            if operation <= REPORT:
                waiting.host = host
            return []
        member = self._members.get(stream)
        if member is None or (version is not None and version < self._version):
            return []
        if operation == UNKNOWN:
            operation = self._phase
        if operation == REPORT:
            self._change(stream, member, host)
            return self._go_on(now)
        if operation != self._phase or stream not in self._awaited or version not in (None, self._version):
            return []
        self._awaited.discard(stream)
        member.spent += now - self._asked_at
        if operation == UNLOCK:
            self._strikes.pop((member.host.id, member.host.name), None)
        return self._advance(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed: to be called at `due`, or whenever."""
        if self._phase == REPORT:
            return self._go_on(now)
        if now < self._phase_due - _EARLY:
            return []
        late = [stream for stream in self._awaited if now >= self._due_of(stream) - _EARLY]
        if not late:
            self._phase_due = min(map(self._due_of, self._awaited))
            return []
        return [Close(tuple(sorted(late)), self._version), *self._restart(late, now)]

    @property
    def due(self) -> float | None:
        """When `tick` has something to do, as far as is known."""
        if self._phase != REPORT:
            return self._phase_due
        times = [waiting.not_before for waiting in self._waiting.values()]
        if self._is_changed and self._members:
            times.append(self._closed_until)
        return max(min(times), self._closed_until) if times else None

    # -- what is known --

    @property
    def version(self) -> int:
        return self._version

    @property
    def streams(self) -> int:
        """How many there are."""
        return len(self._members) + len(self._waiting)

    @property
    def actor_streams(self) -> int:
        """How many of them host types of actors."""
        return sum(bool(one.host.entities) for of in (self._members, self._waiting) for one in of.values())

    def hosts(self) -> tuple[Host, ...]:
        """The sidecars that host types of actors now, by name."""
        found = [one.host for stream, one in self._members.items() if one.host.entities and self._counts(stream)]
        found.sort(key=lambda host: host.name)
        return tuple(found)

    # -- rounds --

    def _go_on(self, now: float) -> list[Action]:
        """Lets in who waits, and begins a round if there is something to tell."""
        if self._phase != REPORT or now < self._closed_until - _EARLY:
            return []
        come = self._let_in(now)
        if self._is_changed and self._members:
            return self._begin(now)
        if not come:
            return []
        table = self._table
        return [Order(LOCK, self._version, come), Order(UPDATE, self._version, come, table),
                Order(UNLOCK, self._version, come)]  # fmt: skip

    def _begin(self, now: float) -> list[Action]:
        self._version += 1
        self._began_at = now
        for member in self._members.values():
            member.spent = 0.0
        return [*self._ask(LOCK, now), *self._advance(now)]

    def _ask(self, phase: int, now: float) -> Iterator[Action]:
        """Orders it of all; the phase lasts until those that count have acknowledged."""
        self._phase = phase
        self._awaited = set(filter(self._counts, self._members))
        self._asked_at = now
        spent = max((self._members[stream].spent for stream in self._awaited), default=0.0)
        self._phase_due = now + self._left(spent)
        yield Order(phase, self._version, tuple(self._members), self._table if phase == UPDATE else None)

    def _advance(self, now: float) -> list[Action]:
        """Goes on from phase to phase as long as nobody is waited for."""
        actions: list[Action] = []
        while self._phase != REPORT and not self._awaited:
            if not self._members:
                self._end(now)
            elif self._phase == LOCK:
                self._table, self._is_changed = Table(self._version, self.hosts()), False
                actions += self._ask(UPDATE, now)
            elif self._phase == UPDATE:
                actions += self._ask(UNLOCK, now)
            else:
                self._end(now)
        if self._phase == REPORT:
            actions += self._go_on(now)
        return actions

    def _end(self, now: float) -> None:
        self._phase = REPORT
        rested = max(self._began_at - self._ended_at, 0.0)
        lasted = min(max(now - self._began_at, LEAST_REST), MOST_REST)
        self._debt = max(self._debt - rested, 0.0) + lasted
        self._ended_at = now
        self._closed_until = now + max(self._window, self._debt - ALLOWANCE)

    def _restart(self, late: Sequence[int], now: float) -> Iterator[Action]:
        """A new round without those who hold the others up."""
        for stream in late:
            self._strike(self._members[stream].host, now)
            self._remove(stream)
        self._phase = REPORT
        self._awaited.clear()
        self._let_in(now)
        self._is_changed = True
        if self._members:
            yield from self._begin(now)

    def _due_of(self, stream: int) -> float:
        return self._asked_at + self._left(self._members[stream].spent)

    def _left(self, spent: float) -> float:
        """How long a sidecar may take in this phase that has taken `spent` in those before."""
        return max(self._timeout - spent, self._timeout * LEAST_SHARE)

    # -- members --

    def _let_in(self, now: float) -> tuple[int, ...]:
        """Makes members of those that have waited long enough."""
        come = tuple(stream for stream, one in self._waiting.items() if now >= one.not_before - _EARLY)
        for stream in come:
            host = self._waiting.pop(stream).host
            self._members[stream] = _Member(host)
            self._place(stream, host)
            self._is_changed = self._is_changed or bool(host.entities)
        return come

    def _change(self, stream: int, member: _Member, host: Host) -> None:
        """Takes over what a member says of itself."""
        before, member.host = member.host, host
        if before.name != host.name or before.id != host.id:
            self._unplace(stream, before)
            self._place(stream, host)
        elif before.entities == host.entities or not self._counts(stream):
            return
        self._is_changed = self._is_changed or bool(before.entities or host.entities)

    def _remove(self, stream: int) -> None:
        self._awaited.discard(stream)
        host = self._members.pop(stream).host
        self._unplace(stream, host)
        self._is_changed = self._is_changed or bool(host.entities)

    def _place(self, stream: int, host: Host) -> None:
        if host.name:
            self._places.setdefault(host.name, []).append(stream)

    def _unplace(self, stream: int, host: Host) -> None:
        others = self._places.get(host.name)
        if others is not None:
            others.remove(stream)
            if not others:
                del self._places[host.name]

    def _counts(self, stream: int) -> bool:
        """Whether it is the newest at its place. Who has not said where it is counts always."""
        name = self._members[stream].host.name
        return not name or self._places[name][-1] == stream

    # -- those who have not acknowledged in time before --

    def _strike(self, host: Host, now: float) -> None:
        if len(self._strikes) >= MOST_STRIKES:
            self._strikes = {who: one for who, one in self._strikes.items() if one.until > now}
        if len(self._strikes) < MOST_STRIKES:
            one = self._strikes.setdefault((host.id, host.name), _Strikes())
            one.count += 1
            one.until = now + FORGET * self._timeout

    def _penalty(self, host: Host, now: float) -> float:
        """How long a sidecar that comes again waits: not at all for the first time."""
        one = self._strikes.get((host.id, host.name))
        if one is None or one.until < now:
            return 0.0
        if one.count < 2:
            return 0.0
        return self._timeout * min(1 << min(one.count - 2, LONGEST_WAIT), LONGEST_WAIT)
