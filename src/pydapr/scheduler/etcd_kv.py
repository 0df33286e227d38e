"""Keys and values of the SQLite store as etcd's API has them: Range, Put, DeleteRange and Txn.

Called by `etcd_api`. Everything here runs on the threads of the store, within its transactions. There is no past: a
request for an older revision is answered as etcd does when it has compacted that.
"""

from typing import TYPE_CHECKING

from pydapr.errors import Code
from pydapr.proto.etcd import rpc_pb2
from pydapr.scheduler.store import StoreError
from pydapr.scheduler.stores import rows
from pydapr.scheduler.stores.rows import Changing, Query, Row

if TYPE_CHECKING:
    import sqlite3

    from pydapr.scheduler.stores.sqlite import SqliteStore

LONG = 1000
"""A range that may have more rows is read beside the others."""

MOST_BYTES = 1 << 29
"""What one answer holds at most."""

_ORDERS = {
    rpc_pb2.RangeRequest.KEY: "key",
    rpc_pb2.RangeRequest.VERSION: "version",
    rpc_pb2.RangeRequest.CREATE: "created",
    rpc_pb2.RangeRequest.MOD: "modified",
    rpc_pb2.RangeRequest.VALUE: "value",
}


class Refused(StoreError):
    """What etcd refuses, with its status and words."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def header(revision: int) -> rpc_pb2.ResponseHeader:
    """We are a cluster of one, whose leader never changed."""
    return rpc_pb2.ResponseHeader(cluster_id=1, member_id=1, revision=revision, raft_term=1)


def key_value(row: Row) -> rpc_pb2.KeyValue:
    return rpc_pb2.KeyValue(
        key=row.key,
        create_revision=row.created,
        mod_revision=row.modified,
        version=row.version,
        value=row.value or b"",
        lease=row.lease,
    )


def is_long(request: rpc_pb2.RangeRequest) -> bool:
    """Whether it may take a while to answer."""
    return bool(request.range_end) and not 0 < request.limit <= LONG


def check_range(request: rpc_pb2.RangeRequest) -> None:
    """Raises `Refused`."""
    if not request.key:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    if request.sort_target not in _ORDERS or request.sort_order not in rpc_pb2.RangeRequest.SortOrder.values():
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option")


def read_range(db: "sqlite3.Connection", request: rpc_pb2.RangeRequest, revision: int) -> rpc_pb2.RangeResponse:
    """The answer to a request that was checked. Raises `Refused`."""
    if request.revision > revision:
        raise Refused(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
    if 0 < request.revision < revision:
        raise Refused(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
    between = (
        request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision
    )  # fmt: skip
    limit = request.limit + 1 if request.limit > 0 else 0
    query = Query(
        request.key, request.range_end, limit, request.sort_order == rpc_pb2.RangeRequest.DESCEND,
        _ORDERS[request.sort_target], request.keys_only, between,
    )  # fmt: skip
    answer = rpc_pb2.RangeResponse(header=header(revision))
    if request.count_only:
        answer.count = rows.count(db, query)
        return answer
    size = 0
    for portion in rows.portions(db, query, LONG):
        for row in portion:
            if limit and len(answer.kvs) == limit - 1:
                answer.more = True
                break
            answer.kvs.append(key_value(row))
            size += len(row.key) + len(row.value or b"")
        if size > MOST_BYTES:
            raise Refused(Code.RESOURCE_EXHAUSTED, f"the answer has more than {MOST_BYTES} bytes: set a limit")
    answer.count = rows.count(db, query) if answer.more else len(answer.kvs)
    return answer


class Writing:
    """What is written for one request, all at one revision."""

    def __init__(self, store: "SqliteStore", changing: Changing) -> None:
        self._store = store
        self._changing = changing
        self._at = changing.next()

    @property
    def header(self) -> rpc_pb2.ResponseHeader:
        return header(self._changing.revision)

    def put(self, request: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse:
        """Raises `StoreError` before it writes anything."""
        value, lease = request.value, request.lease
        self._store.check_room(self._changing, len(request.key) + len(value))
        if request.ignore_value or request.ignore_lease:
            there = rows.get(self._changing.db, request.key)
            if there is None:
                raise Refused(Code.INVALID_ARGUMENT, "etcdserver: key not found")
            value = there.value or b"" if request.ignore_value else value
            lease = there.lease if request.ignore_lease else lease
        self._store.leases.check((lease,))
        before = self._changing.put(request.key, value, self._at, lease)
        answer = rpc_pb2.PutResponse(header=self.header)
        if request.prev_kv and before is not None:
            answer.prev_kv.CopyFrom(key_value(before))
        return answer

    def delete(self, request: rpc_pb2.DeleteRangeRequest) -> rpc_pb2.DeleteRangeResponse:
        found = self._changing.remove(request.key, request.range_end, self._at)
        answer = rpc_pb2.DeleteRangeResponse(header=self.header, deleted=len(found))
        if request.prev_kv:
            answer.prev_kvs.extend(map(key_value, found))
        return answer

    def transact(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        """Raises `StoreError`, maybe after it has written something."""
        answer = rpc_pb2.TxnResponse(succeeded=all(self._holds(one) for one in request.compare))
        for operation in request.success if answer.succeeded else request.failure:
            made = answer.responses.add()
            kind = operation.WhichOneof("request")
            if kind == "request_range":
                asked = operation.request_range
                made.response_range.CopyFrom(read_range(self._changing.db, asked, self._changing.revision))
            elif kind == "request_put":
                made.response_put.CopyFrom(self.put(operation.request_put))
            elif kind == "request_delete_range":
                made.response_delete_range.CopyFrom(self.delete(operation.request_delete_range))
            elif kind == "request_txn":
                made.response_txn.CopyFrom(self.transact(operation.request_txn))
        answer.header.CopyFrom(self.header)
        return answer

    def _holds(self, compare: rpc_pb2.Compare) -> bool:
        if compare.range_end:
            found = rows.select(self._changing.db, Query(compare.key, compare.range_end))
            return all(_holds(compare, one) for one in found)
        there = rows.get(self._changing.db, compare.key)
        if there is None:
            if compare.target == rpc_pb2.Compare.VALUE:
                return False  # what is not there has no value to compare
            there = Row(compare.key, None, 0, 0, 0, 0)
        return _holds(compare, there)


def _holds(compare: rpc_pb2.Compare, row: Row) -> bool:
    ours: bytes | int
    wanted: bytes | int
    match compare.target:
        case rpc_pb2.Compare.VERSION:
            ours, wanted = row.version, compare.version
        case rpc_pb2.Compare.CREATE:
            ours, wanted = row.created, compare.create_revision
        case rpc_pb2.Compare.MOD:
            ours, wanted = row.modified, compare.mod_revision
        case rpc_pb2.Compare.LEASE:
            ours, wanted = row.lease, compare.lease
        case _:
            ours, wanted = row.value or b"", compare.value
    match compare.result:
        case rpc_pb2.Compare.EQUAL:
            return ours == wanted
        case rpc_pb2.Compare.NOT_EQUAL:
            return ours != wanted
        case rpc_pb2.Compare.GREATER:
            return ours > wanted  # type: ignore[operator]  # both are of one kind
        case _:
            return ours < wanted  # type: ignore[operator]


def check_put(request: rpc_pb2.PutRequest) -> None:
    """Raises `Refused`."""
    if not request.key:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    if request.ignore_value and request.value:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: value is provided")
    if request.ignore_lease and request.lease:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: lease is provided")


def check_delete(request: rpc_pb2.DeleteRangeRequest) -> None:
    """Raises `Refused`."""
    if not request.key:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")


def check_txn(request: rpc_pb2.TxnRequest, most: int) -> None:
    """Raises `Refused`."""
    if max(len(request.compare), len(request.success), len(request.failure)) > most:
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
    if not all(one.key for one in request.compare):
        raise Refused(Code.INVALID_ARGUMENT, "etcdserver: key is not provided")
    for branch in (request.success, request.failure):
        put = set[bytes]()
        for operation in branch:
            kind = operation.WhichOneof("request")
            if kind == "request_range":
                check_range(operation.request_range)
            elif kind == "request_put":
                check_put(operation.request_put)
                if operation.request_put.key in put:
                    raise Refused(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
                put.add(operation.request_put.key)
            elif kind == "request_delete_range":
                check_delete(operation.request_delete_range)
            elif kind == "request_txn":
                check_txn(operation.request_txn, most)
