"""The token endpoint of an OAuth2 server (RFC 6749), as the middleware of both flows asks it."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs, quote_plus, urlencode

from pydapr.net import http

DETECT, IN_PARAMS, IN_HEADER = 0, 1, 2
"""How the client shows its id and secret: try both ways, in the body, or by Basic authentication."""

_TYPES = {"bearer": "Bearer", "mac": "MAC", "basic": "Basic", "": "Bearer"}


class Refused(OSError):
    """The server gave no token."""


class Token:
    """`header` is what a request shows; `seconds` how long it holds, 0 when the server does not say."""

    __slots__ = ("header", "seconds")

    def __init__(self, header: str, seconds: float) -> None:
        self.header, self.seconds = header, seconds


class TokenEndpoint:
    """Where tokens come from."""

    def __init__(self, url: str, client_id: str, client_secret: str, style: int = DETECT) -> None:
        self._url, self._id, self._secret, self._style = url, client_id, client_secret, style

    async def ask(self, parameters: Sequence[tuple[str, str]]) -> Token:
        """Raises `OSError`, of it `Refused` when the server says no."""
        if self._style != DETECT:
            return await self._ask(parameters, self._style)
        try:
            token = await self._ask(parameters, IN_HEADER)
            self._style = IN_HEADER
        except Refused:
            token = await self._ask(parameters, IN_PARAMS)
            self._style = IN_PARAMS
        return token

    async def _ask(self, parameters: Sequence[tuple[str, str]], style: int) -> Token:
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        pairs = list(parameters)
        if style == IN_HEADER:
            both = f"{quote_plus(self._id)}:{quote_plus(self._secret)}"
            headers["authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
        else:
            pairs += [("client_id", self._id), ("client_secret", self._secret)]
        answer = await http.request("POST", self._url, headers, urlencode(pairs).encode())
        if not 200 <= answer.status < 300:
            raise Refused(f"cannot fetch token: {answer.status}")
        return _token(answer)


def _token(answer: http.Answer) -> Token:
    kind = answer.header("content-type").partition(";")[0].strip()
    said: Mapping[str, object]
    try:
        if kind in ("application/x-www-form-urlencoded", "text/plain"):
            said = {name: values[0] for name, values in parse_qs(answer.body.decode()).items()}
        else:
            said = json.loads(answer.body)
        access = str(said.get("access_token") or "")
        type_ = str(said.get("token_type") or "")
        seconds = float(str(said.get("expires_in") or 0))
    except (ValueError, AttributeError):
        raise Refused("cannot parse the answer of the token endpoint") from None
    if not access:
        raise Refused("server response missing access_token")
    return Token(f"{_TYPES.get(type_.lower(), type_)} {access}", seconds)


class Held:
    """A token that is asked for when it is needed, and again shortly before it ends; by one at a time."""

    EARLY = 10.0

    def __init__(
        self, endpoint: TokenEndpoint, parameters: Sequence[tuple[str, str]], clock: Callable[[], float]
    ) -> None:
        self._endpoint, self._parameters, self._clock = endpoint, parameters, clock
        self._header, self._until = "", 0.0
        self._asking = asyncio.Lock()

    async def header(self) -> str:
        """Raises `OSError`."""
        if self._header and self._clock() < self._until:
            return self._header
        async with self._asking:
            if not self._header or self._clock() >= self._until:
                token = await self._endpoint.ask(self._parameters)
                seconds = token.seconds or float("inf")
                self._header = token.header
                self._until = self._clock() + max(seconds - self.EARLY, seconds / 2)
        return self._header
