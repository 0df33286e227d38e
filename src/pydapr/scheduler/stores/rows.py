"""Keys and values in an SQLite file, with etcd's revisions: the statements, without threads and transactions.

Called by `sqlite` on its threads, within transactions. A row is a key as it is now; of its past only the revisions are
kept: there is one counter for the file, every transaction that changes something has the next number, and each key
remembers the one that made it and the one that changed it last.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pydapr.lib.record import Record

if TYPE_CHECKING:
    import sqlite3

APPLICATION = 0x70646A73
"""In the header of our files, so that none of another program is taken for one."""

FORMAT = 1

_TABLES = (
    # Values are small: kept within the tree of keys, a row costs one page instead of two.
    "CREATE TABLE keys (key BLOB PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, "
    "modified INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX leased ON keys (lease) WHERE lease != 0",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO facts VALUES ('revision', 1)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)

_COLUMNS = "key, value, created, modified, version, lease"
_KEYS_ONLY = "key, x'', created, modified, version, lease"


class Row(NamedTuple):
    """A key as it stands, or, as a change, as it is from now on: `value` None for one that is removed."""

    key: bytes
    value: bytes | None
    created: int
    modified: int
    version: int
    lease: int


class Query(Record):
    """Which rows: those from `key` to before `end`; of `key` alone without an `end`, all from `key` on for b'\\0'."""

    key: bytes
    end: bytes = b""
    limit: int = 0
    is_descending: bool = False
    order: str = "key"
    """The column: key, version, created, modified or value."""
    keys_only: bool = False
    between: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Least and highest `modified`, least and highest `created`; 0 for any."""


def bounds(key: bytes, end: bytes) -> tuple[str, tuple[bytes, ...]]:
    """The condition for keys of a range."""
    if not end:
        return "key = ?", (key,)
    if end == b"\0":
        return "key >= ?", (key,)
    return "key >= ? AND key < ?", (key, end)


def make(db: "sqlite3.Connection") -> None:
    """The tables of a new file."""
    for statement in _TABLES:
        db.execute(statement)


def revision(db: "sqlite3.Connection") -> int:
    """That of the last change."""
    return int(db.execute("SELECT number FROM facts WHERE name = 'revision'").fetchone()[0])


def get(db: "sqlite3.Connection", key: bytes) -> Row | None:
    found = db.execute(f"SELECT {_COLUMNS} FROM keys WHERE key = ?", (key,)).fetchone()
    return None if found is None else Row(*found)


def select(db: "sqlite3.Connection", query: Query) -> list[Row]:
    """The rows of a query, in its order."""
    return list(map(Row._make, _select(db, query)))


def portions(db: "sqlite3.Connection", query: Query, size: int) -> Iterator[list[Row]]:
    """The same, so many at a time."""
    cursor = _select(db, query)
    while found := cursor.fetchmany(size):
        yield list(map(Row._make, found))


def _select(db: "sqlite3.Connection", query: Query) -> "sqlite3.Cursor":
    condition, given = _condition(query)
    order = f"{query.order} {'DESC' if query.is_descending else 'ASC'}"
    if query.order != "key":
        order += ", key ASC"
    limit = f" LIMIT {query.limit:d}" if query.limit > 0 else ""
    columns = _KEYS_ONLY if query.keys_only else _COLUMNS
    return db.execute(f"SELECT {columns} FROM keys WHERE {condition} ORDER BY {order}{limit}", given)


def count(db: "sqlite3.Connection", query: Query) -> int:
    """How many there are, whatever the limit."""
    condition, given = _condition(query)
    return int(db.execute(f"SELECT COUNT(*) FROM keys WHERE {condition}", given).fetchone()[0])


def _condition(query: Query) -> tuple[str, Sequence[bytes | int]]:
    condition, given = bounds(query.key, query.end)
    more: list[bytes | int] = list(given)
    for column, bound in zip(("modified >=", "modified <=", "created >=", "created <="), query.between, strict=True):
        if bound:
            condition += f" AND {column} ?"
            more.append(bound)
    return condition, more


class Changing:
    """What is written in one transaction of the file: several transactions of clients, each with its revision."""

    def __init__(self, db: "sqlite3.Connection") -> None:
        self.db = db
        self.revision = self._before = revision(db)
        self.changes: list[Row] = []
        """In the order in which they were made."""

    def next(self) -> int:
        """The revision of a transaction that changes something now."""
        return self.revision + 1

    def put(self, key: bytes, value: bytes, at: int, lease: int = 0) -> Row | None:
        """What stood there before."""
        self.revision = at
        before = get(self.db, key)
        made = Row(key, value, at, at, 1, lease)
        if before is not None:
            made = made._replace(created=before.created, version=before.version + 1)
        self.db.execute("REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?)", made)
        self.changes.append(made)
        return before

    def remove(self, key: bytes, end: bytes, at: int) -> list[Row]:
        """What stood there; without a change nothing counts as a transaction."""
        condition, given = bounds(key, end)
        return self._remove(condition, given, at)

    def remove_leased(self, lease: int, at: int) -> list[Row]:
        """The keys of a lease."""
        return self._remove("lease = ? AND lease != 0", (lease,), at)

    def remove_all_leased(self, at: int) -> list[Row]:
        return self._remove("lease != 0", (), at)

    def _remove(self, condition: str, given: Sequence[bytes | int], at: int) -> list[Row]:
        found = list(map(Row._make, self.db.execute(f"SELECT {_COLUMNS} FROM keys WHERE {condition}", given)))
        if found:
            self.db.execute(f"DELETE FROM keys WHERE {condition}", given)
            self.revision = at
            self.changes += (Row(one.key, None, 0, at, 0, 0) for one in found)
        return found

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is written within is not, if it raises."""
        before, length = self.revision, len(self.changes)
        self.db.execute("SAVEPOINT whole")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO whole")
            self.revision = before
            del self.changes[length:]
            raise
        finally:
            self.db.execute("RELEASE whole")

    def finish(self) -> None:
        """The last thing that is written."""
        if self.revision != self._before:
            self.db.execute("UPDATE facts SET number = ? WHERE name = 'revision'", (self.revision,))


def leased(db: "sqlite3.Connection", lease: int) -> Iterator[bytes]:
    """The keys of a lease."""
    return (key for (key,) in db.execute("SELECT key FROM keys WHERE lease = ? AND lease != 0", (lease,)))
