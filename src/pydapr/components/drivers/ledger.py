"""What the sidecar itself keeps of messages, in a SQLite file: those held until they are due, ids of events seen.

Made by `daprd.ledger`, used by `blocks.pubsub`. The sidecars of one app on a machine share the file. The file is opened
when it is used for the first time, and never grows beyond a bound. Times are milliseconds since 1970.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydapr.components.drivers import sqlite
from pydapr.lib.record import Record

if TYPE_CHECKING:
    import sqlite3

MOST_BYTES = 1 << 30
"""How large the file may become."""

LEASE_MS = 30_000
"""How long a message that was taken is left alone: then whoever took it is gone."""

VERSION = 1
"""Of the tables, in `PRAGMA user_version`."""

_PAGE = 4096
_CLEANED = 500
"""Old ids that a new one removes, at most."""

_FORGOTTEN = 5000
"""Ids that are removed when the file is full."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY AUTOINCREMENT, due INTEGER NOT NULL, "
    "pubsub TEXT NOT NULL, topic TEXT NOT NULL, content_type TEXT NOT NULL, metadata TEXT NOT NULL, "
    "data BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX IF NOT EXISTS held_due ON held (due)",
    "CREATE TABLE IF NOT EXISTS seen (subscription TEXT NOT NULL, id TEXT NOT NULL, expires INTEGER NOT NULL, "
    "PRIMARY KEY (subscription, id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS seen_expires ON seen (expires)",
)


class Failed(Exception):
    """The file cannot be used, or is full. The message is the reason."""


class Held(Record):
    """A message that waits; `tries` says how often it could not be published."""

    id: int
    pubsub: str
    topic: str
    content_type: str
    metadata: Mapping[str, str]
    data: bytes
    tries: int


class Ledger:
    """The file. All methods raise `Failed`."""

    def __init__(self, path: Path, busy: float = 5.0, timeout: float = 20.0) -> None:
        self.path = path
        self._database = sqlite.Database(
            sqlite.place(f"file:{quote(str(path))}", disable_wal=False), busy, timeout, reads_apart=False
        )
        self._is_open = False

    @property
    def is_there(self) -> bool:
        """Whether something may be in it."""
        return self.path.exists()

    async def close(self) -> None:
        await self._database.close()

    async def hold(
        self, due: int, pubsub: str, topic: str, content_type: str, metadata: Mapping[str, str], data: bytes
    ) -> None:
        """Keeps a message; it is on the disk when this returns."""
        row = (due, pubsub, topic, content_type, json.dumps(dict(metadata)), data)
        sql = "INSERT INTO held (due, pubsub, topic, content_type, metadata, data) VALUES (?, ?, ?, ?, ?, ?)"
        await self._write(lambda db: db.execute(sql, row))

    async def take(self, now: int, most: int) -> Sequence[Held]:
        """Messages that are due, which nobody else gets for the time of a lease."""
        found: list[Held] = []

        def work(db: "sqlite3.Connection") -> None:
            found.clear()
            columns = "id, pubsub, topic, content_type, metadata, data, tries"
            rows = db.execute(f"SELECT {columns} FROM held WHERE due <= ? ORDER BY due LIMIT ?", (now, most)).fetchall()
            db.executemany("UPDATE held SET due = ? WHERE id = ?", [(now + LEASE_MS, row[0]) for row in rows])
            for one, pubsub, topic, content_type, metadata, data, tries in rows:
                found.append(Held(one, pubsub, topic, content_type, json.loads(metadata), bytes(data), tries))

        await self._write(work)
        return found

    async def remove(self, ids: Sequence[int]) -> None:
        await self._write(lambda db: db.executemany("DELETE FROM held WHERE id = ?", [(one,) for one in ids]))

    async def put_off(self, one: int, due: int) -> None:
        """The message could not be published, and is taken again when it is `due`."""
        await self._write(lambda db: db.execute("UPDATE held SET due = ?, tries = tries + 1 WHERE id = ?", (due, one)))

    async def give_back(self, ids: Sequence[int], due: int) -> None:
        """The messages were taken, and not tried; they are taken again when they are `due`."""
        await self._write(
            lambda db: db.executemany("UPDATE held SET due = ? WHERE id = ?", [(due, one) for one in ids])
        )

    async def next_due(self) -> int | None:
        """When the next message is due; None when none is held."""
        found: list[int | None] = []
        await self._write(lambda db: found.append(db.execute("SELECT MIN(due) FROM held").fetchone()[0]))
        return found[-1]

    async def has_seen(self, subscription: str, one: str, now: int) -> bool:
        """Whether the id is remembered for the subscription."""
        found: list[bool] = []
        sql = "SELECT 1 FROM seen WHERE subscription = ? AND id = ? AND expires > ?"
        await self._write(lambda db: found.append(db.execute(sql, (subscription, one, now)).fetchone() is not None))
        return found[-1]

    async def see(self, subscription: str, one: str, expires: int) -> None:
        """Remembers an id until then."""
        now = int(time.time() * 1000)

        def work(db: "sqlite3.Connection") -> None:
            old = "SELECT subscription, id FROM seen WHERE expires <= ? LIMIT ?"
            rows = db.execute(old, (now, _CLEANED)).fetchall()
            db.executemany("DELETE FROM seen WHERE subscription = ? AND id = ?", rows)
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (subscription, one, expires))

        await self._write(work)

    async def _write(self, work: sqlite.Work[object]) -> None:
        try:
            if not self._is_open:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                await self._database.open(_prepare, on_use=True)
                self._is_open = True
            try:
                await self._database.write(work, is_several=True)
            except sqlite.Full:
                await self._database.write(_forget, is_several=True)
                await self._database.write(work, is_several=True)
        except (sqlite.Failed, OSError) as error:
            raise Failed(f"{self.path}: {error}") from None


def _forget(db: "sqlite3.Connection") -> None:
    """Makes room: ids that would be forgotten first anyhow matter less than what is new."""
    rows = db.execute("SELECT subscription, id FROM seen ORDER BY expires LIMIT ?", (_FORGOTTEN,)).fetchall()
    db.executemany("DELETE FROM seen WHERE subscription = ? AND id = ?", rows)


def _prepare(db: "sqlite3.Connection") -> None:
    [version] = db.execute("PRAGMA user_version").fetchone()
    if version not in (0, VERSION):  # 0 is a new file
        raise ValueError(f"its tables are of version {version}, and this pydapr knows version {VERSION} only")
    db.execute(f"PRAGMA max_page_count = {MOST_BYTES // _PAGE}")
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")
