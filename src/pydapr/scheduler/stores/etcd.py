"""Jobs in etcd, for several schedulers that share them, and for whoever keeps an etcd anyway.

The revisions are etcd's. Whoever follows is told of everything there is, and from then on by a watch, which goes on
where it was after a lost connection. If etcd has thrown away by then what happened in between, everything is read
anew, and what is no longer there is told as removed.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from pydapr.errors import Code, RpcError
from pydapr.net import etcd, grpc_client, tasks
from pydapr.observe import logging
from pydapr.proto.etcd import rpc_pb2
from pydapr.scheduler.store import Change, Entry, Expect, LeasedStore, NoSpace, StoreError, Write

log = logging.get("dapr.scheduler.server.etcd")

OPEN_SECONDS = 60.0
"""How long servers that do not answer are waited for at the start."""

TRY_SECONDS = 10.0
"""How long a call goes on trying when it has certainly done nothing."""

PAUSE = 0.2, 1.0
"""Between attempts, drawn between these."""

PORTION = 1000
"""Rows that are asked for together."""

QUIET_SECONDS = 5.0
"""How long a watch may be silent before it is asked for a sign of life, and then again before it is given up."""

_COMPACTED = "has been compacted"

_NOT_TAKEN = ("too many requests", "no leader")
"""What etcd says when it has not begun with a request."""

_FULL = "space exceeded"

M = TypeVar("M", bound=Message)


class EtcdStore(LeasedStore):
    """The store that `client` leads to."""

    def __init__(self, client: etcd.Client) -> None:
        self._client = client
        self._following: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
        is_told = False
        while True:
            try:
                request = rpc_pb2.RangeRequest(key=b"dapr/", limit=1)
                await self._client.call("KV/Range", request, rpc_pb2.RangeResponse, may_repeat=True)
                return
            except etcd.Failed as error:
                if not error.is_passing or asyncio.get_running_loop().time() >= deadline:
                    await self.close()
                    raise StoreError(f"etcd does not answer: {error}") from None
                if not is_told:
                    is_told = True
                    log.warning(f"Waiting for etcd: {error}")
            await _pause()

    async def close(self) -> None:
        following, self._following = self._following, []
        await tasks.stop(following)
        self._client.close()

    async def get(self, key: str) -> Entry | None:
        answer = await self._call("KV/Range", rpc_pb2.RangeRequest(key=_bytes(key)), rpc_pb2.RangeResponse)
        return _entry(answer.kvs[0]) if answer.kvs else None

    async def scan(self, prefix: str, after: str = "", limit: int = 0) -> Sequence[Entry]:
        found: list[Entry] = []
        async with contextlib.aclosing(self.portions(_bytes(prefix), _bytes(after), limit)) as portions:
            async for answer in portions:
                found += map(_entry, answer.kvs)
        return found

    async def commit(self, writes: Sequence[Write], expects: Sequence[Expect] = ()) -> int | None:
        request = rpc_pb2.TxnRequest()
        for expect in expects:
            request.compare.append(
                rpc_pb2.Compare(target=rpc_pb2.Compare.MOD, key=_bytes(expect.key), mod_revision=expect.revision)
            )
        for one in writes:
            made = request.success.add()
            if one.value is None:
                made.request_delete_range.key = _bytes(one.key)
            else:
                put = made.request_put
                put.key, put.value, put.lease = _bytes(one.key), one.value, one.lease
        answer = await self._write(request)
        return int(answer.header.revision) if answer.succeeded else None

    async def delete_prefix(self, *prefixes: str) -> int:
        request = rpc_pb2.TxnRequest()
        for prefix in prefixes:
            asked = request.success.add().request_delete_range
            asked.key, asked.range_end = _bytes(prefix), etcd.behind(_bytes(prefix))
        answer = await self._write(request)
        return sum(one.response_delete_range.deleted for one in answer.responses)

    async def follow(self, prefix: str, told: Callable[[Sequence[Change]], None]) -> None:
        follower = _Follower(self, _bytes(prefix), told)
        await follower.read()
        self._following.append(asyncio.create_task(follower.run()))

    # -- leases --

    async def grant(self, seconds: int) -> int:
        request = rpc_pb2.LeaseGrantRequest(TTL=seconds)
        return int((await self._call("Lease/LeaseGrant", request, rpc_pb2.LeaseGrantResponse)).ID)

    async def keep(self, lease: int) -> bool:
        try:
            stream = await self._client.stream("Lease/LeaseKeepAlive")
        except etcd.Failed as error:
            raise StoreError(str(error)) from None
        try:
            async with asyncio.timeout(etcd.SECONDS):
                await stream.send(rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString())
                message = await stream.receive()
            if message is None:
                raise StoreError("etcd ended the call without an answer")
            return bool(rpc_pb2.LeaseKeepAliveResponse.FromString(message).TTL > 0)
        except TimeoutError:
            raise StoreError(f"no answer from etcd within {etcd.SECONDS:g} s") from None
        except (RpcError, DecodeError) as error:
            self._client.forget_token()
            raise StoreError(f"etcd: {error}") from None
        finally:
            stream.close()

    async def revoke(self, lease: int) -> None:
        request = rpc_pb2.LeaseRevokeRequest(ID=lease)
        try:
            await self._client.call("Lease/LeaseRevoke", request, rpc_pb2.LeaseRevokeResponse, may_repeat=True)
        except etcd.Failed as error:
            if error.code != Code.NOT_FOUND:
                raise StoreError(str(error)) from None

    # -- within --

    async def portions(self, prefix: bytes, after: bytes, limit: int) -> AsyncGenerator[rpc_pb2.RangeResponse, None]:
        """All keys that begin so as they were at one moment, a portion at a time."""
        request = rpc_pb2.RangeRequest(key=(max(prefix, after + b"\0") if after else prefix) or b"\0")
        request.range_end = etcd.behind(prefix)
        left, is_one_moment = limit or -1, True
        while True:
            request.limit = min(PORTION, left) if left > 0 else PORTION
            try:
                answer = await self._call("KV/Range", request, rpc_pb2.RangeResponse)
            except StoreError as error:
                if not (request.revision and _COMPACTED in str(error)):
                    raise
                request.revision, is_one_moment = 0, False  # that moment is gone; the rest is as it is now
                continue
            yield answer
            left -= len(answer.kvs) if left > 0 else 0
            if not answer.more or not left:
                return
            request.key = answer.kvs[-1].key + b"\0"
            if is_one_moment:
                request.revision = request.revision or answer.header.revision

    async def _write(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        return await self._call("KV/Txn", request, rpc_pb2.TxnResponse, may_repeat=False)

    async def _call(self, method: str, request: Message, answer: type[M], may_repeat: bool = True) -> M:
        """What etcd has certainly not done, or may do twice, is tried again for a while."""
        deadline = asyncio.get_running_loop().time() + TRY_SECONDS
        while True:
            try:
                return await self._client.call(method, request, answer, may_repeat)
            except etcd.Failed as error:
                reason = str(error)
                is_undone = error.is_unsent or any(one in reason for one in _NOT_TAKEN)
                may_help = is_undone or (may_repeat and error.is_passing)
                if not may_help or asyncio.get_running_loop().time() >= deadline:
                    raise NoSpace(reason) if _FULL in reason else StoreError(reason) from None
            await _pause()

    async def watch(self, request: rpc_pb2.WatchCreateRequest) -> grpc_client.Stream:
        """A call that watches. Raises `etcd.Failed`, `RpcError`."""
        stream = await self._client.stream("Watch/Watch")
        try:
            await stream.send(rpc_pb2.WatchRequest(create_request=request).SerializeToString())
        except BaseException:
            stream.close()
            raise
        return stream

    def forget_token(self) -> None:
        self._client.forget_token()


class _Follower:
    """Who is told of the keys with a prefix."""

    def __init__(self, store: EtcdStore, prefix: bytes, told: Callable[[Sequence[Change]], None]) -> None:
        self._store = store
        self._prefix = prefix
        self._told = told
        self._known = set[str]()
        """The keys that are there, as was told."""
        self._next = 0
        """The first revision of which nothing was told yet."""

    async def read(self) -> None:
        """Tells everything that is there, and what is no longer. Raises `StoreError`."""
        before, found = frozenset(self._known), set[str]()
        revision = 0
        async with contextlib.aclosing(self._store.portions(self._prefix, b"", 0)) as portions:
            async for answer in portions:
                revision = revision or answer.header.revision
                changes = [Change(_text(one.key), one.value, one.mod_revision) for one in answer.kvs]
                if before:
                    found.update(one.key for one in changes)
                self._tell(changes)
        gone = before - found
        if gone:
            self._tell([Change(key, None, revision) for key in gone])
        self._next = revision + 1

    async def run(self) -> None:
        """Tells every change, whatever becomes of connections."""
        while True:
            try:
                if not self._next:
                    await self.read()
                await self._watch()
            except (etcd.Failed, StoreError, RpcError, DecodeError, TimeoutError) as error:
                self._store.forget_token()
                log.warning(f"The watch of {_text(self._prefix)} has ended, and is begun again: {error or 'no answer'}")
            except Exception as error:  # of who is told: what it has missed it is told again
                self._next = 0
                log.error(f"A change of {_text(self._prefix)} was not taken: {error!r}")
            await _pause()

    async def _watch(self) -> None:
        """Returns, or raises, when it has to be begun again."""
        asked = rpc_pb2.WatchCreateRequest(
            key=self._prefix, range_end=etcd.behind(self._prefix), start_revision=self._next
        )
        stream = await self._store.watch(asked)
        try:
            while (message := await self._receive(stream)) is not None:
                answer = rpc_pb2.WatchResponse.FromString(message)
                if answer.compact_revision:
                    self._next = 0
                    raise StoreError("etcd has thrown away what has happened since; reading everything anew")
                if answer.canceled:
                    raise StoreError(answer.cancel_reason or "etcd has cancelled it")
                if answer.events:
                    self._tell([_change(one) for one in answer.events])
                    self._next = answer.events[-1].kv.mod_revision + 1
        finally:
            stream.close()

    async def _receive(self, stream: grpc_client.Stream) -> bytes | None:
        """The next message; whoever is silent is asked for a sign of life."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                return await stream.receive()
        except TimeoutError:
            pass
        async with asyncio.timeout(QUIET_SECONDS):
            await stream.send(_SIGN_OF_LIFE)
            return await stream.receive()

    def _tell(self, changes: Sequence[Change]) -> None:
        for one in changes:
            if one.value is None:
                self._known.discard(one.key)
            else:
                self._known.add(one.key)
        if changes:
            self._told(changes)


_SIGN_OF_LIFE = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()).SerializeToString()


async def _pause() -> None:
    await asyncio.sleep(random.uniform(*PAUSE))


def _change(event: rpc_pb2.Event) -> Change:
    value = None if event.type == rpc_pb2.Event.DELETE else event.kv.value
    return Change(_text(event.kv.key), value, event.kv.mod_revision)


def _entry(found: rpc_pb2.KeyValue) -> Entry:
    return Entry(_text(found.key), found.value, found.mod_revision)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
