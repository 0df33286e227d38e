"""nameresolution.sqlite: sidecars that share a SQLite file find each other there, those of the original included.

A row per sidecar, in the original's table; each renews its own, and a row that was not renewed in `updateInterval` does
not count. All SQL runs on one thread of its own.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.drivers import sqlite
from pydapr.components.nameresolution import Addresses, Instance, Remembering
from pydapr.observe import logging

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

log = logging.get("dapr.contrib")

_NOW = "CAST(strftime('%s', 'now') AS INTEGER)"
_MIGRATION = "nr-migrations"


@options
class Options:
    connection_string: str = option("The file, such as `/shared/names.db`.", aliases=("url",))
    timeout: Seconds = option("How long a query may take.", default=Seconds(1), aliases=("timeoutInSeconds",))
    busy_timeout: Seconds = option("How long to wait for others who write.", default=Seconds(0.8))
    disable_wal: bool = option("No write-ahead log, such as on a network file system.", default=False)
    table_name: str = option("The table of sidecars.", default="hosts")
    metadata_table_name: str = option("The table that tells the layout.", default="metadata")
    update_interval: Seconds = option("How long a row counts that is not renewed.", default=Seconds(5))
    cleanup_interval: Seconds = option(
        "How often old rows are removed, 0 for never.", default=Seconds(3600), aliases=("cleanupIntervalInSeconds",)
    )


@component("nameresolution.sqlite", Options)
class Sqlite(Remembering):
    def __init__(self, options: Options) -> None:
        super().__init__()
        if options.timeout < 1:
            raise Wrong("invalid value for 'timeout': must be greater than 1s")
        for what, name in (("table", options.table_name), ("metadata table", options.metadata_table_name)):
            if not sqlite.IDENTIFIER.match(name):
                raise Wrong(f"invalid identifier for {what} name: {name}")
        if options.update_interval % 1:
            raise Wrong("update interval must not contain fractions of seconds")
        if options.update_interval - options.timeout < 1:
            raise Wrong("update interval must be at least 1s greater than timeout")
        self._options = options
        self._where = sqlite.place(options.connection_string, options.disable_wal)
        self.place = f"SQLite {self._where.path}"
        self.fresh, self.usable = 0.5, float(options.update_interval)
        self._worker = ThreadPoolExecutor(1, "nameresolution.sqlite")
        self._database: sqlite3.Connection | None = None
        self._id, self._instance = str(uuid.uuid4()), Instance("", "", "")
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._where.is_in_memory:
            log.warning(
                "Configuring name resolution with an in-memory SQLite database. "
                "Service invocation across different apps will not work."
            )
        else:
            log.info(
                f"Configuring SQLite name resolution with path {self._options.connection_string.partition('?')[0]}"
            )
        await self._run(self._connect)

    async def register(self, instance: Instance) -> None:
        self._instance = instance
        await self._run(self._write)
        self._renewing = asyncio.create_task(self._renew())

    async def look_up(self, app_id: str, namespace: str) -> Addresses:
        return await self._run(lambda: self._read(app_id, namespace))

    async def close(self) -> None:
        await super().close()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
            self._renewing = None
        if self._database is not None:
            with contextlib.suppress(OSError):
                await self._run(self._end)
        self._worker.shutdown(wait=False)

    async def _renew(self) -> None:
        options = self._options
        loop = asyncio.get_running_loop()
        cleaned = loop.time()
        while True:
            await asyncio.sleep(options.update_interval - options.timeout)
            try:
                if not await self._run(self._touch):
                    log.warning("host registration lost; registering again")
                    await self._run(self._write)
                if 0 < options.cleanup_interval <= loop.time() - cleaned:
                    cleaned = loop.time()
                    await self._run(self._clean)
            except OSError as error:
                log.error(f"Failed to update host registration: {error}")

    async def _run(self, work: Callable[[], T]) -> T:
        """Runs `work` on the thread. Raises `OSError`."""

        def mapped() -> T:
            import sqlite3

            try:
                return work()
            except sqlite3.Error as error:
                raise OSError(f"database error: {error}") from None

        return await asyncio.get_running_loop().run_in_executor(self._worker, mapped)

    # -- on the thread --

    @property
    def _db(self) -> "sqlite3.Connection":
        if self._database is None:
            raise OSError("the database is not open")
        return self._database

    def _connect(self) -> None:
        self._database = db = sqlite.connect(self._where, self._options.busy_timeout)
        self._migrate(db)

    def _migrate(self, db: "sqlite3.Connection") -> None:
        about, hosts = self._options.metadata_table_name, self._options.table_name
        db.execute(f"CREATE TABLE IF NOT EXISTS {about} (key text NOT NULL PRIMARY KEY, value text NOT NULL)")
        db.execute("BEGIN IMMEDIATE")
        try:
            level = db.execute(f"SELECT value FROM {about} WHERE key = ?", (_MIGRATION,)).fetchone()
            if level is None or level[0] == "0":
                db.execute(
                    f"CREATE TABLE {hosts} (registration_id TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL, "
                    "app_id TEXT NOT NULL, namespace TEXT NOT NULL, last_update INTEGER NOT NULL)"
                )
                db.execute(f"CREATE UNIQUE INDEX {hosts}_address_idx ON {hosts} (address)")
                db.execute(f"CREATE INDEX {hosts}_last_update_idx ON {hosts} (last_update)")
                db.execute(f"REPLACE INTO {about} (key, value) VALUES (?, '1')", (_MIGRATION,))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    def _write(self) -> None:
        one = self._instance
        self._db.execute(
            f"REPLACE INTO {self._options.table_name} (registration_id, address, app_id, namespace, last_update) "
            f"VALUES (?, ?, ?, ?, {_NOW})",
            (self._id, one.address, one.app_id, one.namespace),
        )

    def _touch(self) -> bool:
        done = self._db.execute(
            f"UPDATE {self._options.table_name} SET last_update = {_NOW} WHERE registration_id = ? AND address = ?",
            (self._id, self._instance.address),
        )
        return done.rowcount > 0

    def _clean(self) -> None:
        limit = int(self._options.update_interval)
        self._db.execute(f"DELETE FROM {self._options.table_name} WHERE {_NOW} - last_update > ?", (limit,))

    def _read(self, app_id: str, namespace: str) -> Addresses:
        """Rows of the original tell no namespace, and count for any."""
        rows = self._db.execute(
            f"SELECT address FROM {self._options.table_name} "
            f"WHERE app_id = ? AND namespace IN ('', ?) AND {_NOW} - last_update < ?",
            (app_id, namespace, int(self._options.update_interval)),
        )
        return tuple(row[0] for row in rows)

    def _end(self) -> None:
        db = self._db
        self._database = None
        try:
            db.execute(f"DELETE FROM {self._options.table_name} WHERE registration_id = ?", (self._id,))
        finally:
            db.close()
