"""The scheduler's store as `dapr scheduler` sees it: etcd's API, of our scheduler as of the original's.

Each call has its own end; what cannot be reached is tried for some seconds, for a scheduler that has just been started.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, http2_pool
from pydapr.proto.etcd import rpc_pb2
from pydapr.wire import http2

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

_SECONDS = 10.0
_PATIENCE_SECONDS = 10.0
_PAGE = 1000
_OPERATIONS = 128
"""In a transaction, as etcd takes without being told."""


class Failed(Exception):
    """The store could not be asked; the message says why."""


class Etcd:
    """One server."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._pool = http2_pool.Pool(
            dial.address, http2.Limits(), http2_pool.Patience(connect=_PATIENCE_SECONDS, asks=False)
        )

    def close(self) -> None:
        self._pool.close()

    async def get(self, *keys: str) -> list[bytes | None]:
        """The values of keys, None for those that are not there. Raises `Failed`."""
        found: list[bytes | None] = []
        for key in keys:
            answer = await self._call("Range", rpc_pb2.RangeRequest(key=key.encode()), rpc_pb2.RangeResponse)
            found.append(answer.kvs[0].value if answer.kvs else None)
        return found

    async def scan(self, prefix: str) -> dict[str, bytes]:
        """All that begins so, at one moment. Raises `Failed`."""
        found: dict[str, bytes] = {}
        request = rpc_pb2.RangeRequest(key=prefix.encode(), range_end=_behind(prefix), limit=_PAGE)
        while True:
            answer = await self._call("Range", request, rpc_pb2.RangeResponse)
            found |= {one.key.decode("utf-8", "replace"): one.value for one in answer.kvs}
            if not answer.more:
                return found
            request.key = answer.kvs[-1].key + b"\0"
            request.revision = request.revision or answer.header.revision

    async def delete(self, *keys: str) -> list[list[str]]:
        """Removes keys at once; what was there of each. Raises `Failed`."""
        return await self._delete([rpc_pb2.DeleteRangeRequest(key=key.encode(), prev_kv=True) for key in keys])

    async def delete_prefixes(self, *prefixes: str) -> list[list[str]]:
        """Removes all that begins so; what was there of each. Raises `Failed`."""
        ranges = ((prefix.encode(), _behind(prefix)) for prefix in prefixes)
        return await self._delete(
            [rpc_pb2.DeleteRangeRequest(key=first, range_end=end, prev_kv=True) for first, end in ranges]
        )

    async def put(self, entries: Sequence[tuple[str, bytes]]) -> None:
        """Writes in parts, each of which is written as a whole or not at all. Raises `Failed`."""
        for at in range(0, len(entries), _OPERATIONS):
            request = rpc_pb2.TxnRequest()
            for key, value in entries[at : at + _OPERATIONS]:
                request.success.add().request_put.CopyFrom(rpc_pb2.PutRequest(key=key.encode(), value=value))
            await self._call("Txn", request, rpc_pb2.TxnResponse)

    async def _delete(self, ranges: Sequence[rpc_pb2.DeleteRangeRequest]) -> list[list[str]]:
        request = rpc_pb2.TxnRequest()
        for one in ranges:
            request.success.add().request_delete_range.CopyFrom(one)
        answer = await self._call("Txn", request, rpc_pb2.TxnResponse)
        deleted = (one.response_delete_range.prev_kvs for one in answer.responses)
        return [[one.key.decode("utf-8", "replace") for one in before] for before in deleted]

    async def _call(self, method: str, request: "Message", kind: "type[M]") -> "M":
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                connection = await self._pool.connection(self._address)
                path = f"/etcdserverpb.KV/{method}".encode()
                data = await grpc_client.call(
                    connection, path, self._address, request.SerializeToString(), _SECONDS, False
                )
                return kind.FromString(data)
            except (http2_pool.Unreachable, TimeoutError) as error:
                reason = str(error) or "no answer in time"
            except RpcError as fault:
                reason = fault.message
                if fault.code != Code.UNAVAILABLE:
                    raise Failed(reason) from None
            except DecodeError as error:
                raise Failed(f"the answer makes no sense: {error}") from None
            if time.monotonic() > end:
                raise Failed(f"the scheduler's store does not answer at {self._address}: {reason}")
            await asyncio.sleep(0.1)


def _behind(prefix: str) -> bytes:
    data = prefix.encode()
    return data[:-1] + bytes((data[-1] + 1,))
