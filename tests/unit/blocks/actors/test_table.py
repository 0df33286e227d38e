"""Tables of placement: what is blocked, and that no actor is ever in two places whatever comes when."""

import random
from collections import deque

import pytest

from pydapr.blocks.actors.table import Blocked, Table

Members = dict[str, dict[str, str]]


def _hosts(*names: str) -> dict[str, str]:
    return {name: f"app-{name}" for name in names}


def _settled(members: Members) -> Table:
    table = Table()
    table.update(members, 100)
    table.unlock()
    return table


def _moved(before: Members, after: Members) -> tuple[str, str]:
    """Ids of an actor of type `t` that moves from one table to the other, and of one that stays."""
    old, new = _settled(before), _settled(after)
    ids = [str(number) for number in range(1000)]
    moves = next(name for name in ids if old.look_up("t", name) != new.look_up("t", name))
    stays = next(name for name in ids if old.look_up("t", name) == new.look_up("t", name))
    return moves, stays


ONE: Members = {"t": _hosts("a")}
TWO: Members = {"t": _hosts("a", "b")}


def test_nothing_is_known_before_the_first_table() -> None:
    with pytest.raises(Blocked):
        Table().look_up("t", "1")


def test_a_first_table_counts_when_it_is_unlocked() -> None:
    table = Table()

    assert table.update(ONE, 100) == ["t"]
    with pytest.raises(Blocked):
        table.look_up("t", "1")
    assert table.unlock() == ["t"]
    assert table.look_up("t", "1") == ("a", "app-a")


def test_a_type_that_nobody_hosts_is_known_to_be_so() -> None:
    table = Table()
    table.update(ONE, 100)

    assert table.look_up("other", "1") is None


def test_types_whose_hosts_stay_are_never_blocked() -> None:
    table = _settled({"t": _hosts("a"), "u": _hosts("a", "b")})

    assert table.update({"t": _hosts("a", "c"), "u": _hosts("b", "a")}, 100) == ["t"]
    assert table.look_up("u", "1") is not None


def test_an_actor_that_moves_is_blocked_and_one_that_stays_is_not() -> None:
    table, (moves, stays) = _settled(ONE), _moved(ONE, TWO)

    table.update(TWO, 100)

    assert table.look_up("t", stays) == ("a", "app-a")
    with pytest.raises(Blocked):
        table.look_up("t", moves)
    table.unlock()
    assert table.look_up("t", moves) == ("b", "app-b")


def test_an_actor_that_moved_and_came_back_within_a_round_is_blocked() -> None:
    table, (moves, _) = _settled(ONE), _moved(ONE, TWO)

    table.update(TWO, 100)
    table.update(ONE, 100)

    with pytest.raises(Blocked):
        table.look_up("t", moves)
    assert table.unlock() == ["t"]
    assert table.look_up("t", moves) == ("a", "app-a")


def test_a_round_of_several_tables_releases_all_that_they_changed() -> None:
    table = _settled({"t": _hosts("a")})

    table.update({"t": _hosts("a", "b")}, 100)
    table.update({"t": _hosts("a", "b"), "u": _hosts("b")}, 100)

    assert table.unlock() == ["t", "u"]


def test_a_type_that_goes_is_blocked_until_everybody_knows() -> None:
    table = _settled(ONE)

    assert table.update({}, 100) == ["t"]
    with pytest.raises(Blocked):
        table.look_up("t", "1")
    table.unlock()
    assert table.look_up("t", "1") is None


def test_another_app_at_the_same_address_is_a_change() -> None:
    table = _settled(ONE)

    assert table.update({"t": {"a": "another"}}, 100) == ["t"]


def test_another_number_of_points_changes_everything() -> None:
    table = _settled({"t": _hosts("a", "b"), "u": _hosts("b")})

    assert table.update({"t": _hosts("a", "b")}, 50) == ["t", "u"]


def test_after_a_loss_the_same_table_has_to_be_unlocked_anew() -> None:
    table = _settled(ONE)

    table.drop()
    assert table.find("t", "1") is None
    assert table.update(ONE, 100) == ["t"]
    with pytest.raises(Blocked):
        table.look_up("t", "1")
    assert table.find("t", "1") == "a"


def test_a_table_that_names_nobody_for_a_type_is_no_harm() -> None:
    table = Table()

    assert table.update({"t": {}}, 100) == [] and table.update(ONE, 0) == []


# -- all of them together --

NAMES = ("a", "b", "c")
ACTORS = (*[("t", str(number)) for number in range(12)], ("u", "1"), ("u", "2"))


class Namespace:
    """A placement and three sidecars. Messages wait in order, and each sidecar takes them when it likes.

    The placement begins a new round whenever its hosts change, even when one is under way, as the original does; here
    it does not even wait until all know that one begins."""

    def __init__(self) -> None:
        self.tables = {name: Table() for name in NAMES}
        self.active: dict[str, set[tuple[str, str]]] = {name: set() for name in NAMES}
        self.hosted: dict[str, tuple[str, ...]] = {}
        self.waiting: dict[str, deque[tuple[int, Members | None]]] = {name: deque() for name in NAMES}
        self.version = 0
        self.acknowledged = set[str]()
        self.is_unlocked = True

    def begin(self) -> None:
        self.version += 1
        members: Members = {}
        for name, types in self.hosted.items():
            for found in types:
                members.setdefault(found, {})[name] = name
        self.acknowledged, self.is_unlocked = set(), False
        for name in self.hosted:
            self.waiting[name].append((self.version, members))
        self.advance()

    def advance(self) -> None:
        if not self.is_unlocked and self.acknowledged >= self.hosted.keys():
            self.is_unlocked = True
            for name in self.hosted:
                self.waiting[name].append((self.version, None))

    def report(self, name: str, types: tuple[str, ...]) -> None:
        if self.hosted.get(name) != types:
            self.hosted[name] = types
            self.begin()

    def lose(self, name: str) -> None:
        self.tables[name].drop()
        self.active[name].clear()
        self.waiting[name].clear()
        if self.hosted.pop(name, None) is not None:
            self.begin()

    def take(self, name: str) -> None:
        if not self.waiting[name]:
            return
        version, members = self.waiting[name].popleft()
        if members is None:
            self.tables[name].unlock()
            return
        self.tables[name].update(members, 20)
        self.active[name] = {actor for actor in self.active[name] if self.tables[name].find(*actor) == name}
        if version == self.version:
            self.acknowledged.add(name)
            self.advance()

    def settle(self) -> None:
        while any(self.waiting.values()):
            for name in NAMES:
                self.take(name)

    def call(self) -> None:
        """Each sidecar is asked for each actor, and activates what it takes for its own."""
        for actor in ACTORS:
            for name, table in self.tables.items():
                try:
                    found = table.look_up(*actor)
                except Blocked:
                    continue
                if found is not None and found[0] == name:
                    self.active[name].add(actor)
            assert len([name for name in NAMES if actor in self.active[name]]) <= 1, actor


@pytest.mark.parametrize("seed", range(40))
def test_no_actor_is_in_two_places_and_all_agree_in_the_end(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        namespace = Namespace()
        for _ in range(40):
            name = chance.choice(NAMES)
            match chance.choice(["report", "lose", "take", "take", "settle"]):
                case "report":
                    namespace.report(name, chance.choice([("t",), ("t", "u"), ()]))
                case "lose":
                    namespace.lose(name)
                case "take":
                    namespace.take(name)
                case "settle":
                    namespace.settle()
            namespace.call()
        namespace.settle()
        tables = [namespace.tables[name] for name in namespace.hosted]
        assert all(len({table.look_up(*actor) for table in tables}) <= 1 for actor in ACTORS)
