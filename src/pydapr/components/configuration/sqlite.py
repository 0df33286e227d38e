"""configuration.sqlite has the items in a table of a SQLite file, where any program may change them with plain SQL.

Sidecars on the machine that share the file see a change within a tenth of a second. The columns are `key`, `value`,
`version`, a number that grows by itself when the value changes, and `metadata`, a JSON object of texts.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.configuration import (
    ConfigurationError,
    ConfigurationStore,
    Handler,
    Item,
    end,
)
from pydapr.components.drivers import sqlite
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    import sqlite3

log = logging.get("dapr.contrib")

_MOST_KEYS = 500
"""Keys in one statement; SQLite takes 999 parameters where it is old."""

_PAUSE_SECONDS = 1.0
"""How long nothing is asked of a database that has just failed."""


@options
class Options:
    connection_string: str = option("The file, such as `/data/configuration.db`.", aliases=("url",))
    table_name: str = option("The table of items; it is made if it is not there.", default="configuration")
    poll_interval: Seconds = option("How often subscribers look for changes.", default=Seconds(0.05))
    timeout: Seconds = option("How long any call may take.", default=Seconds(20))
    busy_timeout: Seconds = option("How long SQLite waits for others who write.", default=Seconds(2))
    disable_wal: bool = option("No write-ahead log, such as on a network file system.", default=False)
    open_on_use: bool = option("Open the file when it is needed first, not at the start.", default=False)


class _Subscription:
    """Who wants to know of which keys, and what was told last."""

    __slots__ = ("handler", "is_due", "keys", "task", "told")

    def __init__(self, keys: Sequence[str], handler: Handler) -> None:
        self.keys, self.handler = keys, handler
        self.is_due = asyncio.Event()
        self.told: Mapping[str, Item] = {}
        self.task: asyncio.Task[None] | None = None


@component("configuration.sqlite", Options)
class Sqlite(ConfigurationStore):
    def __init__(self, options: Options) -> None:
        if options.timeout < 1:
            raise Wrong("invalid value for 'timeout': must be greater than 1s")
        if not sqlite.IDENTIFIER.match(options.table_name):
            raise Wrong(f"invalid identifier: {options.table_name}")
        self._where = sqlite.place(options.connection_string, options.disable_wal)
        if self._where.is_in_memory:
            raise Wrong("metadata property connectionString: nobody could change items in memory; name a file")
        self._table = options.table_name
        self._interval = max(options.poll_interval, 0.005)
        self._database = sqlite.Database(self._where, options.busy_timeout, options.timeout)
        self._opens_on_use = options.open_on_use
        self._subscriptions: dict[str, _Subscription] = {}
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        try:
            await self._database.open(self._make, self._opens_on_use)
        except sqlite.Failed as error:
            raise OSError(f"{self._where.path}: {error}") from None

    async def close(self) -> None:
        ending = [*(one.task for one in self._subscriptions.values()), self._watching]
        self._subscriptions.clear()
        self._watching = None
        await tasks.stop(ending)
        await self._database.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Mapping[str, Item]:
        try:
            return await self._database.read(lambda db: self._read(db, keys))
        except sqlite.Failed as error:
            raise ConfigurationError(str(error)) from None

    async def subscribe(self, keys: Sequence[str], metadata: Mapping[str, str], handler: Handler) -> str:
        import uuid  # 4 ms, and such a store is open in many a sidecar that never subscribes

        try:
            version = await self._database.read(_version)
            made = _Subscription(keys, handler)
            # Before what is there is read, so that no change falls between.
            name = str(uuid.uuid4())
            self._subscriptions[name] = made
            try:
                made.told = await self.get(keys, metadata)
            except BaseException:
                self._subscriptions.pop(name, None)
                raise
        except sqlite.Failed as error:
            raise ConfigurationError(str(error)) from None
        made.task = asyncio.create_task(self._tell(name, made))
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(version))
        return name

    async def unsubscribe(self, subscription: str) -> None:
        await end(self._subscriptions, subscription)

    # -- changes --

    async def _watch(self, version: int) -> None:
        """Looks whether others have committed something, a matter of microseconds, while somebody wants to know."""
        is_failing = False
        while self._subscriptions:
            await asyncio.sleep(_PAUSE_SECONDS if is_failing else self._interval)
            try:
                now = await self._database.read(_version)
            except sqlite.Failed as error:
                if not is_failing:
                    log.error(f"Changes of configuration are not seen: {error}")
                is_failing = True
                continue
            is_failing = False
            if now != version:
                version = now
                for one in self._subscriptions.values():
                    one.is_due.set()

    async def _tell(self, name: str, one: _Subscription) -> None:
        while True:
            await one.is_due.wait()
            one.is_due.clear()
            try:
                now = await self.get(one.keys, {})
            except ConfigurationError as error:
                log.error(f"Changes of configuration are told later: {error}")
                await asyncio.sleep(_PAUSE_SECONDS)
                one.is_due.set()
                continue
            before, one.told = one.told, now
            for key in [*now, *(key for key in before if key not in now)]:
                item = now.get(key)
                if item != before.get(key):
                    await one.handler(name, {key: item if item is not None else Item()})

    # -- on the database's threads --

    def _make(self, db: "sqlite3.Connection") -> None:
        table = self._table
        db.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, "
            "version TEXT NOT NULL DEFAULT '1', metadata TEXT NOT NULL DEFAULT '{}')"
        )
        db.execute(
            f"CREATE TRIGGER IF NOT EXISTS {table}_version AFTER UPDATE OF value ON {table} "
            "WHEN NEW.value <> OLD.value AND NEW.version = OLD.version BEGIN "
            f"UPDATE {table} SET version = CAST(OLD.version AS INTEGER) + 1 WHERE key = NEW.key; END"
        )

    def _read(self, db: "sqlite3.Connection", keys: Sequence[str]) -> Mapping[str, Item]:
        select = f"SELECT key, value, version, metadata FROM {self._table}"
        if not keys:
            rows = db.execute(f"{select} ORDER BY key").fetchall()
        else:
            rows = []
            for start in range(0, len(keys), _MOST_KEYS):
                some = keys[start : start + _MOST_KEYS]
                rows += db.execute(f"{select} WHERE key IN ({','.join('?' * len(some))})", some).fetchall()
        return {_text(key): Item(_text(value), _text(version), _about(about)) for key, value, version, about in rows}


def _version(db: "sqlite3.Connection") -> int:
    """A number that changes when another connection has committed something."""
    found = db.execute("PRAGMA data_version").fetchone()[0]
    assert isinstance(found, int)
    return found


def _text(value: Any) -> str:
    """Any program may have written it, so it may be anything that SQLite has."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else str(value)


def _about(text: Any) -> Mapping[str, str]:
    if text == "{}":
        return {}
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
