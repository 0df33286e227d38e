"""Streams on which schedulers tell what is due, and are told what became of it. Used by `peers.scheduler`.

Several to each scheduler. When what this sidecar takes changes, further streams are opened at once and the old ones
end as soon as nothing is under way on them: what is under way is answered where it came from, and what an old stream
brings and may not be delivered any more stays unanswered, which has its scheduler give it to somebody else. So nothing
is lost by a change, and nothing is delivered twice by it but what takes longer than `HELD_SECONDS` beside such a thing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from pydapr.errors import Code, RpcError
from pydapr.lib.record import Record
from pydapr.net import grpc_client, http2_pool, tasks
from pydapr.observe import logging
from pydapr.peers import scheduler_messages as messages
from pydapr.peers.scheduling import Due

log = logging.get("dapr.runtime.scheduler.cluster")

PAUSE_SECONDS = (0.25, 0.75)
"""Between two attempts at a stream, at least and at most."""

HELD_SECONDS = 5.0
"""How long an old stream may hold what it may not deliver while it waits for what is under way on it."""

FAREWELL_SECONDS = 2.0
"""How long a scheduler may take to end a stream that we have ended."""

STEADY_SECONDS = 10.0
"""A stream that has lasted so long is told of when it breaks."""

UNDER_WAY = 16_384
"""Deliveries under way for one stream; beyond these it is not read, and its scheduler waits."""

Deliver = Callable[[Due], Awaitable[bool]]
"""Whether something that is due was taken."""

Open = Callable[[str], Awaitable[grpc_client.Stream]]
"""Begins a stream to an address. Raises `RpcError`, `Unreachable`."""


class Wanted(Record):
    """What this sidecar takes."""

    app_id: str
    namespace: str
    takes_jobs: bool = False
    actor_types: tuple[str, ...] = ()

    @property
    def is_anything(self) -> bool:
        return self.takes_jobs or bool(self.actor_types)

    def takes(self, due: Due) -> bool:
        return self.takes_jobs if due.owner is None else due.owner.actor_type in self.actor_types


def pause() -> float:
    """How long to wait before another attempt: not all sidecars at the same moment."""
    return random.uniform(*PAUSE_SECONDS)


class Streams:
    """All streams to all schedulers. `close` ends them."""

    def __init__(self, open_: Open, count: int, wanted: Wanted, deliver: Deliver) -> None:
        self._open, self._count, self._deliver = open_, count, deliver
        self.wanted = wanted
        self._hosts: tuple[str, ...] = ()
        self._kept: dict[str, list[_Kept]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self, hosts: Iterable[str]) -> None:
        """These schedulers there are now; streams to those that there were already stay."""
        self._hosts = tuple(dict.fromkeys(hosts))
        for host in [host for host in self._kept if host not in self._hosts]:
            self._retire(host)
        self._begin()

    def want(self, wanted: Wanted) -> None:
        """This is taken from now on."""
        if wanted == self.wanted:
            return
        self.wanted = wanted
        for host in list(self._kept):
            self._retire(host)
        self._begin()

    def takes(self, due: Due) -> bool:
        return self.wanted.takes(due)

    def _begin(self) -> None:
        if not self.wanted.is_anything:
            return
        for host in self._hosts:
            if host not in self._kept:
                self._kept[host] = [
                    _Kept(self, host, self.wanted, self._open, self._deliver) for _ in range(self._count)
                ]

    def _retire(self, host: str) -> None:
        for kept in self._kept.pop(host):
            self.adopt((kept.task,))
            kept.retire()

    def adopt(self, begun: Iterable["asyncio.Task[None]"]) -> None:
        """Waits for these at the end: old streams, and deliveries that the app is still at when their stream broke."""
        for task in begun:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Takes nothing more, and waits for what is under way."""
        self._hosts, self.wanted = (), Wanted(self.wanted.app_id, self.wanted.namespace)
        for host in list(self._kept):
            self._retire(host)
        while self._ending:
            await asyncio.wait(self._ending)


class _Kept:
    """One stream to one scheduler, made anew whenever it breaks."""

    def __init__(self, streams: Streams, host: str, wanted: Wanted, open_: Open, deliver: Deliver) -> None:
        self._streams, self._host, self._wanted, self._open, self._deliver = streams, host, wanted, open_, deliver
        self._live: _Live | None = None
        self._is_old = False
        self.task = asyncio.get_running_loop().create_task(self._run())

    def retire(self) -> None:
        """No further stream; this one ends when nothing is under way on it."""
        self._is_old = True
        if self._live is None:
            self.task.cancel()
        else:
            self._live.retire()

    async def _run(self) -> None:
        failures = 0
        while not self._is_old:
            began = self.task.get_loop().time()
            reason = ""
            try:
                await self._follow()
            except (RpcError, http2_pool.Unreachable) as error:
                reason = str(error)
            except Exception as fault:  # whatever it is: without this stream nothing is delivered
                reason = f"unexpected error: {fault!r}"
            if self._is_old:
                return
            if self.task.get_loop().time() - began > STEADY_SECONDS:
                failures = 0
            if reason:
                failures += 1
                line = log.error if failures == 1 else log.debug
                line(f"Failed to watch scheduler jobs of {self._host}, retrying: {reason}")
            await asyncio.sleep(pause())

    async def _follow(self) -> None:
        """One stream, until it ends. Raises `RpcError`, `Unreachable`."""
        stream = await self._open(self._host)
        try:
            await stream.send(self._initial())
            log.info(f"Scheduler stream connected for {self._shown()}")
            self._live = _Live(stream, self._streams.takes, self._deliver)
            await self._live.run()
            log.info("Scheduler stream disconnected")
        finally:
            if self._live is not None:
                self._streams.adopt(self._live.under_way)
                self._live = None
            stream.close()

    def _initial(self) -> bytes:
        wanted = self._wanted
        return messages.initial(wanted.app_id, wanted.namespace, wanted.takes_jobs, wanted.actor_types)

    def _shown(self) -> str:
        names = []
        if self._wanted.takes_jobs:
            names.append("JOB_TARGET_TYPE_JOB")
        if self._wanted.actor_types:
            names.append("JOB_TARGET_TYPE_ACTOR_REMINDER")
        return f"[{' '.join(names)}]"


class _Live:
    """A stream that has begun."""

    def __init__(self, stream: grpc_client.Stream, takes: Callable[[Due], bool], deliver: Deliver) -> None:
        self._stream, self._takes, self._deliver = stream, takes, deliver
        self._loop = asyncio.get_running_loop()
        self.under_way: set[asyncio.Task[None]] = set()
        """Deliveries. Those that are left when the stream breaks go on, and the scheduler gives them to somebody again:
        nobody can tell it any more what became of them."""
        self._room = asyncio.Event()
        self._is_old = self._is_over = False
        self._farewell: asyncio.Task[None] | None = None
        self._held: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Until the stream has ended, by us or by the scheduler. Raises `RpcError`."""
        try:
            while (data := await self._stream.receive()) is not None:
                if self._farewell is not None:
                    continue
                self._take(data)
                while len(self.under_way) >= UNDER_WAY:
                    self._room.clear()
                    await self._room.wait()
        except RpcError:
            if self._farewell is None:
                raise
        finally:
            self._is_over = True
            if self._held is not None:
                self._held.cancel()
            await tasks.stop((self._farewell,))

    def retire(self) -> None:
        """Ends the stream when nothing is under way."""
        self._is_old = True
        self._part_if_idle()

    def _take(self, data: bytes) -> None:
        try:
            number, due = messages.due(data)
        except messages.Invalid as error:
            raise RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}") from None
        if due is not None and not self._takes(due):
            self._hold()
            return
        task = self._loop.create_task(self._answer(number, due))
        self.under_way.add(task)
        task.add_done_callback(self._answered)

    def _hold(self) -> None:
        """Something came that may not be delivered: its scheduler has it back when the stream ends."""
        if self._farewell is None and self._held is None:
            self._held = self._loop.call_later(HELD_SECONDS, self._part)

    async def _answer(self, number: int, due: Due | None) -> None:
        is_success = False
        if due is None:
            log.error(f"A scheduler has sent a job of an unknown kind, number {number}")
        else:
            try:
                is_success = await self._deliver(due)
            except Exception as fault:
                log.error(f"Unexpected error while delivering {due.name}: {fault!r}")
        try:
            await self._stream.send(messages.result(number, is_success))
        except RpcError as error:
            log.debug(f"The scheduler was not told what became of {number}: {error}")

    def _answered(self, task: "asyncio.Task[None]") -> None:
        self.under_way.discard(task)
        self._room.set()
        self._part_if_idle()

    def _part_if_idle(self) -> None:
        if self._is_old and not self.under_way:
            self._part()

    def _part(self) -> None:
        if self._farewell is None and not self._is_over:
            self._farewell = self._loop.create_task(self._say_farewell())

    async def _say_farewell(self) -> None:
        """Ends our side, behind all answers, and gives the scheduler time to end its own."""
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._stream.end()
        except (RpcError, TimeoutError):
            pass
        await asyncio.sleep(FAREWELL_SECONDS)
        self._stream.close()
