"""state.sqlite keeps state in a SQLite file, which sidecars on one machine may share, those of the original included.

What is acknowledged is on the disk. Tables are the original's (components-contrib v1.18). In addition to what that
does, state can be queried, by reading all of it.
"""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.components import Seconds, Wrong, component, option, options, state
from pydapr.components.drivers import sqlite
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagMismatch,
    Item,
    Keys,
    Match,
    Matches,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.lib import query as queries
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    import sqlite3

log = logging.get("dapr.contrib")

_MIGRATION = "migrations"
_LIVES = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)"
_MOST_KEYS = 500
"""Keys in one statement; SQLite takes 999 parameters where it is old."""


@options
class Options:
    connection_string: str = option("The file, such as `/data/state.db`, or `:memory:`.", aliases=("url",))
    table_name: str = option("The table of state.", default="state")
    metadata_table_name: str = option("The table that tells the layout.", default="metadata")
    timeout: Seconds = option("How long any call may take.", default=Seconds(20), aliases=("timeoutInSeconds",))
    busy_timeout: Seconds = option("How long SQLite waits for others who write.", default=Seconds(2))
    disable_wal: bool = option("No write-ahead log, such as on a network file system.", default=False)
    cleanup_interval: Seconds = option(
        "How often values are removed whose time is over, 0 for never.",
        default=Seconds(0),
        aliases=("cleanupIntervalInSeconds",),
    )


@component("state.sqlite", Options)
class Sqlite(StateStore):
    features = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.KEYS_LIKE, state.QUERY_API)

    def __init__(self, options: Options) -> None:
        if options.timeout < 1:
            raise Wrong("invalid value for 'timeout': must be greater than 1s")
        for name in (options.table_name, options.metadata_table_name):
            if not sqlite.IDENTIFIER.match(name):
                raise Wrong(f"invalid identifier: {name}")
        self._options = options
        self._where = sqlite.place(options.connection_string, options.disable_wal)
        self._database = sqlite.Database(self._where, options.busy_timeout, options.timeout, StateError)
        self._cleaning: asyncio.Task[None] | None = None
        table = options.table_name
        columns = f"{table} (key, value, is_binary, etag, expiration_time, update_time)"
        values = "?, ?, ?, ?, DATETIME(CURRENT_TIMESTAMP, ?), CURRENT_TIMESTAMP"
        self._get_sql = f"SELECT key, value, is_binary, etag, expiration_time FROM {table} WHERE {_LIVES} AND key"
        self._set_sql = f"INSERT OR REPLACE INTO {columns} VALUES ({values})"
        self._set_new_sql = (
            f"INSERT OR REPLACE INTO {columns} SELECT {values} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {_LIVES} AND key = ?)"
        )
        self._set_old_sql = (
            f"UPDATE {table} SET value = ?, is_binary = ?, etag = ?, "
            f"expiration_time = DATETIME(CURRENT_TIMESTAMP, ?), update_time = CURRENT_TIMESTAMP "
            f"WHERE {_LIVES} AND key = ? AND etag = ?"
        )
        self._delete_sql = f"DELETE FROM {table} WHERE key = ?"
        self._list_sql = f"SELECT key FROM {table} WHERE {_LIVES} AND key > ? AND key >= ?"

    async def open(self) -> None:
        try:
            await self._database.open(self._migrate)
        except sqlite.Failed as error:
            raise OSError(f"{self._where.path}: {error}") from None
        if self._options.cleanup_interval > 0:
            log.info(f"Schedule expired data clean up every {self._options.cleanup_interval:g}s")
            self._cleaning = asyncio.create_task(self._clean())

    async def close(self) -> None:
        await tasks.stop((self._cleaning,))
        self._cleaning = None
        await self._database.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        sql = self._get_sql + " = ?"
        with _as_ours():
            row = await self._database.read(lambda db: db.execute(sql, (key,)).fetchone())
        return None if row is None else _item(row)

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        def work(db: "sqlite3.Connection") -> list[Any]:
            rows: list[Any] = []
            for start in range(0, len(keys), _MOST_KEYS):
                some = keys[start : start + _MOST_KEYS]
                rows += db.execute(f"{self._get_sql} IN ({','.join('?' * len(some))})", some).fetchall()
            return rows

        with _as_ours():
            found = {row[0]: _item_or_error(row) for row in await self._database.read(work)}
        return [found.get(key) for key in keys]

    async def set(self, request: Set) -> None:
        row = _row(request)
        with _as_ours():
            await self._database.write(lambda db: self._set(db, request, row))

    async def delete(self, request: Delete) -> None:
        with _as_ours():
            await self._database.write(lambda db: self._delete(db, request))

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        rows = [_row(one) if isinstance(one, Set) else None for one in operations]

        def work(db: "sqlite3.Connection") -> None:
            for one, row in zip(operations, rows, strict=True):
                if isinstance(one, Delete):
                    self._delete(db, one)
                elif row is not None:
                    self._set(db, one, row)

        with _as_ours():
            await self._database.write(work, is_several=True)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        sql, given = self._list_sql, [token, prefix]
        above = _above(prefix)
        if above:
            sql, given = f"{sql} AND key < ?", [*given, above]
        sql = f"{sql} ORDER BY key LIMIT ?"
        with _as_ours():
            rows = await self._database.read(lambda db: db.execute(sql, (*given, limit + 1)).fetchall())
        found = [row[0] for row in rows[:limit]]
        return Keys(found, found[-1] if len(rows) > limit else "")

    async def query(self, query: queries.Query, *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        """The token is the number of values that went before."""
        try:
            first = int(query.token) if query.token else 0
        except ValueError:
            raise StateError(f"invalid token {query.token!r}") from None
        sql = f"SELECT key, value, is_binary, etag, expiration_time FROM {self._options.table_name} WHERE {_LIVES}"

        def work(db: "sqlite3.Connection") -> list[tuple[Any, str, Item]]:
            read = ((_document(row), row[0], row) for row in db.execute(f"{sql} ORDER BY key"))
            fitting = ((document, key, row) for document, key, row in read if queries.fits(query.filter, document))
            return [(document, key, _item(row)) for document, key, row in fitting]

        with _as_ours():
            found = await self._database.read(work)
        ordered = queries.in_order(found, query.sort, lambda one: one[0])[max(first, 0) :]
        shown = ordered[: query.limit] if query.limit else ordered
        token = str(first + len(shown)) if len(ordered) > len(shown) else ""
        return Matches([Match(key, item.value, item.etag) for _, key, item in shown], token)

    # -- on the database's threads --

    def _migrate(self, db: "sqlite3.Connection") -> None:
        """Makes the tables, in a transaction of the caller."""
        about = self._options.metadata_table_name
        db.execute(f"CREATE TABLE IF NOT EXISTS {about} (key text NOT NULL PRIMARY KEY, value text NOT NULL)")
        level = db.execute(f"SELECT value FROM {about} WHERE key = ?", (_MIGRATION,)).fetchone()
        if level is None or level[0] == "0":
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._options.table_name} (key TEXT NOT NULL PRIMARY KEY, "
                "value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, "
                "expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            db.execute(f"REPLACE INTO {about} (key, value) VALUES (?, '1')", (_MIGRATION,))

    def _set(self, db: "sqlite3.Connection", request: Set, row: tuple[Any, ...]) -> None:
        key = request.key
        if request.etag:
            done = db.execute(self._set_old_sql, (*row[1:], key, request.etag))
        elif request.must_be_new:
            done = db.execute(self._set_new_sql, (*row, key))
        else:
            db.execute(self._set_sql, row)
            return
        if not done.rowcount:
            raise ETagMismatch

    def _delete(self, db: "sqlite3.Connection", request: Delete) -> None:
        if not request.etag:
            db.execute(self._delete_sql, (request.key,))
        elif not db.execute(f"{self._delete_sql} AND etag = ?", (request.key, request.etag)).rowcount:
            raise ETagMismatch

    # -- what has ended --

    async def _clean(self) -> None:
        """Of the sidecars that share the file, one cleans in each interval."""
        interval = self._options.cleanup_interval
        about, milliseconds = self._options.metadata_table_name, int(interval * 1000) - 100
        turn = (
            f"INSERT INTO {about} (key, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) ON CONFLICT (key) "
            "DO UPDATE SET value = CURRENT_TIMESTAMP "
            "WHERE (CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', value) AS INTEGER)) * 1000 > ?"
        )
        ended = (
            f"DELETE FROM {self._options.table_name} "
            "WHERE expiration_time IS NOT NULL AND expiration_time < CURRENT_TIMESTAMP"
        )

        def work(db: "sqlite3.Connection") -> int:
            if not db.execute(turn, (milliseconds,)).rowcount:
                return 0
            return db.execute(ended).rowcount

        while True:
            await asyncio.sleep(interval)
            try:
                removed = await self._database.write(work, is_several=True)
            except sqlite.Failed as error:
                log.error(f"Error removing expired data: {error}")
            else:
                log.debug(f"Removed {removed} expired rows")


@contextlib.contextmanager
def _as_ours() -> Any:
    try:
        yield
    except sqlite.Failed as error:
        raise (Unavailable if error.is_passing else StateError)(str(error)) from None


def _row(request: Set) -> tuple[Any, ...]:
    """The columns from key to expiration. Raises `StateError`."""
    seconds = state.ttl_seconds(request.metadata) if request.metadata else None
    text = None
    if request.is_json:
        # A string of JSON may hold bytes that are no UTF-8, and a column of text may not.
        with contextlib.suppress(UnicodeDecodeError):
            text = request.value.decode()
    is_binary = text is None
    if text is None:
        text = base64.b64encode(request.value).decode()
    end = f"+{seconds} seconds" if seconds is not None and seconds > 0 else None
    return request.key, text, is_binary, os.urandom(16).hex(), end


def _item(row: tuple[Any, ...]) -> Item:
    """Raises `StateError`."""
    _, value, is_binary, etag, end = row
    if is_binary:
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError as error:
            raise StateError(f"failed to decode binary data: {error}") from None
    else:
        data = value.encode() if isinstance(value, str) else bytes(value)
    if end is None:
        return Item(data, etag)
    return Item(data, etag, {state.TTL_EXPIRE_TIME: f"{str(end)[:19].replace(' ', 'T')}Z"})


def _item_or_error(row: tuple[Any, ...]) -> Item | StateError:
    try:
        return _item(row)
    except StateError as error:
        return error


def _document(row: tuple[Any, ...]) -> Any:
    """The value as JSON, None when it is none."""
    try:
        return json.loads(_item(row).value)
    except (ValueError, RecursionError, StateError):
        return None


def _above(prefix: str) -> str:
    """The smallest text above all that begin with `prefix`, empty when there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if last <= 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)
        prefix = prefix[:-1]
    return ""
