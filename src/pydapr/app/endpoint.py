"""The channel to a server outside of Dapr that an HTTPEndpoint describes.

Made by `daprd.endpoints`, called by `blocks.invoke`. Beyond what `app.http` does it sets the resource's header
fields and follows redirects, by the rules of Go's client, which the original uses here (v1.18.3,
`pkg/runtime/channels/channels.go`).
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import urljoin, urlsplit

from pydapr.app import http
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.net import dial
from pydapr.net.body import Body
from pydapr.net.pool import Connector
from pydapr.wire import headers as names

MAX_REDIRECTS = 10
MAX_SERVERS = 16
"""Servers to which redirects led whose connections are kept."""

_TO_GET = (301, 302, 303)
_REPEATED = (307, 308)
_SECRET = frozenset({b"authorization", b"www-authenticate", b"cookie", b"cookie2"})
"""What is not meant for the server that a redirect leads to, when that is another one."""

_OF_BODY = frozenset({b"content-encoding", b"content-language", b"content-location", b"content-type"})
_NOT_OURS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"trailer"})
"""Header fields that a resource cannot set, because they belong to the request and not to its meaning."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")

Dial = Callable[[str, int, bool], Connector]
"""Host, port and whether over TLS → a connector."""


class EndpointChannel(http.HttpChannel):
    """Sends calls to `base_url`, with `headers` in place of the client's of the same names.

    Raises `ValueError` when `base_url` is no http(s) URL with a host, or a header field cannot be sent.
    """

    counts_calls = False

    def __init__(self, base_url: str, headers: Iterable[tuple[str, str]], connect: Dial) -> None:
        host, port, with_tls, path = dial.parse_url(base_url)
        super().__init__(connect(host, port, with_tls), base_url.rstrip("/"), node(base_url), path.encode())
        self._base_url = base_url
        self._dial = connect
        self._set: list[Header] = [_field(name, value) for name, value in headers]
        self._replaced = frozenset(name for name, _ in self._set)
        self._set = [field for field in self._set if field[0] not in _NOT_OURS]
        self._elsewhere: dict[str, http.HttpChannel] = {}

    async def invoke(self, call: Call) -> Answer:
        has_body = not call.body.is_whole or bool(call.body.buffered)
        answer = await super().invoke(call)
        if answer.status in _TO_GET or (answer.status in _REPEATED and not has_body):
            return await self._follow(call, answer)
        return answer

    def _headers(self, call: Call) -> list[Header]:
        out = super()._headers(call)
        if self._replaced:
            out = [field for field in out if field[0] not in self._replaced or field[0] in _NOT_OURS]
            out[1:1] = self._set
        return out

    # -- redirects --

    async def _follow(self, call: Call, answer: Answer) -> Answer:
        """The answer at the end of the redirects that begin with `answer`."""
        came = url = f"{self._base_url.rstrip('/')}/{call.method.lstrip('/')}"
        headers = [field for field in names.forwardable(call.headers) if field[0] not in self._replaced] + self._set
        verb = call.verb
        for _ in range(MAX_REDIRECTS):
            location = names.first(answer.headers, b"location")
            if not location or answer.status not in _TO_GET + _REPEATED:
                return answer
            answer.close()
            if answer.status in _TO_GET and verb not in (b"GET", b"HEAD"):
                verb = b"GET"
                headers = [field for field in headers if field[0] not in _OF_BODY]
            url = urljoin(came, location.decode("latin-1"))
            if not _is_within(urlsplit(self._base_url).hostname, urlsplit(url).hostname):
                headers = [field for field in headers if field[0] not in _SECRET | self._replaced]
            answer = await self._elsewhere_to(url).invoke(_redirected(verb, url, headers))
            came = url
        answer.close()
        raise AppUnreachable(f'{verb.decode().title()} "{url}": stopped after {MAX_REDIRECTS} redirects')

    def _elsewhere_to(self, url: str) -> http.HttpChannel:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        channel = self._elsewhere.get(origin)
        if channel is None:
            try:
                host, port, with_tls, _ = dial.parse_url(url)
            except ValueError:
                raise AppUnreachable(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"') from None
            if len(self._elsewhere) >= MAX_SERVERS:
                self._elsewhere.pop(next(iter(self._elsewhere))).retire()
            channel = http.HttpChannel(self._dial(host, port, with_tls), origin, node(url))
            self._elsewhere[origin] = channel
        return channel

    def close(self) -> None:
        super().close()
        for channel in self._elsewhere.values():
            channel.close()

    def retire(self) -> None:
        super().retire()
        for channel in self._elsewhere.values():
            channel.retire()


class Unusable(AppChannel):
    """Stands for an endpoint that cannot be called; each call is told why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def invoke(self, call: Call) -> Answer:
        raise AppUnreachable(self._reason)

    def close(self) -> None:
        pass

    def retire(self) -> None:
        pass


def node(url: str) -> str:
    """Host and port of a URL as the Host field tells them: the usual port is left out. Raises `ValueError`."""
    host, port, with_tls, _ = dial.parse_url(url)
    host = f"[{host}]" if ":" in host else host
    return host if port == (443 if with_tls else 80) else f"{host}:{port}"


def _field(name: str, value: str) -> Header:
    field = (name.strip().lower().encode(), value.strip().encode())
    if not _NAME.match(field[0]) or not names.is_clean(field[1]):
        raise ValueError(f"header {name!r} cannot be sent: its name or its value holds what no header field may")
    return field


def _is_within(first: str | None, host: str | None) -> bool:
    """Whether `host` is `first` or below it."""
    return first is not None and host is not None and (host == first or host.endswith(f".{first}"))


def _redirected(verb: bytes, url: str, headers: list[Header]) -> Call:
    parts = urlsplit(url)
    return Call(verb, parts.path.removeprefix("/"), parts.query.encode(), headers, Body.of(b""), is_clean=True)
