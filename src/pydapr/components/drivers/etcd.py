"""State in etcd, what both versions of `state.etcd` have in common; they say how a value is kept.

A key stands below `keyPrefixPath`, its etag is the revision that changed it last. Calls go by etcd's gRPC API, version
3, to one of the endpoints, and to another when that cannot be reached. A write and what it depends on are one
transaction of etcd, so that two writers with one etag do not both succeed.
"""

import asyncio
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.components import Wrong, option, options, state
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Keys,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.lib import truth
from pydapr.net import dial, etcd, http2_pool
from pydapr.observe import logging

log = logging.get("dapr.contrib")

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pydapr.proto.etcd import rpc_pb2

    M = TypeVar("M", bound=Message)

OPEN_SECONDS = 1.0
"""How long the start waits for an answer."""

_NUMBER = re.compile(r"[0-9]{1,18}\Z")


@options
class Options:
    endpoints: str = option("Addresses of the servers, such as `localhost:2379`, by commas.")
    key_prefix_path: str = option("What stands before all keys, with a slash behind it.", default="")
    tls_enable: str = option("`true` for TLS, with all of the following.", default="")
    ca: str = option("The certificate of who signs the servers', in PEM.", default="")
    cert: str = option("Our certificate, in PEM.", default="")
    key: str = option("Its private key, in PEM.", default="")
    max_txn_ops: int = option("Operations in a transaction, as the servers are told by --max-txn-ops.", default=128)


class EtcdStore(StateStore):
    """All but the form of a value."""

    features: Sequence[str] = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        try:
            self._endpoints = [etcd.address(one) for one in options.endpoints.split(",")]
        except ValueError as error:
            raise Wrong(f"metadata property endpoints: {error}") from None
        self._prefix = options.key_prefix_path + "/"
        self.max_operations = max(options.max_txn_ops, 0)
        self._with_tls = truth.is_true(options.tls_enable)
        if self._with_tls and not (options.ca and options.cert and options.key):
            raise Wrong("tls authentication information is incomplete: ca, cert and key are needed")
        self._tls = (options.ca, options.cert, options.key)
        self._client: etcd.Client | None = None

    @abstractmethod
    def encode(self, value: bytes, seconds: int | None) -> bytes:
        """What stands in etcd for a value, which ends in so many seconds."""

    @abstractmethod
    def decode(self, data: bytes, etag: str) -> Item:
        """The other way round. Raises `StateError`."""

    async def open(self) -> None:
        connect: http2_pool.Connector = dial.address
        if self._with_tls:
            from pydapr.net import client_tls

            context = client_tls.context(*self._tls)

            async def by_tls(address: str, factory: dial.Factory) -> object:
                return await dial.address_by_tls(address, factory, context)

            connect = by_tls
        self._client = etcd.Client(self._endpoints, connect, self._with_tls)
        # As the original, which begins without etcd: state is there as soon as etcd is.
        where = ",".join(self._endpoints)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self.get("health")
        except (StateError, TimeoutError) as error:
            reason = str(error) or f"no answer within {OPEN_SECONDS:g} s"
            log.warning(self.scrub(f"etcd store: etcd does not answer at {where} yet: {reason}"))

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        from pydapr.proto.etcd import rpc_pb2

        request = rpc_pb2.RangeRequest(key=self._full(key))
        answer = await self._read(request)
        if not answer.kvs:
            return None
        found = answer.kvs[0]
        return self.decode(found.value, str(found.mod_revision))

    async def set(self, request: Set) -> None:
        await self._apply((request,))

    async def delete(self, request: Delete) -> None:
        await self._apply((request,))

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """All etags are those from before the transaction; of several operations on a key the last one counts."""
        if operations:
            await self._apply(operations)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        from pydapr.proto.etcd import rpc_pb2

        first, end = self._full(prefix), etcd.behind(self._full(prefix))
        if token:
            if not token.startswith(prefix):
                raise StateError("invalid continue token")
            first = self._full(token) + b"\0"
        request = rpc_pb2.RangeRequest(key=first, range_end=end, limit=limit + 1, keys_only=True)
        answer = await self._read(request)
        found = [one.key[len(self._prefix.encode()) :].decode("utf-8", "replace") for one in answer.kvs]
        return Keys(found[:limit], found[limit - 1] if len(found) > limit else "")

    # -- within --

    def _full(self, key: str) -> bytes:
        return (self._prefix + key).encode("utf-8", "surrogateescape")

    async def _read(self, request: "rpc_pb2.RangeRequest") -> "rpc_pb2.RangeResponse":
        from pydapr.proto.etcd import rpc_pb2

        return await self._call("KV/Range", request, rpc_pb2.RangeResponse, may_repeat=True)

    async def _apply(self, operations: Sequence[Set | Delete]) -> None:
        from pydapr.proto.etcd import rpc_pb2

        transaction = rpc_pb2.TxnRequest()
        last: dict[str, Set | Delete] = {}
        for one in operations:
            condition = self._condition(one)
            if condition is not None:
                transaction.compare.append(condition)
            last.pop(one.key, None)
            last[one.key] = one
        for one in last.values():
            made = transaction.success.add()
            if isinstance(one, Delete):
                made.request_delete_range.key = self._full(one.key)
                continue
            seconds = state.ttl_seconds(one.metadata) if one.metadata else None
            seconds = seconds if seconds is not None and seconds > 0 else None
            put = made.request_put
            put.key, put.value = self._full(one.key), self.encode(one.value, seconds)
            if seconds is not None:
                put.lease = await self._lease(seconds)
        answer = await self._call("KV/Txn", transaction, rpc_pb2.TxnResponse)
        if not answer.succeeded:
            conditional = [one.key for one in operations if self._condition(one) is not None]
            raise ETagMismatch(f"another etag, or a key that exists already, among {', '.join(conditional)}")

    def _condition(self, request: Set | Delete) -> "rpc_pb2.Compare | None":
        """What must hold for a request to be done. Raises `ETagInvalid`."""
        from pydapr.proto.etcd import rpc_pb2

        if request.etag:
            if not _NUMBER.match(request.etag):
                raise ETagInvalid(f"{request.etag!r} is no revision")
            # A revision of 0 would mean that the key is not there; no value has it.
            return rpc_pb2.Compare(
                target=rpc_pb2.Compare.MOD, key=self._full(request.key), mod_revision=int(request.etag) or -1
            )
        if request.concurrency == state.FIRST_WRITE:
            return rpc_pb2.Compare(target=rpc_pb2.Compare.CREATE, key=self._full(request.key), create_revision=0)
        return None

    async def _lease(self, seconds: int) -> int:
        from pydapr.proto.etcd import rpc_pb2

        granted = await self._call(
            "Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=seconds), rpc_pb2.LeaseGrantResponse, may_repeat=True
        )
        return granted.ID

    async def _call(self, method: str, request: "Message", answer: "type[M]", may_repeat: bool = False) -> "M":
        """The answer of one of the servers. Raises `StateError`."""
        assert self._client is not None, "it is not open"
        try:
            return await self._client.call(method, request, answer, may_repeat)
        except etcd.Failed as error:
            raise (Unavailable if error.is_passing else StateError)(str(error)) from None
