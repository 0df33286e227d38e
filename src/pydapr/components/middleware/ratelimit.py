"""middleware.http.ratelimit bounds the requests per second, for each client address and path; the rest gets 429.

A bucket of tokens for each: it holds as many as may pass in a second, at least one, and fills evenly. The answers
and their header fields are those of the original's library (didip/tollbooth, version 7).
"""

import ipaddress
import time
from collections.abc import Callable

from pydapr.components import Wrong, component, option, options
from pydapr.components.middleware import Middleware
from pydapr.net.exchange import Exchange, Handler, Header, Headers
from pydapr.net.wrapped import Wrapped
from pydapr.wire import headers as names

MAX_BUCKETS = 65_536
"""Buckets kept at most. The fullest go first: one that is full again is the same as none."""

_REFUSAL = b"You have reached maximum request limit."


@options
class Options:
    max_requests_per_second: float = option("Requests that may pass in a second.", default=100.0)


class _Bucket:
    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens, self.at = tokens, at


@component("middleware.http.ratelimit", Options)
class RateLimit(Middleware):
    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = options.max_requests_per_second
        if not self._rate > 0:
            raise Wrong("metadata property maxRequestsPerSecond must be a positive value")
        self._burst = max(1, int(self._rate))
        self._clock = clock
        self._buckets: dict[tuple[str, bytes], _Bucket] = {}

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            left = self.take(_client(exchange), exchange.target.partition(b"?")[0])
            told = self._told(exchange, max(left, 0))
            if left < 0:
                kind = (b"content-type", b"text/plain; charset=utf-8")
                exchange.respond(429, [*told, kind], _REFUSAL)
            else:
                await inner(_Told(exchange, told))

        return handle

    def take(self, client: str, path: bytes) -> int:
        """Takes a token: how many whole ones are left, -1 when there was none."""
        now = self._clock()
        bucket = self._buckets.get((client, path))
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._forget(now)
            bucket = self._buckets[client, path] = _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1:
            return -1
        bucket.tokens -= 1
        return int(bucket.tokens)

    def _forget(self, now: float) -> None:
        """Lets half of the buckets go, the fullest."""

        def missing(key: tuple[str, bytes]) -> float:
            bucket = self._buckets[key]
            return self._burst - bucket.tokens - (now - bucket.at) * self._rate

        for key in sorted(self._buckets, key=missing)[: MAX_BUCKETS // 2]:
            del self._buckets[key]

    def _told(self, exchange: Exchange, left: int) -> list[Header]:
        told = [(b"x-rate-limit-limit", b"%.2f" % self._rate), (b"x-rate-limit-duration", b"1")]
        behind = names.first(exchange.headers, b"x-forwarded-for")
        if behind:
            told.append((b"x-rate-limit-request-forwarded-for", behind))
        told.append((b"x-rate-limit-request-remote-addr", exchange.peer.encode()))
        told.append((b"ratelimit-limit", b"%d" % round(self._rate)))
        told.append((b"ratelimit-reset", b"1"))
        told.append((b"ratelimit-remaining", b"%d" % left))
        return told


def _client(exchange: Exchange) -> str:
    """The client's address; of IPv6 the network, because a client has as many addresses as it likes there."""
    host = exchange.peer.rpartition(":")[0].strip("[]") or exchange.peer
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host


class _Told(Wrapped):
    """Adds to the head of the answer."""

    __slots__ = ("_told",)

    def __init__(self, inner: Exchange, told: list[Header]) -> None:
        super().__init__(inner)
        self._told = told

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        super().respond(status, [*headers, *self._told], body)

    def begin(self, status: int, headers: Headers) -> None:
        super().begin(status, [*headers, *self._told])
