"""Service invocation over HTTP: who is meant, what is called, and the answer passed on.

Called by `api.http.router` for `/v1.0/invoke/...` and for every path that is no other route; goes on to
`blocks.invoke`.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_plus

from pydapr.app import paths, rpc
from pydapr.app.channel import Answer, Call
from pydapr.blocks.invoke import Invoker
from pydapr.errors import DaprError, InvokeFailed, NoTarget
from pydapr.lib import urls
from pydapr.net.body import Body, BodyError, TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers as names

PREFIX = b"/v1.0/invoke/"

Guarded = Callable[[Exchange, str, Call], Awaitable[None]]
"""Answers an exchange by calling a target under policies."""

_KNOWN = 2048
_VERBS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})


class InvokeApi:
    """Answers invocations. `max_body` bounds the bodies of requests, 0 for no bound.

    `failed` hears of each failure of an app that is passed on, unless the request is a stream.
    """

    def __init__(self, invoker: Invoker, max_body: int, failed: Callable[[], None] | None = None) -> None:
        self._invoker = invoker
        self._max_body = max_body
        self._failed = failed
        self._known: dict[bytes, tuple[str, str]] = {}
        self._guarded: Guarded | None = None
        if invoker.policies is not None and invoker.policies.applies_to_apps:
            from pydapr.api.http import guarded

            self._guarded = guarded.GuardedCalls(invoker, invoker.policies, max_body, failed).answer

    async def handle(self, exchange: Exchange) -> None:
        """Answers one exchange; raises `DaprError` when the answer is an error of ours."""
        target, method, query = self._find(exchange)
        verb = exchange.method if exchange.method in _VERBS else _verb(exchange.method)
        body = exchange.body
        if self._max_body > 0:
            try:
                body.limit(self._max_body)
            except TooLarge as error:
                raise _too_large(target, error) from None
        trace = exchange.trace
        if trace is not None and trace.record is not None:
            trace.record.called(target, method)
        call = Call(verb, method, query, exchange.headers, body, trace=trace)
        if self._guarded is not None:
            await self._guarded(exchange, target, call)
            return
        counts = self._failed is not None and not is_stream(body)
        answer = await self._invoker.invoke(target, call)
        if counts and is_failure(answer):
            assert self._failed is not None
            self._failed()
        if answer.body.is_whole and answer.content_length is None:
            exchange.respond(answer.status, answer.headers, answer.body.take())
        else:
            await _stream(exchange, answer)

    def _find(self, exchange: Exchange) -> tuple[str, str, bytes]:
        """Target, decoded method and raw query. Raises `NoTarget`.

        The `dapr-app-id` header wins over Basic authentication, which wins over the URL.
        """
        path, _, query = exchange.target.partition(b"?")
        fields = exchange.fields
        if b"dapr-app-id" in fields or b"authorization" in fields:
            named = (names.first(exchange.headers, b"dapr-app-id") or b"").decode("utf-8", "replace")
            if named:
                exchange.headers = [header for header in exchange.headers if header[0] != b"dapr-app-id"]
            named = named or _user(fields.get(b"authorization", b""))
            if named:
                return named, paths.clean(urls.decode(path)).removeprefix("/"), query
        known = self._known.get(path)
        if known is None:
            known = _split(urls.decode(path))
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[path] = known
        return known[0], known[1], query


def is_stream(body: Body) -> bool:
    """Whether nobody knows yet how long a request is."""
    return body.length is None and not (body.is_whole and not body.buffered)


def is_failure(answer: Answer) -> bool:
    """Whether an app has failed; to the original only a status of HTTP says anything here."""
    return not 200 <= answer.status <= 399 and not isinstance(answer, rpc.RpcAnswer)


def target_of(exchange: Exchange) -> str:
    """Who is meant by an invocation, "" when nobody is; the exchange stays as it is."""
    named = (names.first(exchange.headers, b"dapr-app-id") or b"").decode("utf-8", "replace")
    named = named or _user(exchange.fields.get(b"authorization", b""))
    if named:
        return named
    try:
        return _split(urls.decode(exchange.target.partition(b"?")[0]))[0]
    except (NoTarget, ValueError):
        return ""


def _verb(method: bytes) -> bytes:
    """What a method in other letters, or none that Dapr knows, becomes."""
    upper = method.upper()
    return upper if upper in _VERBS else b"POST"


def _user(authorization: bytes) -> str:
    """The app id in `Basic` and base64 of `dapr-app-id:<app id>`, the user information of a URL; "" without."""
    if not authorization.startswith(b"Basic "):
        return ""
    try:
        pair = base64.b64decode(authorization[6:], validate=True).decode().split(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair[1] if len(pair) == 2 and pair[0].lower() == "dapr-app-id" else ""


def _split(path: str) -> tuple[str, str]:
    """Target and method of `/v1.0/invoke/<target>/method/<method>`; slashes may be doubled. Raises `NoTarget`."""
    rest = path.lstrip("/")
    for part in ("v1.0", "invoke"):
        if not rest.startswith(part + "/"):
            raise NoTarget
        rest = rest[len(part) :].lstrip("/")
    end = rest.find("/method/")
    if end <= 0:
        raise NoTarget
    target = rest[:end]
    return unquote_plus(target) or target, paths.clean(rest[end + len("/method/") :])


async def pass_on(exchange: Exchange, answer: Answer, held: bytes = b"") -> bool:
    """Answers with `answer`, of whose body `held` has been read already; False when it broke off."""
    if answer.body.is_whole and answer.content_length is None:
        rest = answer.body.take()
        exchange.respond(answer.status, answer.headers, held + rest if held and rest else held or rest)
        return True
    return await _stream(exchange, answer, held)


async def _stream(exchange: Exchange, answer: Answer, held: bytes = b"") -> bool:
    """Passes an answer on while it arrives; one that breaks off is broken off here too, and the result is False."""
    headers = answer.headers
    if answer.content_length is not None:
        headers = [*headers, (b"content-length", answer.content_length)]
    try:
        exchange.begin(answer.status, headers)
        if held:
            await exchange.write(held)
        while piece := await answer.body.read():
            await exchange.write(piece)
        exchange.finish()
        return True
    except BodyError:
        exchange.abort()
        return False
    finally:
        answer.close()


def _too_large(target: str, error: TooLarge) -> DaprError:
    return InvokeFailed(f"failed to invoke, id: {target}, err: {error}")
