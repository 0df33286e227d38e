"""Elections in a simulated network: messages late or lost, members that crash, stand still or have fast clocks."""

import functools
import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from pydapr.placement import election
from pydapr.placement.election import ASK, PROBE, PROMISE, RELEASE, Election, Request


class Member:
    """One process, and its clock."""

    def __init__(self, name: str, clock: float, speed: float) -> None:
        self.name = name
        self.clock, self.speed = clock, speed
        self.runs = 0
        self.is_up = True
        self.still_until = 0.0
        self.election: Election


class Network:
    """Members that ask each other, in an order that chance decides."""

    def __init__(self, size: int, seed: int, loss: float = 0.0, delay: float = 0.05, drift: float = 0.0) -> None:
        self.chance = random.Random(seed)
        self.loss, self.delay = loss, delay
        self.time = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.cut: set[frozenset[str]] = set()
        self.members = {
            name: Member(name, self.chance.uniform(0, 1e6), 1 + self.chance.uniform(-drift, drift))
            for name in "abcdefg"[:size]
        }
        self.led: list[str] = []
        for member in self.members.values():
            self.start(member)

    def clock(self, member: Member) -> float:
        return member.clock + self.time * member.speed

    def start(self, member: Member) -> None:
        member.is_up = True
        member.runs += 1
        member.election = Election(member.name, self.members, str(member.runs), self.clock(member), self.chance.random)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.time + seconds, next(self.numbers), work))

    def run(self, seconds: float) -> None:
        """Lets time pass in steps, and checks after each that there is one leader at most."""
        end = self.time + seconds
        while self.time < end:
            self.time += 0.01
            while self.events and self.events[0][0] <= self.time:
                heapq.heappop(self.events)[2]()
                self.leader()
            for member in self.members.values():
                if member.is_up and member.still_until <= self.time:
                    self.send(member, member.election.tick(self.clock(member)))
            self.leader()

    def leader(self) -> str | None:
        leading = [one.name for one in self.members.values() if one.is_up and one.election.leads(self.clock(one))]
        assert len(leading) <= 1, f"{leading} lead at the same time"
        if leading and leading != self.led[-1:]:
            self.led += leading
        return leading[0] if leading else None

    def send(self, member: Member, requests: list[Request]) -> None:
        for request in requests:
            for other in self.members.values():
                if other is not member:
                    self.carry(member, other, functools.partial(self.ask, member, other, request))

    def carry(self, one: Member, other: Member, work: Callable[[], None]) -> None:
        """Has something arrive, some time or never."""
        if frozenset((one.name, other.name)) in self.cut or self.chance.random() < self.loss:
            return
        self.later(self.chance.expovariate(1 / self.delay), work)

    def ask(self, asker: Member, asked: Member, request: Request) -> None:
        if not asked.is_up:
            return
        if asked.still_until > self.time:
            self.later(asked.still_until - self.time, lambda: self.ask(asker, asked, request))
            return
        agrees = asked.election.requested(request, self.clock(asked))
        run = asker.runs
        self.carry(asked, asker, lambda: self.hear(asker, run, asked.name, request, agrees))

    def hear(self, asker: Member, run: int, sender: str, request: Request, agrees: bool) -> None:
        if asker.is_up and asker.runs == run:
            if asker.still_until > self.time:
                again = asker.still_until - self.time
                self.later(again, lambda: self.hear(asker, run, sender, request, agrees))
                return
            self.send(asker, asker.election.answered(request, sender, agrees, self.clock(asker)))


def test_a_single_member_leads_at_once_and_for_ever() -> None:
    alone = Election("a", ("a",), "r", 5.0, random.random)
    assert alone.tick(5.0) == [] and alone.leads(5.0) and alone.leads(1e9)
    assert alone.due == float("inf")


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_leader_is_found_within_seconds_and_stays(size: int) -> None:
    network = Network(size, seed=size)
    network.run(5)
    leader = network.leader()
    assert leader is not None
    network.run(60)
    assert network.led == [leader]


@pytest.mark.parametrize("seed", range(5))
def test_another_leads_soon_after_the_leader_is_killed(seed: int) -> None:
    network = Network(3, seed)
    network.run(5)
    first = network.leader()
    assert first is not None
    network.members[first].is_up = False
    network.run(PROMISE + 2.5)
    assert network.leader() not in (None, first)


def test_a_leader_that_resigns_makes_room_at_once() -> None:
    network = Network(3, seed=1)
    network.run(5)
    first = network.members[network.leader() or ""]
    network.send(first, first.election.resign(network.clock(first)))
    network.run(0.3)
    first.is_up = False
    network.run(1.2)
    assert network.leader() not in (None, first.name)


def test_a_leader_without_a_majority_stops_before_another_begins() -> None:
    network = Network(5, seed=3)
    network.run(5)
    first = network.leader()
    assert first is not None
    network.cut = {frozenset((first, other)) for other in network.members if other != first}
    network.run(PROMISE)
    assert not network.members[first].election.leads(network.clock(network.members[first]))
    network.run(3)
    second = network.leader()
    assert second not in (None, first)
    network.cut.clear()
    network.run(10)
    assert network.leader() == second, "who comes back does not disturb"


def test_a_minority_never_leads() -> None:
    network = Network(5, seed=4)
    network.cut = {frozenset(pair) for pair in itertools.product("ab", "cde")}
    network.run(10)
    assert network.leader() in ("c", "d", "e") and set(network.led) <= {"c", "d", "e"}


@pytest.mark.parametrize("seed", range(40))
def test_never_two_lead_whatever_happens(seed: int) -> None:
    network = Network(2 + seed % 4, seed, loss=0.1, delay=0.2, drift=0.02)
    names = list(network.members)
    for _ in range(30):
        network.run(network.chance.uniform(0.1, 3))
        member = network.members[network.chance.choice(names)]
        what = network.chance.choice(("crash", "crash", "still", "cut", "heal", "resign"))
        if what == "crash":
            member.is_up = False
            network.later(network.chance.uniform(0, 3), lambda one=member: network.start(one))  # type: ignore[misc]
        elif what == "still":
            member.still_until = network.time + network.chance.uniform(0.5, 5)
        elif what == "cut":
            network.cut.add(frozenset(network.chance.sample(names, 2)))
        elif what == "heal":
            network.cut.clear()
        else:
            network.send(member, member.election.resign(network.clock(member)))
            network.later(network.chance.uniform(0, 1), lambda one=member: network.start(one))  # type: ignore[misc]
    network.cut.clear()
    network.loss = 0.0
    network.delay = 0.02
    network.run(15)
    assert network.leader() is not None


def test_a_member_that_has_just_started_promises_nothing() -> None:
    one = Election("a", "abc", "r", 100.0, random.random)
    assert not one.requested(Request(ASK, "b", "x", 1), 100.0 + PROMISE - 0.01)
    assert one.requested(Request(PROBE, "b", "x", 1), 100.0 + PROMISE)
    assert one.requested(Request(ASK, "b", "x", 2), 100.0 + PROMISE)
    assert not one.requested(Request(ASK, "c", "y", 1), 100.0 + 2 * PROMISE - 0.01)


def test_a_promise_is_given_back_by_who_has_it_and_no_older_word_of_it() -> None:
    one = Election("a", "abc", "r", 0.0, random.random)
    assert one.requested(Request(ASK, "b", "x", 5), PROMISE)
    for release in (Request(RELEASE, "c", "x", 9), Request(RELEASE, "b", "old", 9), Request(RELEASE, "b", "x", 4)):
        assert not one.requested(release, PROMISE)
    assert not one.requested(Request(ASK, "b", "restarted", 1), PROMISE), "it may have forgotten what it relies on"
    assert not one.requested(Request(ASK, "c", "y", 1), PROMISE)
    assert one.requested(Request(RELEASE, "b", "x", 5), PROMISE)
    assert one.requested(Request(ASK, "c", "y", 1), PROMISE)


def test_strangers_are_not_answered() -> None:
    one = Election("a", "abc", "r", 0.0, random.random)
    assert not one.requested(Request(ASK, "d", "x", 1), 10.0)
    assert not one.requested(Request(ASK, "a", "x", 1), 10.0)


def test_a_lease_is_shorter_than_a_promise() -> None:
    assert election.LEASE < election.PROMISE > election.ASK_AGAIN * 3
