"""A scheduler for tests, in this process: it says which schedulers there are, remembers what it is asked, and gives out
what a test tells it to. What nobody has answered when a stream ends is told: it belongs to somebody else then."""

import asyncio
from collections.abc import Callable

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server, server
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

SERVICE = b"/dapr.proto.scheduler.v1.Scheduler/"


class Watch:
    """One stream of due jobs."""

    def __init__(self, stream: Stream, initial: pb.WatchJobsRequestInitial) -> None:
        self.stream, self.initial = stream, initial
        self.sent = 0
        self.unanswered: dict[int, str] = {}
        self.is_over = False

    @property
    def types(self) -> list[str]:
        return list(self.initial.actor_types)

    @property
    def takes_jobs(self) -> bool:
        return pb.JOB_TARGET_TYPE_JOB in self.initial.accept_job_types

    async def give(self, name: str, actor_type: str = "", data: bytes | None = None) -> int:
        self.sent += 1
        self.unanswered[self.sent] = name
        message = pb.WatchJobsResponse(name=name, id=self.sent)
        message.metadata.app_id = self.initial.app_id
        if actor_type:
            message.metadata.target.actor.type = actor_type
            message.metadata.target.actor.id = "1"
        else:
            message.metadata.target.job.SetInParent()
        if data is not None:
            message.data.value = data
        await self.stream.send(message.SerializeToString())
        return self.sent


class FakeScheduler:
    """Listens after `start`. `hosts` is what it tells first; `tell` tells another list."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.watches: list[Watch] = []
        self.results: list[tuple[str, bool]] = []
        self.given_back: list[str] = []
        self.asked: list[tuple[str, bytes]] = []
        self.answers: dict[str, Callable[[bytes], bytes]] = {}
        self.listeners: list[Stream] = []
        self._changed = asyncio.Condition()
        self._server: server.Server | None = None
        self.port = 0
        self.hold = False
        """Whether it tells no list."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def live(self) -> list[Watch]:
        return [watch for watch in self.watches if not watch.is_over]

    async def start(self, port: int = 0) -> "FakeScheduler":
        methods: dict[bytes, grpc_server.Method] = {
            SERVICE + b"WatchHosts": self._watch_hosts,
            SERVICE + b"WatchJobs": self._watch_jobs,
        }
        for name in ("ScheduleJob", "GetJob", "DeleteJob", "ListJobs", "DeleteByMetadata", "DeleteByNamePrefix"):
            methods[SERVICE + name.encode()] = self._unary(name)
        self._server = server.Server(grpc_server.Methods(methods), server.Options(with_http1=False))
        self.port = await self._server.listen("127.0.0.1", port)
        self.hosts = self.hosts or [self.address]
        return self

    async def stop(self) -> None:
        """At once, as when it is killed."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(is_true)

    async def tell(self, *hosts: str) -> None:
        self.hosts = list(hosts)
        for stream in self.listeners:
            await stream.send(self._told())

    def _told(self) -> bytes:
        return pb.WatchHostsResponse(hosts=[pb.Host(address=host) for host in self.hosts]).SerializeToString()

    async def _tell_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _watch_hosts(self, exchange: ServerExchange) -> None:
        stream = Stream(exchange, 1 << 20)
        await stream.next()
        if self.hold:
            await asyncio.Event().wait()
        await stream.send(self._told())
        self.listeners.append(stream)
        await self._tell_change()
        try:
            await asyncio.Event().wait()
        finally:
            self.listeners.remove(stream)

    async def _watch_jobs(self, exchange: ServerExchange) -> None:
        stream = Stream(exchange, 1 << 20)
        first = await stream.next()
        assert first is not None
        watch = Watch(stream, pb.WatchJobsRequest.FromString(first).initial)
        self.watches.append(watch)
        stream.begin()
        await self._tell_change()
        try:
            while (data := await stream.next()) is not None:
                result = pb.WatchJobsRequest.FromString(data).result
                self.results.append((watch.unanswered.pop(result.id), result.status == pb.SUCCESS))
                await self._tell_change()
            stream.finish()
        except (BodyError, RpcError):
            pass
        finally:
            watch.is_over = True
            self.given_back += watch.unanswered.values()
            await self._tell_change()

    def _unary(self, name: str) -> grpc_server.Method:
        async def answer(exchange: ServerExchange) -> None:
            data = await grpc_server.read(exchange, 1 << 20)
            self.asked.append((name, data))
            answering = self.answers.get(name)
            grpc_server.reply(exchange, answering(data) if answering is not None else b"")

        return answer


def refusing(code: Code, text: str, times: int = 1 << 30) -> Callable[[bytes], bytes]:
    """Answers with an error so many times, and then with nothing."""
    left = times

    def answer(_: bytes) -> bytes:
        nonlocal left
        left -= 1
        if left >= 0:
            raise RpcError(code, text)
        return b""

    return answer
