"""The tables of `pubsub.sqlite` and what is done with them: on a thread of `drivers.sqlite`, in its transactions.

Messages of a topic are numbered as they are committed. A group (`consumers`) reads them in that order and remembers by
its `cursor` how far it is; what it has begun, or put off, stands in `pending`, a row for each message:

    due     owner    the message
    time    token    is with a member of the group, which renews the time while it works on it
    time    NULL     comes again then: after a failure, when its delay is over, or at once
    NULL    NULL     waits for the one before it, which has the same key

`due` is when anybody may take it, so a member that is gone needs no one who notices; that somebody does (`bury`)
only makes it quicker. Who ends a message of a group takes its row away, and the message when no other group has still
to see it. Times are milliseconds since 1970.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.lib.record import Record

if TYPE_CHECKING:
    import sqlite3

VERSION = 1
"""Of the tables, in `PRAGMA user_version`."""

_LOOKED_AT = 2_000
"""Messages that one turn looks at, at most: others who write wait for it."""

_REMOVED = 500
"""Messages that one cleaning removes, at most."""

_SHOWN_BYTES = 8 << 20
"""Bytes of messages after which a page for who looks is full."""

_SCHEMA = (
    # AUTOINCREMENT: a number never comes twice, else a cursor would stand before what is new.
    "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, published INTEGER NOT NULL, "
    "due INTEGER, expires INTEGER, key TEXT, content_type TEXT NOT NULL, metadata TEXT NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX messages_topic ON messages (topic)",
    "CREATE INDEX messages_expires ON messages (expires) WHERE expires IS NOT NULL",
    "CREATE TABLE consumers (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, name TEXT NOT NULL, "
    "cursor INTEGER NOT NULL, seen INTEGER NOT NULL, UNIQUE (topic, name))",
    "CREATE TABLE pending (consumer INTEGER NOT NULL, id INTEGER NOT NULL, due INTEGER, owner TEXT, tries INTEGER "
    "NOT NULL, key TEXT, PRIMARY KEY (consumer, id)) WITHOUT ROWID",
    "CREATE INDEX pending_due ON pending (consumer, due) WHERE due IS NOT NULL",
    "CREATE INDEX pending_key ON pending (consumer, key, id) WHERE key IS NOT NULL",
    "CREATE TABLE members (consumer INTEGER NOT NULL, token TEXT NOT NULL, topic TEXT NOT NULL, bell TEXT NOT NULL, "
    "PRIMARY KEY (consumer, token)) WITHOUT ROWID",
    "CREATE INDEX members_topic ON members (topic, bell)",
)

_COLUMNS = "m.id, m.topic, m.published, m.due, m.expires, m.key, m.content_type, m.metadata, m.data"
_PUBLISH = (
    "INSERT INTO messages (topic, published, due, expires, key, content_type, metadata, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_BELLS = "SELECT DISTINCT bell FROM members WHERE topic = ?"
_DUE = (
    f"SELECT p.tries, p.key, p.id, {_COLUMNS} FROM pending p LEFT JOIN messages m ON m.id = p.id "
    "WHERE p.consumer = ? AND p.due <= ? ORDER BY p.due LIMIT ?"
)
_NEXT = f"SELECT {_COLUMNS} FROM messages m WHERE m.topic = ? AND m.id > ? ORDER BY m.id LIMIT ?"
_PUT = "INSERT INTO pending (consumer, id, due, owner, tries, key) VALUES (?, ?, ?, ?, ?, ?)"
_TAKE = "UPDATE pending SET due = ?, owner = ?, tries = tries + 1, key = ? WHERE consumer = ? AND id = ?"
_HAS_KEY = "SELECT 1 FROM pending WHERE consumer = ? AND key = ? LIMIT 1"
_END = "DELETE FROM pending WHERE consumer = ? AND id = ? AND owner = ?"
_REMOVE = (
    "DELETE FROM messages WHERE id = ? AND NOT EXISTS (SELECT 1 FROM consumers c WHERE c.topic = messages.topic AND "
    "(c.cursor < messages.id OR EXISTS (SELECT 1 FROM pending p WHERE p.consumer = c.id AND p.id = messages.id)))"
)
_FREE_KEY = (
    "UPDATE pending SET due = ? WHERE consumer = ? AND due IS NULL AND id = "
    "(SELECT MIN(id) FROM pending WHERE consumer = ? AND key = ?)"
)
_PUT_OFF = "UPDATE pending SET due = ?, owner = NULL WHERE consumer = ? AND id = ? AND owner = ?"


class Row(Record):
    """A message as it is published."""

    topic: str
    published: int
    due: int | None
    expires: int | None
    key: str | None
    content_type: str
    metadata: Mapping[str, str]
    data: bytes


class Taken(Record):
    """A message that somebody has to process now, for the `tries`th time."""

    id: int
    row: Row
    tries: int


class Wish(Record):
    """How many messages a group's member can take."""

    consumer: int
    topic: str
    most: int


class Turn(Record):
    """What a member does at once: ends messages, puts others off until a time, and takes new ones."""

    ended: Sequence[tuple[int, Taken]]
    """Consumers and messages."""
    put_off: Sequence[tuple[int, Taken, int]]
    """Consumers, messages, and when these come again."""
    wishes: Sequence[Wish]


class Given(Record):
    """What came of a wish. `next_due` is when the group has something again that nobody announces."""

    taken: Sequence[Taken]
    has_more: bool
    """Whether there may be more that could be had at once."""
    next_due: int | None
    is_known: bool = True
    """Whether the group is there; else it was forgotten, or the file is another, and members have to join again."""


def make(db: "sqlite3.Connection") -> None:
    """Makes the tables if they are not there, in a transaction of the caller. Raises `ValueError`."""
    [version] = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    elif version != VERSION:
        raise ValueError(f"its tables are of version {version}, and this pydapr knows version {VERSION} only")


# -- publishing --


def publish(db: "sqlite3.Connection", rows: Sequence[Row]) -> list[str]:
    """Adds messages of one topic; the bells of those who read it."""
    for row in rows:
        metadata = json.dumps(row.metadata, ensure_ascii=False) if row.metadata else ""
        about = row.published, row.due, row.expires, row.key, row.content_type, metadata
        db.execute(_PUBLISH, (row.topic, *about, row.data))
    return [bell for (bell,) in db.execute(_BELLS, (rows[0].topic,))]


# -- members --


def join(db: "sqlite3.Connection", topic: str, name: str, token: str, bell: str, now: int) -> int:
    """Makes somebody a member of a group that reads a topic from its first message on, or says that it still is one.

    The group's number.
    """
    # A number that no other group has, not even one of another file that has come in the place of this.
    db.execute(
        "INSERT INTO consumers (id, topic, name, cursor, seen) VALUES (?, ?, ?, 0, ?) "
        "ON CONFLICT (topic, name) DO UPDATE SET seen = excluded.seen",
        (int.from_bytes(os.urandom(6)), topic, name, now),
    )
    [consumer] = db.execute("SELECT id FROM consumers WHERE topic = ? AND name = ?", (topic, name)).fetchone()
    assert isinstance(consumer, int)
    db.execute(
        "REPLACE INTO members (consumer, token, topic, bell) VALUES (?, ?, ?, ?)", (consumer, token, topic, bell)
    )
    return consumer


def leave(db: "sqlite3.Connection", consumers: Iterable[int], token: str, now: int) -> None:
    """A member ends; what it still has under way is for the others."""
    give = "UPDATE pending SET due = ?, owner = NULL WHERE consumer = ? AND due IS NOT NULL AND owner = ?"
    for consumer in consumers:
        db.execute(give, (now, consumer, token))
        db.execute("DELETE FROM members WHERE consumer = ? AND token = ?", (consumer, token))


def others(db: "sqlite3.Connection", consumers: Iterable[int], token: str) -> set[tuple[str, str]]:
    """Token and bell of the other members of these groups."""
    select = "SELECT token, bell FROM members WHERE consumer = ? AND token <> ?"
    return {(other, bell) for consumer in consumers for other, bell in db.execute(select, (consumer, token))}


def bury(db: "sqlite3.Connection", token: str, now: int) -> None:
    """A member is gone without having left."""
    joined = db.execute("SELECT consumer FROM members WHERE token = ?", (token,)).fetchall()
    leave(db, [consumer for (consumer,) in joined], token, now)


def bury_silent(db: "sqlite3.Connection", bells: Iterable[str], now: int) -> None:
    """As `bury`, for members by bells that nobody answers any more."""
    for bell in bells:
        for (token,) in db.execute("SELECT DISTINCT token FROM members WHERE bell = ?", (bell,)).fetchall():
            bury(db, token, now)


# -- taking and ending --


def turn(db: "sqlite3.Connection", wanted: Turn, token: str, now: int, lease: int) -> list[Given]:
    """Does what is wanted, as the member `token`, which has what it takes for `lease`; what comes of each wish."""
    for consumer, taken in wanted.ended:
        if db.execute(_END, (consumer, taken.id, token)).rowcount:
            _follow(db, consumer, taken.row.key, now)
            db.execute(_REMOVE, (taken.id,))
    for consumer, taken, due in wanted.put_off:
        db.execute(_PUT_OFF, (due, consumer, taken.id, token))
    return [_Taking(db, wish, token, now, lease).run() for wish in wanted.wishes]


def _follow(db: "sqlite3.Connection", consumer: int, key: str | None, now: int) -> None:
    if key is not None:
        db.execute(_FREE_KEY, (now, consumer, consumer, key))


class _Taking:
    """One wish in one transaction."""

    def __init__(self, db: "sqlite3.Connection", wish: Wish, token: str, now: int, lease: int) -> None:
        self._db, self._wish, self._token, self._now = db, wish, token, now
        self._until = now + lease
        self._taken: list[Taken] = []
        self._looked_at = 0

    def run(self) -> Given:
        self._take_due()
        is_known = self._take_new()
        select = "SELECT MIN(due) FROM pending WHERE consumer = ? AND due IS NOT NULL"
        [due] = self._db.execute(select, (self._wish.consumer,)).fetchone()
        return Given(self._taken, self._is_enough(), due, is_known)

    def _is_enough(self) -> bool:
        return len(self._taken) >= self._wish.most or self._looked_at >= _LOOKED_AT

    def _take_due(self) -> None:
        consumer = self._wish.consumer
        while not self._is_enough():
            rows = self._db.execute(_DUE, (consumer, self._now, self._wish.most - len(self._taken))).fetchall()
            for tries, key, number, *columns in rows:
                row = _row(columns[1:]) if columns[0] is not None else None
                if row is None or (row.expires is not None and row.expires <= self._now):
                    self._drop(number, key)
                elif key is None and row.key is not None and self._is_busy(row.key):
                    # It was delayed: only now it stands in line with those that have its key.
                    update = "UPDATE pending SET due = NULL, key = ? WHERE consumer = ? AND id = ?"
                    self._db.execute(update, (row.key, consumer, number))
                else:
                    self._db.execute(_TAKE, (self._until, self._token, row.key, consumer, number))
                    self._taken.append(Taken(number, row, tries + 1))
            if not rows:
                return
            self._looked_at += len(rows)

    def _drop(self, number: int, key: str | None) -> None:
        """A message that nobody shall have any more: its time is over, or it is not there."""
        self._db.execute("DELETE FROM pending WHERE consumer = ? AND id = ?", (self._wish.consumer, number))
        _follow(self._db, self._wish.consumer, key, self._now)
        self._db.execute(_REMOVE, (number,))

    def _take_new(self) -> bool:
        """Whether the group is there."""
        consumer, topic = self._wish.consumer, self._wish.topic
        found = self._db.execute("SELECT cursor FROM consumers WHERE id = ?", (consumer,)).fetchone()
        if found is None:
            return False
        [cursor] = found
        while not self._is_enough():
            rows = self._db.execute(_NEXT, (topic, cursor, self._wish.most - len(self._taken))).fetchall()
            for number, *columns in rows:
                cursor = number
                self._meet(number, _row(columns))
            if not rows:
                break
            self._looked_at += len(rows)
        if cursor != found[0]:
            self._db.execute("UPDATE consumers SET cursor = ? WHERE id = ?", (cursor, consumer))
        return True

    def _meet(self, number: int, row: Row) -> None:
        """A message for which this group has no row yet: it is taken, put off, or passed over."""
        consumer = self._wish.consumer
        if row.expires is not None and row.expires <= self._now:
            return  # whoever cleans takes it away
        if row.due is not None and row.due > self._now:
            self._db.execute(_PUT, (consumer, number, row.due, None, 0, None))
        elif row.key is not None and self._is_busy(row.key):
            self._db.execute(_PUT, (consumer, number, None, None, 0, row.key))
        else:
            self._db.execute(_PUT, (consumer, number, self._until, self._token, 1, row.key))
            self._taken.append(Taken(number, row, 1))

    def _is_busy(self, key: str) -> bool:
        return self._db.execute(_HAS_KEY, (self._wish.consumer, key)).fetchone() is not None


def _row(columns: Sequence[Any]) -> Row:
    topic, published, due, expires, key, content_type, metadata, data = columns
    if not isinstance(data, bytes):
        data = str(data).encode()  # whoever writes into the file by hand writes text
    return Row(topic, published, due, expires, key, content_type, _metadata(metadata) if metadata else {}, data)


def _metadata(text: str) -> Mapping[str, str]:
    """What is none must not hold up the messages behind it."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


# -- what is done now and then --


def renew(db: "sqlite3.Connection", running: Iterable[tuple[int, int]], token: str, until: int) -> None:
    """The member still works on these messages (consumer, id)."""
    update = "UPDATE pending SET due = ? WHERE consumer = ? AND id = ? AND owner = ?"
    db.executemany(update, [(until, consumer, number, token) for consumer, number in running])


def clean(db: "sqlite3.Connection", now: int, retention: int) -> bool:
    """Removes messages whose time is over, forgets groups that nobody was in for as long; whether more is left."""
    select = "SELECT id FROM messages WHERE expires IS NOT NULL AND expires <= ? LIMIT ?"
    old = db.execute(select, (now, _REMOVED)).fetchall()
    if len(old) < _REMOVED:
        old += _oldest(db, now - retention, _REMOVED - len(old))
    db.executemany("DELETE FROM messages WHERE id = ?", old)
    gone = db.execute("SELECT id FROM consumers WHERE seen < ?", (now - retention,)).fetchall()
    for table, column in (("pending", "consumer"), ("members", "consumer"), ("consumers", "id")):
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", gone)
    return len(old) >= _REMOVED


def _oldest(db: "sqlite3.Connection", before: int, most: int) -> list[tuple[int]]:
    """Messages that could be had before a time, and not for the first time after it."""
    found: list[tuple[int]] = []
    for number, published, due in db.execute("SELECT id, published, due FROM messages ORDER BY id"):
        if published >= before or len(found) >= most:
            break  # numbers grow with time
        if due is None or due < before:
            found.append((number,))
    return found


def make_room(db: "sqlite3.Connection") -> int:
    """Removes the oldest messages of topics that no group reads; how many."""
    done = db.execute(
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages m WHERE NOT EXISTS "
        "(SELECT 1 FROM consumers c WHERE c.topic = m.topic) ORDER BY id LIMIT ?)",
        (_REMOVED,),
    )
    return done.rowcount


# -- looking --


def size(db: "sqlite3.Connection") -> int:
    """Bytes of the file."""
    [pages], [page] = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
    assert isinstance(pages, int)
    assert isinstance(page, int)
    return pages * page


def browse(db: "sqlite3.Connection", topic: str, after: int, most: int, now: int) -> tuple[list[tuple[int, Row]], bool]:
    """Messages behind `after`, and whether there are more: than `most`, or than what fits on a page."""
    select = (
        f"SELECT {_COLUMNS} FROM messages m WHERE m.topic = ? AND m.id > ? AND (m.expires IS NULL OR m.expires > ?) "
        "ORDER BY m.id"
    )
    found: list[tuple[int, Row]] = []
    size = 0
    for number, *columns in db.execute(select, (topic, after, now)):
        if len(found) >= most or size >= _SHOWN_BYTES:
            return found, True
        row = _row(columns)
        size += len(row.data)
        found.append((number, row))
    return found, False
