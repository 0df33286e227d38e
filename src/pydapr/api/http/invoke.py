"""Service invocation over HTTP: who is meant, what is called, and the answer passed on.

Called by `api.http.router` for `/v1.0/invoke/...` and for every path that is no other route; goes on to
`blocks.invoke`.
"""

import base64
import binascii
from urllib.parse import unquote_plus

from pydapr.app import paths
from pydapr.app.channel import Answer, Call
from pydapr.blocks.invoke import Invoker
from pydapr.errors import DaprError, InvokeFailed, NoTarget
from pydapr.lib import urls
from pydapr.net.body import BodyError, TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers as names

PREFIX = b"/v1.0/invoke/"

_KNOWN = 2048
_VERBS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})


class InvokeApi:
    """Answers invocations. `max_body` bounds the bodies of requests, 0 for no bound."""

    def __init__(self, invoker: Invoker, max_body: int) -> None:
        self._invoker = invoker
        self._max_body = max_body
        self._known: dict[bytes, tuple[str, str]] = {}

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
        answer = await self._invoker.invoke(target, Call(verb, method, query, exchange.headers, body))
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


async def _stream(exchange: Exchange, answer: Answer) -> None:
    """Passes an answer on while it arrives; one that breaks off is broken off here too."""
    headers = answer.headers
    if answer.content_length is not None:
        headers = [*headers, (b"content-length", answer.content_length)]
    try:
        exchange.begin(answer.status, headers)
        while piece := await answer.body.read():
            await exchange.write(piece)
        exchange.finish()
    except BodyError:
        exchange.abort()
    finally:
        answer.close()


def _too_large(target: str, error: TooLarge) -> DaprError:
    return InvokeFailed(f"failed to invoke, id: {target}, err: {error}")
