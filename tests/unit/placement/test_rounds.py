"""Rounds: one by one, and whatever comes in whatever order."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydapr.placement import rounds
from pydapr.placement.rounds import LOCK, REPORT, UNKNOWN, UNLOCK, UPDATE, Close, Host, Order, Rounds

TIMEOUT = 8.0


def host(name: str, *types: str) -> Host:
    return Host(name, f"id-{name}", tuple(sorted(types)))


class Sidecar:
    """One stream: what it was ordered and has not seen yet, and what it goes by."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.coming: deque[Order] = deque()
        self.seen: list[tuple[int, int]] = []
        self.table: rounds.Table | None = None
        self.is_frozen = False

    @property
    def is_unlocked(self) -> bool:
        return bool(self.seen) and self.seen[-1][0] == UNLOCK

    def see(self) -> Order:
        """Takes in the next order, and checks that it fits those before."""
        order = self.coming.popleft()
        if self.seen:
            operation, version = self.seen[-1]
            assert order.version >= version
            if order.operation != LOCK:
                assert (order.operation, order.version) == (operation + 1, version)
        else:
            assert order.operation == LOCK
        self.seen.append((order.operation, order.version))
        if order.operation == UPDATE:
            assert order.table is not None and order.table.version == order.version
            self.table = order.table
        return order


class World:
    """Rounds, and sidecars that are told what they order. Everything that may never happen is checked as it goes."""

    def __init__(self, window: float = 0.0) -> None:
        self.rounds = Rounds(TIMEOUT, window)
        self.sidecars: dict[int, Sidecar] = {}
        self.now = 100.0
        self.count = 0
        self.closed: list[int] = []

    def _carry_out(self, actions: list[rounds.Action]) -> None:
        for action in actions:
            if isinstance(action, Close):
                for stream in action.streams:
                    assert self.sidecars[stream].coming, "one was closed that owed nothing"
                    self.closed.append(stream)
                    del self.sidecars[stream]
            else:
                for stream in action.streams:
                    self.sidecars[stream].coming.append(action)
        self._check()

    def _check(self) -> None:
        newest = {one.host.name: one for _, one in sorted(self.sidecars.items())}.values()
        tables = {one.table for one in newest if one.is_unlocked}
        assert len({table.hosts for table in tables if table is not None}) <= 1, "two go by different tables"

    def join(self, host: Host) -> int:
        self.count += 1
        self.sidecars[self.count] = Sidecar(host)
        self._carry_out(self.rounds.join(self.count, host, self.now))
        return self.count

    def leave(self, stream: int) -> None:
        del self.sidecars[stream]
        self._carry_out(self.rounds.leave(stream, self.now))

    def report(self, stream: int, *types: str, operation: int = REPORT) -> None:
        one = self.sidecars[stream]
        one.host = Host(one.host.name, one.host.id, tuple(sorted(types)))
        self._carry_out(self.rounds.report(stream, operation, None, one.host, self.now))

    def answer(self, stream: int, operation: int | None = None) -> Order:
        """A sidecar takes in one order, and acknowledges it."""
        one = self.sidecars[stream]
        order = one.see()
        version = None if operation == UNKNOWN else order.version
        said = Host("", one.host.id)
        acts = self.rounds.report(stream, order.operation if operation is None else operation, version, said, self.now)
        self._carry_out(acts)
        return order

    def ordered(self, stream: int) -> list[tuple[int, int]]:
        """What is on its way to a stream."""
        return [(order.operation, order.version) for order in self.sidecars[stream].coming]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._carry_out(self.rounds.tick(self.now))

    def settle(self) -> float:
        """Everybody who is not frozen answers at once, until nothing is left to do. How long that took."""
        began = self.now
        for _ in range(10_000):
            busy = [stream for stream, one in self.sidecars.items() if one.coming and not one.is_frozen]
            if busy:
                self.answer(busy[0])
            elif (due := self.rounds.due) is not None:
                assert due >= self.now - 1
                self.wait(max(due - self.now, 0.0))
            else:
                return self.now - began
        raise AssertionError("it does not come to an end")

    def hosts(self) -> list[Host]:
        return sorted((one.host for one in self.sidecars.values() if one.host.entities), key=lambda one: one.name)


# -- one by one --


def test_a_round_goes_through_three_phases() -> None:
    world = World()
    one = world.join(host("a", "Cat", "Dog"))
    assert world.answer(one) == Order(LOCK, 1, (one,))
    update = world.answer(one)
    assert update.table == rounds.Table(1, (host("a", "Cat", "Dog"),))
    assert world.answer(one) == Order(UNLOCK, 1, (one,))
    assert world.rounds.due is None


def test_old_sidecars_acknowledge_without_saying_what() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    for operation in (LOCK, UPDATE, UNLOCK):
        assert world.answer(one, UNKNOWN).operation == operation
    assert world.rounds.due is None


def test_a_sidecar_without_actors_gets_the_table_and_makes_no_round() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    world.settle()
    other = world.join(host("b"))
    assert world.ordered(other) == [(LOCK, 1), (UPDATE, 1), (UNLOCK, 1)]
    assert not world.ordered(one)
    world.settle()
    world.leave(other)
    assert not world.ordered(one)


def test_the_first_sidecar_of_all_may_have_no_actors() -> None:
    world = World()
    one = world.join(host("a"))
    assert world.ordered(one) == [(LOCK, 0), (UPDATE, 0), (UNLOCK, 0)]
    world.settle()
    assert world.sidecars[one].table == rounds.Table(0, ())


def test_who_comes_during_a_round_waits_for_the_next() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    others = [world.join(host(name, "Cat")) for name in "bcd"]
    assert not any(world.ordered(other) for other in others)
    for _ in range(3):
        world.answer(one)
    assert [world.ordered(stream) for stream in (one, *others)] == [[(LOCK, 2)]] * 4


def test_those_who_come_back_to_a_new_placement_are_in_the_first_table_together() -> None:
    world = World()
    before = [Host(name, f"id-{name}", ("Cat",), returns=True) for name in "ab"]
    one = world.join(before[0])
    assert not world.ordered(one) and world.rounds.due == world.now + rounds.RETURN_SECONDS
    world.wait(0.6 * rounds.RETURN_SECONDS)
    other = world.join(before[1])
    assert not world.ordered(other)
    world.wait(0.4 * rounds.RETURN_SECONDS)
    assert world.ordered(one) == world.ordered(other) == [(LOCK, 1)]
    world.settle()
    assert world.sidecars[one].table == rounds.Table(1, tuple(before))


def test_nobody_waits_for_them_once_there_was_a_round() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    world.settle()
    other = world.join(Host("b", "id-b", ("Cat",), returns=True))
    assert world.ordered(one) == world.ordered(other) == [(LOCK, 2)]


def test_changes_during_lock_are_in_the_table_of_the_round() -> None:
    world = World()
    one, other = world.join(host("a", "Cat")), world.join(host("b", "Cat"))
    world.answer(one), world.answer(one), world.answer(one)
    world.report(one, "Dog")
    world.settle()
    assert world.rounds.version == 2
    assert world.sidecars[other].table == rounds.Table(2, (host("a", "Dog"), host("b", "Cat")))


def test_changes_after_lock_make_another_round() -> None:
    world = World()
    one, other = world.join(host("a", "Cat")), world.join(host("b", "Cat"))
    world.settle()
    world.report(one, "Dog")
    world.answer(one), world.answer(other), world.answer(one)
    world.report(one, "Bird")
    world.leave(other)
    world.settle()
    assert world.sidecars[one].table == rounds.Table(4, (host("a", "Bird"),))


def test_a_report_of_what_is_known_makes_no_round() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    world.settle()
    world.report(one, "Cat")
    world.report(one, "Cat", operation=UNKNOWN)
    assert not world.ordered(one) and world.rounds.version == 1


def test_a_round_goes_on_when_the_one_that_is_missing_leaves() -> None:
    world = World()
    one, other = world.join(host("a", "Cat")), world.join(host("b", "Cat"))
    world.settle()
    world.report(one, "Dog")
    world.answer(one)
    world.leave(other)
    assert world.ordered(one) == [(UPDATE, 3)]
    world.settle()
    assert world.sidecars[one].table == rounds.Table(3, (host("a", "Dog"),))


def test_acknowledgements_of_something_else_do_not_count() -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    for operation, version in ((UPDATE, 1), (UNLOCK, 1), (LOCK, 2), (LOCK, 0)):
        assert not world.rounds.report(one, operation, version, host("a"), world.now)
    assert not world.rounds.report(99, LOCK, 1, host("a"), world.now)
    world.settle()
    assert world.sidecars[one].is_unlocked


@pytest.mark.parametrize("phases", [0, 1, 2])
def test_who_does_not_answer_is_closed_and_the_others_begin_anew(phases: int) -> None:
    world = World()
    one = world.join(host("a", "Cat"))
    world.settle()
    slow = world.join(host("b", "Cat"))
    late = world.join(host("c", "Cat"))
    for _ in range(phases):
        world.answer(one), world.answer(slow)
    world.answer(one)
    world.wait(TIMEOUT - 0.1)
    assert not world.closed
    world.wait(0.2)
    assert world.closed == [slow]
    assert world.ordered(one) == world.ordered(late) == [(LOCK, 3)]
    world.settle()
    assert world.sidecars[one].table == rounds.Table(3, (host("a", "Cat"), host("c", "Cat")))


def test_slow_phases_of_one_add_up_and_do_not_harm_another() -> None:
    world = World()
    quick, slow = world.join(host("a", "Cat")), world.join(host("b", "Cat"))
    world.settle()
    world.report(quick, "Dog")
    world.answer(quick)
    world.wait(0.75 * TIMEOUT)
    world.answer(slow)
    world.wait(0.2 * TIMEOUT)
    assert not world.closed
    world.wait(0.1 * TIMEOUT)
    assert world.closed == [slow]  # the quick one had used nothing of its time before, and has some left


def test_who_is_closed_again_and_again_is_waited_for_less_and_less() -> None:
    world = World()
    good = world.join(host("a", "Cat"))
    world.settle()
    held = []
    for _ in range(8):
        came = world.now
        bad = world.join(host("b", "Cat"))
        world.sidecars[bad].is_frozen = True
        while bad in world.sidecars:
            while world.sidecars[good].coming:
                world.answer(good)
            assert world.rounds.due is not None
            world.wait(world.rounds.due - world.now)
        held.append((world.now - came) / TIMEOUT)
    assert held == pytest.approx([1, 1, 2, 3, 5, 9, 9, 9]), "one part of it others wait, the rest it waits itself"
    world.settle()
    table = world.sidecars[good].table
    assert table is not None and [one.name for one in table.hosts] == ["a"]


def test_who_behaves_again_is_let_in_at_once_the_next_time() -> None:
    world = World()
    for _ in range(2):
        bad = world.join(host("b", "Cat"))
        world.wait(TIMEOUT)
        assert bad not in world.sidecars
    assert world.rounds.due is None
    good = world.join(host("b", "Cat"))
    assert world.settle() == pytest.approx(TIMEOUT)
    world.leave(good)
    again = world.join(host("b", "Cat"))
    assert world.ordered(again)[0][0] == LOCK


def test_the_newest_at_a_place_counts_and_nobody_waits_for_the_others() -> None:
    world = World()
    gone = world.join(host("a", "Cat", "Dog"))
    world.settle()
    world.sidecars[gone].is_frozen = True
    back = world.join(host("a", "Cat"))
    assert world.settle() < TIMEOUT
    table = world.sidecars[back].table
    assert table is not None and table.hosts == (host("a", "Cat"),) == world.rounds.hosts()
    world.leave(back)
    assert world.rounds.hosts() == (host("a", "Cat", "Dog"),)


def test_changes_within_the_window_after_a_round_make_one_round() -> None:
    world = World(window=0.5)
    one = world.join(host("a", "Cat"))
    for _ in range(3):
        world.answer(one)
    other, third = world.join(host("b", "Cat")), world.join(host("c", "Cat"))
    world.leave(third)
    assert not world.ordered(other) and not world.ordered(one)
    assert world.rounds.due == pytest.approx(world.now + 0.5)
    world.wait(0.5)
    assert world.ordered(one) == world.ordered(other) == [(LOCK, 2)]
    world.settle()
    assert world.sidecars[one].table == rounds.Table(2, (host("a", "Cat"), host("b", "Cat")))


def test_one_that_does_not_stop_changing_leaves_the_others_time_between_rounds() -> None:
    world = World()
    one, other = world.join(host("a", "Cat")), world.join(host("b", "Dog"))
    began, locked = world.now, 0.0
    for number in range(3000):
        world.report(other, "Dog" if number % 2 else "Fox")
        while world.sidecars[one].coming or world.sidecars[other].coming:
            world.now += 0.01
            locked += 0.01
            for stream in (one, other):
                if world.sidecars[stream].coming:
                    world.answer(stream)
        world.wait(0.001)
    assert locked < rounds.ALLOWANCE + 0.55 * (world.now - began)
    world.settle()
    assert world.sidecars[one].table == world.sidecars[other].table

    world.wait(60.0)
    for types in ("Owl", "Fox", "Dog"):  # who has rested is not waited for
        world.report(other, types)
        assert world.ordered(one)
        world.settle()


def test_memory_of_ten_thousand_that_came_and_went_is_gone() -> None:
    world = World()
    stays = world.join(host("a", "Cat"))
    for number in range(1000):
        stream = world.join(host(f"b{number}", "Cat"))
        world.settle()
        world.leave(stream)
        world.settle()
        world.sidecars[stays].seen.clear()
        world.sidecars[stays].seen.append((UNLOCK, world.rounds.version))
    kept = vars(world.rounds)
    assert max(len(value) for value in kept.values() if isinstance(value, dict | set)) == 1


# -- whatever comes --

NAMES = st.sampled_from("abcd")
TYPES = st.lists(st.sampled_from(("Cat", "Dog", "Bird")), max_size=2, unique=True)
EVENTS = st.one_of(
    st.tuples(st.just("join"), TYPES),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("report"), st.integers(0, 9), TYPES),
    st.tuples(st.just("answer"), st.integers(0, 9)),
    st.tuples(st.just("answer"), st.integers(0, 9)),
    st.tuples(st.just("answer"), st.integers(0, 9)),
    st.tuples(st.just("freeze"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.floats(0.0, 1.2)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=80), st.sampled_from((0.0, 0.5)))
def test_every_round_ends_and_all_go_by_one_table(events: list[tuple[object, ...]], window: float) -> None:
    world = World(window)
    for what, *rest in events:
        if what == "join":
            world.join(host(f"h{world.count}", *rest[0]))  # type: ignore[misc]
            continue
        if what == "wait":
            world.wait(float(rest[0]) * TIMEOUT)  # type: ignore[arg-type]
            continue
        streams = sorted(world.sidecars)
        if not streams:
            continue
        stream = streams[int(rest[0]) % len(streams)]  # type: ignore[call-overload]
        if what == "leave":
            world.leave(stream)
        elif what == "report":
            world.report(stream, *rest[1])  # type: ignore[misc]
        elif what == "freeze":
            world.sidecars[stream].is_frozen = True
        elif world.sidecars[stream].coming and not world.sidecars[stream].is_frozen:
            world.answer(stream)
    frozen = sum(one.is_frozen for one in world.sidecars.values())
    took = world.settle()
    assert took <= (3 + 3 * frozen) * (TIMEOUT + window) + 1
    for one in world.sidecars.values():
        if not one.is_frozen:
            assert one.is_unlocked
            assert one.table is not None and list(one.table.hosts) == world.hosts()
    # Whoever is frozen and still there owes no more than the table it was sent when it came.
    assert all(one.coming for one in world.sidecars.values() if one.is_frozen) or world.rounds.due is None
