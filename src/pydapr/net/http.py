"""HTTP requests and their whole answers, for components and processes that ask another server.

`request` asks now and then, on a connection of its own: middleware, name resolution, sentry. A `Client` keeps
connections: secret stores. Redirects of GET are followed.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from pydapr.net import dial
from pydapr.net.body import Body, BodyError
from pydapr.net.exchange import Header
from pydapr.net.pool import Connector, Pool, Unreachable
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.net import http1_client

MAX_BYTES = 4 * 1024 * 1024
MAX_REDIRECTS = 10
MAX_SERVERS = 16
"""Servers that a client keeps connections to: the one it asks, and those where that sends it."""

Dial = Callable[[str, int, bool], Connector]
"""Host, port and whether over TLS → a connector."""

_REDIRECTS = (301, 302, 303, 307, 308)

_OURS = frozenset({"host", "content-length", "transfer-encoding", "trailer", "connection"})
"""Header fields that say where a request goes and where it ends, which is not for callers to say."""


class Answer:
    """What the server said; names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def header(self, name: str) -> str:
        return (names.first(self.headers, name.encode()) or b"").decode("latin-1")


class Client:
    """Asks servers, each over connections that are kept. `connect` tells how they are made.

    An answer may have `most` bytes, None for any number; one that has more fails, or ends there if the client `cuts`.
    """

    def __init__(self, connect: Dial = dial.to, most: int | None = MAX_BYTES, cuts: bool = False) -> None:
        self._connect, self._most, self._cuts = connect, most, cuts
        self._pools: dict[tuple[str, int, bool], Pool] = {}

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 30.0,
        follows: bool = True,
    ) -> Answer:
        """Asks `url`, and where that leads if it `follows`.

        Raises `OSError` when there is no whole answer in time, `ValueError` when it is no URL.
        """
        try:
            async with asyncio.timeout(seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    answer = await self._once(method, url, headers or {}, body)
                    location = answer.header("location")
                    if not follows or method != "GET" or answer.status not in _REDIRECTS or not location:
                        return answer
                    url = urljoin(url, location)
        except TimeoutError:
            raise OSError(f'{method.title()} "{_shown(url)}": no answer within {seconds:g} s') from None
        raise OSError(f'{method.title()} "{_shown(url)}": stopped after {MAX_REDIRECTS} redirects')

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            host, port, with_tls, _ = dial.parse_url(url)
        except ValueError:
            raise ValueError(f"{_shown(url)!r} is no http(s) URL with a host") from None
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        user, _, place = parts.netloc.rpartition("@")
        given = {name.lower(): value for name, value in headers.items()}
        if user and "authorization" not in given:
            given["authorization"] = f"Basic {b64encode(_login(user)).decode()}"
        fields: list[Header] = [(b"host", place.encode())]
        fields += [(name.encode(), value.encode()) for name, value in given.items() if name not in _OURS]
        if not all(names.is_clean(value) for _, value in fields) or not names.is_clean(target.encode()):
            raise ValueError(f"a header field for {_shown(url)!r} holds what none may")
        fields.append((b"content-length", b"%d" % len(body)))
        try:
            pool = self._pool(host, port, with_tls)
            response = await pool.request(method.encode(), target.encode(), fields, Body.of(body))
            return Answer(response.status, response.headers, await self._read(response))
        except (Unreachable, BodyError) as error:
            raise OSError(f'{method.title()} "{_shown(url)}": {error}') from None

    async def _read(self, response: "http1_client.Response") -> bytes:
        if not self._cuts or self._most is None:
            return await response.body.read_all(self._most)
        pieces, size = [], 0
        while size < self._most and (piece := await response.body.read()):
            pieces.append(piece)
            size += len(piece)
        if not response.body.ended:
            response.close()
        return b"".join(pieces)[: self._most]

    def _pool(self, host: str, port: int, with_tls: bool) -> Pool:
        server = (host, port, with_tls)
        pool = self._pools.get(server)
        if pool is None:
            if len(self._pools) >= MAX_SERVERS:
                self._pools.pop(next(iter(self._pools))).retire()
            pool = self._pools[server] = Pool(self._connect(host, port, with_tls))
        return pool

    def close(self) -> None:
        """Closes every connection; what is under way breaks off."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


async def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    seconds: float = 30.0,
    connect: Dial = dial.to,
    most: int = MAX_BYTES,
) -> Answer:
    """`Client.request`, once; of the answer `most` bytes at most."""
    client = Client(connect, most)
    try:
        return await client.request(method, url, headers, body, seconds)
    finally:
        client.close()


def _login(user: str) -> bytes:
    """Name and password of a URL, as they stand in `Authorization: Basic`."""
    name, _, password = user.partition(":")
    return unquote_to_bytes(name) + b":" + unquote_to_bytes(password)


def _shown(url: str) -> str:
    """`url` for messages: without the name, the password and the parameters that may stand in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
