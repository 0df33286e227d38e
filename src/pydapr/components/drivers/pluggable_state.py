"""Pluggable state stores. Found by `components.drivers.pluggable`.

How errors tell of etags, and how a component words an answer of its own, is the original's (v1.18.3,
`pkg/components/state/pluggable.go`, `pkg/components/pluggable/errors.go`).
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydapr.components import pluggable as facts
from pydapr.components import state
from pydapr.components.drivers import pluggable
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Match,
    Matches,
    Set,
    StateError,
    StateStore,
    Unavailable,
    Worded,
)
from pydapr.errors import Code, RpcError
from pydapr.lib import query as queries
from pydapr.wire import details

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pydapr.proto.dapr.proto.components.v1 import state_pb2

    M = TypeVar("M", bound=Message)

SERVICE, QUERIES, TRANSACTIONS, SIZES = (
    "StateStore",
    "QueriableStateStore",
    "TransactionalStateStore",
    "TransactionalStoreMultiMaxSize",
)

_LIMIT_SECONDS = 5.0
"""How long a store may take to say how many operations it takes."""

_CONCURRENCY = {state.FIRST_WRITE: 1, state.LAST_WRITE: 2}
_CONSISTENCY = {state.EVENTUAL: 1, state.STRONG: 2}
_OURS = frozenset({state.KEYS_LIKE, state.DELETE_WITH_PREFIX})
"""What a component may say it can do, and the protocol has no call for."""


class Pluggable(pluggable.Plugged, StateStore):
    """A state store in a process of its own; `services` are the full names of all that the process offers."""

    def __init__(self, link: pluggable.Link, given: pluggable.Options, services: frozenset[str]) -> None:
        self._link, self._properties = link, dict(given.properties)
        self._has = {name for name in (QUERIES, TRANSACTIONS, SIZES) if f"{facts.PACKAGE}.{name}" in services}
        self._said: tuple[str, ...] = ()
        self._limit: int | None = None

    @property
    def capabilities(self) -> Sequence[str]:
        if state.ETAG in self._said and state.TRANSACTIONAL in self._said:
            return (*self._said, "ACTOR")
        return self._said

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        request = state_pb2.GetRequest(key=key, metadata=metadata, consistency=_CONSISTENCY.get(consistency, 0))  # type: ignore[arg-type]
        found = await self._call("Get", request, state_pb2.GetResponse)
        return _item(found)

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        request = state_pb2.BulkGetRequest(
            items=[state_pb2.GetRequest(key=key, metadata=metadata) for key in keys],
            options=state_pb2.BulkGetRequestOptions(parallelism=parallelism),
        )
        answer = await self._call("BulkGet", request, state_pb2.BulkGetResponse)
        found = {one.key: one for one in answer.items}
        return [_bulk_item(found[key]) if key in found else None for key in keys]

    async def set(self, request: Set) -> None:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        await self._call("Set", _set(request), state_pb2.SetResponse)

    async def delete(self, request: Delete) -> None:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        await self._call("Delete", _delete(request), state_pb2.DeleteResponse)

    async def set_many(self, requests: Sequence[Set]) -> Sequence[StateError | None]:
        """Raises what it was told for all of them: the protocol does not say which could not be written."""
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        options = state_pb2.BulkSetRequestOptions()
        request = state_pb2.BulkSetRequest(items=[_set(one) for one in requests], options=options)
        await self._call("BulkSet", request, state_pb2.BulkSetResponse)
        return [None] * len(requests)

    async def delete_many(self, requests: Sequence[Delete]) -> Sequence[StateError | None]:
        """As `set_many`."""
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        options = state_pb2.BulkDeleteRequestOptions()
        request = state_pb2.BulkDeleteRequest(items=[_delete(one) for one in requests], options=options)
        await self._call("BulkDelete", request, state_pb2.BulkDeleteResponse)
        return [None] * len(requests)

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        wanted = [
            state_pb2.TransactionalStateOperation(set=_set(one))
            if isinstance(one, Set)
            else state_pb2.TransactionalStateOperation(delete=_delete(one))
            for one in operations
        ]
        request = state_pb2.TransactionalStateRequest(operations=wanted, metadata=metadata)
        await self._call("Transact", request, state_pb2.TransactionalStateResponse, TRANSACTIONS)

    async def most_operations(self) -> int:
        """Asked for by the first transaction, as with the original, which goes on without when it is not told."""
        if self._limit is None:
            from pydapr.proto.dapr.proto.components.v1 import state_pb2

            wanted = state_pb2.MultiMaxSizeRequest()
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    answer = await self._link.call(SIZES, "MultiMaxSize", wanted, state_pb2.MultiMaxSizeResponse)
                self._limit = max(answer.max_size, 0)
            except (RpcError, TimeoutError) as error:
                pluggable.log.error(f"failed to get multi max size from state store {self._link.name}: {error}")
                self._limit = 0
        return self._limit

    async def query(self, query: queries.Query, *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        from pydapr.proto.dapr.proto.components.v1 import state_pb2

        request = state_pb2.QueryRequest(query=_query(query), metadata=metadata)
        answer = await self._call("Query", request, state_pb2.QueryResponse, QUERIES)
        found = [Match(one.key, one.data, one.etag.value, one.error) for one in answer.items]
        return Matches(found, answer.token, dict(answer.metadata))

    # -- what they have in common --

    async def _call(self, method: str, request: "Message", answer: "type[M]", service: str = SERVICE) -> "M":
        try:
            return await self._link.call(service, method, request, answer)
        except RpcError as error:
            raise _told(error) from None

    async def _begin(self) -> None:
        from pydapr.proto.dapr.proto.components.v1 import common_pb2, state_pb2

        about = common_pb2.MetadataRequest(properties=self._properties)
        await self._link.bare(SERVICE, "Init", state_pb2.InitRequest(metadata=about), state_pb2.InitResponse)
        wanted = common_pb2.FeaturesRequest()
        said = (await self._link.bare(SERVICE, "Features", wanted, common_pb2.FeaturesResponse)).features
        self._said = tuple(said)
        able = [one for one in self._said if one not in _OURS]
        # A store that has the service is asked, whatever it says of itself, as in the original.
        self.features = (*able, state.QUERY_API) if QUERIES in self._has and state.QUERY_API not in able else able
        self._limit = None if SIZES in self._has else 0


def _item(found: "state_pb2.GetResponse | state_pb2.BulkStateItem") -> Item | None:
    """None when nothing stands there: in the protocol, no data, no etag and nothing about either."""
    if not found.data and not found.HasField("etag") and not found.metadata:
        return None
    return Item(found.data, found.etag.value, dict(found.metadata) if found.metadata else NO_METADATA)


def _bulk_item(found: "state_pb2.BulkStateItem") -> Item | StateError | None:
    return StateError(found.error) if found.error else _item(found)


def _options(request: Set | Delete) -> "state_pb2.StateOptions":
    from pydapr.proto.dapr.proto.components.v1 import state_pb2

    return state_pb2.StateOptions(
        concurrency=_CONCURRENCY.get(request.concurrency, 0),  # type: ignore[arg-type]
        consistency=_CONSISTENCY.get(request.consistency, 0),  # type: ignore[arg-type]
    )


def _set(request: Set) -> "state_pb2.SetRequest":
    from pydapr.proto.dapr.proto.components.v1 import state_pb2

    return state_pb2.SetRequest(
        key=request.key,
        value=request.value,
        etag=state_pb2.Etag(value=request.etag) if request.etag else None,
        metadata=request.metadata,
        options=_options(request),
        content_type=request.content_type,
    )


def _delete(request: Delete) -> "state_pb2.DeleteRequest":
    from pydapr.proto.dapr.proto.components.v1 import state_pb2

    return state_pb2.DeleteRequest(
        key=request.key,
        etag=state_pb2.Etag(value=request.etag) if request.etag else None,
        metadata=request.metadata,
        options=_options(request),
    )


def _query(wanted: queries.Query) -> "state_pb2.Query":
    from google.protobuf import any_pb2

    from pydapr.proto.dapr.proto.components.v1 import state_pb2

    filters = _filter(wanted.filter) if wanted.filter is not None else {}
    return state_pb2.Query(
        filter={name: any_pb2.Any(value=json.dumps(about).encode()) for name, about in filters.items()},
        sort=[state_pb2.Sorting(key=one.path, order=int(one.is_descending)) for one in wanted.sort],  # type: ignore[arg-type]
        pagination=state_pb2.Pagination(limit=wanted.limit, token=wanted.token),
    )


def _filter(wanted: queries.Filter) -> dict[str, Any]:
    """A filter as it stands in a query's JSON."""
    if isinstance(wanted, queries.Compare):
        return {wanted.operation: {wanted.path: wanted.value}}
    return {wanted.operation: [_filter(one) for one in wanted.filters]}


# -- errors --


def _told(error: RpcError) -> StateError:
    """What a failed call means for who has asked."""
    with contextlib.suppress(ValueError):  # details that make no sense tell nothing
        special = _by_details(error)
        if special is not None:
            return special
    if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
        return Unavailable(str(error))
    return StateError(str(error))


def _by_details(error: RpcError) -> StateError | None:
    """What the one detail of a status means; None when there is none, or several. Raises `ValueError`."""
    found = details.decode_status(error.details).details
    if len(found) != 1:
        return None
    told = found[0]
    if told.type_url.endswith("/google.rpc.ErrorInfo"):
        reason, domain, metadata = details.read_error_info(told.value)
        status = int(metadata.get("http_code") or "0")
        if metadata.get("kit_error") == "true" and 400 <= status <= 599:
            return Worded(error.code, status, error.message, metadata.get("tag", ""), reason, domain)
        if error.code == Code.INTERNAL and {"expected", "affected"} <= metadata.keys():
            return StateError(f"delete affected only {metadata['affected']} rows, expected {metadata['expected']}")
    if told.type_url.endswith("/google.rpc.BadRequest"):
        violations = details.read_bad_request(told.value)
        if len(violations) == 1 and violations[0][0] == "etag":
            if error.code == Code.FAILED_PRECONDITION:
                return ETagMismatch(violations[0][1])
            if error.code == Code.INVALID_ARGUMENT:
                return ETagInvalid(violations[0][1])
    return None
