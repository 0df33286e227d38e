"""The channel to an app that speaks HTTP/1.1, and to any server named by a URL.

Called by `blocks.invoke`; goes on to `net.pool`.
"""

import copy
import re
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from mypy_extensions import mypyc_attr

from pydapr.app import paths
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.errors import Code, RpcError
from pydapr.lib import quote
from pydapr.net.body import Body, BodyError
from pydapr.net.pool import Connector, NoSuchHost, Pool, Unreachable, Untrusted
from pydapr.observe import logging
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_http import HttpMetrics

log = logging.get("dapr.runtime.http")

NO_ANSWER = 500
"""The status under which a call without an answer is counted, as in the original."""

_WITHOUT_BODY = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE"})
_EMPTY = (b"content-length", b"0")
_CHUNKED = (b"transfer-encoding", b"chunked")
_has_control = re.compile(rb"[\x00-\x1f\x7f]").search


class Response(Protocol):
    """The head of a response and the body behind it."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[Header]: ...
    @property
    def body(self) -> Body: ...
    def close(self) -> None: ...


class Requests(Protocol):
    """Connections to one server: `net.pool`, or streams in its shape."""

    async def request(self, method: bytes, target: bytes, headers: list[Header], body: Body) -> Response: ...
    def close(self) -> None: ...
    def retire(self) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class HttpChannel(AppChannel):
    """Sends calls to one HTTP/1.1 server.

    `base` is its URL for messages, such as `http://127.0.0.1:6001`; `host` what the Host field says; `prefix`
    stands before each path; `token`, if there is one, is sent as `dapr-api-token`. No more than `at_a_time`
    calls are under way together, 0 for any number; the others wait their turn.
    """

    counts_calls = True
    """Whether a call of it is one call of the server."""

    def __init__(
        self, connect: Connector, base: str, host: str, prefix: bytes = b"", token: str = "", at_a_time: int = 0
    ) -> None:
        self._pool: Requests = Pool(connect, _short, at_a_time)
        self._base = base
        self._host = (b"host", host.encode())
        self._prefix = prefix
        self._token = (b"dapr-api-token", token.encode()) if token else None
        self._paths: dict[str, bytes] = {}
        self.metrics: HttpMetrics | None = None
        """Who counts and times the calls, None for nobody, or for who stands before the channel."""

    def uncounted(self) -> "HttpChannel":
        """The same connections for calls that are not to be counted."""
        other = copy.copy(self)
        other.metrics = None
        return other

    async def invoke(self, call: Call) -> Answer:
        if call.verb == b"" or call.verb == b"CONNECT":
            raise RpcError(Code.INVALID_ARGUMENT, "invalid HTTP verb")
        target = self._paths.get(call.method) or self._path(call.method)
        if call.query:
            if _has_control(call.query):
                # It would end the request line and begin a request of its own.
                url = f"{self._base}{target.decode('latin-1')}?{call.query.decode('utf-8', 'surrogateescape')}"
                raise AppUnreachable(f"parse {quote.go(url)}: net/url: invalid control character in URL")
            # What follows a "#" is no part of a request; a client that sends it all the same gets its answer.
            target = b"%b?%b" % (target, call.query.partition(b"#")[0])
        metrics = self.metrics
        if metrics is not None:
            size = call.body.length or 0
            began = perf_counter()
        try:
            response = await self._pool.request(call.verb, target, self._headers(call), call.body)
        except (Unreachable, BodyError) as error:
            if metrics is not None:
                metrics.called(call.verb, call.method, NO_ANSWER, size, 0, perf_counter() - began)
            raise AppUnreachable(self._describe(call, target, error)) from None
        if metrics is not None:
            body = response.body
            received = body.buffered if body.length is None else body.length
            metrics.called(call.verb, call.method, response.status, size, received, perf_counter() - began)
        length = None
        if call.verb == b"HEAD":
            length = names.first(response.headers, b"content-length")
        return Answer(response.status, names.forwardable(response.headers), response.body, response.close, length)

    def _headers(self, call: Call) -> list[Header]:
        headers = call.headers if call.is_clean else names.forwardable(call.headers)
        out = [self._host, *headers]
        trace = call.trace
        if trace is not None:
            if call.says_trace or trace.tracestate:
                trace.add_to(out)
            else:
                out.append((b"traceparent", trace.traceparent))
        if self._token is not None:
            out = [header for header in out if header[0] != b"dapr-api-token"]
            out.append(self._token)
        out += _framing(call.verb, call.body)
        return out

    def _path(self, method: str) -> bytes:
        try:
            path = self._prefix + paths.escape(method)
        except paths.Invalid as error:
            raise AppUnreachable(f'parse "{self._base}/{method}": {error}') from None
        if len(self._paths) >= 1024:
            self._paths.clear()
        self._paths[method] = path
        return path

    def _describe(self, call: Call, target: bytes, error: Exception) -> str:
        """The words of Go's client, which answers of the original carry."""
        reason = str(error)
        if isinstance(error, NoSuchHost):
            reason = f"dial tcp: {reason}"
        elif isinstance(error, Unreachable) and not isinstance(error, Untrusted):
            reason = f"dial tcp {self._host[1].decode()}: {reason}"
        return f'{call.verb.decode().title()} "{self._base}{target.decode("latin-1")}": {reason}'

    def close(self) -> None:
        self._pool.close()

    def retire(self) -> None:
        self._pool.retire()


def _short(missing: int) -> None:
    """The app closed in good order before all of the promised body was there: the original passes that on as whole."""
    log.warning(f"HTTP service invocation failed to complete with error: unexpected EOF, {missing} bytes missing")


def _framing(verb: bytes, body: Body) -> tuple[Header, ...]:
    """How the length of the request's body is told; the last header field of a request."""
    if body.is_whole:
        if body.buffered:
            return ((b"content-length", b"%d" % body.buffered),)
        return () if verb in _WITHOUT_BODY else (_EMPTY,)
    if body.length is not None:
        return ((b"content-length", b"%d" % body.length),)
    return (_CHUNKED,)
