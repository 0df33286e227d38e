"""lock.sqlite keeps locks in a SQLite file, which the sidecars of one machine share.

A lock ends with its time, whatever became of its holder. Time is that of the machine's clock.
"""

import time
from typing import TYPE_CHECKING, TypeVar

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.drivers import sqlite
from pydapr.components.lock import LockError, LockStore, Unlocked

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")


@options
class Options:
    connection_string: str = option("The file, such as `/data/locks.db`, or `:memory:`.", aliases=("url",))
    table_name: str = option("The table of locks.", default="locks")
    timeout: Seconds = option("How long any call may take.", default=Seconds(20))
    busy_timeout: Seconds = option("How long SQLite waits for others who write.", default=Seconds(2))
    disable_wal: bool = option("No write-ahead log, such as on a network file system.", default=False)
    open_on_use: bool = option("Open the file when it is needed first, not at the start.", default=False)


@component("lock.sqlite", Options)
class Sqlite(LockStore):
    """The columns are `resource`, `owner` and `expires`, in milliseconds since 1970."""

    def __init__(self, options: Options) -> None:
        if options.timeout < 1:
            raise Wrong("invalid value for 'timeout': must be greater than 1s")
        if not sqlite.IDENTIFIER.match(options.table_name):
            raise Wrong(f"invalid identifier: {options.table_name}")
        self._table = options.table_name
        self._where = sqlite.place(options.connection_string, options.disable_wal)
        self._database = sqlite.Database(self._where, options.busy_timeout, options.timeout)
        self._opens_on_use = options.open_on_use

    async def open(self) -> None:
        try:
            await self._database.open(self._make, self._opens_on_use)
        except sqlite.Failed as error:
            raise OSError(f"{self._where.path}: {error}") from None

    async def close(self) -> None:
        await self._database.close()

    async def try_lock(self, resource: str, owner: str, seconds: int) -> bool:
        def work(db: "sqlite3.Connection") -> bool:
            # Now, and not before: others may have written for a while until it was this one's turn.
            now = self._clean(db)
            row = (resource, owner, now + seconds * 1000)
            return db.execute(f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?, ?)", row).rowcount == 1

        return await self._write(work)

    async def unlock(self, resource: str, owner: str) -> Unlocked:
        def work(db: "sqlite3.Connection") -> Unlocked:
            self._clean(db)
            row = db.execute(f"SELECT owner FROM {self._table} WHERE resource = ?", (resource,)).fetchone()
            if row is None:
                return Unlocked.NOT_THERE
            if row[0] != owner:
                return Unlocked.OF_OTHERS
            db.execute(f"DELETE FROM {self._table} WHERE resource = ?", (resource,))
            return Unlocked.SUCCESS

        return await self._write(work)

    async def _write(self, work: sqlite.Work[T]) -> T:
        try:
            return await self._database.write(work, is_several=True)
        except sqlite.Failed as error:
            raise LockError(str(error)) from None

    # -- on the database's thread --

    def _make(self, db: "sqlite3.Connection") -> None:
        columns = "resource TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, expires INTEGER NOT NULL"
        db.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}) WITHOUT ROWID")
        db.execute(f"CREATE INDEX IF NOT EXISTS {self._table}_expires ON {self._table} (expires)")

    def _clean(self, db: "sqlite3.Connection") -> int:
        """Removes all locks whose time is over; what time it is."""
        now = time.time_ns() // 1_000_000
        db.execute(f"DELETE FROM {self._table} WHERE expires <= ?", (now,))
        return now
