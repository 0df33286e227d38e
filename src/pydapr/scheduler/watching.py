"""The two streams of the scheduler: sidecars that take jobs, and those that want to know which schedulers there are.

Served by `runtime`; jobs go by `pool`. A stream of jobs has a task that reads, its exchange's, and one that sends: who
does not read, or does not answer, holds up nobody else. Statuses and words are the original's (v1.18.3).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pydapr.errors import Code, RpcError
from pydapr.net import tasks
from pydapr.net.body import Disconnected
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.scheduler import authorize, metrics, pool
from pydapr.scheduler.service import MAX_MESSAGE, SERVICE, decode

log = logging.get("dapr.scheduler.server.pool.loops.stream")

_JOB = scheduler_pb2.JOB_TARGET_TYPE_JOB
_REMINDER = scheduler_pb2.JOB_TARGET_TYPE_ACTOR_REMINDER
_SUCCESS, _FAILED = scheduler_pb2.SUCCESS, scheduler_pb2.FAILED


class Watching:
    """All streams, once `ready` is set. `hosts` answers the addresses of the schedulers."""

    def __init__(
        self,
        takers: pool.Pool,
        authorizer: authorize.Authorizer,
        counts: metrics.Counts,
        ready: asyncio.Event,
        hosts: Callable[[], Sequence[str]],
    ) -> None:
        self._pool = takers
        self._authorizer = authorizer
        self._counts = counts
        self._ready = ready
        self._hosts = hosts
        self._changed = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def methods(self) -> dict[bytes, Callable[[ServerExchange], Awaitable[None]]]:
        """What this answers, by path."""
        return {SERVICE + b"WatchJobs": self._jobs, SERVICE + b"WatchHosts": self._watch_hosts}

    def hosts_changed(self) -> None:
        """There are other schedulers than before, maybe."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Ends all streams, wherever they stand."""
        self._is_closing = True
        for task in self._open:
            task.cancel()

    async def _ended(self, exchange: ServerExchange, work: Awaitable[None], reason: str) -> None:
        """Runs a stream until its client or the scheduler ends it."""
        if self._is_closing:
            raise RpcError(Code.UNAVAILABLE, reason)
        task = exchange.task
        assert task is not None
        self._open.add(task)
        try:
            await work
        except asyncio.CancelledError:
            if self._is_closing:
                raise RpcError(Code.UNKNOWN, reason) from None
            raise
        finally:
            self._open.discard(task)

    # -- jobs --

    async def _jobs(self, exchange: ServerExchange) -> None:
        await self._ended(exchange, self._watch_jobs(exchange), "server is closing")

    async def _watch_jobs(self, exchange: ServerExchange) -> None:
        stream = Stream(exchange, MAX_MESSAGE)
        initial = await self._first(stream)
        self._authorizer.check(exchange, initial.namespace, initial.app_id)
        taker = _taker(initial)
        await self._ready.wait()
        self._tell(initial)
        self._pool.add(taker)
        sending = asyncio.create_task(self._send(stream, taker))
        try:
            stream.begin()
            await self._receive(stream, taker, f"{initial.namespace}/{initial.app_id}")
        finally:
            self._pool.remove(taker)
            await tasks.stop((sending,))
            log.info(f"Closing connection to {initial.namespace}/{initial.app_id}")
        raise RpcError(Code.CANCELLED, "context canceled")

    async def _first(self, stream: Stream) -> scheduler_pb2.WatchJobsRequestInitial:
        message = await stream.next()
        if message is None:
            raise RpcError(Code.UNKNOWN, "EOF")
        request = decode(scheduler_pb2.WatchJobsRequest, message)
        if not request.HasField("initial"):
            raise RpcError(Code.UNKNOWN, "initial request is required on stream connection")
        return request.initial

    def _tell(self, initial: scheduler_pb2.WatchJobsRequestInitial) -> None:
        who = f"{initial.namespace}/{initial.app_id}"
        log.info(f"Sidecar connected: {who} (actorTypes=[{' '.join(initial.actor_types)}])")

    async def _receive(self, stream: Stream, taker: pool.Taker, who: str) -> None:
        """Takes results until the client has no more, or makes no sense."""
        answered = self._pool.answered
        while (message := await stream.next()) is not None:
            request = decode(scheduler_pb2.WatchJobsRequest, message)
            result = request.result
            if not request.HasField("result"):
                wrong = "received nil result from stream"
            elif result.status not in (_SUCCESS, _FAILED):
                wrong = f"unknown trigger response status: {result.status}"
            elif answered(taker, result.id, result.status == _SUCCESS):
                continue
            else:
                wrong = "received unknown trigger response from stream"
            log.warning(f"Error receiving from stream {who}: {wrong}")
            self._counts.not_received.value += 1
            return

    async def _send(self, stream: Stream, taker: pool.Taker) -> None:
        """Sends jobs until cancelled. When the client is gone the task that reads hears of it, too."""
        try:
            while True:
                frames = await self._pool.next_frames(taker)
                await stream.send_frame(frames)
                self._pool.sent(taker, len(frames))
        except Disconnected:
            self._counts.not_sent.value += 1

    # -- hosts --

    async def _watch_hosts(self, exchange: ServerExchange) -> None:
        await self._ended(exchange, self._tell_hosts(exchange), "cron closed")

    async def _tell_hosts(self, exchange: ServerExchange) -> None:
        stream = Stream(exchange, MAX_MESSAGE)
        await self._ready.wait()
        told: Sequence[str] | None = None
        while True:
            changed, hosts = self._changed, list(self._hosts())
            if hosts != told:
                told = hosts
                answer = scheduler_pb2.WatchHostsResponse(hosts=[scheduler_pb2.Host(address=one) for one in hosts])
                await stream.send(answer.SerializeToString())
            await changed.wait()


def _taker(initial: scheduler_pb2.WatchJobsRequestInitial) -> pool.Taker:
    """What the client of a stream takes. Raises `RpcError`."""
    accepted = set[int]()
    for kind in initial.accept_job_types:
        if kind in accepted:
            known = kind in scheduler_pb2.JobTargetType.values()
            name = scheduler_pb2.JobTargetType.Name(kind) if known else str(kind)
            raise RpcError(Code.UNKNOWN, f"duplicate target type specified: {name}")
        accepted.add(kind)
    namespace = initial.namespace
    kinds: list[pool.Kind] = []
    if not accepted or _JOB in accepted:
        kinds.append(("job", namespace, initial.app_id))
    if not accepted or _REMINDER in accepted:
        kinds += [("actor", namespace, actor_type) for actor_type in dict.fromkeys(initial.actor_types)]
    limits = {}
    for limit in initial.concurrency_limits:
        if limit.max_concurrent > 0 and limit.HasField("actor"):
            name = f":{limit.name}" if limit.HasField("name") else ""
            limits[(namespace, limit.actor.type + name)] = limit.max_concurrent
    return pool.Taker(kinds, limits)
