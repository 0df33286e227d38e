"""A state store of ours behind a socket. See `serving`."""

import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydapr.api.pluggable.serving import Services
from pydapr.components import state
from pydapr.components.state import (
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Set,
    StateError,
    StateStore,
    Unavailable,
    Worded,
)
from pydapr.errors import Code, RpcError
from pydapr.lib import query as queries
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.components.v1 import state_pb2 as messages
from pydapr.wire import details

SERVICE, QUERIES, TRANSACTIONS, SIZES = (
    "StateStore",
    "QueriableStateStore",
    "TransactionalStateStore",
    "TransactionalStoreMultiMaxSize",
)

T = TypeVar("T")

_CONCURRENCY = {1: state.FIRST_WRITE, 2: state.LAST_WRITE}
_CONSISTENCY = {1: state.EVENTUAL, 2: state.STRONG}
_WITHOUT_CALL = frozenset({state.KEYS_LIKE, state.DELETE_WITH_PREFIX})


class _Store:
    """What the services do."""

    def __init__(self, services: Services) -> None:
        self._parts = services.parts

    def _store(self, exchange: ServerExchange) -> StateStore:
        part = self._parts.part(exchange)
        assert isinstance(part, StateStore)
        return part

    async def get(self, exchange: ServerExchange, request: messages.GetRequest) -> messages.GetResponse:
        consistency = _CONSISTENCY.get(request.consistency, "")
        store = self._store(exchange)
        found = await _done(store.get(request.key, consistency=consistency, metadata=dict(request.metadata)))
        if found is None:
            return messages.GetResponse()
        return messages.GetResponse(data=found.value, etag=_etag(found), metadata=found.metadata)

    async def get_many(self, exchange: ServerExchange, request: messages.BulkGetRequest) -> messages.BulkGetResponse:
        metadata: Mapping[str, str] = dict(request.items[0].metadata) if request.items else {}
        keys = [one.key for one in request.items]
        store, parallelism = self._store(exchange), max(request.options.parallelism, 0)
        found = await _done(store.get_many(keys, parallelism=parallelism, metadata=metadata))
        items = [_bulk_item(key, one) for key, one in zip(keys, found, strict=True)]
        return messages.BulkGetResponse(items=items)

    async def set(self, exchange: ServerExchange, request: messages.SetRequest) -> messages.SetResponse:
        await _done(self._store(exchange).set(_set(request)))
        return messages.SetResponse()

    async def set_many(self, exchange: ServerExchange, request: messages.BulkSetRequest) -> messages.BulkSetResponse:
        _check(await _done(self._store(exchange).set_many([_set(one) for one in request.items])))
        return messages.BulkSetResponse()

    async def delete(self, exchange: ServerExchange, request: messages.DeleteRequest) -> messages.DeleteResponse:
        await _done(self._store(exchange).delete(_delete(request)))
        return messages.DeleteResponse()

    async def delete_many(
        self, exchange: ServerExchange, request: messages.BulkDeleteRequest
    ) -> messages.BulkDeleteResponse:
        _check(await _done(self._store(exchange).delete_many([_delete(one) for one in request.items])))
        return messages.BulkDeleteResponse()

    async def transact(
        self, exchange: ServerExchange, request: messages.TransactionalStateRequest
    ) -> messages.TransactionalStateResponse:
        operations = [
            _delete(one.delete) if one.WhichOneof("request") == "delete" else _set(one.set)
            for one in request.operations
        ]
        await _done(self._store(exchange).transact(operations, metadata=dict(request.metadata)))
        return messages.TransactionalStateResponse()

    async def most(
        self, exchange: ServerExchange, request: messages.MultiMaxSizeRequest
    ) -> messages.MultiMaxSizeResponse:
        most = await _done(self._store(exchange).most_operations())
        return messages.MultiMaxSizeResponse(max_size=most or -1)  # -1 is any number

    async def query(self, exchange: ServerExchange, request: messages.QueryRequest) -> messages.QueryResponse:
        try:
            wanted = _query(request.query)
        except ValueError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"the query makes no sense: {error}") from None
        found = await _done(self._store(exchange).query(wanted, metadata=dict(request.metadata)))
        items = [
            messages.QueryItem(key=one.key, data=one.value, etag=_etag(one), error=one.error) for one in found.items
        ]
        return messages.QueryResponse(items=items, token=found.token, metadata=found.metadata)


def add(services: Services) -> None:
    """The methods of the kind."""
    store = _Store(services)
    services.beginning(SERVICE, messages.InitRequest, messages.InitResponse)
    services.featured(SERVICE, _WITHOUT_CALL)
    services.unary(SERVICE, "Get", messages.GetRequest, store.get)
    services.unary(SERVICE, "Set", messages.SetRequest, store.set)
    services.unary(SERVICE, "Delete", messages.DeleteRequest, store.delete)
    services.unary(SERVICE, "BulkGet", messages.BulkGetRequest, store.get_many)
    services.unary(SERVICE, "BulkSet", messages.BulkSetRequest, store.set_many)
    services.unary(SERVICE, "BulkDelete", messages.BulkDeleteRequest, store.delete_many)
    services.unary(TRANSACTIONS, "Transact", messages.TransactionalStateRequest, store.transact)
    services.unary(SIZES, "MultiMaxSize", messages.MultiMaxSizeRequest, store.most)
    services.unary(QUERIES, "Query", messages.QueryRequest, store.query)


# -- requests and answers --


def _set(request: messages.SetRequest) -> Set:
    content_type = request.content_type or request.metadata.get(state.CONTENT_TYPE, "")
    return Set(
        request.key,
        request.value,
        is_json=content_type == state.JSON and _is_json(request.value),
        etag=request.etag.value,
        concurrency=_CONCURRENCY.get(request.options.concurrency, ""),
        consistency=_CONSISTENCY.get(request.options.consistency, ""),
        metadata=dict(request.metadata),
        content_type=content_type,
    )


def _is_json(value: bytes) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _delete(request: messages.DeleteRequest) -> Delete:
    return Delete(
        request.key,
        etag=request.etag.value,
        concurrency=_CONCURRENCY.get(request.options.concurrency, ""),
        consistency=_CONSISTENCY.get(request.options.consistency, ""),
        metadata=dict(request.metadata),
    )


def _etag(found: Any) -> messages.Etag | None:
    return messages.Etag(value=found.etag) if found.etag else None


def _bulk_item(key: str, found: Item | StateError | None) -> messages.BulkStateItem:
    if found is None:
        return messages.BulkStateItem(key=key)
    if isinstance(found, StateError):
        return messages.BulkStateItem(key=key, error=str(found))
    return messages.BulkStateItem(key=key, data=found.value, etag=_etag(found), metadata=found.metadata)


def _query(wanted: messages.Query) -> queries.Query:
    """Raises `ValueError`."""
    document: dict[str, Any] = {
        "sort": [{"key": one.key, "order": "DESC" if one.order else "ASC"} for one in wanted.sort],
        "page": {"limit": wanted.pagination.limit, "token": wanted.pagination.token},
    }
    if wanted.filter:
        document["filter"] = {name: json.loads(about.value) for name, about in wanted.filter.items()}
    return queries.parse(json.dumps(document))


# -- errors --


async def _done(work: Awaitable[T]) -> T:
    """What a store returns. Raises `RpcError`."""
    try:
        return await work
    except StateError as error:
        raise _told(error) from None


def _check(outcomes: Sequence[StateError | None]) -> None:
    """One error for many keys is all that the protocol has. Raises `RpcError`."""
    errors = [one for one in outcomes if one is not None]
    of_etags = [one for one in errors if isinstance(one, ETagMismatch | ETagInvalid)]
    if not errors:
        return
    if len(of_etags) == len(errors):
        raise _told(next((one for one in errors if isinstance(one, ETagInvalid)), errors[0]))
    raise _told(StateError("\n".join(map(str, errors))))


def _told(error: StateError) -> RpcError:
    text = str(error)
    if isinstance(error, ETagMismatch):
        return _with(Code.FAILED_PRECONDITION, text, [details.bad_request([("etag", _reason(text))])])
    if isinstance(error, ETagInvalid):
        return _with(Code.INVALID_ARGUMENT, text, [details.bad_request([("etag", _reason(text))])])
    if isinstance(error, Worded):
        about = {"kit_error": "true", "http_code": str(error.status), "tag": error.tag}
        return _with(error.code, error.message, [details.error_info(error.reason, error.domain, about)])
    return RpcError(Code.UNAVAILABLE if isinstance(error, Unavailable) else Code.UNKNOWN, text)


def _with(code: int, message: str, parts: Iterable[details.Detail]) -> RpcError:
    return RpcError(code, message, details.encode_status(code, message, parts))


def _reason(text: str) -> str:
    """Without what the other side puts before it again."""
    for error in (ETagMismatch(), ETagInvalid()):
        text = text.removeprefix(str(error)).removeprefix(": ")
    return text or "nothing was written"
