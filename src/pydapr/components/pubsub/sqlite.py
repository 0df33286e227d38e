"""pubsub.sqlite is a message broker in a SQLite file, shared by the sidecars of one machine, without a server.

What was published is on the disk before the publisher's answer. Each app gets every message of the topics that it
subscribes to, at least once; its instances share them. A message comes again when it was not processed, or when the
sidecar that had it is gone. Messages that are published with the metadata `partitionKey` (or `orderingKey`) come one
after the other, in order, for each key; `ttlInSeconds` ends a message.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.drivers import sqlite
from pydapr.components.drivers import sqlite_queue as queue
from pydapr.components.drivers.bell import Bell
from pydapr.components.pubsub import (
    BULK,
    MESSAGE_TTL,
    Browsed,
    BulkHandler,
    Entry,
    Handler,
    Limits,
    Message,
    PubSub,
    PubSubError,
    Subscription,
)
from pydapr.lib import ttl
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    import sqlite3

    from pydapr.components.drivers.sqlite_readers import Readers

log = logging.get("dapr.contrib")

_CLEAN_SECONDS = 30.0
_JUMP_SECONDS = 60.0
_KEYS = ("partitionkey", "orderingkey")
_LONGEST_TTL = 1e10
"""Seconds, some centuries."""
_CONCURRENCY = "concurrency"


@options
class Options:
    connection_string: str = option("The file, such as `/data/pubsub.db`.", aliases=("url",))
    consumer_id: str = option("The group whose members share messages; the app's id if not given.", default="")
    concurrency: int = option("Messages of a subscription that are under way at once.", default=10)
    visibility_timeout: Seconds = option(
        "How long a sidecar that stands still keeps the messages it has under way. What one that ended had goes to "
        "others at once.",
        default=Seconds(30),
    )
    redeliver_interval: Seconds = option(
        "When a message comes again that was not processed; doubled each time.", default=Seconds(0.2)
    )
    max_redeliver_interval: Seconds = option("The longest of these times.", default=Seconds(30))
    retention: Seconds = option(
        "How long messages wait for those who have not had them, and groups that nobody is in are remembered.",
        default=Seconds(7 * 86400),
    )
    max_size: int = option(
        "Bytes that the file may have. When it is full, the oldest messages of topics that nobody ever subscribed to "
        "make room; then publishing is refused.",
        default=1 << 30,
    )
    timeout: Seconds = option("How long any call may take.", default=Seconds(20))
    busy_timeout: Seconds = option("How long SQLite waits for others who write.", default=Seconds(2))
    open_on_use: bool = option("Open the file when it is needed first, not at the start.", default=False)


@component("pubsub.sqlite", Options)
class Sqlite(PubSub):
    """Publishes on one connection, which has each commit flushed to the disk, and reads on another, which does not:
    what a power failure takes from the second comes again."""

    features = (MESSAGE_TTL, BULK)
    delays = True

    def __init__(self, options: Options) -> None:
        _check(options)
        self._options = options
        where = sqlite.place(options.connection_string, False)
        if where.is_in_memory:
            raise Wrong("metadata property connectionString: name a file; in memory there is pubsub.in-memory")
        self._where = where.replace(pragmas=(*where.pragmas, "journal_size_limit(16777216)"))
        self._publishing = sqlite.Database(self._where, options.busy_timeout, options.timeout, reads_apart=False)
        self._bell = Bell(self._where.file, self._rung)
        self._readers: Readers | None = None
        self._opening = asyncio.Lock()
        self._to_ring: set[tuple[str, str]] = set()
        self._silent: set[str] = set()
        self._cleaning: asyncio.Task[None] | None = None
        self._is_closed = False

    async def open(self) -> None:
        try:
            await self._publishing.open(self._make, self._options.open_on_use)
        except sqlite.Failed as error:
            raise OSError(f"{self._where.path}: {error}") from None

    async def close(self) -> None:
        self._is_closed = True
        await tasks.stop((self._cleaning,))
        self._cleaning = None
        if self._readers is not None:
            await self._readers.close()
        self._bell.close()
        await self._publishing.close()

    # -- publishing --

    async def publish(self, message: Message) -> None:
        await self._publish([_row(message)])

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """All in one transaction; those that cannot be messages are left out."""
        rows, failed = [], {}
        for entry in entries:
            try:
                rows.append(_row(entry.message).replace(topic=topic))
            except PubSubError as error:
                failed[entry.id] = str(error)
        if rows:
            await self._publish(rows)
        return failed

    async def _publish(self, rows: Sequence[queue.Row]) -> None:
        """All are of one topic."""
        self._keep_small()
        try:
            bells = await self._put(rows)
        except sqlite.Full:
            bells = await self._put_when_full(rows)
        except sqlite.Failed as error:
            raise PubSubError(str(error)) from None
        topic = rows[0].topic
        if self._readers is not None:
            self._readers.wake(topic)
        for bell in bells:
            self._ring_soon(bell, topic)

    async def _put(self, rows: Sequence[queue.Row]) -> list[str]:
        return await self._publishing.write(lambda db: queue.publish(db, rows), is_several=len(rows) > 1)

    async def _put_when_full(self, rows: Sequence[queue.Row]) -> list[str]:
        """Raises `PubSubError`."""
        path, most = self._where.path, self._options.max_size
        try:
            while removed := await self._publishing.write(queue.make_room, is_several=True):
                log.warning(f"{path} is full: the {removed} oldest messages of topics that nobody subscribed to go")
                with contextlib.suppress(sqlite.Full):
                    return await self._put(rows)
            size = await self._publishing.read(queue.size)
        except sqlite.Failed as error:
            raise PubSubError(f"{path}: {error}") from None
        if size < most * 0.9 - sum(len(row.data) for row in rows):
            raise PubSubError(f"{path}: its disk has no room, the file has {size} bytes of the {most} that it may have")
        raise PubSubError(
            f"{path} is full: it has the {most} bytes that `maxSize` allows, of messages that subscribers have not had"
        )

    def _ring_soon(self, bell: str, topic: str) -> None:
        """At the end of the loop's turn, so that many messages are one ring."""
        if not bell or bell == self._bell.path:
            return
        if not self._to_ring:
            asyncio.get_running_loop().call_soon(self._ring)
        self._to_ring.add((bell, topic))

    def _ring(self) -> None:
        ringing, self._to_ring = self._to_ring, set()
        for bell, topic in ringing:
            if not self._bell.ring(bell, topic):
                self._silent.add(bell)

    def _rung(self, topic: str) -> None:
        if self._readers is not None:
            self._readers.wake(topic)

    # -- subscribing --

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        """`concurrency` of the subscription's metadata is for it what that of the component is for all."""
        concurrency = self._options.concurrency
        if given := metadata.get(_CONCURRENCY, ""):
            if not given.isdecimal() or int(given) < 1:
                raise PubSubError(f"metadata concurrency of the subscription: {given!r} is no positive number")
            concurrency = int(given)
        try:
            readers = await self._opened_readers()
            return await readers.subscribe(topic, handler, concurrency)
        except sqlite.Failed as error:
            raise PubSubError(str(error)) from None

    async def subscribe_many(
        self, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
    ) -> Subscription:
        from pydapr.components.drivers import gathering

        concurrency = max(self._options.concurrency, limits.messages)
        return await gathering.subscribe(self, topic, {_CONCURRENCY: str(concurrency), **metadata}, limits, handler)

    async def _opened_readers(self) -> "Readers":
        self._keep_small()
        async with self._opening:
            if self._readers is None:
                from pydapr.components.drivers import sqlite_readers  # whoever only publishes does without

                options = self._options
                made = sqlite_readers.Readers(
                    self._where, self._bell, options.consumer_id, options.busy_timeout, options.timeout,
                    sqlite_readers.Times(
                        options.visibility_timeout, options.redeliver_interval, options.max_redeliver_interval
                    ),
                )  # fmt: skip
                try:
                    await made.open()
                except BaseException:
                    await made.close()
                    raise
                self._readers = made
            return self._readers

    async def browse(
        self, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        """Messages that some group has not done with yet, those that are under way included."""
        if after and not after.isdecimal():
            raise PubSubError(f"there is no message {after!r} to go on after")
        first, now = int(after or "0"), _now()
        try:
            shown, has_more = await self._publishing.read(lambda db: queue.browse(db, topic, first, most, now))
        except sqlite.Failed as error:
            raise PubSubError(str(error)) from None
        return [
            Browsed(str(number), Message(row.topic, row.data, row.metadata, row.content_type), row.published / 1000)
            for number, row in shown
        ], str(shown[-1][0]) if has_more else ""

    # -- keeping the file small --

    def _keep_small(self) -> None:
        """From the first use on. Raises `PubSubError`."""
        if self._cleaning is None:
            if self._is_closed:
                raise PubSubError("component is closed")
            self._cleaning = asyncio.create_task(self._clean())

    async def _clean(self) -> None:
        retention = int(self._options.retention * 1000)
        looked = _now()
        while True:
            await asyncio.sleep(_CLEAN_SECONDS)
            before, looked = looked, _now()
            if looked - before > (_CLEAN_SECONDS + _JUMP_SECONDS) * 1000:
                continue  # the machine slept, or its clock was set: all members say that they are there first
            silent, self._silent = self._silent, set()
            try:
                if silent:
                    await self._bury(silent)
                while await self._publishing.write(lambda db: queue.clean(db, _now(), retention), is_several=True):
                    pass
            except sqlite.Failed as error:
                log.error(f"Old messages are removed later: {error}")

    async def _bury(self, bells: set[str]) -> None:
        await self._publishing.write(lambda db: queue.bury_silent(db, bells, _now()), is_several=True)

    def _make(self, db: "sqlite3.Connection") -> None:
        queue.make(db)
        [page] = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA max_page_count = {max(self._options.max_size // page, 64)}")


def _check(options: Options) -> None:
    for name, value in (("concurrency", options.concurrency), ("maxSize", options.max_size)):
        if value < 1:
            raise Wrong(f"invalid value for '{name}': must be at least 1")
    for name, seconds in (
        ("timeout", options.timeout),
        ("visibilityTimeout", options.visibility_timeout),
    ):
        if seconds < 1:
            raise Wrong(f"invalid value for '{name}': must be at least 1s")
    if options.retention < 60:
        raise Wrong("invalid value for 'retention': must be at least 1m")
    if options.redeliver_interval <= 0 or options.max_redeliver_interval <= 0:
        raise Wrong("invalid value for 'redeliverInterval' or 'maxRedeliverInterval': must be greater than 0")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _row(message: Message) -> queue.Row:
    """Raises `PubSubError`."""
    now = _now()
    due = None
    if message.deliver_at is not None and message.deliver_at * 1000 > now:
        due = -int(-message.deliver_at * 1000 // 1)  # not a millisecond too early
    key = expires = None
    if message.metadata:
        given = {name.lower(): value for name, value in message.metadata.items() if value}
        key = next((given[name] for name in _KEYS if name in given), None)
        expires = _expires(message.metadata, max(now, due or 0))
    return queue.Row(message.topic, now, due, expires, key, message.content_type, message.metadata, message.data)


def _expires(metadata: Mapping[str, str], begin: int) -> int | None:
    """Raises `PubSubError`."""
    try:
        seconds = ttl.of(metadata)
    except ValueError as error:
        raise PubSubError(str(error)) from None
    return None if seconds is None else begin + int(min(seconds, _LONGEST_TTL) * 1000)
