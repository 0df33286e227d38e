"""The schedulers, as a sidecar uses them: who they are, what they are asked, and what they tell is due.

Made by `daprd.jobs`; `blocks.jobs` and the reminders of `blocks.actors` ask by `Scheduling`, `peers.job_streams` has
what is due. On the wire it is what the original sends (v1.18.3, `pkg/runtime/scheduler`), so that an original may stand
on the other side.

One stream to one of the configured addresses tells the schedulers that there are; when it breaks the others are tried
in turn, and the last known list stays in use. A scheduler that cannot be reached is noticed by signs of life and passed
over: nothing waits for it longer than for a connection, and every call has its end.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, http2_client, http2_pool, lookup
from pydapr.observe import logging
from pydapr.peers import job_streams
from pydapr.peers import scheduler_messages as messages
from pydapr.peers.scheduling import Due, Job, NamedJob, Owner, Scheduling
from pydapr.wire import http2

if TYPE_CHECKING:
    from pydapr.observe.metrics_grpc import GrpcMetrics

T = TypeVar("T")

log = logging.get("dapr.runtime.scheduler.watchhosts")
clients_log = logging.get("dapr.runtime.scheduler.clients")

SERVICE = b"/dapr.proto.scheduler.v1.Scheduler/"
CALL_SECONDS = 30.0
"""How long a call may take with all its tries; schedulers that are not there yet are waited for."""

FIRST_SECONDS = 5.0
"""How long a scheduler may take to look up, and to tell the first list."""

MAX_MESSAGE = (1 << 31) - 1

PATIENCE = http2_pool.Patience(connect=3.0, quiet=5.0, answer=3.0)
"""The original's server gives a sign of life every three seconds, and takes questions for one amiss."""

_TRY_AGAIN = (Code.UNAVAILABLE, Code.CANCELLED)

Told = Callable[[], None]


class Scheduler(Scheduling):
    """All schedulers together, in the name of one app. Works from `begin` to `close`."""

    def __init__(
        self,
        addresses: Sequence[str],
        streams: int,
        app_id: str,
        namespace: str,
        connect: http2_pool.Connector,
        with_tls: bool = False,
    ) -> None:
        self._addresses = addresses
        self._app_id, self._namespace, self._with_tls = app_id, namespace, with_tls
        self._hosts: tuple[str, ...] = ()
        self._is_known = asyncio.Event()
        self._turn = random.randrange(1 << 16)
        # Two of them: streams that nobody reads for a while must not hold up calls, which may be what they wait for.
        self._calls = http2_pool.Pool(connect, http2.Limits(), PATIENCE)
        self._watches = http2_pool.Pool(connect, http2.Limits(), PATIENCE)
        wanted = job_streams.Wanted(app_id, namespace)
        self._streams = job_streams.Streams(self._open_jobs, streams, wanted, self._deliver)
        self._watching: asyncio.Task[None] | None = None
        self._takes_nothing = False
        self.on_hosts: Told = _nothing
        """Hears that the schedulers are known."""
        self.on_job: job_streams.Deliver = _nobody
        """Takes a job of the app."""
        self.on_reminder: job_streams.Deliver = _nobody
        """Takes a reminder of an actor."""
        self.metrics: GrpcMetrics | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The schedulers in use."""
        return self._hosts

    def begin(self) -> None:
        """Looks for schedulers from now on."""
        self._watching = asyncio.get_running_loop().create_task(self._watch_hosts())

    def retire(self) -> None:
        """Makes new connections for what comes from now on: the certificate has changed."""
        self._calls.retire()
        self._watches.retire()

    async def drain(self) -> None:
        """Takes nothing more that is due, and waits for what is under way and its answers. Calls go on, but none waits
        for a scheduler to come any more."""
        self._takes_nothing = True
        self._is_known.set()
        await self._streams.close()

    async def close(self) -> None:
        """Ends all of it."""
        await self.drain()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        self._watches.close()
        self._calls.close()

    # -- what is due --

    def take_jobs(self, is_ready: bool) -> None:
        """The app takes jobs from now on, or does not. Schedulers keep those that nobody takes."""
        self._want(self._streams.wanted.replace(takes_jobs=is_ready))

    def take_reminders(self, actor_types: Sequence[str]) -> None:
        """Reminders of actors of these types are taken from now on, and of no others."""
        self._want(self._streams.wanted.replace(actor_types=tuple(sorted(set(actor_types)))))

    def _want(self, wanted: job_streams.Wanted) -> None:
        if not self._takes_nothing:
            self._streams.want(wanted)

    async def _deliver(self, due: Due) -> bool:
        return await (self.on_job(due) if due.owner is None else self.on_reminder(due))

    async def _open_jobs(self, host: str) -> grpc_client.Stream:
        return self._stream(await self._watches.connection(host), b"WatchJobs", host)

    def _stream(self, connection: http2_client.ClientConnection, name: bytes, host: str) -> grpc_client.Stream:
        return grpc_client.Stream(connection, SERVICE + name, host, self._with_tls, max_message=MAX_MESSAGE)

    # -- who they are --

    async def _watch_hosts(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            for address in random.sample(self._addresses, len(self._addresses)):
                began = loop.time()
                try:
                    await self._follow_hosts(address)
                except Exception as error:  # whatever it is: without the list nothing is delivered
                    if loop.time() - began > job_streams.STEADY_SECONDS:
                        failures = 0
                    failures += 1
                    line = log.error if failures == 1 else log.debug
                    line(f"Failed to connect to scheduler host: {_told(address, error)}")
                await asyncio.sleep(job_streams.pause())

    async def _follow_hosts(self, address: str) -> None:
        """Goes by what one address says, until it does not any more. Raises what `_told` knows."""
        stream = await self._open_hosts(address)
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await stream.send(b"")
                await stream.end()
                data = await stream.receive()
            while data is not None:
                self._use(_decoded(messages.hosts, data))
                data = await stream.receive()
        except RpcError as error:
            if error.code != Code.UNIMPLEMENTED:
                raise
            # A scheduler from before there was such a stream: those that are configured are all that there are.
            self._use(self._addresses)
            await asyncio.sleep(CALL_SECONDS)
        finally:
            stream.close()

    async def _open_hosts(self, address: str) -> grpc_client.Stream:
        """A stream to the first place behind `address` that takes it. Raises what `_told` knows."""
        host, port = dial.split(address)
        places = [(host, port)]
        if not dial.needs_no_lookup(host):
            async with asyncio.timeout(FIRST_SECONDS):
                places = await lookup.places(host, port)
        failed: http2_pool.Unreachable | None = None
        for place, number in random.sample(places, len(places)):
            try:
                shown = f"[{place}]:{number}" if ":" in place else f"{place}:{number}"
                return self._stream(await self._calls.connection(shown), b"WatchHosts", address)
            except http2_pool.Unreachable as error:
                failed = error
        raise failed or http2_pool.Unreachable(f"dial tcp: lookup {host}: no such host")

    def _use(self, hosts: Sequence[str]) -> None:
        log.info(f"Connected and received scheduler hosts addresses: [{' '.join(hosts)}]")
        known = self._hosts
        self._hosts = tuple(dict.fromkeys(hosts))
        if self._hosts:
            self._is_known.set()
            for host in self._hosts:
                if host not in known:
                    clients_log.info(f"Scheduler client initialized for address: {host}")
            if not known:
                clients_log.info("Scheduler clients initialized")
        elif not self._takes_nothing:
            self._is_known.clear()
        if not self._takes_nothing:
            self._streams.follow(self._hosts)
        self.on_hosts()

    # -- what they are asked --

    async def schedule(
        self, name: str, job: Job, owner: Owner | None, overwrite: bool, concurrency_key: str | None = None
    ) -> None:
        whose = messages.metadata(self._app_id, self._namespace, owner, concurrency_key)
        request = messages.schedule(name, job, whose, overwrite)
        # Who may not overwrite may not ask twice: the first answer may have been lost, and the second would be no.
        await self._ask(b"ScheduleJob", request, may_repeat=overwrite)

    async def get(self, name: str, owner: Owner | None) -> Job:
        request = messages.by_name(name, self._metadata(owner))
        return _decoded(messages.kept, await self._ask(b"GetJob", request))

    async def delete(self, name: str, owner: Owner | None) -> None:
        await self._ask(b"DeleteJob", messages.by_name(name, self._metadata(owner)))

    async def list(self, owner: Owner | None) -> Sequence[NamedJob]:
        request = messages.by_metadata(self._metadata(owner))
        return _decoded(messages.jobs, await self._ask(b"ListJobs", request))

    async def delete_owned(self, owner: Owner, id_is_prefix: bool = False) -> None:
        request = messages.by_metadata(self._metadata(owner), id_is_prefix)
        await self._ask(b"DeleteByMetadata", request)

    async def delete_by_prefix(self, prefix: str) -> None:
        request = messages.by_name(prefix, self._metadata(None))
        await self._ask(b"DeleteByNamePrefix", request)

    def _metadata(self, owner: Owner | None) -> bytes:
        return messages.metadata(self._app_id, self._namespace, owner)

    async def _ask(self, name: bytes, message: bytes, may_repeat: bool = True) -> bytes:
        """The answer of a scheduler, each in its turn. Raises `RpcError`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CALL_SECONDS
        told = "no scheduler is known yet"
        while True:
            hosts = self._hosts
            self._turn += 1
            for number in range(len(hosts)):
                host = hosts[(self._turn + number) % len(hosts)]
                work = self._ask_one(host, name, message, deadline)
                try:
                    if self.metrics is not None:
                        return await self.metrics.asked(SERVICE + name, message, work)
                    return await work
                except http2_pool.Unreachable as error:
                    told = str(error)
                except TimeoutError:
                    raise _late(told) from None
                except RpcError as failed:
                    # One that is shutting down cancels what is under way.
                    if failed.code not in _TRY_AGAIN or not (may_repeat or failed.code == Code.CANCELLED):
                        raise
                    told = failed.message
            await self._next_try(deadline, told)

    async def _ask_one(self, host: str, name: bytes, message: bytes, deadline: float) -> bytes:
        """The answer of one scheduler. Raises `RpcError`, `Unreachable`, `TimeoutError`."""
        async with asyncio.timeout_at(deadline):
            connection = await self._calls.connection(host)
        left = max(deadline - asyncio.get_running_loop().time(), 0.001)
        return await grpc_client.call(
            connection, SERVICE + name, host, message, left, self._with_tls, max_message=MAX_MESSAGE
        )

    async def _next_try(self, deadline: float, told: str) -> None:
        """Waits before all are asked again. Raises `RpcError` when there is no time for that."""
        if self._takes_nothing:
            raise RpcError(Code.UNAVAILABLE, f"the sidecar is shutting down: {told}")
        try:
            async with asyncio.timeout_at(deadline):
                await self._is_known.wait()
                await asyncio.sleep(job_streams.pause() / 2)
        except TimeoutError:
            raise _late(told) from None


def _late(told: str) -> RpcError:
    text = f"context deadline exceeded while waiting for a scheduler: {told}"
    return RpcError(Code.DEADLINE_EXCEEDED, text)


def _told(address: str, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"{address}: no answer within {FIRST_SECONDS:g}s"
    if isinstance(error, RpcError | http2_pool.Unreachable):
        return str(error)
    return (
        f"{address}: {error}" if isinstance(error, ValueError | OSError) else f"{address}: unexpected error: {error!r}"
    )


def _decoded(read: Callable[[bytes], T], data: bytes) -> T:
    try:
        return read(data)
    except messages.Invalid as error:
        raise RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}") from None


def _nothing() -> None:
    pass


async def _nobody(due: Due) -> bool:
    return False
