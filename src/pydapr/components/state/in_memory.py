"""state.in-memory keeps state in this process: for tests, it is gone with the sidecar and no other sidecar sees it."""

import asyncio
import heapq
import os
import time
from collections.abc import Awaitable, Mapping, Sequence

from pydapr.components import component, options, state
from pydapr.components.state import NO_METADATA, Delete, ETagMismatch, Item, Keys, Set, StateError, StateStore

_CLEANING = 1.0
"""Seconds between the end of a value and that of its memory."""

_SPARE = 64
"""Ends of what was written anew that are kept at most, besides as many as there are values."""


@options
class Options:
    pass


class _Kept(Item):
    """An item, and when it ends; 0 for never."""

    __slots__ = ("end",)

    def __init__(self, value: bytes, etag: str, metadata: Mapping[str, str], end: float) -> None:
        self.value, self.etag, self.metadata, self.end = value, etag, metadata, end


@component("state.in-memory", Options)
class InMemory(StateStore):
    features = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.DELETE_WITH_PREFIX, state.KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        self._items: dict[str, _Kept] = {}
        self._ends: list[tuple[float, str]] = []
        """When something ends, the next first; what was written anew since then stands there still."""
        self._cleaning: asyncio.TimerHandle | None = None
        self._origin = os.urandom(8).hex()
        self._writes = 0

    async def close(self) -> None:
        if self._cleaning is not None:
            self._cleaning.cancel()
            self._cleaning = None
        self._items.clear()
        self._ends.clear()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        return self._get(key)

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        return [self._get(key) for key in keys]

    async def set(self, request: Set) -> None:
        self._check(request)
        self._set(request, _ttl(request))

    async def delete(self, request: Delete) -> None:
        self._check(request)
        self._items.pop(request.key, None)

    async def set_many(self, requests: Sequence[Set]) -> Sequence[StateError | None]:
        return [await _outcome(self.set(request)) for request in requests]

    async def delete_many(self, requests: Sequence[Delete]) -> Sequence[StateError | None]:
        return [await _outcome(self.delete(request)) for request in requests]

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """As with the original, all etags are those from before the transaction."""
        ends = [_ttl(one) if isinstance(one, Set) else 0 for one in operations]
        for one in operations:
            self._check(one)
        for one, seconds in zip(operations, ends, strict=True):
            if isinstance(one, Set):
                self._set(one, seconds)
            else:
                self._items.pop(one.key, None)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        fitting = (key for key in list(self._items) if key.startswith(prefix) and key > token and self._get(key))
        found = heapq.nsmallest(limit + 1, fitting)
        return Keys(found[:limit], found[limit - 1] if len(found) > limit else "")

    async def delete_prefix(self, prefix: str) -> int:
        there = [key for key in self._items if key.startswith(prefix) and "||" not in key[len(prefix) :]]
        for key in there:
            del self._items[key]
        return len(there)

    def _get(self, key: str) -> _Kept | None:
        item = self._items.get(key)
        if item is not None and item.end and item.end <= time.time():
            del self._items[key]
            return None
        return item

    def _check(self, request: Set | Delete) -> None:
        """Raises `ETagMismatch` unless the request may be done."""
        if request.etag:
            item = self._get(request.key)
            if item is None:
                raise ETagMismatch(f"state not exist or expired for key={request.key}")
            if item.etag != request.etag:
                raise ETagMismatch(
                    f"state etag not match for key={request.key}: current={item.etag}, expect={request.etag}"
                )
        elif request.concurrency == state.FIRST_WRITE and self._get(request.key) is not None:
            raise ETagMismatch("item already exists and no etag was passed")

    def _set(self, request: Set, seconds: int) -> None:
        self._writes += 1
        etag = f"{self._origin}-{self._writes}"
        if seconds <= 0:
            self._items[request.key] = _Kept(request.value, etag, NO_METADATA, 0.0)
            return
        end = time.time() + seconds
        told = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
        self._items[request.key] = _Kept(request.value, etag, {state.TTL_EXPIRE_TIME: told}, end)
        heapq.heappush(self._ends, (end, request.key))
        if len(self._ends) > 2 * len(self._items) + _SPARE:
            self._ends = [(item.end, key) for key, item in self._items.items() if item.end]
            heapq.heapify(self._ends)
        if self._cleaning is None:
            self._cleaning = asyncio.get_running_loop().call_later(_CLEANING, self._clean)

    def _clean(self) -> None:
        """Gives back the memory of what nobody asks for any more."""
        now = time.time()
        while self._ends and self._ends[0][0] <= now:
            self._get(heapq.heappop(self._ends)[1])
        loop = asyncio.get_running_loop()
        self._cleaning = loop.call_later(_CLEANING, self._clean) if self._ends else None


def _ttl(request: Set) -> int:
    """As with the original, any number below one is for ever. Raises `StateError`."""
    text = request.metadata.get(state.TTL_IN_SECONDS) if request.metadata else None
    if not text or (text.startswith("-") and text[1:].isdecimal()):
        return 0
    return state.ttl_seconds(request.metadata) or 0


async def _outcome(work: Awaitable[None]) -> StateError | None:
    try:
        await work
    except StateError as error:
        return error
    return None
