"""From a request to the face that answers it. Built once at start; called by `net.server` for each exchange.

A path that is no route, or a method that a route does not have, is an invocation by `dapr-app-id`, as in the
original. What is switched off is not in the chain.
"""

from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

from pydapr.api.http import errors, measured
from pydapr.app import paths
from pydapr.errors import DaprError, Internal, MalformedRequest
from pydapr.net.body import BodyError, Disconnected
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_http import HttpMetrics

log = logging.get("dapr.runtime.http")

Route = tuple[bytes, bytes]
"""A method and a path. In a path `*` stands for any one segment that is not empty, `**` at the end for one or more; all
before the first `*` is text."""

_MOST_SEGMENTS = 64
"""Segments of a path behind its group where one has `**`."""

_PLAIN = ((b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff"))


class Router:
    """Finds the handler of a request and answers with its error if it raises one."""

    def __init__(
        self,
        routes: Mapping[Route, Handler],
        invoke: Handler,
        invoke_prefix: bytes = b"/v1.0/invoke/",
        respond: errors.Respond = errors.respond,
    ) -> None:
        self._exact = {route: handler for route, handler in routes.items() if b"*" not in route[1]}
        self._patterns: dict[tuple[bytes, bytes, int], list[tuple[list[tuple[int, bytes]], Handler]]] = {}
        """By method, the group of the API (`/v1.0/secrets/`) and the number of segments behind it: those that are text,
        with their places."""
        for (method, path), handler in routes.items():
            if b"*" in path:
                group = _group(path)
                wanted = path[len(group) :].split(b"/")
                texts = [(place, text) for place, text in enumerate(wanted) if text not in (b"*", b"**")]
                most = _MOST_SEGMENTS if wanted[-1] == b"**" else len(wanted)
                for count in range(len(wanted), most + 1):
                    self._patterns.setdefault((method, group, count), []).append((texts, handler))
        self._routes = routes
        self._invoke = invoke
        self._invoke_prefix = invoke_prefix
        self._respond = respond
        self.metrics: HttpMetrics | None = None
        """Who counts and times the requests; None for nobody, or where that stands before the router."""

    async def __call__(self, exchange: Exchange) -> None:
        metrics = self.metrics
        if metrics is not None:
            asked = exchange
            exchange = counted = measured.Counted(exchange)
            began = perf_counter()
        handler = self._invoke
        if not exchange.target.startswith(self._invoke_prefix):
            handler = self._find(exchange) or handler
        try:
            await handler(exchange)
        except DaprError as error:
            self._respond(exchange, error)
        except (Disconnected, ConnectionError):
            exchange.abort()
        except BodyError as broken:
            self._respond(exchange, Internal(str(broken)))
        except ValueError as wrong:
            _refuse(exchange, wrong)
        except RecursionError:
            self._respond(exchange, MalformedRequest("the body is nested too deeply"))
        except Exception as fault:
            log.error(f"Unexpected error while answering {exchange.method.decode()}: {fault!r}")
            self._respond(exchange, Internal(f"unexpected error: {fault!r}"))
        finally:
            if metrics is not None:
                metrics.answered(
                    asked.method, asked.target, counted.status, asked.body.length or 0, counted.size,
                    perf_counter() - began,
                )  # fmt: skip

    def route(self, exchange: Exchange) -> Route | None:
        """The route that answers, None when it is an invocation."""
        if exchange.target.startswith(self._invoke_prefix):
            return None
        handler = self._find(exchange)
        found = [route for route, one in self._routes.items() if one is handler and route[0] == exchange.method]
        if len(found) > 1:  # the handler answers several; all but those with `**` are told apart by the path
            segments = exchange.target.partition(b"?")[0].rstrip(b"/").split(b"/")
            found = [route for route in found if _fits(segments, route[1].split(b"/"))] or found
        return found[0] if found else None

    def _find(self, exchange: Exchange) -> Handler | None:
        path, mark, query = exchange.target.partition(b"?")
        found = self._match(exchange.method, path)
        if found is None and (b"//" in path or b"/." in path):
            path = paths.clean(path.decode("latin-1")).encode("latin-1")
            found = self._match(exchange.method, path)
            if found is not None:
                exchange.target = path + mark + query
        return found

    def _match(self, method: bytes, path: bytes) -> Handler | None:
        handler = self._exact.get((method, path))
        if handler is None and path.endswith(b"/") and len(path) > 1:
            path = path.rstrip(b"/")
            handler = self._exact.get((method, path))
        if handler is None:
            group = _group(path)
            segments = path[len(group) :].split(b"/")
            if b"" in segments:
                return None
            for texts, candidate in self._patterns.get((method, group, len(segments)), ()):
                for place, text in texts:
                    if segments[place] != text:
                        break
                else:
                    return candidate
        return handler


def _group(path: bytes) -> bytes:
    """The first two segments of a path, with the slashes around them."""
    return path[: path.find(b"/", path.find(b"/", 1) + 1) + 1]


def _fits(segments: list[bytes], wanted: list[bytes]) -> bool:
    """Whether segments are those of a pattern, first to last."""
    if len(segments) != len(wanted):
        return False
    for segment, one in zip(segments, wanted, strict=True):
        if segment != one and (one != b"*" or not segment):
            return False
    return True


def _refuse(exchange: Exchange, error: ValueError) -> None:
    """Answers a target that cannot be decoded, as Go's server does."""
    if exchange.is_begun:
        exchange.abort()
    else:
        exchange.respond(400, _PLAIN[:1], b"400 Bad Request: " + str(error).encode("utf-8", "replace"))


async def not_found(exchange: Exchange) -> None:
    """Stands for invocation where the Configuration closes it."""
    exchange.respond(404, _PLAIN, b"404 page not found\n")


class PublicRouter:
    """The few routes of the public port; everything else is not there."""

    def __init__(self, routes: Mapping[Route, Handler], respond: errors.Respond = errors.respond) -> None:
        self._routes = routes
        self._respond = respond

    async def __call__(self, exchange: Exchange) -> None:
        path = exchange.target.partition(b"?")[0]
        allowed = []
        for (method, pattern), handler in self._routes.items():
            if _fits(path.split(b"/"), pattern.split(b"/")):
                if method == exchange.method:
                    await self._answer(handler, exchange)
                    return
                allowed.append(method)
        if allowed:
            exchange.respond(405, ((b"allow", b", ".join(allowed)),))
        else:
            await not_found(exchange)

    async def _answer(self, handler: Handler, exchange: Exchange) -> None:
        try:
            await handler(exchange)
        except DaprError as error:
            self._respond(exchange, error)


def require_token(token: str, without: Iterable[bytes], inner: Handler) -> Handler:
    """`inner`, reached only with `token` in the `dapr-api-token` header; the paths `without` need none."""
    import hmac  # not needed without a token, and it takes nearly a megabyte

    expected = token.encode()
    free = frozenset(without)

    async def handle(exchange: Exchange) -> None:
        given = names.first(exchange.headers, b"dapr-api-token")
        if exchange.method == b"GET" and exchange.target.partition(b"?")[0] in free:
            await inner(exchange)
        elif given is None or not hmac.compare_digest(given, expected):
            exchange.respond(401, _PLAIN, b"invalid api token\n")
        else:
            exchange.headers = [header for header in exchange.headers if header[0] != b"dapr-api-token"]
            await inner(exchange)

    return handle
