"""etcd's API, version 3, over the SQLite store: for etcdctl, backups, and whoever looked into the original's jobs.

The handler of the server on `--etcd-client-port`, made by `storage`. What is written through it is seen by the
scheduler as if it had written it. As the original's it asks nobody who he is: it listens on this machine only unless
`--etcd-client-listen-address` says otherwise.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from pydapr.errors import Code, RpcError
from pydapr.lib.record import Record
from pydapr.net import grpc_server
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.etcd import rpc_pb2
from pydapr.scheduler import etcd_kv
from pydapr.scheduler.etcd_kv import Refused, Writing, header
from pydapr.scheduler.etcd_watch import Watching
from pydapr.scheduler.store import NoSpace, StoreError
from pydapr.scheduler.stores import leases, rows
from pydapr.scheduler.stores.sqlite import NO_SPACE, SqliteStore

M = TypeVar("M", bound=Message)

MAX_REQUEST = 64 << 20

VERSION = "3.5.21"
"""The release of etcd whose API this follows, for clients that ask before they do."""

_CODES = {
    leases.NOT_FOUND: Code.NOT_FOUND,
    leases.EXISTS: Code.FAILED_PRECONDITION,
    leases.TOO_LONG: Code.OUT_OF_RANGE,
    NO_SPACE: Code.RESOURCE_EXHAUSTED,
}


class Place(Record):
    """What the one member of the cluster says about itself."""

    name: str
    peer_url: str
    client_url: str
    max_operations: int
    """In one transaction."""


class EtcdApi:
    """Answers etcd's services KV, Watch, Lease, Maintenance, Cluster, and Auth, which is not enabled."""

    def __init__(self, store: SqliteStore, place: Place) -> None:
        self._store = store
        self._place = place

    def methods(self) -> grpc_server.Methods:
        """The handler of a server."""
        unary = {
            "KV/Range": _unary(rpc_pb2.RangeRequest, self._range),
            "KV/Put": _unary(rpc_pb2.PutRequest, self._put),
            "KV/DeleteRange": _unary(rpc_pb2.DeleteRangeRequest, self._delete),
            "KV/Txn": _unary(rpc_pb2.TxnRequest, self._transact),
            "KV/Compact": _unary(rpc_pb2.CompactionRequest, self._compact),
            "Lease/LeaseGrant": _unary(rpc_pb2.LeaseGrantRequest, self._grant),
            "Lease/LeaseRevoke": _unary(rpc_pb2.LeaseRevokeRequest, self._revoke),
            "Lease/LeaseTimeToLive": _unary(rpc_pb2.LeaseTimeToLiveRequest, self._time_to_live),
            "Lease/LeaseLeases": _unary(rpc_pb2.LeaseLeasesRequest, self._leases),
            "Maintenance/Status": _unary(rpc_pb2.StatusRequest, self._status),
            "Maintenance/Defragment": _unary(rpc_pb2.DefragmentRequest, self._defragment),
            "Maintenance/Alarm": _unary(rpc_pb2.AlarmRequest, self._alarm),
            "Cluster/MemberList": _unary(rpc_pb2.MemberListRequest, self._members),
            "Auth/Authenticate": _unary(rpc_pb2.AuthenticateRequest, self._authenticate),
            "Lease/LeaseKeepAlive": self._keep,
            "Watch/Watch": self._watch,
        }
        return grpc_server.Methods({f"/etcdserverpb.{name}".encode(): method for name, method in unary.items()})

    # -- KV --

    async def _range(self, asked: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        etcd_kv.check_range(asked)
        return await self._store.read(
            lambda db: etcd_kv.read_range(db, asked, rows.revision(db)), etcd_kv.is_long(asked)
        )

    async def _put(self, asked: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse:
        etcd_kv.check_put(asked)
        return await self._store.write(lambda changing: Writing(self._store, changing).put(asked))

    async def _delete(self, asked: rpc_pb2.DeleteRangeRequest) -> rpc_pb2.DeleteRangeResponse:
        etcd_kv.check_delete(asked)
        return await self._store.write(lambda changing: Writing(self._store, changing).delete(asked))

    async def _transact(self, asked: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        etcd_kv.check_txn(asked, self._place.max_operations)

        def work(changing: rows.Changing) -> rpc_pb2.TxnResponse:
            with changing.whole():
                return Writing(self._store, changing).transact(asked)

        return await self._store.write(work)

    async def _compact(self, asked: rpc_pb2.CompactionRequest) -> rpc_pb2.CompactionResponse:
        if asked.revision > self._store.revision:
            raise Refused(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
        self._store.compact(asked.revision - 1)
        return rpc_pb2.CompactionResponse(header=self._header())

    # -- Lease --

    async def _grant(self, asked: rpc_pb2.LeaseGrantRequest) -> rpc_pb2.LeaseGrantResponse:
        lease = self._store.leases.grant(asked.TTL, asked.ID)
        return rpc_pb2.LeaseGrantResponse(header=self._header(), ID=lease, TTL=self._store.leases.keep(lease))

    async def _revoke(self, asked: rpc_pb2.LeaseRevokeRequest) -> rpc_pb2.LeaseRevokeResponse:
        if self._store.leases.left(asked.ID) is None:
            raise Refused(Code.NOT_FOUND, leases.NOT_FOUND)
        await self._store.revoke(asked.ID)
        return rpc_pb2.LeaseRevokeResponse(header=self._header())

    async def _time_to_live(self, asked: rpc_pb2.LeaseTimeToLiveRequest) -> rpc_pb2.LeaseTimeToLiveResponse:
        found = self._store.leases.left(asked.ID)
        if found is None:
            return rpc_pb2.LeaseTimeToLiveResponse(header=self._header(), ID=asked.ID, TTL=-1)
        keys = await self._store.read(lambda db: list(rows.leased(db, asked.ID))) if asked.keys else []
        left, granted = found
        return rpc_pb2.LeaseTimeToLiveResponse(
            header=self._header(), ID=asked.ID, TTL=left, grantedTTL=granted, keys=keys
        )

    async def _leases(self, asked: rpc_pb2.LeaseLeasesRequest) -> rpc_pb2.LeaseLeasesResponse:
        found = [rpc_pb2.LeaseStatus(ID=lease) for lease in self._store.leases.all()]
        return rpc_pb2.LeaseLeasesResponse(header=self._header(), leases=found)

    async def _keep(self, exchange: ServerExchange) -> None:
        stream = Stream(exchange, MAX_REQUEST)
        stream.begin()
        while (message := await stream.next()) is not None:
            asked = _decode(rpc_pb2.LeaseKeepAliveRequest, message)
            seconds = self._store.leases.keep(asked.ID)
            answer = rpc_pb2.LeaseKeepAliveResponse(header=self._header(), ID=asked.ID, TTL=seconds)
            try:
                await stream.send(answer.SerializeToString())
            except BodyError as error:
                raise RpcError(Code.CANCELLED, str(error)) from None
        stream.finish()

    # -- Watch --

    async def _watch(self, exchange: ServerExchange) -> None:
        await Watching(self._store, Stream(exchange, MAX_REQUEST)).run()

    # -- Maintenance, Cluster, Auth --

    async def _status(self, asked: rpc_pb2.StatusRequest) -> rpc_pb2.StatusResponse:
        revision, size = self._store.revision, self._store.size
        return rpc_pb2.StatusResponse(
            header=self._header(),
            version=VERSION,
            dbSize=size.total,
            dbSizeInUse=size.used,
            leader=1,
            raftIndex=revision,
            raftAppliedIndex=revision,
            raftTerm=1,
            errors=["memberID:1 alarm:NOSPACE "] if self._store.is_full else [],
        )

    async def _defragment(self, asked: rpc_pb2.DefragmentRequest) -> rpc_pb2.DefragmentResponse:
        await self._store.defragment()
        return rpc_pb2.DefragmentResponse(header=self._header())

    async def _alarm(self, asked: rpc_pb2.AlarmRequest) -> rpc_pb2.AlarmResponse:
        is_about_space = asked.alarm in (rpc_pb2.NOSPACE, rpc_pb2.NONE)
        if asked.action == rpc_pb2.AlarmRequest.ACTIVATE:
            raise Refused(Code.UNIMPLEMENTED, "alarms are raised by what they tell of only")
        alarms = [rpc_pb2.AlarmMember(memberID=1, alarm=rpc_pb2.NOSPACE)] if self._store.is_full else []
        if asked.action == rpc_pb2.AlarmRequest.DEACTIVATE and is_about_space:
            self._store.disarm()
        return rpc_pb2.AlarmResponse(header=self._header(), alarms=alarms if is_about_space else [])

    async def _members(self, asked: rpc_pb2.MemberListRequest) -> rpc_pb2.MemberListResponse:
        place = self._place
        one = rpc_pb2.Member(ID=1, name=place.name, peerURLs=[place.peer_url], clientURLs=[place.client_url])
        return rpc_pb2.MemberListResponse(header=self._header(), members=[one])

    async def _authenticate(self, asked: rpc_pb2.AuthenticateRequest) -> rpc_pb2.AuthenticateResponse:
        raise Refused(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")

    def _header(self) -> rpc_pb2.ResponseHeader:
        return header(self._store.revision)


def _unary(kind: type[M], answer: Callable[[M], Awaitable[Message]]) -> grpc_server.Method:
    async def method(exchange: ServerExchange) -> None:
        request = _decode(kind, await grpc_server.read(exchange, MAX_REQUEST))
        try:
            answered = await answer(request)
        except StoreError as error:
            raise _refusal(error) from None
        grpc_server.reply(exchange, answered.SerializeToString())

    return method


def _refusal(error: StoreError) -> RpcError:
    if isinstance(error, Refused):
        return RpcError(error.code, str(error))
    code = Code.RESOURCE_EXHAUSTED if isinstance(error, NoSpace) else Code.UNAVAILABLE
    return RpcError(_CODES.get(str(error), code), str(error))


def _decode(kind: type[M], message: bytes) -> M:
    """Raises `RpcError`."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"the request makes no sense: {error}") from None
