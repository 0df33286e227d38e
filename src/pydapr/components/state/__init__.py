"""State stores: values by key, each with a tag that changes with every write (ETag).

`daprd.opening` opens the stores that resources describe; `blocks.state` uses them for apps. Keys come here whole, with
their prefix, and values as bytes that are to be given back as they are. How a new store is judged:
`tests/conformance/test_state.py`.

A store says what it can do in `features`, in the original's words; what it does not list is not asked of it:

    ETAG                etags in answers, `etag` and `first-write` in requests
    TRANSACTIONAL       `transact`
    TTL                 `ttlInSeconds` in requests, `ttlExpireTime` in answers
    QUERY_API           `query`
    KEYS_LIKE           `keys`
    DELETE_WITH_PREFIX  `delete_prefix`
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.components import Part
from pydapr.errors import go_name

if TYPE_CHECKING:
    from pydapr.lib.query import Query

T = TypeVar("T")
Outcome = TypeVar("Outcome")

ETAG, TRANSACTIONAL, TTL, QUERY_API = "ETAG", "TRANSACTIONAL", "TTL", "QUERY_API"
KEYS_LIKE, DELETE_WITH_PREFIX, PARTITION_KEY = "KEYS_LIKE", "DELETE_WITH_PREFIX", "PARTITION_KEY"

FIRST_WRITE, LAST_WRITE = "first-write", "last-write"
STRONG, EVENTUAL = "strong", "eventual"

TTL_IN_SECONDS, TTL_EXPIRE_TIME = "ttlInSeconds", "ttlExpireTime"
"""Keys of metadata: of a request, how long the value is kept; of an answer, until when."""

CONTENT_TYPE, JSON = "contentType", "application/json"

MAX_TTL = 2**31 - 1

NO_METADATA: Mapping[str, str] = {}


class StateError(Exception):
    """A store could not do what it was asked, and has not done it. The message is what the app reads."""


class Unavailable(StateError):
    """The store cannot be reached, or was lost on the way: what was asked may have been done. Trying again may help."""


class ETagMismatch(StateError):
    """Nothing was written: the key has another etag, or exists already where `first-write` wants it new."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("possible etag mismatch. error from state store" + (reason and f": {reason}"))


class ETagInvalid(StateError):
    """The etag is none that this store could ever have given."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("invalid etag value" + (reason and f": {reason}"))


class Worded(StateError):
    """An error of which the store says itself how it is to be answered: the gRPC `code`, the HTTP `status`, `tag` as
    the code of the API, `reason` and `domain` as details."""

    def __init__(self, code: int, status: int, message: str, tag: str, reason: str, domain: str) -> None:
        super().__init__(f"api error: code = {go_name(code)} desc = {message}")
        self.code, self.status, self.message = code, status, message
        self.tag, self.reason, self.domain = tag, reason, domain


class Item:
    """What stands under a key. `metadata` has `ttlExpireTime` if it ends (RFC 3339, whole seconds, UTC)."""

    __slots__ = ("etag", "metadata", "value")

    def __init__(self, value: bytes, etag: str = "", metadata: Mapping[str, str] = NO_METADATA) -> None:
        self.value, self.etag, self.metadata = value, etag, metadata

    def __repr__(self) -> str:
        return f"Item({self.value!r}, {self.etag!r}, {self.metadata!r})"


class Set:
    """One value to write. The options are checked: `concurrency` and `consistency` are empty or one of the words above.

    `etag` is empty or the one that the key must have, for `first-write` and without. `is_json` says that the value is a
    JSON document that came as such; else it is whatever bytes the app has, and a store that keeps text encodes it.
    """

    __slots__ = ("concurrency", "consistency", "content_type", "etag", "is_json", "key", "metadata", "value")

    def __init__(
        self,
        key: str,
        value: bytes,
        *,
        is_json: bool = False,
        etag: str = "",
        concurrency: str = "",
        consistency: str = "",
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "",
    ) -> None:
        self.key, self.value, self.is_json, self.etag = key, value, is_json, etag
        self.concurrency, self.consistency = concurrency, consistency
        self.metadata, self.content_type = metadata, content_type

    def __repr__(self) -> str:
        return f"Set({self.key!r}, {self.value!r}, etag={self.etag!r}, concurrency={self.concurrency!r})"

    @property
    def must_be_new(self) -> bool:
        """Whether the key must not exist: `first-write` without an etag."""
        return self.concurrency == FIRST_WRITE and not self.etag


class Delete:
    """One key to remove. It is no error that it is not there, unless an etag is given."""

    __slots__ = ("concurrency", "consistency", "etag", "key", "metadata")

    def __init__(
        self,
        key: str,
        *,
        etag: str = "",
        concurrency: str = "",
        consistency: str = "",
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> None:
        self.key, self.etag, self.metadata = key, etag, metadata
        self.concurrency, self.consistency = concurrency, consistency

    def __repr__(self) -> str:
        return f"Delete({self.key!r}, etag={self.etag!r}, concurrency={self.concurrency!r})"


class Keys:
    """A page of a listing. `token` asks for what follows, and is empty when nothing does."""

    __slots__ = ("keys", "token")

    def __init__(self, keys: Sequence[str], token: str = "") -> None:
        self.keys, self.token = keys, token


class Match:
    """A value that a query has found; or why it cannot be shown."""

    __slots__ = ("error", "etag", "key", "value")

    def __init__(self, key: str, value: bytes, etag: str = "", error: str = "") -> None:
        self.key, self.value, self.etag, self.error = key, value, etag, error


class Matches:
    """A page of what a query has found. `token` asks for what follows, and is empty when nothing does."""

    __slots__ = ("items", "metadata", "token")

    def __init__(self, items: Sequence[Match], token: str = "", metadata: Mapping[str, str] = NO_METADATA) -> None:
        self.items, self.token, self.metadata = items, token, metadata


class StateStore(Part, ABC):
    """Where state is kept. A write has happened, and survives what the store promises, once its call returns.

    All methods raise `StateError` and its subclasses, nothing else, within a bounded time. Cancelling a call says
    nothing about whether it happens.
    """

    max_operations = 0
    """How many operations a transaction may have, 0 for any number."""

    async def most_operations(self) -> int:
        """`max_operations`, of a store that must ask for it first."""
        return self.max_operations

    @property
    def capabilities(self) -> Sequence[str]:
        if ETAG in self.features and TRANSACTIONAL in self.features:
            return (*self.features, "ACTOR")
        return self.features

    @abstractmethod
    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        """What stands under `key`; None when nothing does, or no more."""

    @abstractmethod
    async def set(self, request: Set) -> None:
        """Writes one value whole, with its time to live: without one it stays. Raises `ETagMismatch`, `ETagInvalid`."""

    @abstractmethod
    async def delete(self, request: Delete) -> None:
        """Removes one key. Raises `ETagMismatch`, `ETagInvalid`."""

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        """What stands under each of `keys`, in their order; an error in the place of a key that could not be read.

        `parallelism` is how many may be asked for at once, 0 for all; a store that reads many at once may ignore it.
        """
        return await _each(keys, parallelism, lambda key: self.get(key, metadata=metadata))

    async def set_many(self, requests: Sequence[Set]) -> Sequence[StateError | None]:
        """Writes values that do not depend on each other; an error in the place of each that was not written."""
        return await _each(requests, 0, self.set)

    async def delete_many(self, requests: Sequence[Delete]) -> Sequence[StateError | None]:
        """Removes keys, as `set_many` writes."""
        return await _each(requests, 0, self.delete)

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """All of `operations`, in their order, or none. `metadata` are those of the transaction."""
        raise StateError("the state store does not support transactions")

    async def query(self, query: "Query", *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        """The values that `query` describes, of all apps that use the store."""
        raise StateError("the state store does not support querying")

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        """At most `limit` (one or more) of the keys that begin with `prefix`, in an order of the store's own, and not
        those whose time is over. A key that is there all the while is in the pages at least once.

        `token` is from the page before. Raises `StateError` for one that is from elsewhere.
        """
        raise StateError("the state store does not support listing keys")

    async def delete_prefix(self, prefix: str) -> int:
        """Removes the keys that begin with `prefix` and have no `||` after it; how many there were."""
        raise StateError("the state store does not support deleting by prefix")


def ttl_seconds(metadata: Mapping[str, str]) -> int | None:
    """How long a value is to be kept by a request's metadata: None when they do not say, -1 and 0 for ever.

    Raises `StateError`.
    """
    text = metadata.get(TTL_IN_SECONDS)
    if not text:
        return None
    try:
        seconds = int(text) if text.isascii() and not text[-1:].isspace() and "_" not in text else None
    except ValueError:
        seconds = None
    if seconds is None:
        raise StateError(f"error parsing TTL: incorrect value for metadata '{TTL_IN_SECONDS}': {text!r} is no number")
    if not -1 <= seconds <= MAX_TTL:
        raise StateError(f"error parsing TTL: incorrect value for metadata '{TTL_IN_SECONDS}': must be -1 or greater")
    return seconds


async def _each(
    wanted: Sequence[T], parallelism: int, work: Callable[[T], Awaitable[Outcome]]
) -> Sequence[Outcome | StateError]:
    """`work` for each, so many at once; its results and failures in the same order."""
    limit = asyncio.Semaphore(parallelism if parallelism > 0 else max(len(wanted), 1))

    async def one(given: T) -> Outcome | StateError:
        async with limit:
            try:
                return await work(given)
            except StateError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(given)) for given in wanted]
    return [task.result() for task in tasks]
