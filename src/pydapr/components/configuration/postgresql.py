"""configuration.postgresql keeps items in a table of PostgreSQL: `key`, `value`, `version` and `metadata` (JSON).

The table is yours, and so is the trigger that tells of changes by NOTIFY, with a payload such as
`{"action": "UPDATE", "data": {"key": "a", "value": "1", "version": "2", "metadata": {}}}`. Of several rows with one key
the one with the highest version counts. A row that is too long for NOTIFY (8,000 bytes) is told by its key alone, and
read. What changes while the database is away is told when it is back.
"""

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydapr.components import Wrong, component, option, options
from pydapr.components.configuration import ConfigurationError, ConfigurationStore, Handler, Item, end
from pydapr.components.drivers import postgresql
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.contrib")

LOOK_SECONDS = 5.0
"""Between two looks whether the connection lives."""

_PAUSE_SECONDS = 0.5
_MOST = 1024
"""Changes that wait for an app; when there are more, all items are compared instead."""

_LONGEST = 64
_NAME = re.compile(r"[a-z0-9./_]*\Z")
_KEY = re.compile(r"[a-zA-Z0-9./_]*\Z")


@options
class Options(postgresql.Options):
    table: str = option("The table of items.")
    notify_channel: str = option(
        "The channel on which the trigger tells of changes; without it, subscriptions say it as metadata "
        "(`pgNotifyChannel`).",
        default="",
        aliases=("pgNotifyChannel",),
    )


class _Subscription:
    """Who wants to know of which keys on which channel, and what is to be told next."""

    def __init__(self, channel: str, keys: Sequence[str], handler: Handler) -> None:
        self.channel, self.keys, self.handler = channel, frozenset(keys), handler
        self.changes: asyncio.Queue[tuple[str, Item | None] | None] = asyncio.Queue(_MOST)
        """What has changed, without its item when that is to be read; None to compare all with what was told."""
        self.told: dict[str, Item] = {}
        self.task: asyncio.Task[None] | None = None

    def changed(self, key: str, item: Item | None) -> None:
        if not self.keys or key in self.keys:
            self._put((key, item))

    def compare(self) -> None:
        self._put(None)

    def _put(self, change: tuple[str, Item | None] | None) -> None:
        if self.changes.full():
            while not self.changes.empty():
                self.changes.get_nowait()
            change = None
        self.changes.put_nowait(change)


@component("configuration.postgresql", Options)
class PostgreSQL(ConfigurationStore):
    """Subscriptions share one connection, besides those of the pool."""

    def __init__(self, options: Options) -> None:
        for name, what in ((options.table, "table name"), (options.notify_channel, "notifyChannel name")):
            if len(name) > _LONGEST:
                raise Wrong(f"{what} is too long: {name!r}; the longest that is allowed has {_LONGEST} letters")
            if not _NAME.match(name):
                raise Wrong(f"invalid {what} {name!r}: other than a-z, 0-9, dots, slashes and _ is not allowed")
        self._table, self._channel = options.table, options.notify_channel
        self._database = postgresql.Database(options)
        self._listener: Any = None
        self._listening = asyncio.Lock()
        self._has_listened = False
        self._subscriptions: dict[str, _Subscription] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        try:
            await self._database.connect()
            found = await self._database.fetch(
                "SELECT FROM pg_tables WHERE tablename = $1", self._table.rpartition(".")[2]
            )
        except postgresql.Failed as error:
            raise OSError(f"PostgreSQL configuration store connection error: {error}") from None
        if not found:
            raise OSError(f"PostgreSQL configuration table '{self._table}' does not exist")

    async def close(self) -> None:
        ending = [*(one.task for one in self._subscriptions.values()), self._looking]
        self._subscriptions.clear()
        self._looking = None
        await tasks.stop(ending)
        if self._listener is not None:
            self._listener.terminate()
        await self._database.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Mapping[str, Item]:
        for key in keys:
            if not _KEY.match(key):
                raise ConfigurationError(f"invalid key : '{key}'")
        sql = f"SELECT key, value, version, metadata::text FROM {self._table}"
        try:
            if keys:
                rows = await self._database.fetch(f"{sql} WHERE key = ANY($1)", list(keys))
            else:
                rows = await self._database.fetch(sql)
        except postgresql.Failed as error:
            raise ConfigurationError(f"error in querying configuration store: '{error}'") from None
        found: dict[str, Item] = {}
        for key, value, version, about in rows:
            item = Item(value or "", version or "", _metadata(json.loads(about)) if about else {})
            if key not in found or _number(item.version) > _number(found[key].version):
                found[key] = item
        return found

    async def subscribe(self, keys: Sequence[str], metadata: Mapping[str, str], handler: Handler) -> str:
        channel = self._channel or next(
            (value for name, value in metadata.items() if name.lower() == "pgnotifychannel"), ""
        )
        if not channel or len(channel) > _LONGEST or not _NAME.match(channel):
            raise ConfigurationError(
                f'unable to subscribe to "{self._table}": notifyChannel must be set in the metadata of the component '
                f"or the request, to up to {_LONGEST} of a-z, 0-9, dots, slashes and _; it is {channel!r}"
            )
        name, made = str(uuid.uuid4()), _Subscription(channel, keys, handler)
        self._subscriptions[name] = made
        try:
            await self._listen()
            made.told = dict(await self.get(keys, {}))
        except BaseException:
            self._subscriptions.pop(name, None)
            raise
        made.task = asyncio.create_task(self._tell(name, made))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return name

    async def unsubscribe(self, subscription: str) -> None:
        found = await end(self._subscriptions, subscription)
        with contextlib.suppress(postgresql.Failed):  # without a connection nobody listens
            async with self._listening, self._database.errors():
                is_wanted = any(other.channel == found.channel for other in self._subscriptions.values())
                if not is_wanted and self._listener is not None:
                    await self._listener.remove_listener(found.channel, self._take)

    # -- changes --

    async def _listen(self) -> None:
        """Has a connection on which the changes of all subscriptions come. Raises `ConfigurationError`."""
        try:
            async with self._listening, self._database.errors():
                is_new = self._listener is None or self._listener.is_closed()
                if is_new:
                    self._listener = await self._database.own_connection()
                for channel in {one.channel for one in self._subscriptions.values()}:
                    await self._listener.add_listener(channel, self._take)
        except postgresql.Failed as error:
            raise ConfigurationError(f"error listening to channel: {error}") from None
        if is_new and self._has_listened:
            for one in self._subscriptions.values():
                one.compare()
        self._has_listened = True

    def _take(self, connection: Any, process: int, channel: str, payload: str) -> None:
        try:
            document = json.loads(payload)
            row = {name.lower(): value for name, value in document["data"].items()}
            key, is_gone = str(row["key"]), str(document.get("action", "")).upper() == "DELETE"
        except (ValueError, KeyError, TypeError, AttributeError):
            log.error(f"unknown format of data received in notify event on channel {channel}")
            return
        item: Item | None = None
        if is_gone:
            item = Item()
        elif "value" in row:
            item = Item(str(row["value"] or ""), str(row.get("version") or ""), _metadata(row.get("metadata")))
        for one in self._subscriptions.values():
            if one.channel == channel:
                one.changed(key, item)

    async def _look(self) -> None:
        """Sees that the connection lives, and makes it anew."""
        is_failing = False
        while self._subscriptions:
            await asyncio.sleep(_PAUSE_SECONDS if is_failing else LOOK_SECONDS)
            try:
                if self._listener is not None and not self._listener.is_closed():
                    async with self._listening, self._database.errors():
                        await self._listener.execute("SELECT 1")
                    continue
                await self._listen()
            except (postgresql.Failed, ConfigurationError) as error:
                if not is_failing:
                    log.error(f"Changes of configuration are not seen: {error}")
                is_failing = True
                if self._listener is not None:
                    self._listener.terminate()
            else:
                is_failing = False

    async def _tell(self, name: str, one: _Subscription) -> None:
        while True:
            change = await one.changes.get()
            try:
                news = await self._news(one, change)
            except ConfigurationError as error:
                log.error(f"Changes of configuration are told later: {error}")
                await asyncio.sleep(_PAUSE_SECONDS)
                one.compare()
                continue
            for key, item in news.items():
                one.told[key] = item
                await one.handler(name, {key: item})

    async def _news(self, one: _Subscription, change: tuple[str, Item | None] | None) -> Mapping[str, Item]:
        """What is to be told of a change. Raises `ConfigurationError`."""
        if change is not None:
            key, item = change
            return {key: item if item is not None else (await self.get([key], {})).get(key, Item())}
        found = await self.get(sorted(one.keys), {})
        gone = {key: Item() for key, item in one.told.items() if key not in found and item != Item()}
        return {**{key: item for key, item in found.items() if item != one.told.get(key)}, **gone}


def _metadata(document: object) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in document.items()} if isinstance(document, dict) else {}


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1
