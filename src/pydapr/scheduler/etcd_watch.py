"""Watching keys of the SQLite store by etcd's API: one call with any number of watches.

Called by `etcd_api`. Events begin now, or with a revision of the little past that is kept; before that the watch is
cancelled as etcd does it when it has compacted. A client that does not read what it watches is told the same.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from pydapr.errors import Code, RpcError
from pydapr.net import tasks
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.proto.etcd import rpc_pb2
from pydapr.scheduler.etcd_kv import header, key_value
from pydapr.scheduler.stores.rows import Row

if TYPE_CHECKING:
    from pydapr.scheduler.stores.sqlite import SqliteStore

MOST_WAITING = 16 << 20
"""Bytes that wait for a client."""

PROGRESS_SECONDS = 600.0

COMPACTED = "etcdserver: mvcc: required revision has been compacted"


class _Watch:
    """One of the watches."""

    def __init__(self, number: int, asked: rpc_pb2.WatchCreateRequest) -> None:
        self.number = number
        self._key, self._end = asked.key, asked.range_end
        self._no_puts = rpc_pb2.WatchCreateRequest.NOPUT in asked.filters
        self._no_deletes = rpc_pb2.WatchCreateRequest.NODELETE in asked.filters
        self.wants_progress = asked.progress_notify
        self.first = asked.start_revision

    def events(self, changes: Iterable[Row]) -> list[Row]:
        """Those of the changes that it wants."""
        return [one for one in changes if one.modified >= self.first and self._wants(one)]

    def _wants(self, row: Row) -> bool:
        if self._no_deletes if row.value is None else self._no_puts:
            return False
        if not self._end:
            return row.key == self._key
        return row.key >= self._key and (self._end == b"\0" or row.key < self._end)


class Watching:
    """One call: requests in, answers out."""

    def __init__(self, store: "SqliteStore", stream: Stream) -> None:
        self._store = store
        self._stream = stream
        self._watches: dict[int, _Watch] = {}
        self._next = 0
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Returns when the client ends the call. Raises `RpcError`."""
        self._stream.begin()
        stop = self._store.watch(self._tell)
        sending = asyncio.create_task(self._send())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            for one in (reading, sending):
                if one.done():
                    one.result()
        finally:
            stop()
            await tasks.stop((sending, reading))
        self._stream.finish()

    async def _read(self) -> None:
        while (message := await self._stream.next()) is not None:
            try:
                request = rpc_pb2.WatchRequest.FromString(message)
            except DecodeError as error:
                raise RpcError(Code.INTERNAL, f"the request makes no sense: {error}") from None
            if self._bytes > MOST_WAITING:
                raise RpcError(Code.RESOURCE_EXHAUSTED, "what was answered is not read")
            kind = request.WhichOneof("request_union")
            if kind == "create_request":
                self._create(request.create_request)
            elif kind == "cancel_request":
                if self._watches.pop(request.cancel_request.watch_id, None) is not None:
                    self._answer(rpc_pb2.WatchResponse(watch_id=request.cancel_request.watch_id, canceled=True))
            elif kind == "progress_request":
                self._answer(rpc_pb2.WatchResponse(watch_id=-1))

    def _create(self, asked: rpc_pb2.WatchCreateRequest) -> None:
        number = asked.watch_id or self._free_number()
        if not asked.key:
            asked.key = b"\0"  # as etcd
            asked.range_end = asked.range_end or b"\0"
        if number in self._watches or (asked.range_end > b"\0" and asked.range_end < asked.key):
            text = "mvcc: duplicate watch ID" if number in self._watches else "mvcc: watcher range is empty"
            self._answer(rpc_pb2.WatchResponse(watch_id=-1, created=True, canceled=True, cancel_reason=text))
            return
        watch = _Watch(number, asked)
        self._answer(rpc_pb2.WatchResponse(watch_id=number, created=True))
        if 0 < watch.first <= self._store.compacted:
            self._cancel(watch)
            return
        self._watches[number] = watch
        if watch.first:
            self._send_events(watch, watch.events(self._store.recent))

    def _free_number(self) -> int:
        while self._next in self._watches:
            self._next += 1
        self._next += 1
        return self._next - 1

    def _cancel(self, watch: _Watch) -> None:
        """Ends a watch that would miss something."""
        self._watches.pop(watch.number, None)
        self._answer(
            rpc_pb2.WatchResponse(
                watch_id=watch.number,
                canceled=True,
                compact_revision=self._store.compacted + 1,
                cancel_reason=COMPACTED,
            )
        )

    def _tell(self, changes: Sequence[Row]) -> None:
        for watch in list(self._watches.values()):
            self._send_events(watch, watch.events(changes))

    def _send_events(self, watch: _Watch, found: Sequence[Row]) -> None:
        if not found:
            return
        if self._bytes > MOST_WAITING:
            self._cancel(watch)
            return
        answer = rpc_pb2.WatchResponse(watch_id=watch.number)
        for one in found:
            kind = rpc_pb2.Event.DELETE if one.value is None else rpc_pb2.Event.PUT
            answer.events.append(rpc_pb2.Event(type=kind, kv=key_value(one)))
        self._answer(answer)

    def _answer(self, answer: rpc_pb2.WatchResponse) -> None:
        answer.header.CopyFrom(header(self._store.revision))
        message = answer.SerializeToString()
        self._waiting.append(message)
        self._bytes += len(message)
        self._woken.set()

    async def _send(self) -> None:
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                try:
                    await self._stream.send(message)
                except BodyError as error:
                    raise RpcError(Code.CANCELLED, str(error)) from None
                self._bytes -= len(message)
            self._woken.clear()
            try:
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                for watch in self._watches.values():
                    if watch.wants_progress:
                        self._answer(rpc_pb2.WatchResponse(watch_id=watch.number))
