"""Cross-origin requests (`--allowed-origins`). In the chain only when origins are given.

Comes before the token check, so that a preflight needs no token. The answers are those of the original
(v1.18.3, chi's CORS middleware): a preflight is answered here with 200 and an empty body, a request from a
foreign origin is served without the permission.
"""

from fnmatch import fnmatchcase

from pydapr.net.exchange import Exchange, Handler, Header, Headers
from pydapr.net.wrapped import Wrapped
from pydapr.wire import headers as names

_METHODS = frozenset({b"HEAD", b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
_PREFLIGHT_VARY = (
    (b"vary", b"Origin"),
    (b"vary", b"Access-Control-Request-Method"),
    (b"vary", b"Access-Control-Request-Headers"),
)


class Cors:
    """Adds the permissions to what `inner` answers. `origins` is the comma-separated list of the flag."""

    def __init__(self, origins: str, inner: Handler) -> None:
        self._origins = [origin.strip().lower() for origin in origins.split(",") if origin.strip()]
        self._any = "*" in self._origins
        self._inner = inner

    async def __call__(self, exchange: Exchange) -> None:
        origin = names.first(exchange.headers, b"origin")
        wanted = names.first(exchange.headers, b"access-control-request-method")
        if exchange.method == b"OPTIONS" and wanted:
            exchange.respond(200, self._preflight(exchange.headers, origin, wanted))
            return
        await self._inner(_Permitted(exchange, self._permission(origin)))

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1").lower()
        return self._any or any(fnmatchcase(text, pattern) for pattern in self._origins)

    def _permission(self, origin: bytes | None) -> list[Header]:
        headers: list[Header] = [(b"vary", b"Origin")]
        if origin and self._allows(origin):
            headers.append((b"access-control-allow-origin", b"*" if self._any else origin))
        return headers

    def _preflight(self, headers: Headers, origin: bytes | None, wanted: bytes) -> list[Header]:
        out = list(_PREFLIGHT_VARY)
        if not origin or not self._allows(origin) or wanted.upper() not in _METHODS:
            return out
        out.append((b"access-control-allow-origin", b"*" if self._any else origin))
        out.append((b"access-control-allow-methods", wanted.upper()))
        asked = names.first(headers, b"access-control-request-headers")
        if asked:
            listed = b", ".join(names.canonical(name.strip().lower()) for name in asked.split(b","))
            out.append((b"access-control-allow-headers", listed))
        return out


class _Permitted(Wrapped):
    """An exchange whose answer carries the permission too."""

    __slots__ = ("_permission",)

    def __init__(self, inner: Exchange, permission: list[Header]) -> None:
        super().__init__(inner)
        self._permission = permission

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        super().respond(status, [*headers, *self._permission], body)

    def begin(self, status: int, headers: Headers) -> None:
        super().begin(status, [*headers, *self._permission])
