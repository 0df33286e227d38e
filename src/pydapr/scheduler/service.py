"""The calls that keep, find and forget jobs: checks them and asks the store. `engine` hears of it by the store.

Served by `runtime`; the streams are in `watching`. Statuses and words are the original's (v1.18.3,
`pkg/scheduler/server/api.go`), wrong ones among them: what is wrong with a job is UNKNOWN.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import authorize, metrics, names, timing
from pydapr.scheduler.store import Entry, Expect, NoSpace, Store, StoreError, Write

log = logging.get("dapr.scheduler.server")

SERVICE = b"/dapr.proto.scheduler.v1.Scheduler/"
MAX_MESSAGE = 64 << 20
"""Bytes of a request. The original takes 2 GB, of everybody who reaches its port."""
SECONDS = 120.0
"""How long a call may take whose caller gives no time."""

PAGE = 1000

R = TypeVar("R", bound=Message)

_METADATA = "type.googleapis.com/dapr.proto.scheduler.v1.JobMetadata"


class Service:
    """Answers the calls, once `ready` is set."""

    def __init__(
        self, store: Store, authorizer: authorize.Authorizer, counts: metrics.Counts, ready: asyncio.Event
    ) -> None:
        self._store = store
        self._authorizer = authorizer
        self._counts = counts
        self._ready = ready

    def methods(self) -> dict[bytes, grpc_server.Method]:
        """What this answers, by path."""
        pb = scheduler_pb2
        return {
            SERVICE + b"ScheduleJob": self._method(pb.ScheduleJobRequest, self._schedule),
            SERVICE + b"GetJob": self._method(pb.GetJobRequest, self._get),
            SERVICE + b"DeleteJob": self._method(pb.DeleteJobRequest, self._delete),
            SERVICE + b"ListJobs": self._method(pb.ListJobsRequest, self._list),
            SERVICE + b"DeleteByMetadata": self._method(pb.DeleteByMetadataRequest, self._delete_by_metadata),
            SERVICE + b"DeleteByNamePrefix": self._method(pb.DeleteByNamePrefixRequest, self._delete_by_prefix),
        }

    def _method(self, kind: type[R], answer: Callable[[ServerExchange, R], Awaitable[bytes]]) -> grpc_server.Method:
        async def handle(exchange: ServerExchange) -> None:
            timeout = exchange.fields.get(b"grpc-timeout")
            try:
                if timeout is None and exchange.body.is_whole and self._ready.is_set():
                    # Nothing to wait for but the store, which bounds that itself.
                    message = await answer(exchange, decode(kind, await grpc_server.read(exchange, MAX_MESSAGE)))
                else:
                    async with asyncio.timeout(SECONDS if timeout is None else grpc_server.seconds(timeout)):
                        request = decode(kind, await grpc_server.read(exchange, MAX_MESSAGE))
                        await self._ready.wait()
                        message = await answer(exchange, request)
            except TimeoutError:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
            except names.Wrong as error:
                raise RpcError(Code.UNKNOWN, str(error)) from None
            except NoSpace as full:
                log.error(f"A job was refused: {full}")
                raise RpcError(Code.RESOURCE_EXHAUSTED, str(full)) from None
            except StoreError as failure:
                log.error(f"The store did not answer a request: {failure}")
                raise RpcError(Code.UNAVAILABLE, str(failure)) from None
            grpc_server.reply(exchange, message)

        return handle

    def _authorize(self, exchange: ServerExchange, metadata: scheduler_pb2.JobMetadata) -> None:
        self._authorizer.check(exchange, metadata.namespace, metadata.app_id)

    # -- one job --

    async def _schedule(self, exchange: ServerExchange, request: scheduler_pb2.ScheduleJobRequest) -> bytes:
        self._authorize(exchange, request.metadata)
        prefix = names.name_prefix(request.metadata)
        try:
            await self._keep(prefix + request.name, request)
        except (names.Wrong, timing.Invalid, StoreError, RpcError) as error:
            self._counts.not_created[_kind(request.metadata)].value += 1
            reason = error.message if isinstance(error, RpcError) else error
            log.error(f"error scheduling job {request.name}: {reason}")
            if isinstance(error, timing.Invalid):
                raise RpcError(Code.UNKNOWN, str(error)) from None
            raise
        self._counts.created[_kind(request.metadata)].value += 1
        return b""

    async def _keep(self, name: str, request: scheduler_pb2.ScheduleJobRequest) -> None:
        names.check(name)
        try:
            stored = timing.store(_kept(request), random.getrandbits(64), time.time_ns())
        except timing.Invalid as error:
            raise timing.Invalid(f"job failed validation: {error}") from None
        key = names.JOBS + name
        expects = () if request.overwrite else (Expect(key, 0),)
        if await self._store.commit((Write(key, stored.SerializeToString()),), expects) is None:
            raise RpcError(Code.ALREADY_EXISTS, f"job already exists: '{name}'")

    async def _get(self, exchange: ServerExchange, request: scheduler_pb2.GetJobRequest) -> bytes:
        self._authorize(exchange, request.metadata)
        name = names.name_prefix(request.metadata) + request.name
        names.check(name)
        entry = await self._store.get(names.JOBS + name)
        if entry is None:
            raise RpcError(Code.NOT_FOUND, f"job not found: {request.name}")
        return scheduler_pb2.GetJobResponse(job=_given(_read(entry))).SerializeToString()

    async def _delete(self, exchange: ServerExchange, request: scheduler_pb2.DeleteJobRequest) -> bytes:
        self._authorize(exchange, request.metadata)
        name = names.name_prefix(request.metadata) + request.name
        names.check(name)
        await self._store.commit((Write(names.JOBS + name, None), Write(names.COUNTERS + name, None)))
        self._counts.deleted[_kind(request.metadata)].value += 1
        return b""

    # -- many --

    async def _list(self, exchange: ServerExchange, request: scheduler_pb2.ListJobsRequest) -> bytes:
        self._authorize(exchange, request.metadata)
        prefix = names.JOBS + names.query_prefix(request.metadata)
        answer = scheduler_pb2.ListJobsResponse()
        after = ""
        while page := await self._store.scan(prefix, after, PAGE):
            after = page[-1].key
            for entry in page:
                stored = _read(entry)
                metadata = scheduler_pb2.JobMetadata()
                stored.job.metadata.Unpack(metadata)
                name = names.own_name(entry.key.rpartition("/")[2], metadata)
                answer.jobs.add(name=name, metadata=metadata, job=_given(stored))
        return answer.SerializeToString()

    async def _delete_by_metadata(
        self, exchange: ServerExchange, request: scheduler_pb2.DeleteByMetadataRequest
    ) -> bytes:
        prefix = self._parsed(exchange, request.metadata, request.id_prefix_match)
        return await self._delete_all(prefix)

    async def _delete_by_prefix(
        self, exchange: ServerExchange, request: scheduler_pb2.DeleteByNamePrefixRequest
    ) -> bytes:
        prefix = self._parsed(exchange, request.metadata, is_open=False)
        return await self._delete_all(prefix + request.name_prefix)

    def _parsed(self, exchange: ServerExchange, metadata: scheduler_pb2.JobMetadata, is_open: bool) -> str:
        try:
            self._authorize(exchange, metadata)
            return names.query_prefix(metadata, is_open)
        except RpcError as error:
            raise RpcError(error.code, f"failed to parse metadata: {error}") from None
        except names.Wrong as wrong:
            raise RpcError(Code.UNKNOWN, f"failed to parse metadata: {wrong}") from None

    async def _delete_all(self, prefix: str) -> bytes:
        names.check(prefix + "a")
        await self._store.delete_prefix(names.JOBS + prefix, names.COUNTERS + prefix)
        self._counts.bulk_deleted.value += 1
        return b""


def decode(kind: type[R], data: bytes) -> R:
    """A message of this kind. Raises `RpcError`."""
    try:
        return kind.FromString(data)
    except DecodeError:
        text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
        raise RpcError(Code.INTERNAL, text) from None


def _kind(metadata: scheduler_pb2.JobMetadata) -> str:
    return metadata.target.WhichOneof("type") or "unknown"


def _kept(request: scheduler_pb2.ScheduleJobRequest) -> cron_pb2.Job:
    """What an app asks for, as the message that is kept."""
    given, kept = request.job, cron_pb2.Job()
    if given.HasField("schedule"):
        kept.schedule = given.schedule
    if given.HasField("due_time"):
        kept.due_time = given.due_time
    if given.HasField("ttl"):
        kept.ttl = given.ttl
    if given.HasField("repeats"):
        kept.repeats = given.repeats
    kept.metadata.type_url = _METADATA
    kept.metadata.value = request.metadata.SerializeToString()
    if given.HasField("data"):
        kept.payload.CopyFrom(given.data)
    if given.HasField("failure_policy") and given.failure_policy.WhichOneof("policy"):
        kept.failure_policy.MergeFromString(given.failure_policy.SerializeToString())  # of the same fields
    return kept


def _given(stored: cron_pb2.StoredJob) -> scheduler_pb2.Job:
    """What is kept, as the app has asked for it."""
    kept, given = stored.job, scheduler_pb2.Job()
    if kept.HasField("schedule"):
        given.schedule = kept.schedule
    if kept.HasField("due_time"):
        given.due_time = kept.due_time
    if kept.HasField("ttl"):
        given.ttl = kept.ttl
    if kept.HasField("repeats"):
        given.repeats = kept.repeats
    if kept.HasField("payload"):
        given.data.CopyFrom(kept.payload)
    if kept.HasField("failure_policy"):
        given.failure_policy.CopyFrom(common_pb2.JobFailurePolicy.FromString(kept.failure_policy.SerializeToString()))
    return given


def _read(entry: Entry) -> cron_pb2.StoredJob:
    try:
        return cron_pb2.StoredJob.FromString(entry.value)
    except DecodeError as error:
        raise RpcError(Code.UNKNOWN, f"failed to unmarshal job: {error}") from None
