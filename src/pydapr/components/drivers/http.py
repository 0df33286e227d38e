"""One HTTP request and its whole answer, for components that ask another server now and then.

Used by middleware and name resolution; not for what happens at each request. Redirects of GET are followed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urljoin, urlsplit

from pydapr.net import dial
from pydapr.net.body import Body, BodyError
from pydapr.net.exchange import Header
from pydapr.net.pool import Connector, Pool, Unreachable
from pydapr.wire import headers as names

MAX_BYTES = 4 * 1024 * 1024
MAX_REDIRECTS = 10

Dial = Callable[[str, int, bool], Connector]
"""Host, port and whether over TLS → a connector."""

_REDIRECTS = (301, 302, 303, 307, 308)


class Answer:
    """What the server said; names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def header(self, name: str) -> str:
        return (names.first(self.headers, name.encode()) or b"").decode("latin-1")


async def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    seconds: float = 30.0,
    connect: Dial = dial.to,
) -> Answer:
    """Asks `url`. Raises `OSError` when there is no whole answer in time, `ValueError` when it is no URL."""
    try:
        async with asyncio.timeout(seconds):
            for _ in range(MAX_REDIRECTS + 1):
                answer = await _once(method, url, headers or {}, body, connect)
                location = answer.header("location")
                if method != "GET" or answer.status not in _REDIRECTS or not location:
                    return answer
                url = urljoin(url, location)
    except TimeoutError:
        raise OSError(f'{method.title()} "{url}": no answer within {seconds:g} s') from None
    raise OSError(f'{method.title()} "{url}": stopped after {MAX_REDIRECTS} redirects')


async def _once(method: str, url: str, headers: Mapping[str, str], body: bytes, connect: Dial) -> Answer:
    host, port, with_tls, _ = dial.parse_url(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields: list[Header] = [(b"host", parts.netloc.rpartition("@")[2].encode())]
    fields += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if not all(names.is_clean(value) for _, value in fields) or not names.is_clean(target.encode()):
        raise ValueError(f"a header field for {url!r} holds what none may")
    fields.append((b"content-length", b"%d" % len(body)))
    pool = Pool(connect(host, port, with_tls))
    try:
        response = await pool.request(method.encode(), target.encode(), fields, Body.of(body))
        return Answer(response.status, response.headers, await response.body.read_all(MAX_BYTES))
    except (Unreachable, BodyError) as error:
        raise OSError(f'{method.title()} "{url}": {error}') from None
    finally:
        pool.close()
