"""The subscriptions of one process to `pubsub.sqlite`: they take messages, have them processed, and tell the file.

One task asks the database for all of them: each turn carries what has ended since the last one and takes what can be
taken, in one transaction. It is woken by whoever publishes (`drivers.bell`), by the end of a handler, by the time at
which something is due, and once a second, as who publishes may be killed before it rings.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydapr.components.drivers import bell, sqlite
from pydapr.components.drivers import sqlite_queue as queue
from pydapr.components.pubsub import Handler, Message, NotProcessed, Subscription
from pydapr.lib.record import Record
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    import sqlite3

log = logging.get("dapr.contrib")

_LOOK_SECONDS, _LOOK_WITHOUT_BELL_SECONDS = 1.0, 0.02
_TOGETHER_SECONDS = 0.1
"""Who would look so much later looks now, when somebody does."""

_PAUSE_SECONDS = 1.0
"""How long nothing is asked of a database that has just failed."""

_JOIN_SECONDS = 10.0


class Times(Record):
    """In seconds: how long a message is with who has it, when it comes again at first, and at the latest."""

    visibility: float
    first: float
    longest: float


class _Ended(Record):
    reader: "Reader"
    taken: queue.Taken
    again_at: int | None
    """When the message comes again; None if it was processed."""


class Reader(Subscription):
    """A subscription of this process, and what it has under way."""

    def __init__(self, readers: "Readers", topic: str, handler: Handler, concurrency: int, consumer: int) -> None:
        self._readers, self.topic, self._handler = readers, topic, handler
        self._concurrency, self.consumer = concurrency, consumer
        self.is_woken = True
        self.next_look = 0.0
        self.running: dict[int, asyncio.Task[None]] = {}
        self._is_closing = False
        self._untold = 0
        self._all_told = asyncio.Event()
        self._all_told.set()

    @property
    def free(self) -> int:
        """How many more messages it can take."""
        return 0 if self._is_closing else self._concurrency - len(self.running)

    def start(self, taken: queue.Taken) -> None:
        if taken.id in self.running:
            return  # its time ran out while this process stood still; by taking it again it has more
        self._untold += 1
        self._all_told.clear()
        if self._is_closing:
            self._readers.ended(_Ended(self, taken, 0))
        else:
            self.running[taken.id] = asyncio.create_task(self._deliver(taken))

    def told(self) -> None:
        """The file knows what became of one message."""
        self._untold -= 1
        if not self._untold:
            self._all_told.set()

    async def _deliver(self, taken: queue.Taken) -> None:
        row = taken.row
        again_at: int | None = 0
        try:
            # Without the content type: it is that of what the envelope holds, and would be taken for the message's.
            await self._handler(Message(row.topic, row.data, row.metadata))
            again_at = None
        except NotProcessed as reason:
            log.error(f"Error processing message {taken.id} of {row.topic}: {reason}")
            again_at = self._readers.again_at(taken)
        except Exception as fault:  # of ours; the message must not be lost by it
            log.error(f"A message of {row.topic} could not be delivered: {fault!r}")
            again_at = self._readers.again_at(taken)
        finally:
            del self.running[taken.id]
            self._readers.ended(_Ended(self, taken, again_at))

    async def close(self) -> None:
        self._is_closing = True
        try:
            while self.running:
                await asyncio.wait(list(self.running.values()))
            with contextlib.suppress(TimeoutError):  # then they come again
                async with asyncio.timeout(self._readers.timeout):
                    await self._all_told.wait()
        finally:
            running = list(self.running.values())
            for task in running:
                task.cancel()
            await self._readers.leave(self, running)


class Readers:
    """All subscriptions of a component."""

    def __init__(
        self, where: sqlite.Place, bell_: bell.Bell, name: str, busy: float, timeout: float, times: Times
    ) -> None:
        quick = tuple(one.replace("synchronous(FULL)", "synchronous(NORMAL)") for one in where.pragmas)
        self._database = sqlite.Database(where.replace(pragmas=quick), busy, timeout, reads_apart=False)
        self._bell, self._name, self._times = bell_, name, times
        self.timeout = timeout
        self._lease = int(times.visibility * 1000)
        self._token = os.urandom(8).hex()
        self._by_topic: dict[str, list[Reader]] = {}
        self._is_forgotten = False
        """Some group is not in the file any more."""
        self._membership = asyncio.Lock()
        self._ended: list[_Ended] = []
        self._has_work = asyncio.Event()
        self._clock: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Raises `sqlite.Failed`."""
        await self._database.open(queue.make)
        self._bell.open(self._token)
        self._tasks = [asyncio.create_task(self._serve()), asyncio.create_task(self._keep())]

    async def close(self) -> None:
        running = [task for one in self._all() for task in one.running.values()]
        await tasks.stop([*self._tasks, *running])
        if self._clock is not None:
            self._clock.cancel()
        if self._tasks:
            with contextlib.suppress(sqlite.Failed):  # then it is released when the time of what was taken is over
                await self._database.write(self._work_at_end(), is_several=True)
        for ended in self._ended:
            ended.reader.told()
        await self._database.close()

    def _work_at_end(self) -> sqlite.Work[None]:
        turn, token, lease, consumers = self._turn(self._ended, []), self._token, self._lease, self._consumers()

        def work(db: "sqlite3.Connection") -> None:
            now = _now()
            queue.turn(db, turn, token, now, lease)
            queue.leave(db, consumers, token, now)

        return work

    async def subscribe(self, topic: str, handler: Handler, concurrency: int) -> Reader:
        """Raises `sqlite.Failed`."""
        async with self._membership:
            consumer = await self._join(topic)
            await self._bury_dead([consumer])
            made = Reader(self, topic, handler, concurrency, consumer)
            self._by_topic.setdefault(topic, []).append(made)
        self._has_work.set()
        return made

    async def _join(self, topic: str) -> int:
        name, token, path = self._name, self._token, self._bell.path
        return await self._database.write(lambda db: queue.join(db, topic, name, token, path, _now()), is_several=True)

    async def leave(self, reader: Reader, running: Sequence["asyncio.Task[None]"]) -> None:
        """`reader` takes nothing more, and is forgotten when `running` has ended."""
        there = self._by_topic.get(reader.topic, [])
        if reader in there:
            there.remove(reader)
        if running:
            await asyncio.wait(running)
        async with self._membership:
            if self._by_topic.get(reader.topic, reader):
                return  # others go on with it, or it has been left already
            del self._by_topic[reader.topic]
            consumer, token = reader.consumer, self._token
            with contextlib.suppress(sqlite.Failed):  # then it is done at the end, or by others
                await self._database.write(lambda db: queue.leave(db, [consumer], token, _now()), is_several=True)

    def wake(self, topic: str) -> None:
        """Something was published."""
        for one in self._by_topic.get(topic, ()):
            one.is_woken = True
            self._has_work.set()

    def ended(self, ended: _Ended) -> None:
        """What became of a message."""
        self._ended.append(ended)
        ended.reader.is_woken = True
        self._has_work.set()

    def again_at(self, taken: queue.Taken) -> int:
        """When a message comes again that was not processed."""
        wait = min(self._times.first * 2.0 ** min(taken.tries - 1, 60), self._times.longest)
        return _now() + int(wait * 1000)

    # -- taking and telling --

    async def _serve(self) -> None:
        is_failing = False
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            wishing = self._wishing()
            ended, self._ended = self._ended, []
            if ended or wishing:
                try:
                    await self._take_turn(ended, wishing)
                    is_failing = False
                except asyncio.CancelledError:
                    self._ended = [*ended, *self._ended]  # told once more at the end, which does no harm
                    raise
                except Exception as error:  # also a fault of ours: the subscriptions go on
                    if not is_failing:
                        log.error(f"No messages are taken until the database answers again: {_worded(error)}")
                    is_failing = True
                    self._ended = [*ended, *self._ended]
                    for one in wishing:
                        one.is_woken = True
                    await asyncio.sleep(_PAUSE_SECONDS)
                    self._has_work.set()
            self._set_clock()

    async def _take_turn(self, ended: Sequence[_Ended], wishing: Sequence[Reader]) -> None:
        turn, token, lease = self._turn(ended, wishing), self._token, self._lease
        for one in wishing:
            one.is_woken = False  # from now on somebody may wake it again
        given = await self._database.write(lambda db: queue.turn(db, turn, token, _now(), lease), is_several=True)
        for done in ended:
            done.reader.told()
        for one, got in zip(wishing, given, strict=True):
            self._hand_out(one, got)

    def _wishing(self) -> list[Reader]:
        now = time.monotonic()
        free = [one for one in self._all() if one.free > 0]
        late = [one for one in free if one.is_woken or one.next_look <= now]
        return [one for one in free if one.is_woken or one.next_look <= now + _TOGETHER_SECONDS] if late else []

    def _turn(self, ended: Sequence[_Ended], wishing: Sequence[Reader]) -> queue.Turn:
        return queue.Turn(
            [(one.reader.consumer, one.taken) for one in ended if one.again_at is None],
            [(one.reader.consumer, one.taken, one.again_at) for one in ended if one.again_at is not None],
            [queue.Wish(one.consumer, one.topic, one.free) for one in wishing],
        )

    def _hand_out(self, reader: Reader, given: queue.Given) -> None:
        if not given.is_known:
            self._is_forgotten = True
        for taken in given.taken:
            reader.start(taken)
        look = _LOOK_SECONDS if self._bell.path else _LOOK_WITHOUT_BELL_SECONDS
        if given.next_due is not None:
            look = min(look, given.next_due / 1000 - time.time())
        reader.next_look = time.monotonic() + look
        if given.has_more:
            reader.is_woken = True
            self._has_work.set()

    def _set_clock(self) -> None:
        """Work begins again when the first of those that can take something is to look."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        looks = [one.next_look for one in self._all() if one.free > 0]
        if looks:
            wait = max(min(looks) - time.monotonic(), 0.001)
            self._clock = asyncio.get_running_loop().call_later(wait, self._has_work.set)

    def _all(self) -> list[Reader]:
        return [one for readers in self._by_topic.values() for one in readers]

    def _consumers(self) -> list[int]:
        return [one.consumer for one in self._all()]

    # -- leases and members --

    async def _keep(self) -> None:
        renewing, joining = min(self._times.visibility / 3, 10.0), _JOIN_SECONDS
        next_renewal = time.monotonic() + renewing
        next_join = time.monotonic() + joining
        is_failing = False
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, renewing))
            now = time.monotonic()
            try:
                if now >= next_renewal:
                    next_renewal = now + renewing
                    await self._renew()
                if self._bell.is_gone:
                    self._bell.close()
                    self._bell.open(self._token)
                    next_join = now
                if self._is_forgotten:
                    self._is_forgotten, next_join = False, now
                if now >= next_join:
                    next_join = now + joining
                    await self._join_again()
                await self._bury_dead(self._consumers())
                is_failing = False
            except Exception as error:
                if not is_failing:
                    log.error(f"Messages under way may be delivered to others, too: {_worded(error)}")
                is_failing = True

    async def _join_again(self) -> None:
        """As groups are forgotten of which nobody says that they are in use."""
        async with self._membership:
            for topic, readers in list(self._by_topic.items()):
                consumer = await self._join(topic)
                for one in readers:
                    one.consumer = consumer

    async def _renew(self) -> None:
        running = [(one.consumer, number) for one in self._all() for number in one.running]
        token, lease = self._token, self._lease
        if running:
            await self._database.write(lambda db: queue.renew(db, running, token, _now() + lease), is_several=True)

    async def _bury_dead(self, consumers: Sequence[int]) -> None:
        """What members had that were killed is for the others, at once."""
        token = self._token
        others = await self._database.read(lambda db: queue.others(db, consumers, token))
        dead = [(other, path) for other, path in others if path and not bell.answers(path)]
        for other, path in dead:
            await self._bury(other)
            bell.remove(path)
        if dead:
            for one in self._all():
                one.is_woken = True
            self._has_work.set()

    async def _bury(self, other: str) -> None:
        await self._database.write(lambda db: queue.bury(db, other, _now()), is_several=True)


def _worded(error: Exception) -> str:
    return str(error) if isinstance(error, sqlite.Failed) else repr(error)


def _now() -> int:
    return time.time_ns() // 1_000_000
