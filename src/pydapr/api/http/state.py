"""The state API over HTTP. Called by the router; asks `blocks.state`; `state_bodies` has the bodies."""

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from pydapr.api.http.errors import JSON
from pydapr.blocks.state import MOST_LISTED, State, Store
from pydapr.components.state import NO_METADATA, Delete, Set
from pydapr.errors import MalformedRequest
from pydapr.lib import urls
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers

PREFIX, ALPHA_PREFIX = b"/v1.0/state/", b"/v1.0-alpha1/state/"

DEFAULT_LISTED = 100
"""Keys on a page of a listing that does not say how many it wants."""


class StateApi:
    """Answers what is below `/v1.0/state/<store>`, and the queries and listings of the alpha API."""

    def __init__(self, state: State, max_body: int) -> None:
        self._state = state
        self._max_body = max_body
        self._saved: Callable[[bytes, Mapping[str, str]], list[Set]] | None = None

    async def get(self, exchange: Exchange) -> None:
        """One value as it was saved."""
        target = exchange.target
        name, key = _segments(target)
        store = self._state.store(name)
        if b"?" in target:
            item = await self._state.get(store, key, _query(target).get("consistency", ""), urls.metadata(target))
        else:
            item = await self._state.get(store, key, "", NO_METADATA)
        if item is None:
            exchange.respond(204, ())
            return
        told = [*JSON]
        if item.etag:
            told.append((b"etag", item.etag.encode("latin-1", "replace")))
        for field, value in item.metadata.items():
            told.append((b"metadata." + field.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")))
        exchange.respond(200, told, item.value)

    async def save(self, exchange: Exchange) -> None:
        store = self._store(exchange)
        body = await self._read(exchange)
        if self._saved is None:
            from pydapr.api.http import state_bodies

            self._saved = state_bodies.saved
        await self._state.save(store, self._saved(body, urls.metadata(exchange.target)))
        exchange.respond(204, ())

    async def delete(self, exchange: Exchange) -> None:
        name, key = _segments(exchange.target)
        store = self._state.store(name)
        query = _query(exchange.target)
        etag = headers.first(exchange.headers, b"if-match")
        request = Delete(
            key,
            etag=etag.decode("latin-1") if etag else "",
            concurrency=query.get("concurrency", ""),
            consistency=query.get("consistency", ""),
            metadata=urls.metadata(exchange.target),
        )
        await self._state.delete(store, request)
        exchange.respond(204, ())

    async def get_bulk(self, exchange: Exchange) -> None:
        """Values of several keys, in their order."""
        from pydapr.api.http import state_bodies

        store = self._store(exchange)
        body = await self._read(exchange, "failed deserializing HTTP body: ")
        keys, parallelism, metadata = state_bodies.keys(body, urls.metadata(exchange.target))
        found = await self._state.get_bulk(store, keys, parallelism, metadata)
        exchange.respond(200, JSON, state_bodies.found(found) + b"\n")

    async def transact(self, exchange: Exchange) -> None:
        from pydapr.api.http import state_bodies

        store = self._store(exchange)
        self._state.can_transact(store)
        body = await self._read(exchange, "failed deserializing HTTP body: ")
        operations, metadata = state_bodies.transaction(body, urls.metadata(exchange.target))
        if operations:
            await self._state.transact(store, operations, metadata, exchange.trace)
        exchange.respond(204, ())

    async def query(self, exchange: Exchange) -> None:
        """Values that a query finds; nothing when it finds none."""
        from pydapr.api.http import state_bodies

        name = _segments(exchange.target)[0]
        body = await self._read(exchange)
        found = await self._state.query(name, body, urls.metadata(exchange.target))
        if not found.items:
            exchange.respond(204, ())
            return
        exchange.respond(200, JSON, state_bodies.matches(found.items, found.token, found.metadata) + b"\n")

    async def keys(self, exchange: Exchange) -> None:
        """A page of keys, with their values by choice."""
        from pydapr.api.http import state_bodies

        store = self._store(exchange)
        query = _query(exchange.target)
        with_values = query.get("values", "").lower() in ("true", "1")
        found, token = await self._state.keys(
            store, query.get("prefix", ""), _limit(query.get("limit")), query.get("token", ""), with_values
        )
        exchange.respond(200, JSON, state_bodies.listed(found, token) + b"\n")

    def _store(self, exchange: Exchange) -> Store:
        return self._state.store(_segments(exchange.target)[0])

    async def _read(self, exchange: Exchange, before: str = "") -> bytes:
        try:
            return await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise MalformedRequest(f"{before}http: request body too large") from None


def _segments(target: bytes) -> list[str]:
    prefix = ALPHA_PREFIX if target.startswith(ALPHA_PREFIX) else PREFIX
    segments = urls.segments(target, prefix)
    return segments if target.isascii() and b"%" not in target else [_text(segment) for segment in segments]


def _text(segment: str) -> str:
    """What is no UTF-8 is written as it would be in JSON, so that the same key is the same in both."""
    if segment.isascii():
        return segment
    return segment.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _query(target: bytes) -> Mapping[str, str]:
    """The parameters of the query by name; of several the first counts."""
    query = target.partition(b"?")[2]
    if not query:
        return {}
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    return {name: values[0] for name, values in found.items()}


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LISTED
    if not text.isdecimal() or not 0 < int(text[:9]) <= MOST_LISTED:
        raise MalformedRequest(f"limit must be a number from 1 to {MOST_LISTED}")
    return int(text)
