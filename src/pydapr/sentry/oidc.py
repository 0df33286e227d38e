"""The OpenID server, where others get the keys of our tokens: `/.well-known/openid-configuration`, `/jwks.json`.

It is no identity provider: there is nothing to sign in to. The handler of the server that `runtime` opens; what it
answers is the original's (v1.18.3, `pkg/sentry/server/oidc`).
"""

import json
import re
from urllib.parse import urljoin, urlsplit

from pydapr.net.exchange import Exchange
from pydapr.observe import logging
from pydapr.sentry import flags, tokens
from pydapr.wire import headers as names

log = logging.get("dapr.sentry.server.oidc.http")

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/jwks.json"

_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""What may stand in the URLs that others are to trust."""

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"public, max-age=3600"))
_TEXT = ((b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff"))


class OpenId:
    """Answers the paths. `tokens` may be replaced while it runs. Raises `ValueError` for a URL that is none."""

    def __init__(self, current: tokens.Tokens, settings: flags.Oidc, issuer: str | None) -> None:
        self.tokens = current
        self._scheme = "https" if settings.certificate_file is not None else "http"
        self._issuer = _url(issuer or "", "JWT issuer")
        self._jwks_uri = None if settings.jwks_uri is None else _url(settings.jwks_uri, "JWKS")
        self._hosts = settings.allowed_hosts
        prefix = _prefix(settings.path_prefix)
        self._keys_path = prefix + KEYS
        self._answers = {self._keys_path: self._keys, prefix + DISCOVERY: self._discovery}
        if prefix:
            log.info(f'Using path prefix "{prefix}" for OIDC HTTP endpoints')
        if self._hosts:
            log.info(f"OIDC server will only accept requests for hosts: [{' '.join(self._hosts)}]")
        else:
            log.info("OIDC server will accept requests for any host")

    async def serve(self, exchange: Exchange) -> None:
        path = exchange.target.partition(b"?")[0].decode("latin-1")
        answer = self._answers.get(path)
        if answer is None:
            exchange.respond(404, _TEXT, b"404 page not found\n")
        elif not self._is_allowed(exchange):
            exchange.respond(403, _TEXT, b"Forbidden: unauthorized domain\n")
        elif exchange.method != b"GET":
            exchange.respond(405, _TEXT, b"Method not allowed\n")
        else:
            answer(exchange)

    def _is_allowed(self, exchange: Exchange) -> bool:
        if not self._hosts or "*" in self._hosts:
            return True
        host = _field(exchange, b"x-forwarded-host") or _field(exchange, b"host")
        if host in self._hosts or _without_port(host) in self._hosts:
            return True
        log.warning(f"Request from unauthorized domain: {host}")
        return False

    def _keys(self, exchange: Exchange) -> None:
        exchange.respond(200, _JSON, tokens.text(self.tokens.public))

    def _discovery(self, exchange: Exchange) -> None:
        host = self._host(exchange)
        if not self._issuer and _HOST.fullmatch(host) is None:
            exchange.respond(400, _TEXT, b"Invalid host\n")
            return
        issuer = self._issuer or f"{self._scheme}://{host}"
        document = {
            "issuer": issuer,
            "jwks_uri": urljoin(issuer, self._keys_path) if self._jwks_uri is None else self._jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.tokens.algorithm],
            "scopes_supported": ["openid"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nbf", "use"],
        }
        exchange.respond(200, _JSON, json.dumps(document, separators=(",", ":")).encode() + b"\n")

    def _host(self, exchange: Exchange) -> str:
        """How we are called. The name that a proxy passes on counts only when a list of names has let it through."""
        if self._hosts and "*" not in self._hosts:
            forwarded = _field(exchange, b"x-forwarded-host")
            if forwarded:
                return forwarded
        return _field(exchange, b"host")


def _field(exchange: Exchange, name: bytes) -> str:
    return (names.first(exchange.headers, name) or b"").decode("latin-1")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name.strip("[]") if colon and port.isdecimal() else host


def _prefix(given: str | None) -> str:
    """What paths begin with: a leading slash and none at the end."""
    words = [word for word in (given or "").split("/") if word]
    return "".join(f"/{word}" for word in words)


def _url(text: str, what: str) -> str:
    try:
        urlsplit(text)
    except ValueError as error:
        raise ValueError(f"invalid {what} URI: {error}") from None
    return text
