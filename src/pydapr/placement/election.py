"""Which member of a cluster leads: by promises that hold for a while, of which a leader needs most members'.

Pure: requests and answers in, requests out, with the time as an argument. Driven by `cluster`. Nothing is stored and
there is no log, since a leader's tables are made of what sidecars report (docs/decisions/010).

- A member promises itself to one member at a time, for `PROMISE` seconds from when it is asked, and to no other before.
- Who has the promises of more than half, its own among them, leads for `LEASE` seconds from when it *asked*, which is
  shorter by what clocks may differ in speed. A leader keeps asking. Without answers its time is over before the first
  of those promises is, so that there are never two.
- A member that has just started may have promised something before and forgotten it: it promises nothing, and asks for
  nothing, for `PROMISE` seconds.
- Before it asks for promises a member asks whether it would get them (`PROBE`), so that several who try at once do not
  bind each other in vain. A promise that was of no use is given back (`RELEASE`), as it is by a leader that ends.
"""

from collections.abc import Callable, Iterable

from pydapr.lib.record import Record

PROMISE = 2.0
LEASE = 0.9 * PROMISE
ASK_AGAIN = 0.4
"""Seconds between the questions of a leader."""

PATIENCE = 0.8
"""Seconds in which an attempt to lead has to succeed."""

SPREAD = 0.5
"""Seconds by which members differ in when they try."""

PROBE, ASK, RELEASE = "probe", "ask", "release"


class Request(Record):
    """What one member asks of another. `run` is different each time that the member is started, `count` grows."""

    kind: str
    sender: str
    run: str
    count: int


class Promise(Record):
    """To whom, because of which request, and until when by our clock."""

    sender: str
    run: str
    count: int
    until: float


FOLLOWING, PROBING, ASKING, LEADING = "following", "probing", "asking", "leading"


class Election:
    """One member, `me`. `random` gives numbers between 0 and 1."""

    def __init__(self, me: str, members: Iterable[str], run: str, now: float, random: Callable[[], float]) -> None:
        self._me, self._run = me, run
        self._members = frozenset(members)
        self._others = tuple(sorted(self._members - {me}))
        self._random = random
        self._promise: Promise | None = None
        self._silent_until = now + PROMISE if self._others else now
        self._state = FOLLOWING
        self._is_over = False
        self._count = 0
        self._asked: dict[int, float] = {}
        """When what was asked whose answers still count."""
        self._agreed: dict[int, set[str]] = {}
        self._lease_until = float("-inf")
        self._due = self._silent_until + self._later()

    # -- what is known --

    def leads(self, now: float) -> bool:
        """Whether this member leads, and no other can."""
        return self._state == LEADING and (not self._others or now < self._lease_until)

    @property
    def due(self) -> float:
        """When `tick` has something to do."""
        return min(self._due, self._lease_until) if self._state == LEADING and self._others else self._due

    # -- events --

    def tick(self, now: float) -> list[Request]:
        """Time has passed. The requests are for all other members."""
        if self._state == LEADING:
            return self._lead_on(now)
        if now < self._due:
            return []
        if self._state in (PROBING, ASKING):
            return self._give_up(now)
        bound_until = self._bound_until(now)
        if bound_until > now:
            self._due = bound_until + self._later()
            return []
        self._state = PROBING
        self._due = now + PATIENCE
        return self._ask(PROBE, now)

    def requested(self, request: Request, now: float) -> bool:
        """The answer to another member."""
        if request.sender not in self._members or request.sender == self._me:
            return False
        if request.kind == RELEASE:
            return self._release(request, now)
        if self._bound_until(now, (request.sender, request.run)) > now:
            return False
        if request.kind == PROBE:
            return True
        held = self._promise
        if held is not None and held.run == request.run and held.count > request.count and held.until > now:
            return True  # an older question that comes late; the promise holds for longer already
        if self._state in (PROBING, ASKING):
            self._state = FOLLOWING
            self._forget()
        self._promise = Promise(request.sender, request.run, request.count, now + PROMISE)
        if self._state == FOLLOWING:
            self._due = now + PROMISE + self._later()
        return True

    def answered(self, request: Request, sender: str, agrees: bool, now: float) -> list[Request]:
        """What another member says to a request of ours."""
        agreed = self._agreed.get(request.count)
        if agreed is None or not agrees or sender not in self._members:
            return []
        agreed.add(sender)
        if 2 * len(agreed) <= len(self._members):
            return []
        asked_at = self._asked[request.count]
        self._forget(request.count)
        if self._state == PROBING:
            self._state, self._due = ASKING, now + PATIENCE
            return self._ask(ASK, now)
        if self._state == ASKING and now < asked_at + LEASE:
            self._state = LEADING
            self._lease_until = asked_at + LEASE
            self._due = now + ASK_AGAIN
        elif self._state == LEADING and now < self._lease_until:
            self._lease_until = max(self._lease_until, asked_at + LEASE)
        return []

    def resign(self, now: float) -> list[Request]:
        """Leads no longer and never again, and lets others lead at once."""
        self._is_over = True
        if self._state == FOLLOWING:
            self._due = float("inf")
            return []
        return self._give_up(now)

    # -- steps --

    def _lead_on(self, now: float) -> list[Request]:
        if not self._others:
            self._due = float("inf")
            return []
        if now >= self._lease_until:
            return self._give_up(now)
        if now < self._due:
            return []
        self._due = now + ASK_AGAIN
        return self._ask(ASK, now)

    def _ask(self, kind: str, now: float) -> list[Request]:
        self._count += 1
        if kind == ASK:
            self._promise = Promise(self._me, self._run, self._count, now + PROMISE)
        self._asked[self._count] = now
        self._agreed[self._count] = {self._me}
        if not self._others:
            self._forget()
            self._state, self._due = LEADING, float("inf")
            return []
        for old in [count for count, asked_at in self._asked.items() if asked_at + LEASE < now]:
            self._drop(old)
        return [Request(kind, self._me, self._run, self._count)]

    def _give_up(self, now: float) -> list[Request]:
        """Follows again. Nobody needs to keep what it has promised: we count no answer any more."""
        was = self._state
        self._state = FOLLOWING
        self._forget()
        self._lease_until = float("-inf")
        if self._promise is not None and self._promise.sender == self._me:
            self._promise = None
        self._due = max(now, self._bound_until(now)) + self._later()
        return [] if was == PROBING else [Request(RELEASE, self._me, self._run, self._count)]

    def _release(self, request: Request, now: float) -> bool:
        held = self._promise
        if held is None or (held.sender, held.run) != (request.sender, request.run) or held.count > request.count:
            return False
        self._promise = None
        if self._state == FOLLOWING:
            self._due = max(now, self._silent_until) + self._later()
        return True

    def _bound_until(self, now: float, asker: tuple[str, str] | None = None) -> float:
        """Until when nothing can be promised to `asker`, a member and its run; in the past if it can."""
        held = self._promise
        if held is None or held.until <= now or (held.sender, held.run) == asker:
            return self._silent_until
        return max(held.until, self._silent_until)

    def _forget(self, up_to: int | None = None) -> None:
        """Answers to these questions count no more."""
        for count in [one for one in self._asked if up_to is None or one <= up_to]:
            self._drop(count)

    def _drop(self, count: int) -> None:
        del self._asked[count], self._agreed[count]

    def _later(self) -> float:
        if self._is_over:
            return float("inf")
        return self._random() * SPREAD if self._others else 0.0
