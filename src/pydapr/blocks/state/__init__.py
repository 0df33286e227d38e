"""State for the app: in which store, under which key, encrypted or not, under which policies.

Called by the faces; goes on to `components.state`. `keys` has the prefixes, `security.sealed` the ciphers. Rules and
words are the original's (v1.18.3, `pkg/api/http/http.go`, `pkg/api/grpc/grpc.go`, `pkg/components/state`); new are
the listing of keys, and errors where that one breaks off.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydapr.blocks.state import keys
from pydapr.components import state
from pydapr.components.state import (
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Matches,
    Set,
    StateError,
    StateStore,
    Worded,
)
from pydapr.errors import (
    Code,
    Details,
    QueryFailed,
    QueryNotSupported,
    StateFailed,
    StateKeyIllegal,
    StateKeyMissing,
    StateStoreNotConfigured,
    StateStoreNotFound,
    StateWorded,
    TooManyOperations,
    TransactionsNotSupported,
)
from pydapr.policy import resiliency
from pydapr.policy.breaker import Refused
from pydapr.policy.runner import DeadlineExceeded, Runner

if TYPE_CHECKING:
    from pydapr.observe.metrics_blocks import OperationMetrics
    from pydapr.wire.tracecontext import Trace

T = TypeVar("T")
Request = TypeVar("Request", Set, Delete)

_FAILURES = (StateError, DeadlineExceeded, Refused)
_KNOWN_CODES = frozenset(Code)
_CONCURRENCY = ("", state.FIRST_WRITE, state.LAST_WRITE)
_CONSISTENCY = ("", state.STRONG, state.EVENTUAL)

MOST_LISTED = 1000
"""Keys on a page of a listing."""


class Cipher(Protocol):
    """Makes values unreadable for the store."""

    def encrypt(self, value: bytes) -> bytes: ...

    def decrypt(self, value: bytes) -> bytes:
        """Raises `ValueError`."""


class Outbox(Protocol):
    """Who tells others of what transactions write."""

    def has(self, store: str) -> bool:
        """Whether it does so for this store."""

    def plan(
        self, store: str, operations: Sequence[Set | Delete], trace: "Trace | None"
    ) -> tuple[list[Set | Delete], Sequence[bytes]]:
        """What is written in place of `operations`, by their full keys, and the events of it."""

    async def put_aside(self, store: str, events: Sequence[bytes]) -> None:
        """Keeps events until it shows that their transaction was done. Raises `DaprError`."""

    def over(self, operations: Sequence[Set | Delete]) -> None:
        """What was planned is written, or will not be."""


class Store:
    """An open store as apps have it: `prefix` before their keys, `cipher` around their values if there is one."""

    __slots__ = ("cipher", "name", "prefix", "store")

    def __init__(self, name: str, store: StateStore, prefix: str, cipher: Cipher | None = None) -> None:
        self.name, self.store, self.prefix, self.cipher = name, store, prefix, cipher

    def key(self, key: str) -> str:
        """The key as the store has it. Raises `StateKeyIllegal`."""
        if keys.SEPARATOR in key:
            raise StateKeyIllegal(self.name, key)
        return self.prefix + key


class Found:
    """One of the keys that were asked for or listed: what stands there (None if nothing), or why that is not known."""

    __slots__ = ("error", "item", "key")

    def __init__(self, key: str, item: Item | None = None, error: str = "") -> None:
        self.key, self.item, self.error = key, item, error


class State:
    """The stores by name. All methods raise `DaprError`; keys are as the app has them."""

    def __init__(
        self, app_id: str, stores: Mapping[str, Store], policies: "resiliency.Resiliency | None" = None
    ) -> None:
        self._app_id = app_id
        self._stores = stores
        self._policies = policies
        self._runner = Runner(StateError)
        self.metrics: OperationMetrics | None = None
        self.outbox: Outbox | None = None

    def store(self, name: str, tells_app: bool = True) -> Store:
        """The store of a name. Raises `DaprError`, which tells the app's id, too, unless that is not wanted."""
        found = self._stores.get(name)
        if found is not None:
            return found
        raise (StateStoreNotFound if self._stores else StateStoreNotConfigured)(name, self._app_id if tells_app else "")

    async def get(self, store: Store, key: str, consistency: str, metadata: Mapping[str, str]) -> Item | None:
        """What stands under a key, None when nothing does."""
        full = store.key(key)
        began, is_success = perf_counter(), False
        try:
            if self._policies is None:
                item = await store.store.get(full, consistency=consistency, metadata=metadata)
            else:
                item = await self._under_policies(
                    store, lambda: store.store.get(full, consistency=consistency, metadata=metadata)
                )
            is_success = True
            return item if item is None or store.cipher is None else _decrypted(store.cipher, item)
        except (*_FAILURES, ValueError) as error:
            text = f"fail to get {key} from state store {store.name}: {_told(store, error)}"
            raise StateFailed("ERR_STATE_GET", text, *_codes(error)) from None
        finally:
            if self.metrics is not None:
                self.metrics.done(store.name, "get", is_success, perf_counter() - began)

    async def get_bulk(
        self, store: Store, wanted: Sequence[str], parallelism: int, metadata: Mapping[str, str]
    ) -> list[Found]:
        """What stands under each of the keys, in their order."""
        if not wanted:
            return []
        full = [store.key(key) for key in wanted]
        try:
            items = await self._run(
                store, "bulk_get", lambda: store.store.get_many(full, parallelism=parallelism, metadata=metadata)
            )
        except _FAILURES as error:
            raise StateFailed("ERR_STATE_BULK_GET", _told(store, error), *_codes(error)) from None
        return [_found(store, key, item) for key, item in zip(wanted, items, strict=True)]

    async def save(self, store: Store, requests: Sequence[Set]) -> None:
        """Writes values, each by itself. Keys and values are changed into what the store is to have."""
        for request in requests:
            if not request.key:
                raise StateKeyMissing
            request.key = store.key(request.key)
            self._encrypt(store, request)
        if not requests:
            return
        try:
            await self._each(store, "set", requests, store.store.set, store.store.set_many)
        except _FAILURES as error:
            text = f"failed saving state in state store {store.name}: {_told(store, error)}"
            raise StateFailed("ERR_STATE_SAVE", text, *_codes(error)) from None

    async def delete(self, store: Store, request: Delete) -> None:
        key = request.key
        request.key = store.key(key)
        try:
            _check(request)
            await self._run(store, "delete", lambda: store.store.delete(request))
        except _FAILURES as error:
            text = f"failed deleting state with key {key}: {_told(store, error)}"
            raise StateFailed("ERR_STATE_DELETE", text, *_codes(error)) from None

    async def delete_bulk(self, store: Store, requests: Sequence[Delete]) -> None:
        """Removes keys, each by itself."""
        for request in requests:
            request.key = store.key(request.key)
        try:
            await self._each(store, "bulk_delete", requests, store.store.delete, store.store.delete_many)
        except _FAILURES as error:
            text = f"failed deleting state in state store {store.name}: {_told(store, error)}"
            raise StateFailed("ERR_STATE_BULK_DELETE", text, *_codes(error)) from None

    def can_transact(self, store: Store) -> None:
        """Raises `TransactionsNotSupported`."""
        if state.TRANSACTIONAL not in store.store.features:
            raise TransactionsNotSupported(store.name)

    async def transact(
        self,
        store: Store,
        operations: Sequence[Set | Delete],
        metadata: Mapping[str, str],
        trace: "Trace | None" = None,
    ) -> None:
        """All operations or none. The store is one that `can_transact`; `trace` is the request's."""
        for one in operations:
            one.key = store.key(one.key)
        most = await store.store.most_operations()
        if 0 < most < len(operations):
            raise TooManyOperations(store.name, len(operations), most)
        for one in operations:
            if isinstance(one, Set):
                self._encrypt(store, one)
        try:
            for one in operations:
                _check(one)
            if self.outbox is None or not self.outbox.has(store.name):
                await self._run(store, "transaction", lambda: store.store.transact(operations, metadata=metadata))
                return
            planned, events = self.outbox.plan(store.name, operations, trace)
            try:
                if 0 < most < len(planned):
                    raise TooManyOperations(store.name, len(planned), most)
                await self.outbox.put_aside(store.name, events)
                await self._run(store, "transaction", lambda: store.store.transact(planned, metadata=metadata))
            finally:
                self.outbox.over(planned)
        except _FAILURES as error:
            text = f"error while executing state transaction: {_told(store, error)}"
            raise StateFailed("ERR_STATE_TRANSACTION", text) from None

    async def query(self, name: str, text: str | bytes, metadata: Mapping[str, str]) -> Matches:
        """What a query finds, by the keys as their apps have them."""
        from pydapr.lib import query

        store = self.store(name, tells_app=False)
        if state.QUERY_API not in store.store.features:
            raise QueryNotSupported(name)
        if store.cipher is not None:
            raise QueryFailed(name, "cannot query encrypted store")
        try:
            wanted = query.parse(text)
        except query.Wrong as error:
            raise QueryFailed(name, f"failed to parse JSON query body: {error}") from None
        try:
            found = await self._run(store, "query", lambda: store.store.query(wanted, metadata=metadata))
        except _FAILURES as error:
            if isinstance(error, Worded):
                raise _worded(error) from None
            raise QueryFailed(name, _told(store, error)) from None
        for match in found.items:
            match.key = keys.original(match.key)
        return found

    async def keys(
        self, store: Store, prefix: str, limit: int, token: str, with_values: bool
    ) -> tuple[list[Found], str]:
        """A page of the app's keys that begin with `prefix`, and the token of the next; items if `with_values`."""
        if state.KEYS_LIKE not in store.store.features:
            raise QueryNotSupported(store.name, "listing keys")
        full = store.key(prefix)
        after = _untokened(store, token)
        try:
            page = await self._run(store, "keys", lambda: store.store.keys(full, limit=limit, token=after))
        except _FAILURES as error:
            raise QueryFailed(store.name, _told(store, error)) from None
        # Behind further bars are others' keys: those of actors, and of apps with a prefix where this one has none.
        rest = len(store.prefix)
        wanted = [key[rest:] for key in page.keys if keys.SEPARATOR not in key[rest:]]
        found = [Found(key) for key in wanted]
        if with_values:
            # What was deleted between the two is no longer a key.
            read = await self.get_bulk(store, wanted, 0, state.NO_METADATA)
            found = [one for one in read if one.item is not None or one.error]
        return found, base64.urlsafe_b64encode(page.token.encode("utf-8", "surrogatepass")).decode()

    # -- what they have in common --

    def _encrypt(self, store: Store, request: Set) -> None:
        """As in the original, a string of a JSON document is encrypted without its quotation marks."""
        if store.cipher is None:
            return
        value = request.value
        if request.is_json and value.startswith(b'"'):
            value = json.loads(value).encode("utf-8", "replace")
        request.value, request.is_json = store.cipher.encrypt(value), False

    async def _run(self, store: Store, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """What an operation of a store returns or raises, under its policies, counted."""
        began, is_success = perf_counter(), False
        try:
            done = await self._under_policies(store, operation)
            is_success = True
        finally:
            if self.metrics is not None:
                self.metrics.done(store.name, what, is_success, perf_counter() - began)
        return done

    async def _each(
        self,
        store: Store,
        what: str,
        requests: Sequence[Request],
        one: Callable[[Request], Awaitable[None]],
        many: Callable[[Sequence[Request]], Awaitable[Sequence[StateError | None]]],
    ) -> None:
        """Does all requests; another try does those that failed, but not for their etag. Raises as the store does."""
        began, is_success = perf_counter(), False
        try:
            if self._policies is None:
                await _attempt(requests, one, many)
            else:
                await self._again(store, requests, one, many)
            is_success = True
        finally:
            if self.metrics is not None:
                self.metrics.done(store.name, what, is_success, perf_counter() - began)

    async def _again(
        self,
        store: Store,
        requests: Sequence[Request],
        one: Callable[[Request], Awaitable[None]],
        many: Callable[[Sequence[Request]], Awaitable[Sequence[StateError | None]]],
    ) -> None:
        left, is_final = requests, False
        wrong: list[StateError] = []

        async def attempt() -> None:
            nonlocal left, is_final
            try:
                await _attempt(left, one, many)
            except _Partly as error:
                left = [left[place] for place in error.left]
                wrong.extend(error.wrong)
                raise
            except (ETagMismatch, ETagInvalid):
                is_final = True
                raise

        await self._under_policies(store, attempt, lambda: not is_final)
        if wrong:  # of an earlier try: the others are done by now, these are not
            raise _of_etags(wrong)

    async def _under_policies(
        self, store: Store, operation: Callable[[], Awaitable[T]], can_repeat: Callable[[], bool] | None = None
    ) -> T:
        definition = None
        if self._policies is not None:
            now = asyncio.get_running_loop().time()
            definition = self._policies.component(store.name, resiliency.STATESTORE, resiliency.OUTBOUND, now)
        if definition is None:
            return await operation()
        return await self._runner.run(definition, operation, can_repeat or _always)


class _Partly(StateError):
    """Some of many requests failed. Those at the places `left` may be tried again, those with `wrong` etags not."""

    def __init__(self, message: str, left: list[int], wrong: Sequence[StateError]) -> None:
        super().__init__(message)
        self.left, self.wrong = left, wrong


async def _attempt(
    requests: Sequence[Request],
    one: Callable[[Request], Awaitable[None]],
    many: Callable[[Sequence[Request]], Awaitable[Sequence[StateError | None]]],
) -> None:
    """Does all requests. Raises `_Partly`, or the error of all; that is one of etags if there is no other."""
    for request in requests:
        _check(request)
    if len(requests) == 1:
        await one(requests[0])
        return
    outcomes = await many(requests) if requests else ()
    errors = [outcome for outcome in outcomes if outcome is not None]
    if not errors:
        return
    wrong = [error for error in errors if isinstance(error, ETagMismatch | ETagInvalid)]
    if len(wrong) == len(errors):
        raise _of_etags(wrong)
    left = [
        place
        for place, outcome in enumerate(outcomes)
        if outcome is not None and not isinstance(outcome, ETagMismatch | ETagInvalid)
    ]
    raise _Partly("\n".join(map(str, errors)), left, wrong)


def _of_etags(errors: Sequence[StateError]) -> StateError:
    """Several errors of etags as one."""
    kind = ETagInvalid if any(isinstance(error, ETagInvalid) for error in errors) else ETagMismatch
    return kind("\n".join(map(str, errors)))


def _always() -> bool:
    return True


def _check(request: Set | Delete) -> None:
    """Raises `StateError` for options that are none."""
    if request.consistency not in _CONSISTENCY:
        raise StateError(f"unrecognized consistency model '{request.consistency}'")
    if request.concurrency not in _CONCURRENCY:
        raise StateError(f"unrecognized concurrency model '{request.concurrency}'")


def _told(store: Store, error: Exception) -> str:
    return store.store.scrub(str(error))


def _codes(error: Exception) -> tuple[int, Code, StateWorded | None]:
    if isinstance(error, ETagMismatch):
        return 409, Code.ABORTED, None
    if isinstance(error, ETagInvalid):
        return 400, Code.INVALID_ARGUMENT, None
    if isinstance(error, Worded):
        return error.status, Code.INTERNAL, _worded(error)
    return 500, Code.INTERNAL, None


def _worded(error: Worded) -> StateWorded:
    about = Details(error.reason, domain=error.domain)
    code = Code(error.code) if error.code in _KNOWN_CODES else Code.UNKNOWN
    return StateWorded(error.status, code, error.message, error.tag, about)


def _decrypted(cipher: Cipher, item: Item) -> Item:
    return Item(cipher.decrypt(item.value), item.etag, item.metadata)


def _found(store: Store, key: str, item: Item | StateError | None) -> Found:
    if isinstance(item, StateError):
        return Found(key, error=_told(store, item))
    if item is None or store.cipher is None:
        return Found(key, item)
    try:
        return Found(key, _decrypted(store.cipher, item))
    except ValueError as error:
        return Found(key, error=str(error))


def _untokened(store: Store, token: str) -> str:
    try:
        return base64.b64decode(token, b"-_", validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        raise QueryFailed(store.name, "the token is none of a page of keys") from None
