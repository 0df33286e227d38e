"""middleware.http.bearer lets requests pass that show a valid token (`Authorization: Bearer ...`); others get 401.

A token is a JWT signed with a key of the issuer (OpenID Connect). It has to be from `issuer` and for `audience`, and
in its time, give or take five minutes. The keys are fetched at start, and again every ten minutes while there are
requests, or when a token names a key that is not known.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydapr.components import component, option, options
from pydapr.components.middleware import Middleware, refuse
from pydapr.net import http
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging
from pydapr.wire import headers as names

log = logging.get("dapr.contrib")

REFRESH_SECONDS = 600.0
UNKNOWN_KEY_SECONDS = 30.0
"""The least time between two fetches because of a key that is not known: anybody can name one."""

SKEW_SECONDS = 300.0

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "secp256k1": "ES256K"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@options
class Options:
    issuer: str = option("Whose tokens count, as they name it (`iss`).", aliases=("issuerURL",))
    audience: str = option("For whom tokens must be (`aud`), usually a client id.", aliases=("clientID",))
    jwks_url: str = option("Where the issuer's keys are; found by OpenID discovery when not given.", default="")


class Invalid(Exception):
    """The token does not let anybody pass."""


@component("middleware.http.bearer", Options)
class Bearer(Middleware):
    def __init__(self, options: Options, clock: Callable[[], float] = time.time) -> None:
        import joserfc  # noqa: F401 - to tell at start when it is missing

        self._issuer, self._audience = options.issuer, options.audience
        self._keys_url = options.jwks_url
        self._clock = clock
        self._keys: dict[str, tuple[tuple[str, ...], Any]] = {}
        self._fetched = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if not self._keys_url:
            self._keys_url = await self._discover()
        await self._fetch()

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            shown = (names.first(exchange.headers, b"authorization") or b"").decode("latin-1")
            if shown[:7].lower() != "bearer " or len(shown) < 17:
                refuse(exchange, 401, "Unauthorized")
                return
            try:
                await self.check(shown[7:])
            except Invalid as error:
                log.debug(f"bearer token refused: {error}")
                refuse(exchange, 401, "Unauthorized")
                return
            await inner(exchange)

        return handle

    # -- tokens --

    async def check(self, token: str) -> None:
        """Raises `Invalid`."""
        head = _head(token)
        name, algorithm = head.get("kid"), head.get("alg")
        if not isinstance(name, str) or not isinstance(algorithm, str):
            raise Invalid("it names no key or no algorithm")
        age = self._clock() - self._fetched
        if name not in self._keys and age > UNKNOWN_KEY_SECONDS:
            await asyncio.shield(self._refresh())
        elif age > REFRESH_SECONDS:
            self._refresh()
        found = self._keys.get(name)
        if found is None or algorithm not in found[0]:
            raise Invalid(f"key {name!r} is not the issuer's, or not for {algorithm}")
        self._check_claims(_claims(token, found[1], algorithm))

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if claims.get("iss") != self._issuer:
            raise Invalid("another issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise Invalid("another audience")
        if now >= _time(claims, "exp", float("inf")) + SKEW_SECONDS:
            raise Invalid("it has expired")
        if now < max(_time(claims, "nbf", 0.0), _time(claims, "iat", 0.0)) - SKEW_SECONDS:
            raise Invalid("its time has not come")

    # -- keys --

    async def _discover(self) -> str:
        url = self._issuer.removesuffix("/") + "/.well-known/openid-configuration"
        try:
            said = _json(await http.request("GET", url))
        except (OSError, ValueError) as error:
            raise ValueError(f"failed to retrieve OpenID Configuration document: {error}") from None
        if said.get("issuer") != self._issuer:
            raise ValueError(
                f"the issuer found in the OpenID Configuration document ('{said.get('issuer')}') doesn't match the one "
                f"provided in the component's metadata ('{self._issuer}')"
            )
        keys_url = said.get("jwks_uri")
        if not isinstance(keys_url, str) or not keys_url:
            raise ValueError("the OpenID Configuration document does not contain a 'jwks_uri'")
        return keys_url

    async def _fetch(self) -> None:
        """Raises `ValueError`."""
        try:
            said = _json(await http.request("GET", self._keys_url))
            keys = said["keys"]
            self._keys = dict(entry for key in keys if (entry := _key(key)) is not None)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"failed to fetch JWKS: {error}") from None
        finally:
            self._fetched = self._clock()

    def _refresh(self) -> "asyncio.Task[None]":
        """Fetches the keys anew, beside the requests; only once at a time."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_or_say())
        return self._fetching

    async def _fetch_or_say(self) -> None:
        try:
            await self._fetch()
        except ValueError as error:
            log.warning(f"Error while refreshing JWKS cache: {error}")


def _json(answer: http.Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise ValueError(f"invalid response status code: {answer.status}")
    said = json.loads(answer.body)
    if not isinstance(said, dict):
        raise ValueError("the answer is no JSON object")
    return said


def _head(token: str) -> Mapping[str, Any]:
    part = token.partition(".")[0]
    try:
        head = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise Invalid("it is no JWT") from None
    if not isinstance(head, dict):
        raise Invalid("it is no JWT")
    return head


def _claims(token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
    """What a token says, once its signature is good."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        return jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError) as error:
        raise Invalid(str(error)) from None


def _time(claims: Mapping[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(f"{name} is no time")
    return float(value)


def _key(document: Any) -> tuple[str, tuple[tuple[str, ...], Any]] | None:
    """Name of a public key, with the algorithms that it is for; None for one that cannot check signatures."""
    from joserfc import jwk
    from joserfc.errors import JoseError

    if not isinstance(document, dict) or not document.get("kid") or document.get("use", "sig") != "sig":
        return None
    kinds: dict[str, tuple[str, ...]] = {
        "RSA": _RSA,
        "EC": tuple(filter(None, (_CURVES.get(str(document.get("crv"))),))),
        "OKP": ("EdDSA",),
    }
    algorithms = kinds.get(str(document.get("kty")), ())
    if document.get("alg"):
        algorithms = tuple(name for name in algorithms if name == document["alg"])
    try:
        return str(document["kid"]), (algorithms, jwk.import_key(document)) if algorithms else ((), None)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
