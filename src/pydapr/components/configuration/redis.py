"""configuration.redis has the items in Redis, as the original: a string is an item's value, perhaps `||` and a version.

A server, or one that sentinels watch. Changes are told by the server's notifications of its keys, which the component
switches on where it may (`CONFIG SET notify-keyspace-events Kg$xe`); elsewhere somebody has to. What changes while the
connection is lost is told afterwards to those who have named keys. A cluster is refused.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from pydapr.components import Wrong, component
from pydapr.components.configuration import (
    ConfigurationError,
    ConfigurationStore,
    Handler,
    Item,
    end,
)
from pydapr.components.drivers import redis
from pydapr.components.drivers.redis_connection import Command, Connection, Failure, Reply
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.contrib")

LOOK_SECONDS = 1.0
"""How often the connection on which changes come is looked after."""

_PAUSE_SECONDS = 1.0
_EVENTS: Command = ("CONFIG", "SET", "notify-keyspace-events", "Kg$xe")
_AT_A_TIME = 500


class _Subscription:
    """Who wants to know of which keys, and which of them have changed since they were told."""

    __slots__ = ("due", "handler", "is_due", "keys", "task", "told")

    def __init__(self, keys: Sequence[str], handler: Handler) -> None:
        self.keys, self.handler = frozenset(keys), handler
        self.due: dict[str, bool] = {}
        """Whether the key is told even if its item is the one that was told last."""
        self.is_due = asyncio.Event()
        self.told: dict[str, Item] = {}
        self.task: asyncio.Task[None] | None = None

    def changed(self, key: str, is_certain: bool) -> None:
        self.due[key] = self.due.get(key, False) or is_certain
        self.is_due.set()


@component("configuration.redis", redis.Options)
class Redis(ConfigurationStore):
    def __init__(self, options: redis.Options) -> None:
        if options.redis_type == redis.CLUSTER:
            raise Wrong("redisType cluster: configuration.redis cannot be told of changes by a cluster")
        wanted = redis.settings(options)
        self._client = redis.Server(wanted)
        self._listener = redis.Server(wanted)
        self._channel = f"__keyspace@{wanted.database}__:"
        self._current: Connection | None = None
        """The connection that listens to all that it should."""
        self._has_listened = False
        self._resuming = asyncio.Lock()
        self._subscriptions: dict[str, _Subscription] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        ending = [*(one.task for one in self._subscriptions.values()), self._looking]
        self._subscriptions.clear()
        self._looking = None
        await tasks.stop(ending)
        await self._listener.close()
        await self._client.close()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Mapping[str, Item]:
        try:
            wanted = list(keys) or sorted(await self._all())
            found: dict[str, Item] = {}
            for start in range(0, len(wanted), _AT_A_TIME):
                some = wanted[start : start + _AT_A_TIME]
                values = await self._ask("MGET", *some)
                found |= {key: _item(value) for key, value in zip(some, values, strict=True) if value}
            return {key: item for key, item in found.items() if item.value}
        except OSError as error:
            raise ConfigurationError(str(error)) from None

    async def subscribe(self, keys: Sequence[str], metadata: Mapping[str, str], handler: Handler) -> str:
        name, made = str(uuid.uuid4()), _Subscription(keys, handler)
        self._subscriptions[name] = made
        try:
            connection = await self._listening()
            _check(await connection.ask(self._commands(made)))
            if keys:
                made.told = {**dict.fromkeys(keys, Item()), **await self.get(keys, {})}
        except OSError as error:
            self._subscriptions.pop(name, None)
            raise ConfigurationError(str(error)) from None
        except BaseException:
            self._subscriptions.pop(name, None)
            raise
        made.task = asyncio.create_task(self._tell(name, made))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return name

    async def unsubscribe(self, subscription: str) -> None:
        found = await end(self._subscriptions, subscription)
        still: set[Command] = {one for other in self._subscriptions.values() for one in self._commands(other)}
        gone = [one for one in self._commands(found) if one not in still]
        if gone and self._current is not None and not self._current.is_lost:
            # Nobody waits for the answer: without one the connection is made anew, and listens to less.
            ended: list[Command] = [
                ("PUNSUBSCRIBE" if one[0] == "PSUBSCRIBE" else "UNSUBSCRIBE", one[1]) for one in gone
            ]
            self._current.ask(ended).add_done_callback(lambda done: done.exception())

    # -- changes --

    def _commands(self, one: _Subscription) -> list[Command]:
        if not one.keys:
            return [("PSUBSCRIBE", f"{self._channel}*")]
        return [("SUBSCRIBE", self._channel + key) for key in sorted(one.keys)]

    async def _listening(self) -> Connection:
        """The connection on which changes of all subscriptions come. Raises `OSError`."""
        async with self._resuming:
            if not self._has_listened:
                await self._listener.open()
            connection = await self._listener.connection()
            if connection is self._current:
                return connection
            connection.on_message = self._take
            await connection.ask([_EVENTS])
            wanted: list[Command] = [one for other in self._subscriptions.values() for one in self._commands(other)]
            _check(await connection.ask(wanted) if wanted else ())
            for other in self._subscriptions.values() if self._has_listened else ():
                for key in other.keys:
                    other.changed(key, is_certain=False)
            self._current, self._has_listened = connection, True
        return connection

    def _take(self, message: Reply) -> None:
        channel = message[-2].decode("utf-8", "replace")
        key = channel.removeprefix(self._channel)
        is_for_all = message[0] == b"pmessage"
        for one in self._subscriptions.values():
            if not one.keys if is_for_all else key in one.keys:
                one.changed(key, is_certain=True)

    async def _look(self) -> None:
        """Sees that the connection lives, and makes it anew."""
        is_failing = False
        while self._subscriptions:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await (await self._listening()).ask([("PING",)])
            except OSError as error:
                if not is_failing:
                    log.error(f"Changes of configuration are not seen: {error}")
                is_failing = True
            else:
                is_failing = False

    async def _tell(self, name: str, one: _Subscription) -> None:
        while True:
            await one.is_due.wait()
            one.is_due.clear()
            due, one.due = one.due, {}
            try:
                found = await self.get(list(due), {}) if due else {}
            except ConfigurationError as error:
                log.error(f"Changes of configuration are told later: {error}")
                await asyncio.sleep(_PAUSE_SECONDS)
                for key, is_certain in due.items():
                    one.changed(key, is_certain)
                continue
            for key, is_certain in due.items():
                item = found.get(key, Item())
                if is_certain or item != one.told.get(key):
                    if one.keys:
                        one.told[key] = item
                    await one.handler(name, {key: item})

    # -- Redis --

    async def _all(self) -> set[str]:
        cursor, keys = "0", set[str]()
        while True:
            following, some = await self._ask("SCAN", cursor, "COUNT", 1000)
            keys.update(key.decode("utf-8", "replace") for key in some)
            cursor = following.decode()
            if cursor == "0":
                return keys

    async def _ask(self, *command: str | int) -> Reply:
        replies = await self._client.run("", [command], may_repeat=True)
        _check(replies)
        return replies[0]


def _check(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, Failure):
            raise OSError(str(reply))


def _item(value: bytes) -> Item:
    parts = value.decode("utf-8", "replace").split("||")
    return Item(parts[0], parts[1] if len(parts) > 1 else "")
