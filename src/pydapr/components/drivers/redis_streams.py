"""Messages in Redis streams: how they are written, and a consumer group that reads them, as the original does both.

Used by `pubsub.redis`. The layout is that of components-contrib v1.18, so that sidecars of both kinds share a stream
and a group: fields `data` and `metadata` (JSON), a group and its only consumer called by the consumer id.

A message belongs to the group until it is acknowledged. What was read and not acknowledged for longer than the
processing timeout is claimed by whoever looks next. So that no two have the same one, we claim those that still wait
here for their turn again in time; when a subscription ends, what is left is given back by calling it old.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from pydapr.components.drivers.redis_connection import Command, Failure, Reply
from pydapr.components.pubsub import NO_METADATA, Handler, Message, NotProcessed, Subscription
from pydapr.lib.record import Record
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    from pydapr.components.drivers.redis import Server
    from pydapr.components.drivers.redis_cluster import Cluster

log = logging.get("dapr.contrib")

BLOCK_SECONDS = 2.0
"""How long a read waits for messages before it asks again."""

_UNBLOCK_SECONDS = 0.05
_FAREWELL_SECONDS = 1.0
"""How long the end of a subscription waits for Redis when it tells of what is left."""

_SLOWEST = 2.0
"""The longest pause between tries to read when that fails."""

_PAGE = 1000
_strings = msgspec.json.Decoder(dict[str, str])


class Rules(Record):
    """How a group reads. Redelivery is off when `timeout` or `interval` is 0."""

    group: str
    timeout: float
    interval: float
    depth: int
    """How many messages may wait here."""
    workers: int
    """How many are handled at a time."""


def add(stream: str, data: bytes, metadata: Mapping[str, str], trim: Command) -> Command:
    """The command that appends a message. `trim` says how the stream is kept short."""
    told = msgspec.json.encode(metadata) if metadata else b"{}"
    return ("XADD", stream, *trim, "*", "data", data, "metadata", told)


def message(stream: str, fields: Sequence[bytes]) -> Message:
    """What an entry holds. Metadata that cannot be read are none, as in the original."""
    data, metadata = b"", NO_METADATA
    for number in range(0, len(fields), 2):
        name = fields[number]
        if name == b"data":
            data = fields[number + 1]
        elif name == b"metadata" and fields[number + 1] != b"{}":
            try:
                metadata = _strings.decode(fields[number + 1])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning(f"Redis PubSub: Could not extract metadata for Redis message of {stream}: {error}")
    return Message(stream, data, metadata)


def following(id_: str) -> str:
    """The id right behind one."""
    time, _, number = id_.partition("-")
    return f"{time}-{int(number or 0) + 1}"


class Group(Subscription):
    """One stream's messages for one handler. `turns` are shared with the component's other subscriptions."""

    def __init__(
        self,
        clients: "tuple[Server | Cluster, Server | Cluster]",
        stream: str,
        rules: Rules,
        turns: asyncio.Semaphore,
        handler: Handler,
    ) -> None:
        self._client, self._reader = clients
        """The second one is ours alone, since reads keep it waiting."""
        self._stream, self._rules, self._turns, self._handler = stream, rules, turns, handler
        self._redelivers = rules.timeout > 0 and rules.interval > 0
        self._idle = int(rules.timeout * 1000)
        self._queue: deque[tuple[bytes, Message]] = deque()
        self._held: set[bytes] = set()
        """Ids of messages that wait here or are being handled."""
        self._done: set[bytes] = set()
        """Ids of messages that were handled, which Redis could not be told."""
        self._workers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._name: int | None = None
        """What the server calls the connection of reads."""
        self._is_reading = self._is_closing = False
        self._reading: asyncio.Task[None] | None = None
        self._reclaiming: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Raises `OSError`, and leaves nothing behind then."""
        try:
            await self._create()
            await self._reader.open()
        except BaseException:
            await self._reader.close()
            raise
        self._reading = asyncio.create_task(self._read())
        if self._redelivers:
            self._reclaiming = asyncio.create_task(self._reclaim())

    async def close(self) -> None:
        self._is_closing = True
        try:
            await tasks.stop((self._reclaiming,))
            await self._stop_reading()
            while self._workers:
                await asyncio.wait(self._workers)
        finally:
            await tasks.stop((self._reading, self._reclaiming, *self._workers))
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._give_back()
            await self._reader.close()

    # -- from the stream --

    async def _create(self) -> None:
        created = await self._ask("XGROUP", "CREATE", self._stream, self._rules.group, "0", "MKSTREAM")
        if isinstance(created, Failure) and not str(created).startswith("BUSYGROUP"):
            raise OSError(str(created))

    async def _read(self) -> None:
        group, depth = self._rules.group, self._rules.depth
        pause = 0.0
        while not self._is_closing:
            if len(self._queue) >= depth:
                await self._wait_for_room()
            many = depth - len(self._queue)
            read: Command = (
                "XREADGROUP", "GROUP", group, group, "COUNT", many, "BLOCK", int(BLOCK_SECONDS * 1000),
                "STREAMS", self._stream, ">",
            )  # fmt: skip
            try:
                self._is_reading = True
                if self._name is None:
                    [name] = await self._reader.run(self._stream, [("CLIENT", "ID")])
                    self._name = name if isinstance(name, int) else 0
                [reply] = await self._reader.run(self._stream, [read])
                if not isinstance(reply, Exception):
                    for _, entries in reply or ():
                        self._take(entries)
            except Exception as error:  # also an answer that makes no sense: reading goes on
                reply = error
            finally:
                self._is_reading = False
            if not isinstance(reply, Exception):
                if pause:
                    log.info(f"redis streams: reading from stream {self._stream} again")
                    pause = 0.0
                    with suppress(OSError):
                        await self._settle()
            elif not self._is_closing:
                await self._recover(reply, is_first=not pause)
                pause = min(max(pause * 2, 0.05), _SLOWEST)
                await asyncio.sleep(pause)

    async def _recover(self, error: Exception, is_first: bool) -> None:
        self._name = None
        if is_first:
            log.error(f"redis streams: error reading from stream {self._stream}: {error}")
        if not str(error).startswith("NOGROUP"):
            return
        group = self._rules.group
        log.warning(
            f"redis streams: consumer group {group} does not exist for stream {self._stream}. This could mean the "
            "server experienced data loss, or the group/stream was deleted; it is created anew."
        )
        try:
            await self._create()
        except OSError as failure:
            log.error(f"redis streams: {failure}")

    async def _wait_for_room(self) -> None:
        while len(self._queue) >= self._rules.depth:
            self._room.clear()
            await self._room.wait()

    async def _stop_reading(self) -> None:
        """Ends the read that waits for messages, without losing what it may have been given."""
        reading, loop = self._reading, asyncio.get_running_loop()
        if reading is None:
            return
        end = loop.time() + BLOCK_SECONDS + 1
        while not reading.done():
            if not self._is_reading or loop.time() > end:
                reading.cancel()
            elif self._name:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        await self._ask("CLIENT", "UNBLOCK", self._name)
            await asyncio.wait((reading,), timeout=_UNBLOCK_SECONDS)

    async def _give_back(self) -> None:
        left = list(self._held)
        self._queue.clear()
        self._held.clear()
        await self._settle()
        if left and self._redelivers:
            await self._claim(left, 0, "IDLE", self._idle, "JUSTID")

    # -- to the handler --

    def _take(self, entries: Iterable[Reply]) -> None:
        for entry in entries:
            if entry is None or entry[1] is None:
                continue
            id_, fields = entry
            if id_ in self._held or id_ in self._done:
                continue
            self._held.add(id_)
            self._queue.append((id_, message(self._stream, fields)))
            if len(self._workers) < self._rules.workers:
                worker = asyncio.create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """Handles messages until none waits."""
        queue, few = self._queue, self._rules.depth // 2
        try:
            while queue and self._may_go_on():
                async with self._turns:
                    if not queue or not self._may_go_on():
                        return
                    id_, one = queue.popleft()
                    if len(queue) <= few:
                        self._room.set()
                    await self._handle(id_, one)
        finally:
            # Now, not a turn of the loop later: what comes in between would wait for a worker that has ended.
            if (task := asyncio.current_task()) is not None:
                self._workers.discard(task)

    def _may_go_on(self) -> bool:
        """What cannot be delivered again is not left behind."""
        return not self._is_closing or not self._redelivers

    async def _handle(self, id_: bytes, one: Message) -> None:
        try:
            if self._redelivers:
                async with asyncio.timeout(self._rules.timeout):
                    await self._handler(one)
            else:
                await self._handler(one)
            await self._acknowledge(id_)
        except (NotProcessed, TimeoutError) as error:
            reason = str(error) or f"not processed within {self._rules.timeout:g}s"
            log.error(f"Error processing Redis message {id_.decode()}: {reason}")
        except asyncio.CancelledError:
            raise  # it is still held, and so given back
        except BaseException:
            self._held.discard(id_)
            raise
        self._held.discard(id_)

    async def _acknowledge(self, id_: bytes) -> None:
        try:
            reply = await self._ask("XACK", self._stream, self._rules.group, id_)
        except OSError as error:
            reply = error
        if isinstance(reply, Exception):
            self._done.add(id_)
            log.error(f"Error acknowledging Redis message {id_.decode()}: {reply}")

    async def _settle(self) -> None:
        """Acknowledges what could not be acknowledged when it was handled."""
        while self._done:
            some = list(self._done)[:_PAGE]
            if isinstance(await self._ask("XACK", self._stream, self._rules.group, *some), Failure):
                return
            self._done.difference_update(some)

    # -- what others have not finished --

    async def _reclaim(self) -> None:
        while True:
            try:
                await self._settle()
                await self._look_at_pending()
            except OSError:
                pass  # the task that reads tells of it
            except Exception as error:
                log.error(f"error retrieving pending Redis messages: {error!r}")
            await asyncio.sleep(self._rules.interval)

    async def _look_at_pending(self) -> None:
        group, start = self._rules.group, "-"
        while True:
            pending = await self._ask("XPENDING", self._stream, group, start, "+", _PAGE)
            if isinstance(pending, Failure):
                log.error(f"error retrieving pending Redis messages: {pending}")
                return
            old = [id_ for id_, _, idle, _ in pending if idle >= self._idle and id_ not in self._held]
            ours = [id_ for id_, _, idle, _ in pending if idle >= self._idle // 2 and id_ in self._held]
            if ours:
                await self._claim(ours, 0, "JUSTID")
            for first in range(0, len(old), self._rules.depth):
                await self._wait_for_room()
                await self._take_over(old[first : first + self._rules.depth])
            if len(pending) < _PAGE:
                return
            start = following(pending[-1][0].decode())

    async def _take_over(self, ids: Sequence[bytes]) -> None:
        claimed = await self._claim(ids, self._idle)
        if isinstance(claimed, Failure):
            log.error(f"error claiming pending Redis messages: {claimed}")
            return
        self._take(claimed)
        found = {entry[0] for entry in claimed if entry is not None and entry[1] is not None}
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            look: list[Command] = [("XRANGE", self._stream, id_, id_) for id_ in missing]
            there = await self._client.run(self._stream, look, may_repeat=True)
            gone = [id_ for id_, entries in zip(missing, there, strict=True) if entries == []]
            if gone:  # cut off the stream, so nobody can have them any more
                await self._ask("XACK", self._stream, self._rules.group, *gone)

    async def _claim(self, ids: Sequence[bytes], idle: int, *options: str | int) -> Reply:
        group = self._rules.group
        return await self._ask("XCLAIM", self._stream, group, group, idle, *ids, *options)

    async def _ask(self, *command: str | bytes | int) -> Reply:
        [reply] = await self._client.run(self._stream, [command], may_repeat=True)
        return reply
