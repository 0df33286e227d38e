"""Limits of what is under way at a time."""

from collections.abc import Sequence

import pytest

from pydapr.scheduler import gates, metrics

TYPE, NAMED = ("ns", "T"), ("ns", "T:mail")


class Room:
    """Gates, and what came in after it had waited."""

    def __init__(self) -> None:
        self.counts = metrics.Counts()
        self.let: list[str] = []
        self.ways: dict[str, Sequence[gates.Gate[str]]] = {}
        self.gates: gates.Gates[str] = gates.Gates(self.counts, self._let)

    def _let(self, one: str, ways: Sequence[gates.Gate[str]]) -> None:
        self.let.append(one)
        self.ways[one] = ways

    def enter(self, one: str, *keys: gates.Key) -> bool | None:
        ways = self.ways[one] = self.gates.of(keys)
        return self.gates.enter(one, ways)

    def leave(self, one: str) -> None:
        self.gates.leave(self.ways.pop(one))


@pytest.fixture
def room() -> Room:
    made = Room()
    made.gates.set_limits("stream", {TYPE: 2, NAMED: 1})
    return made


def test_what_has_the_same_name_in_two_namespaces_is_counted_together(room: Room) -> None:
    other = ("other", "T")
    room.gates.set_limits("another stream", {other: 1})
    for one, key in (("a", TYPE), ("b", TYPE), ("c", TYPE), ("d", other), ("e", other)):
        room.enter(one, key)

    assert (room.counts.in_flight.get("T").value, room.counts.pending.get("T").value) == (3, 2)
    room.leave("d")
    assert (room.counts.in_flight.get("T").value, room.counts.pending.get("T").value) == (3, 1)


@pytest.mark.parametrize(
    ("limit", "schedulers", "shares"), [(5, 1, [5]), (5, 3, [2, 2, 1]), (6, 3, [2, 2, 2]), (2, 3, [1, 1, 1])]
)
def test_schedulers_share_a_limit(limit: int, schedulers: int, shares: list[int]) -> None:
    assert [gates.share(limit, schedulers, position) for position in range(schedulers)] == shares


def test_no_gate_where_nobody_has_set_a_limit(room: Room) -> None:
    assert not room.gates.of([("ns", "other"), ("other", "T")])


def test_as_many_as_the_limit_are_in_and_the_next_waits(room: Room) -> None:
    assert [room.enter(one, TYPE) for one in "abc"] == [True, True, False]
    assert room.counts.pending.get("T").value == 1
    assert room.counts.in_flight.get("T").value == 2
    assert room.counts.throttled.get("T").value == 1
    room.leave("a")
    assert room.let == ["c"]
    assert room.counts.pending.get("T").value == 0
    assert room.counts.in_flight.get("T").value == 2


def test_what_waits_for_a_key_does_not_hold_up_others_of_its_type(room: Room) -> None:
    assert room.enter("mail", TYPE, NAMED)
    assert room.enter("mail2", TYPE, NAMED) is False
    assert room.enter("other", TYPE)
    room.leave("other")
    assert room.let == []
    room.leave("mail")
    assert room.let == ["mail2"]


def test_what_has_passed_one_gate_waits_at_the_next(room: Room) -> None:
    room.enter("mail", TYPE, NAMED)
    room.enter("mail2", TYPE, NAMED)
    room.enter("other", TYPE)
    assert room.enter("third", TYPE) is False
    room.leave("mail")
    assert room.let == ["third"]
    room.leave("other")
    assert room.let == ["third", "mail2"]


def test_what_is_forgotten_takes_no_place(room: Room) -> None:
    for one in "abcd":
        room.enter(one, TYPE)
    room.gates.forget("c")
    room.gates.forget("a")
    assert room.counts.pending.get("T").value == 1
    room.leave("a")
    assert room.let == ["d"]


def test_a_higher_limit_lets_more_in_at_once(room: Room) -> None:
    for one in "abcd":
        room.enter(one, TYPE)
    room.gates.set_limits("stream", {TYPE: 3})
    assert room.let == ["c"]


def test_fewer_schedulers_make_a_larger_share(room: Room) -> None:
    room.gates.set_share(2, 0)
    assert [room.enter(one, TYPE) for one in "ab"] == [True, False]
    room.gates.set_share(1, 0)
    assert room.let == ["b"]


def test_a_limit_goes_with_the_last_stream_that_holds_it(room: Room) -> None:
    room.gates.set_limits("second", {TYPE: 2})
    for one in "abc":
        room.enter(one, TYPE)
    assert room.gates.set_limits("stream", {}) == []
    assert room.gates.set_limits("second", {}) == ["c"]
    assert not room.gates.of([TYPE])
    assert room.counts.pending.get("T").value == 0


def test_a_stream_that_says_its_limits_again_holds_them_once(room: Room) -> None:
    room.gates.set_limits("stream", {TYPE: 1})
    assert not room.gates.of([NAMED])
    room.gates.set_limits("stream", {})
    assert not room.gates.of([TYPE])


def test_too_many_are_turned_away(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MOST_PENDING", 1)
    assert [room.enter(one, TYPE) for one in "abcd"] == [True, True, False, None]
