"""The state API over gRPC. Called by the router; asks `blocks.state`."""

import json
from typing import TYPE_CHECKING

from pydapr.api.grpc import unary
from pydapr.blocks.state import Found, State, Store
from pydapr.components.state import (
    CONTENT_TYPE,
    EVENTUAL,
    FIRST_WRITE,
    JSON,
    LAST_WRITE,
    STRONG,
    Delete,
    Set,
)
from pydapr.errors import Code, RpcError, StateFailed, StateOperationUnknown
from pydapr.net.http2_server import ServerExchange

if TYPE_CHECKING:
    from pydapr.proto.dapr.proto.common.v1 import common_pb2
    from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

_CONCURRENCY = {1: FIRST_WRITE, 2: LAST_WRITE}
_CONSISTENCY = {1: EVENTUAL, 2: STRONG}
_NOTHING = b""
"""google.protobuf.Empty."""


class StateApi:
    """Answers the methods of state; stores, keys and errors are the block's."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """One value; an empty answer when there is none."""
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.GetStateRequest, data)
        store = self._state.store(request.store_name)
        consistency = _CONSISTENCY.get(request.consistency, "")
        item = await self._state.get(store, request.key, consistency, dict(request.metadata))
        if item is None:
            return _NOTHING
        answer = state_pb2.GetStateResponse(data=item.value, etag=item.etag, metadata=dict(item.metadata))
        return answer.SerializeToString()

    async def get_bulk(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Values of several keys, in their order."""
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.GetBulkStateRequest, data)
        store = self._state.store(request.store_name)
        metadata = dict(request.metadata)
        try:
            found = await self._state.get_bulk(store, list(request.keys), request.parallelism, metadata)
        except StateFailed as error:
            if error.worded is not None:
                raise
            raise RpcError(Code.UNKNOWN, error.message) from None
        answer = state_pb2.GetBulkStateResponse(items=[_bulk_item(one) for one in found])
        return answer.SerializeToString()

    async def save(self, exchange: ServerExchange, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.SaveStateRequest, data)
        store = self._state.store(request.store_name)
        await self._state.save(store, [_set(store, one, True) for one in request.states])
        return _NOTHING

    async def delete(self, exchange: ServerExchange, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.DeleteStateRequest, data)
        await self._state.delete(self._state.store(request.store_name), _delete(request))
        return _NOTHING

    async def delete_bulk(self, exchange: ServerExchange, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.DeleteBulkStateRequest, data)
        store = self._state.store(request.store_name)
        await self._state.delete_bulk(store, [_delete(one) for one in request.states])
        return _NOTHING

    async def transact(self, exchange: ServerExchange, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.ExecuteStateTransactionRequest, data)
        store = self._state.store(request.storeName)
        self._state.can_transact(store)
        operations: list[Set | Delete] = []
        for one in request.operations:
            if one.operationType == "upsert":
                operations.append(_set(store, one.request, False))
            elif one.operationType == "delete":
                operations.append(_delete(one.request))
            else:
                store.key(one.request.key)
                raise StateOperationUnknown(one.operationType)
        await self._state.transact(store, operations, dict(request.metadata), exchange.trace)
        return _NOTHING

    async def query(self, exchange: ServerExchange, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

        request = unary.decode(state_pb2.QueryStateRequest, data)
        found = await self._state.query(request.store_name, request.query, dict(request.metadata))
        if not found.items:
            return _NOTHING
        results = [
            state_pb2.QueryStateItem(key=one.key, data=one.value, etag=one.etag, error=one.error) for one in found.items
        ]
        answer = state_pb2.QueryStateResponse(results=results, token=found.token, metadata=dict(found.metadata))
        return answer.SerializeToString()


def _set(store: Store, item: "common_pb2.StateItem", heeds_type: bool) -> Set:
    """A value to save. With `heeds_type` one that the metadata call JSON is a document; it is bytes else."""
    metadata = dict(item.metadata)
    is_json = heeds_type and metadata.get(CONTENT_TYPE) == JSON
    if is_json:
        try:
            json.loads(item.value)
        except (ValueError, RecursionError) as error:
            raise RpcError(Code.UNKNOWN, f"the value of key {item.key} is no JSON: {error}") from None
    return Set(
        item.key,
        item.value,
        is_json=is_json and store.cipher is None,
        etag=item.etag.value,
        concurrency=_CONCURRENCY.get(item.options.concurrency, ""),
        consistency=_CONSISTENCY.get(item.options.consistency, ""),
        metadata=metadata,
    )


def _delete(item: "common_pb2.StateItem | state_pb2.DeleteStateRequest") -> Delete:
    return Delete(
        item.key,
        etag=item.etag.value,
        concurrency=_CONCURRENCY.get(item.options.concurrency, ""),
        consistency=_CONSISTENCY.get(item.options.consistency, ""),
        metadata=dict(item.metadata),
    )


def _bulk_item(one: Found) -> "state_pb2.BulkStateItem":
    from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

    item = one.item
    if item is None:
        return state_pb2.BulkStateItem(key=one.key, error=one.error)
    return state_pb2.BulkStateItem(key=one.key, data=item.value, etag=item.etag, metadata=dict(item.metadata))
