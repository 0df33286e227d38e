"""The sidecars that take jobs: who gets which, what became of it, and what waits for somebody to take it.

Called by `engine` with what is due, and by `watching` with streams and the results that come on them. Streams that take
the same jobs get them in turn. What nobody takes now waits: because nobody is there, because those who are there do not
keep up, or at a gate (`gates`). A stream that ends gives back what it has not answered, which goes to others at once.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from pydapr.observe import logging
from pydapr.scheduler import gates, metrics
from pydapr.wire import grpc

log = logging.get("dapr.scheduler.server.pool")

MOST_UNANSWERED = 10_000
"""Jobs that a stream has at a time; more wait here."""

MOST_UNSENT = 1 << 20
"""Bytes that wait to be sent on one stream."""

MOST_AT_A_TIME = 64 << 10
"""Bytes that are sent together, give or take a job. What of the others is removed meanwhile is not sent any more."""

LOOK_SECONDS = 1.0
"""How often is looked whether something waits that could go: nothing stays because a step was missed."""

MOST_AT_ONCE = 256
"""Jobs that waited and are on their way again, of which the engine may have to read what they carry."""

_ID = b"\x10"
"""The tag of `WatchJobsResponse.id`."""

Kind = tuple[str, str, str]
"""What a stream takes or not: `job` or `actor`, namespace, and app id or actor type."""

H = TypeVar("H", bound="Held")


class Held(Protocol):
    """A job of the engine. It may be overwritten or removed at any time, and is gone then."""

    is_gone: bool


class Delivery:
    """A job that is due, on its way."""

    __slots__ = ("gates", "job", "keys", "kind", "message", "started")

    def __init__(self, job: Held, kind: Kind, message: bytes, keys: Sequence[gates.Key], started: float) -> None:
        self.job, self.kind, self.message, self.keys, self.started = job, kind, message, keys, started
        self.gates: Sequence[gates.Gate[Delivery]] = ()


class Taker:
    """A stream of a sidecar: what it takes, what it has, and what is still to be sent on it."""

    def __init__(self, kinds: Iterable[Kind], limits: Mapping[gates.Key, int]) -> None:
        self.kinds = tuple(kinds)
        self.limits = limits
        self.unanswered: dict[int, Delivery] = {}
        self.unsent: deque[tuple[int, bytes]] = deque()
        """Numbers and frames of what is still to be sent."""
        self.unsent_bytes = 0
        """Of these, and of what is being sent."""
        self._count = 0
        self._wanted: asyncio.Future[None] | None = None

    @property
    def has_room(self) -> bool:
        return self.unsent_bytes < MOST_UNSENT and len(self.unanswered) < MOST_UNANSWERED

    def take(self, delivery: Delivery) -> None:
        self._count += 1
        self.unanswered[self._count] = delivery
        frame = grpc.frame(delivery.message + _ID + _varint(self._count))
        self.unsent.append((self._count, frame))
        self.unsent_bytes += len(frame)
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def has_sent(self, number: int) -> bool:
        return not self.unsent or number < self.unsent[0][0]

    async def wait(self) -> None:
        """Until there is more to be sent."""
        self._wanted = asyncio.get_running_loop().create_future()
        await self._wanted


class _Turn:
    """The takers of a kind, and whose turn it is."""

    def __init__(self) -> None:
        self.takers: list[Taker] = []
        self._next = 0

    @property
    def has_room(self) -> bool:
        return any(taker.has_room for taker in self.takers)

    def pick(self) -> Taker | None:
        """The next that has room."""
        takers = self.takers
        for step in range(len(takers)):
            place = (self._next + step) % len(takers)
            if takers[place].has_room:
                self._next = place + 1
                return takers[place]
        return None


class Pool:
    """All streams. `send` has the engine deliver a job again that waited, `has_backlog` says whether it has enough to
    do with those before; `finished` is told what became of one."""

    def __init__(
        self,
        counts: metrics.Counts,
        send: Callable[[Held], None],
        has_backlog: Callable[[], bool],
        finished: Callable[[Held, bool], None],
    ) -> None:
        self._counts = counts
        self._send = send
        self._has_backlog = has_backlog
        self._finished = finished
        self._turns: dict[Kind, _Turn] = {}
        # Ordered ones: the first entry of a dict is found after all that were removed before it.
        self._waiting: dict[Kind, OrderedDict[Held, None]] = {}
        self._interrupted: OrderedDict[Kind, None] = OrderedDict()
        """Of these more may wait that could go."""
        self._kinds: dict[Held, Kind] = {}
        self._at_gates: dict[Held, Delivery] = {}
        self.gates: gates.Gates[Delivery] = gates.Gates(counts, self._passed)

    # -- jobs --

    def deliver(self, delivery: Delivery) -> None:
        """Gives a job to who takes it, or keeps it until somebody does."""
        turn = self._turns.get(delivery.kind)
        if turn is None:
            self._counts.undelivered[delivery.kind[0]].value += 1
            self._wait(delivery)
            return
        ways = self.gates.of(delivery.keys) if delivery.keys else ()
        if not ways:
            self._hand_over(delivery, turn)
            return
        is_through = self.gates.enter(delivery, ways)
        if is_through:
            self._passed(delivery, ways)
        elif is_through is None:
            self._counts.failed[delivery.kind[0]].value += 1
            self._finished(delivery.job, False)
        else:
            self._at_gates[delivery.job] = delivery

    def forget(self, job: Held) -> None:
        """`job` is gone; it may be under way, and its result is of no interest."""
        kind = self._kinds.pop(job, None)
        if kind is not None:
            del self._waiting[kind][job]
            if not self._waiting[kind]:
                del self._waiting[kind]
        delivery = self._at_gates.pop(job, None)
        if delivery is not None:
            self.gates.forget(delivery)

    def given(self) -> set[Held]:
        """The jobs that sidecars have, or are about to be sent, and have not answered."""
        takers = {taker for turn in self._turns.values() for taker in turn.takers}
        return {delivery.job for taker in takers for delivery in taker.unanswered.values()}

    def _passed(self, delivery: Delivery, ways: Sequence[gates.Gate[Delivery]]) -> None:
        """A delivery is through its gates."""
        self._at_gates.pop(delivery.job, None)
        delivery.gates = ways
        self._hand_over(delivery, self._turns.get(delivery.kind))

    def _hand_over(self, delivery: Delivery, turn: _Turn | None) -> None:
        taker = None if turn is None else turn.pick()
        if taker is not None:
            taker.take(delivery)
            return
        ways, delivery.gates = delivery.gates, ()
        self.gates.go_back(ways)
        self._wait(delivery)

    def _come_out(self, delivery: Delivery) -> None:
        if delivery.gates:
            ways, delivery.gates = delivery.gates, ()
            self.gates.leave(ways)

    def _wait(self, delivery: Delivery) -> None:
        """Keeps the job, and not what it carries."""
        self._waiting.setdefault(delivery.kind, OrderedDict())[delivery.job] = None
        self._kinds[delivery.job] = delivery.kind

    def pump(self, kinds: Iterable[Kind] = ()) -> None:
        """Sends what waits for takers of these kinds, and of those of which more waited before: each one in its turn,
        a portion of it, as far as there is room."""
        turns = self._interrupted
        for kind in kinds:
            if kind in self._waiting and kind in self._turns:
                turns.setdefault(kind)
        for _ in range(MOST_AT_ONCE):
            if not turns or self._has_backlog():
                return
            kind = next(iter(turns))
            turns.move_to_end(kind)
            if not self._send_next(kind):
                turns.pop(kind, None)

    def _send_next(self, kind: Kind) -> bool:
        """Whether something of this kind waited that can go."""
        waiting, turn = self._waiting.get(kind), self._turns.get(kind)
        if not waiting or turn is None or not turn.has_room:
            return False
        job, _ = waiting.popitem(last=False)
        del self._kinds[job]
        if not waiting:
            del self._waiting[kind]
        self._send(job)
        return True

    # -- streams --

    def add(self, taker: Taker) -> None:
        """A stream has come."""
        for kind in taker.kinds:
            self._turns.setdefault(kind, _Turn()).takers.append(taker)
        self._counts.connected.value += 1
        if taker.limits:
            self.gates.set_limits(taker, taker.limits)
        self.pump(taker.kinds)

    def remove(self, taker: Taker) -> None:
        """A stream has gone; others get what it has not answered."""
        for kind in taker.kinds:
            turn = self._turns[kind]
            turn.takers.remove(taker)
            if not turn.takers:
                del self._turns[kind]
        self._counts.connected.value -= 1
        lost = list(taker.unanswered.values())
        taker.unanswered.clear()
        taker.unsent.clear()
        freed = self.gates.set_limits(taker, {}) if taker.limits else []
        for delivery in lost:
            self._come_out(delivery)
            if not delivery.job.is_gone:
                self._counts.undelivered[delivery.kind[0]].value += 1
        for delivery in (*freed, *lost):
            self._at_gates.pop(delivery.job, None)
            if not delivery.job.is_gone:
                self.deliver(delivery)

    def answered(self, taker: Taker, number: int, is_success: bool) -> bool:
        """A result has come; False when there was no such question."""
        if number not in taker.unanswered or not taker.has_sent(number):
            return False
        delivery = taker.unanswered.pop(number)
        if not delivery.job.is_gone:
            kind = delivery.kind[0]
            (self._counts.triggered if is_success else self._counts.failed)[kind].value += 1
            self._counts.latency[kind].record(asyncio.get_running_loop().time() - delivery.started)
            self._finished(delivery.job, is_success)
        self._come_out(delivery)
        if self._waiting:
            self.pump(taker.kinds)
        return True

    async def next_frames(self, taker: Taker) -> bytes:
        """What is to be sent next on a stream, as soon as there is something."""
        while not (frames := self._frames(taker)):
            await taker.wait()
        return frames

    def _frames(self, taker: Taker) -> bytes:
        frames: list[bytes] = []
        size = 0
        while taker.unsent and size < MOST_AT_A_TIME:
            number, frame = taker.unsent.popleft()
            delivery = taker.unanswered[number]
            if not delivery.job.is_gone:
                frames.append(frame)
                size += len(frame)
                continue
            del taker.unanswered[number]
            self._come_out(delivery)
            self.sent(taker, len(frame))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def sent(self, taker: Taker, size: int) -> None:
        """So many bytes do not wait any more to be sent on a stream."""
        taker.unsent_bytes -= size
        if self._waiting:
            self.pump(taker.kinds)

    async def look(self) -> None:
        """Goes over everything that waits now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.gates.drain()
            self.pump(self._waiting)


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
