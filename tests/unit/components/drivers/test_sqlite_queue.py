"""The tables of the broker in a file: who gets which message when, by times that the cases give."""

import sqlite3
from collections.abc import Iterator, Mapping

import pytest

from pydapr.components.drivers import sqlite_queue as queue
from pydapr.components.drivers.sqlite_queue import Given, Row, Taken, Turn, Wish

LEASE = 1000
TOPIC = "orders"


class Member:
    """A member of a group, which takes and ends messages at times that it is told."""

    def __init__(self, db: sqlite3.Connection, token: str, group: str = "app", topic: str = TOPIC) -> None:
        self.db, self.token, self.topic = db, token, topic
        self.consumer = queue.join(db, topic, group, token, f"/bells/{token}", 0)

    def turn(
        self,
        now: int = 0,
        most: int = 10,
        ended: list[Taken] | None = None,
        put_off: list[tuple[Taken, int]] | None = None,
    ) -> Given:
        wanted = Turn(
            [(self.consumer, one) for one in ended or ()],
            [(self.consumer, one, due) for one, due in put_off or ()],
            [Wish(self.consumer, self.topic, most)],
        )
        [given] = queue.turn(self.db, wanted, self.token, now, LEASE)
        return given

    def take(self, now: int = 0, most: int = 10) -> list[bytes]:
        return [one.row.data for one in self.turn(now, most).taken]


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    queue.make(made)
    yield made
    made.close()


def publish(
    db: sqlite3.Connection,
    *data: bytes,
    topic: str = TOPIC,
    now: int = 0,
    due: int | None = None,
    expires: int | None = None,
    key: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> list[str]:
    return queue.publish(db, [Row(topic, now, due, expires, key, "", metadata or {}, one) for one in data])


def left(db: sqlite3.Connection) -> int:
    [count] = db.execute("SELECT COUNT(*) FROM messages").fetchone()
    return int(count)


def test_messages_are_taken_in_order_and_once(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"1", b"2", b"3")

    assert member.take(most=2) == [b"1", b"2"]
    assert member.take() == [b"3"]
    assert member.take() == []


def test_members_of_a_group_share_and_groups_do_not(db: sqlite3.Connection) -> None:
    one, two, other = Member(db, "a"), Member(db, "b"), Member(db, "c", group="other")
    publish(db, b"1", b"2", b"3")

    assert (one.take(most=1), two.take(), other.take()) == ([b"1"], [b"2", b"3"], [b"1", b"2", b"3"])


def test_message_is_removed_when_the_last_group_is_done_with_it(db: sqlite3.Connection) -> None:
    one, other = Member(db, "a"), Member(db, "b", group="other")
    publish(db, b"1", b"2")
    first, second = one.turn().taken, other.turn().taken

    one.turn(ended=list(first))
    assert left(db) == 2
    other.turn(ended=list(second[:1]))
    assert left(db) == 1
    other.turn(ended=list(second[1:]))
    assert left(db) == 0


def test_numbers_never_come_twice(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    for data in (b"1", b"2", b"3"):
        publish(db, data)
        member.turn(ended=list(member.turn().taken))
        assert left(db) == 0

    publish(db, b"4")
    assert member.take() == [b"4"]


def test_new_group_begins_with_what_is_there(db: sqlite3.Connection) -> None:
    publish(db, b"before anyone came")

    assert Member(db, "a").take() == [b"before anyone came"]


def test_what_was_not_processed_comes_at_its_time_with_its_count(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"1")
    [taken] = member.turn().taken
    assert taken.tries == 1

    given = member.turn(now=10, put_off=[(taken, 50)])
    assert (given.taken, given.next_due) == ([], 50)
    [again] = member.turn(now=50).taken
    assert (again.row.data, again.tries) == (b"1", 2)


def test_lease_that_ran_out_gives_the_message_to_others_and_its_owner_no_say(db: sqlite3.Connection) -> None:
    slow, quick = Member(db, "a"), Member(db, "b")
    publish(db, b"1")
    [taken] = slow.turn().taken
    assert quick.take(now=LEASE - 1) == []

    [again] = quick.turn(now=LEASE).taken
    slow.turn(now=LEASE, ended=[taken])
    assert left(db) == 1
    quick.turn(now=LEASE, ended=[again])
    assert left(db) == 0


def test_lease_that_is_renewed_holds(db: sqlite3.Connection) -> None:
    slow, quick = Member(db, "a"), Member(db, "b")
    publish(db, b"1")
    [taken] = slow.turn().taken

    queue.renew(db, [(slow.consumer, taken.id)], "a", 5 * LEASE)

    assert quick.take(now=4 * LEASE) == []
    slow.turn(now=4 * LEASE, ended=[taken])
    assert left(db) == 0


def test_what_the_dead_had_is_for_others_at_once(db: sqlite3.Connection) -> None:
    dead, living = Member(db, "a"), Member(db, "b")
    publish(db, b"1", b"2")
    dead.take(most=1)
    assert queue.others(db, [living.consumer], "b") == {("a", "/bells/a")}

    queue.bury_silent(db, ["/bells/a"], 5)

    assert sorted(living.take(now=5)) == [b"1", b"2"]
    assert queue.others(db, [living.consumer], "b") == set()


def test_who_leaves_gives_back(db: sqlite3.Connection) -> None:
    leaving, staying = Member(db, "a"), Member(db, "b")
    publish(db, b"1")
    leaving.take()

    queue.leave(db, [leaving.consumer], "a", 7)

    assert staying.take(now=7) == [b"1"]


def test_publisher_is_told_whom_to_ring(db: sqlite3.Connection) -> None:
    Member(db, "a")
    Member(db, "b", group="other")
    Member(db, "c", topic="elsewhere")

    assert sorted(publish(db, b"1", b"2")) == ["/bells/a", "/bells/b"]


# -- order --


def test_one_of_a_key_at_a_time_in_order(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"a1", b"a2", key="a")
    publish(db, b"b1", key="b")
    publish(db, b"free")
    publish(db, b"a3", key="a")

    first = member.turn().taken
    assert [one.row.data for one in first] == [b"a1", b"b1", b"free"]
    second = member.turn(ended=list(first)).taken
    assert [one.row.data for one in second] == [b"a2"]
    third = member.turn(ended=list(second)).taken
    assert [one.row.data for one in third] == [b"a3"]
    member.turn(ended=list(third))
    assert left(db) == 0


def test_key_waits_for_a_message_that_comes_again(db: sqlite3.Connection) -> None:
    one, two = Member(db, "a"), Member(db, "b")
    publish(db, b"1", b"2", key="k")
    [taken] = one.turn().taken

    one.turn(now=1, put_off=[(taken, 100)])
    assert two.take(now=50) == []
    assert two.take(now=100) == [b"1"]


def test_key_goes_on_when_its_first_message_is_over(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"short", key="k", expires=100)
    publish(db, b"next", key="k")
    [taken] = member.turn().taken
    member.turn(now=50, put_off=[(taken, 150)])

    # The first turn drops it, and the next message of the key is to be had at once.
    assert member.take(now=150) == [b"next"]


def test_groups_keep_the_order_each_by_itself(db: sqlite3.Connection) -> None:
    one, other = Member(db, "a"), Member(db, "b", group="other")
    publish(db, b"1", b"2", key="k")
    [taken] = one.turn().taken

    assert other.take() == [b"1"]
    assert [got.row.data for got in one.turn(ended=[taken]).taken] == [b"2"]


def test_line_longer_than_one_look_is_walked_through(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, *(b"%d" % n for n in range(5000)), key="k")
    publish(db, b"free")

    given = member.turn()
    seen = [one.row.data for one in given.taken]
    while given.has_more and len(seen) < 2:
        given = member.turn()
        seen += [one.row.data for one in given.taken]

    assert seen == [b"0", b"free"]


# -- time --


def test_delayed_message_comes_when_it_is_due(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"later", due=100)
    publish(db, b"now")

    given = member.turn(now=0)
    assert ([one.row.data for one in given.taken], given.next_due) == ([b"now"], 100)
    assert member.take(now=100) == [b"later"]


def test_delayed_message_stands_in_line_only_when_it_is_due(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    publish(db, b"later", key="k", due=100)
    publish(db, b"now", key="k")

    [taken] = member.turn(now=0).taken
    assert taken.row.data == b"now"
    assert member.take(now=100) == []
    assert [one.row.data for one in member.turn(now=101, ended=[taken]).taken] == [b"later"]


@pytest.mark.parametrize("was_seen", [False, True])
def test_message_whose_time_is_over_is_not_taken(db: sqlite3.Connection, was_seen: bool) -> None:
    member = Member(db, "a")
    publish(db, b"short", expires=100)
    publish(db, b"long", expires=10_000)
    if was_seen:
        [taken] = member.turn(most=1).taken
        member.turn(now=1, most=0, put_off=[(taken, 50)])

    assert member.take(now=100) == [b"long"]
    queue.clean(db, 100, 10**9)
    assert left(db) == 1


def test_old_messages_and_groups_are_removed(db: sqlite3.Connection) -> None:
    Member(db, "a")
    publish(db, b"old", now=0)
    publish(db, b"old but delayed", now=0, due=500)
    publish(db, b"young", now=500)

    assert not queue.clean(db, 1100, 1000)

    assert [row.data for _, row in queue.browse(db, TOPIC, 0, 10, 0)[0]] == [b"old but delayed", b"young"]
    assert db.execute("SELECT COUNT(*) FROM consumers").fetchone() == (0,)
    assert Member(db, "a").take(now=1100) == [b"old but delayed", b"young"]


def test_cleaning_goes_in_steps(db: sqlite3.Connection) -> None:
    publish(db, *(b"%d" % n for n in range(1200)))

    steps = 1
    while queue.clean(db, 5000, 1000):
        steps += 1

    assert (left(db), steps) == (0, 3)


def test_group_that_was_forgotten_gives_nothing_until_somebody_joins(db: sqlite3.Connection) -> None:
    member = Member(db, "a")
    queue.clean(db, 5000, 1000)
    publish(db, b"1", now=5000)

    assert member.take(now=5000) == []
    assert Member(db, "a").take(now=5000) == [b"1"]


def test_room_is_made_by_what_nobody_reads(db: sqlite3.Connection) -> None:
    Member(db, "a")
    publish(db, b"wanted")
    publish(db, b"1", b"2", topic="nobody's")

    assert queue.make_room(db) == 2
    assert queue.make_room(db) == 0
    assert left(db) == 1


def test_looking_takes_nothing(db: sqlite3.Connection) -> None:
    publish(db, b"1", metadata={"a": "ü"})
    publish(db, b"2", expires=5)

    [(number, row)], _ = queue.browse(db, TOPIC, 0, 10, 5)
    assert (row.data, row.metadata) == (b"1", {"a": "ü"})
    assert queue.browse(db, TOPIC, number, 10, 5) == ([], False)
    assert Member(db, "a").take(now=5) == [b"1"]


def test_who_looks_gets_full_pages_though_messages_between_are_over(db: sqlite3.Connection) -> None:
    publish(db, b"over", b"over", expires=5)
    publish(db, b"1", b"2")

    first, has_more = queue.browse(db, TOPIC, 0, 1, 5)
    rest, has_more_then = queue.browse(db, TOPIC, first[-1][0], 1, 5)

    assert ([row.data for _, row in first], has_more) == ([b"1"], True)
    assert ([row.data for _, row in rest], has_more_then) == ([b"2"], False)


def test_page_ends_where_it_gets_large(db: sqlite3.Connection) -> None:
    large = bytes(5 << 20)
    publish(db, large, large, large)

    found, has_more = queue.browse(db, TOPIC, 0, 100, 5)

    assert (len(found), has_more) == (2, True)


@pytest.mark.parametrize(("metadata", "data"), [("{", b"1"), ("[]", b"1"), ("", "1"), ('{"a": 1}', 1)])
def test_what_others_wrote_into_the_file_holds_nothing_up(db: sqlite3.Connection, metadata: str, data: object) -> None:
    insert = "INSERT INTO messages (topic, published, content_type, metadata, data) VALUES (?, 0, '', ?, ?)"
    db.execute(insert, (TOPIC, metadata, data))
    publish(db, b"behind")

    assert Member(db, "a").take() == [b"1", b"behind"]


def test_tables_of_another_version_are_left_alone(db: sqlite3.Connection) -> None:
    queue.make(db)
    db.execute("PRAGMA user_version = 7")

    with pytest.raises(ValueError, match="version 7"):
        queue.make(db)
