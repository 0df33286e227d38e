"""state.mysql keeps state in MySQL or MariaDB as JSON, in the original's tables, which the original may share.

A value that is no JSON is kept as text in base64 and marked. Keys of tables that are made here differ by case.
"""

import asyncio
import base64
import contextlib
import json
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydapr.components import Seconds, Wrong, component, option, options, state
from pydapr.components.drivers import mysql
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagMismatch,
    Item,
    Keys,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.contrib")

_LIVES = "(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)"
_HAS_ENDED = "expiredate IS NOT NULL AND expiredate <= CURRENT_TIMESTAMP"
_END = "FROM_UNIXTIME(CEIL(UNIX_TIMESTAMP(CURRENT_TIMESTAMP(3))) + %s)"
"""Whole seconds are kept: a value that begins in the middle of one must not end before its time."""

_TRIES = 5
"""How often a transaction is begun when others stand in its way (a deadlock, of which nothing is left)."""

_MOST_KEYS = 500
_CLEANING_SECONDS = 600.0


@options
class Options:
    connection_string: str = option("How to reach the server: `user:password@tcp(host:3306)/?tls=true`.")
    schema_name: str = option("The schema (database); it is made when it is not there.", default="dapr_state_store")
    table_name: str = option("The table of state.", default="state")
    metadata_table_name: str = option("The table that tells of the last removal.", default="dapr_metadata")
    timeout_in_seconds: int = option("How long any call may take.", default=20)
    pem_path: str = option("A file with the certificates to trust, for `tls=custom`.", default="")
    cleanup_interval: Seconds = option(
        "How often values are removed whose time is over, 0 for never.", default=Seconds(3600)
    )


@component("state.mysql", Options)
class Mysql(StateStore):
    features: Sequence[str] = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        for what, name in (
            ("table", options.table_name), ("metadata table", options.metadata_table_name),
            ("schema", options.schema_name),
        ):  # fmt: skip
            if not mysql.IDENTIFIER.match(name):
                raise Wrong(f"{what} name '{name}' is not valid")
        where = mysql.place(options.connection_string)
        self._options = options
        seconds = float(options.timeout_in_seconds if options.timeout_in_seconds > 0 else 20)
        self._database = mysql.Database(where, mysql.tls_context(where, options.pem_path), seconds)
        self._cleaning: asyncio.Task[None] | None = None
        table = self._table = f"`{options.table_name}`"
        self._read_sql = (
            f"SELECT id, value, eTag, isbinary, UNIX_TIMESTAMP(expiredate) FROM {table} WHERE {_LIVES} AND id"
        )

    async def open(self) -> None:
        try:
            await self._make()
        except mysql.Failed as error:
            raise OSError(str(error)) from None
        if self._options.cleanup_interval > 0:
            log.info(f"Schedule expired data clean up every {self._options.cleanup_interval:g}s")
            self._cleaning = asyncio.create_task(self._clean(self._options.cleanup_interval))

    async def close(self) -> None:
        await tasks.stop((self._cleaning,))
        self._cleaning = None
        self._database.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        with _as_ours():
            rows = await self._database.fetch(f"{self._read_sql} = %s", key)
        return _item(rows[0]) if rows else None

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        found: dict[str, Item | StateError] = {}
        for start in range(0, len(keys), _MOST_KEYS):
            some = keys[start : start + _MOST_KEYS]
            with _as_ours():
                rows = await self._database.fetch(f"{self._read_sql} IN ({','.join(['%s'] * len(some))})", *some)
            found.update((row[0], _item_or_error(row)) for row in rows)
        return [found.get(key) for key in keys]

    async def set(self, request: Set) -> None:
        values = _values(request)
        with _as_ours():
            async with self._database.connection() as connection:
                await self._do(connection, request, values)

    async def delete(self, request: Delete) -> None:
        with _as_ours():
            async with self._database.connection() as connection:
                await self._do(connection, request, ())

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        values = [_values(one) if isinstance(one, Set) else () for one in operations]
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._transact(operations, values)
                return
            except mysql.Failed as error:
                if error.code != mysql.DEADLOCK or not tries_left:
                    with _as_ours():
                        raise
            await asyncio.sleep(random.uniform(0, 0.05))

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        """The token is the number of the last row."""
        if token and not (token.isascii() and token.isdecimal()):
            raise StateError(f"invalid continue token: {token!r}")
        pattern = prefix.replace("|", "||").replace("%", "|%").replace("_", "|_") + "%"
        sql = f"SELECT id, row_id FROM {self._table} WHERE id LIKE %s ESCAPE '|' AND row_id > %s AND {_LIVES}"
        with _as_ours():
            rows = await self._database.fetch(f"{sql} ORDER BY row_id LIMIT %s", pattern, int(token or 0), limit + 1)
        shown = rows[:limit]
        return Keys([row[0] for row in shown], str(shown[-1][1]) if len(rows) > limit else "")

    # -- within; all raise `mysql.Failed` --

    async def _make(self) -> None:
        """Schema, tables, and what columns have been added by versions of the original. Any of it may be there."""
        given, table, execute = self._options, self._table, self._database.execute
        if not await self._database.fetch(
            "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", given.schema_name
        ):
            await execute(f"CREATE DATABASE IF NOT EXISTS `{given.schema_name}`")
        self._database.use(given.schema_name)
        await execute(
            f"CREATE TABLE IF NOT EXISTS {table} ("
            "id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, value JSON NOT NULL, "
            "isbinary BOOLEAN NOT NULL, insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
            "updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, "
            "eTag VARCHAR(36) NOT NULL, expiredate TIMESTAMP NULL, INDEX expiredate_idx(expiredate))"
        )
        await execute(
            f"CREATE TABLE IF NOT EXISTS `{given.metadata_table_name}` "
            "(id VARCHAR(255) NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
        )
        rows = await self._database.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
            given.schema_name,
            given.table_name,
        )
        there = {str(row[0]).lower() for row in rows}
        if "expiredate" not in there:
            await self._add("expiredate TIMESTAMP NULL, ADD INDEX expiredate_idx(expiredate)")
        if "row_id" not in there:
            await self._add("row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, ADD UNIQUE KEY row_id_uidx (row_id)")

    async def _add(self, column: str) -> None:
        try:
            await self._database.execute(f"ALTER TABLE {self._table} ADD COLUMN {column}")
        except mysql.Failed as error:
            if error.code not in (mysql.DUPLICATE_COLUMN, mysql.DUPLICATE_INDEX):  # another was faster
                raise

    async def _transact(self, operations: Sequence[Set | Delete], values: Sequence[tuple[object, ...]]) -> None:
        async with self._database.connection() as connection:
            await connection.begin()
            try:
                for one, given in zip(operations, values, strict=True):
                    await self._do(connection, one, given)
            except StateError:
                await connection.rollback()
                raise
            await connection.commit()

    async def _do(self, connection: "mysql.Connection", request: Set | Delete, values: tuple[object, ...]) -> None:
        """Raises `ETagMismatch` too. `values` are value, isbinary, etag and, if it ends, seconds."""
        key, table = request.key, self._table
        if isinstance(request, Delete):
            sql = f"DELETE FROM {table} WHERE id = %s"
            if not request.etag:
                await mysql.execute(connection, sql, key)
            elif not await mysql.execute(connection, f"{sql} AND eTag = %s", key, request.etag):
                raise ETagMismatch
            return
        end = _END if len(values) > 3 else "NULL"
        if request.etag:
            sql = f"UPDATE {table} SET value = %s, isbinary = %s, eTag = %s, expiredate = {end} WHERE id = %s"
            if not await mysql.execute(connection, f"{sql} AND eTag = %s AND {_LIVES}", *values, key, request.etag):
                raise ETagMismatch("rows affected error: no rows match given key and eTag")
            return
        sql = f"INSERT INTO {table} (value, isbinary, eTag, expiredate, id) VALUES (%s, %s, %s, {end}, %s)"
        if not request.must_be_new:
            changes = ", ".join(f"{name} = VALUES({name})" for name in ("value", "isbinary", "eTag", "expiredate"))
            await mysql.execute(connection, f"{sql} ON DUPLICATE KEY UPDATE {changes}", *values, key)
            return
        await mysql.execute(connection, f"DELETE FROM {table} WHERE id = %s AND {_HAS_ENDED}", key)
        if not await mysql.execute(connection, sql.replace("INSERT", "INSERT IGNORE", 1), *values, key):
            raise ETagMismatch("the key exists already")

    async def _clean(self, interval: float) -> None:
        """Of the sidecars that share the tables, one removes in each interval."""
        turn = (
            f"INSERT INTO `{self._options.metadata_table_name}` (id, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) "
            "ON DUPLICATE KEY UPDATE "
            "value = IF(CURRENT_TIMESTAMP > DATE_ADD(value, INTERVAL %s MICROSECOND), CURRENT_TIMESTAMP, value)"
        )
        while True:
            await asyncio.sleep(interval)
            try:
                if not await self._database.execute(turn, int(interval * 1_000_000) - 100_000):
                    continue
                async with self._database.connection(_CLEANING_SECONDS) as connection:
                    removed = await mysql.execute(connection, f"DELETE FROM {self._table} WHERE {_HAS_ENDED}")
            except mysql.Failed as error:
                log.error(f"Error removing expired data: {error}")
            else:
                log.info(f"Removed {removed} expired rows")


@contextlib.contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except mysql.Failed as error:
        raise (Unavailable if error.is_passing else StateError)(str(error)) from None


def _values(request: Set) -> tuple[object, ...]:
    """The columns that a write fills, but for the key. Raises `StateError`."""
    seconds = state.ttl_seconds(request.metadata) if request.metadata else None
    end = (seconds,) if seconds is not None and seconds > 0 else ()
    if request.is_json:
        try:
            return request.value.decode(), False, str(uuid.uuid4()), *end
        except UnicodeDecodeError as error:
            raise StateError(f"the value is no JSON: {error}") from None
    return json.dumps(base64.b64encode(request.value).decode()), True, str(uuid.uuid4()), *end


def _item(row: Sequence[Any]) -> Item:
    """Raises `StateError`."""
    _, text, etag, is_binary, end = row
    value = text.encode() if isinstance(text, str) else bytes(text)
    if is_binary:
        try:
            value = base64.b64decode(json.loads(value), validate=True)
        except (ValueError, TypeError) as error:
            raise StateError(f"failed to decode binary data: {error}") from None
    if end is None:
        return Item(value, etag)
    return Item(value, etag, {state.TTL_EXPIRE_TIME: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(end)))})


def _item_or_error(row: Sequence[Any]) -> Item | StateError:
    try:
        return _item(row)
    except StateError as error:
        return error
