"""middleware.http.oauth2 sends who has not signed in to an OAuth2 server, and shows the token of who has.

The authorization code flow (RFC 6749, section 4.1). A cookie names a session in this process; several sidecars
do not share sessions.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from pydapr.components import component, option, options
from pydapr.components.drivers import oauth2
from pydapr.components.middleware import Middleware, refuse
from pydapr.lib.pathfilter import PathFilter
from pydapr.net.exchange import Exchange, Handler, Header
from pydapr.observe import logging
from pydapr.wire import headers as names

log = logging.get("dapr.contrib")

COOKIE = "gosessionid"
MAX_SESSIONS = 65_536
SESSION_SECONDS = 24 * 3600.0


@options
class Options:
    client_id: str = option("The client's id with the OAuth2 server.")
    client_secret: str = option("The client's secret with the OAuth2 server.")
    auth_url: str = option("Where people sign in.")
    token_url: str = option("Where codes are exchanged for tokens.")
    auth_header_name: str = option("The header field that shows the token.", default="Authorization")
    scopes: str = option("What the token is for, separated by commas.", default="")
    redirect_url: str = option("Where the server sends people back to.", default="")
    force_https: bool = option("Send people back over https.", default=False)
    path_filter: str = option("Only requests whose path matches this expression need to sign in.", default="")


@dataclass(slots=True)
class _Session:
    until: float
    state: str = ""
    back_to: str = ""
    header: str = ""


@component("middleware.http.oauth2", Options)
class OAuth2(Middleware):
    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._filter = PathFilter(options.path_filter)
        self._name = options.auth_header_name.strip().lower().encode()
        self._endpoint = oauth2.TokenEndpoint(options.token_url, options.client_id, options.client_secret)
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            if not self._filter.matches(exchange.target):
                await inner(exchange)
                return
            key = _cookie(exchange)
            session = self._session(key)
            if session is not None and session.header:
                kept = [field for field in exchange.headers if field[0] != self._name]
                exchange.headers = [*kept, (self._name, session.header.encode())]
                await inner(exchange)
                return
            asked = parse_qs(exchange.target.partition(b"?")[2].decode("latin-1"))
            if asked.get("state"):
                await self._came_back(exchange, key, session, asked)
            else:
                self._send_away(exchange, key, session)

        return handle

    def _session(self, key: str) -> _Session | None:
        session = self._sessions.get(key)
        if session is not None and session.until <= self._clock():
            del self._sessions[key]
            return None
        return session

    def _begin(self, session: _Session) -> list[Header]:
        """Keeps a session under a new name, and the header fields that tell it."""
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        key = secrets.token_urlsafe(32)
        self._sessions[key] = session
        secure = "; Secure" if self._options.force_https else ""
        return [(b"set-cookie", f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Lax{secure}".encode())]

    def _send_away(self, exchange: Exchange, key: str, session: _Session | None) -> None:
        """To the server, where people sign in."""
        told: list[Header] = []
        if session is None:
            session = _Session(self._clock() + SESSION_SECONDS)
            told = self._begin(session)
        session.state = secrets.token_urlsafe(24)
        session.back_to = self._back_to(exchange)
        options = self._options
        pairs = {"access_type": "offline", "client_id": options.client_id, "response_type": "code"}
        pairs |= {"redirect_uri": options.redirect_url} if options.redirect_url else {}
        pairs |= {"scope": options.scopes.replace(",", " ")} if options.scopes else {}
        pairs["state"] = session.state
        mark = "&" if "?" in options.auth_url else "?"
        location = f"{options.auth_url}{mark}{urlencode(sorted(pairs.items()))}"
        exchange.respond(302, [(b"location", location.encode()), *told])

    def _back_to(self, exchange: Exchange) -> str:
        target = "/" + exchange.target.decode("latin-1").lstrip("/")  # never `//host`
        host = (names.first(exchange.headers, b"host") or b"").decode("latin-1")
        return f"https://{host}{target}" if self._options.force_https and host else target

    async def _came_back(
        self, exchange: Exchange, key: str, session: _Session | None, asked: dict[str, list[str]]
    ) -> None:
        """From the server, with a code."""
        if session is None or not session.state:
            refuse(exchange, 500, "Internal Server Error")
            return
        if not secrets.compare_digest(asked["state"][0].encode(), session.state.encode()):
            refuse(exchange, 400, "invalid state")
            return
        code = asked.get("code", [""])[0]
        if not code:
            refuse(exchange, 400, "code not found")
            return
        parameters = [("grant_type", "authorization_code"), ("code", code)]
        if self._options.redirect_url:
            parameters.append(("redirect_uri", self._options.redirect_url))
        session.state = ""
        try:
            token = await self._endpoint.ask(parameters)
        except (OSError, ValueError) as error:
            log.error(f"Failed to exchange token: {error}")
            refuse(exchange, 500, "Internal Server Error")
            return
        # Under a new name: whoever knew the old one before has nothing of it.
        self._sessions.pop(key, None)
        signed_in = _Session(self._clock() + (token.seconds or SESSION_SECONDS), header=token.header)
        exchange.respond(302, [(b"location", session.back_to.encode("latin-1")), *self._begin(signed_in)])


def _cookie(exchange: Exchange) -> str:
    """The session that the client names; "" when it names none."""
    for name, value in exchange.headers:
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if found is not None:
                return found.value
    return ""
