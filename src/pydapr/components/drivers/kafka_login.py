"""How we show Kafka's brokers who we are: TLS, names and passwords (SASL), tokens of an OAuth2 server.

Used by `drivers.kafka`. Kinds, defaults and refusals are the original's (components-contrib v1.18,
`common/component/kafka/auth.go`): TLS is spoken unless `disableTls` or `authType` none say otherwise.
"""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from pydapr.components import Wrong, option, options
from pydapr.lib import truth
from pydapr.net import client_tls, dial, http

if TYPE_CHECKING:
    import ssl

PASSWORD, OIDC, OIDC_JWT, MTLS, CERTIFICATE, AWS, NONE = (
    "password", "oidc", "oidc_private_key_jwt", "mtls", "certificate", "awsiam", "none",
)  # fmt: skip

MECHANISMS: Mapping[str, str] = {"SHA-256": "SCRAM-SHA-256", "SHA-512": "SCRAM-SHA-512"}
"""Any other is PLAIN."""

TOKEN_SECONDS = 30.0
EARLY_SECONDS = 10.0
"""How long before its end a token is replaced."""

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@options
class Options:
    auth_type: str = option(
        "`none`, `password`, `mtls`, `certificate`, `oidc` or `oidc_private_key_jwt`. `awsiam` is refused: it is not "
        "available.",
        default="",
    )
    auth_required: str = option("An older form of `authType`: true for password or mtls, false for none.", default="")
    sasl_username: str = option("The user for `password`.", default="")
    sasl_password: str = option("The password for `password`.", default="")
    sasl_mechanism: str = option("`SHA-256`, `SHA-512` or `PLAINTEXT`.", default="PLAINTEXT")
    disable_tls: bool = option("Speak no TLS.", default=False)
    skip_verify: bool = option("Take any certificate of brokers and token server. For tests.", default=False)
    ca_cert: str = option("Whom to trust, in PEM form; what the system trusts otherwise.", default="")
    client_cert: str = option("Our certificate for `mtls`, in PEM form.", default="")
    client_key: str = option("The key of our certificate, in PEM form.", default="")
    oidc_token_endpoint: str = option("Where tokens come from.", default="")
    oidc_client_id: str = option("Who we are for the token server.", default="")
    oidc_client_secret: str = option("Our secret for `oidc`.", default="")
    oidc_scopes: str = option("Scopes of the token, by commas.", default="openid")
    oidc_extensions: str = option("What brokers are told beside the token, a JSON object.", default="")
    oidc_client_assertion_cert: str = option("Our certificate for `oidc_private_key_jwt`, in PEM form.", default="")
    oidc_client_assertion_key: str = option("Its RSA key, in PEM form.", default="")
    oidc_resource: str = option("The resource of the token.", default="")
    oidc_audience: str = option("The audience of the token.", default="")
    oidc_kid: str = option("The id of our key.", default="")


class Refused(Exception):
    """There is no token."""


class Login:
    """What clients have to be told. Raises `Wrong`."""

    def __init__(self, given: Options) -> None:
        self._given, self._kind = given, _kind(given)
        _check(given, self._kind)
        self._tokens: Tokens | None = None

    def arguments(self) -> dict[str, Any]:
        """The library's. Raises `ValueError` for certificates that are none."""
        given, kind = self._given, self._kind
        has_tls = not given.disable_tls and kind != NONE
        found: dict[str, Any] = {}
        if has_tls:
            found["ssl_context"] = self._context()
        if kind == PASSWORD:
            found["sasl_mechanism"] = MECHANISMS.get(given.sasl_mechanism, "PLAIN")
            found["sasl_plain_username"], found["sasl_plain_password"] = given.sasl_username, given.sasl_password
        elif kind in (OIDC, OIDC_JWT):
            if self._tokens is None:
                self._tokens = Tokens(given, kind, self._context())
            found["sasl_mechanism"] = "OAUTHBEARER"
            found["sasl_oauth_token_provider"] = _provider(self._tokens)
        has_sasl = "sasl_mechanism" in found
        found["security_protocol"] = (
            ("SASL_SSL" if has_tls else "SASL_PLAINTEXT") if has_sasl else ("SSL" if has_tls else "PLAINTEXT")
        )
        return found

    async def close(self) -> None:
        if self._tokens is not None:
            self._tokens.close()

    def _context(self) -> "ssl.SSLContext":
        import ssl

        given = self._given
        is_ours = self._kind == MTLS
        made = client_tls.context(
            given.ca_cert, given.client_cert if is_ours else "", given.client_key if is_ours else ""
        )
        if given.skip_verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        return made


class Tokens:
    """Tokens of an OAuth2 server for ourselves (RFC 6749, 4.4), kept until shortly before their end."""

    def __init__(self, given: Options, kind: str, context: "ssl.SSLContext") -> None:
        self._given, self._kind = given, kind
        self._http = http.Client(lambda host, port, with_tls: dial.to(host, port, with_tls, context=context))
        self.extensions = _extensions(given, kind)
        self._token, self._until = "", 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Raises `Refused`."""
        async with self._asking:
            if not self._token or time.monotonic() >= self._until:
                self._token, seconds = await self._ask()
                self._until = time.monotonic() + max(seconds - EARLY_SECONDS, seconds / 2)
            return self._token

    def close(self) -> None:
        self._http.close()

    async def _ask(self) -> tuple[str, float]:
        given = self._given
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        form = {"grant_type": "client_credentials"}
        if self._kind == OIDC:
            both = f"{quote_plus(given.oidc_client_id)}:{quote_plus(given.oidc_client_secret)}"
            headers["authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
        else:
            form |= {"client_id": given.oidc_client_id, "client_assertion_type": _ASSERTION}
            form["client_assertion"] = assertion(given, time.time(), str(uuid.uuid4()))
            form |= {"audience": given.oidc_audience} if given.oidc_audience else {}
            form |= {"resource": given.oidc_resource} if given.oidc_resource else {}
        form["scope"] = " ".join(_scopes(given))
        answer = await self._post(headers, form)
        if answer.status in (400, 401) and self._kind == OIDC:
            # The server may want id and secret in the body (RFC 6749, 2.3.1).
            del headers["authorization"]
            form |= {"client_id": given.oidc_client_id, "client_secret": given.oidc_client_secret}
            answer = await self._post(headers, form)
        if not 200 <= answer.status < 300:
            raise Refused(f"error generating oauth2 token: token endpoint returned {answer.status}")
        try:
            said = json.loads(answer.body)
            token, seconds = said["access_token"], float(said.get("expires_in") or "inf")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused("error generating oauth2 token: no access_token in response") from None
        if not isinstance(token, str) or not token:
            raise Refused("error generating oauth2 token: no access_token in response")
        return token, seconds

    async def _post(self, headers: Mapping[str, str], form: Mapping[str, str]) -> http.Answer:
        body = urlencode(form).encode()
        try:
            return await self._http.request("POST", self._given.oidc_token_endpoint, headers, body, TOKEN_SECONDS)
        except (OSError, ValueError) as error:
            raise Refused(f"error generating oauth2 token: {error}") from None


def assertion(given: Options, now: float, id_: str) -> str:
    """A JWT by which we say who we are (RFC 7523, 3), good for a minute. Raises `Refused`."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(given.oidc_client_assertion_key.encode(), None)
    except (ValueError, TypeError) as error:
        raise Refused(f"unable to parse private key: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused("client_jwt requires RSA private key")
    head = {"alg": "RS256", "typ": "JWT", **({"kid": given.oidc_kid} if given.oidc_kid else {})}
    begin = int(now)
    claims = {
        "iss": given.oidc_client_id,
        "sub": given.oidc_client_id,
        "aud": given.oidc_audience or given.oidc_token_endpoint,
        "iat": begin,
        "nbf": begin,
        "exp": begin + 60,
        "jti": id_,
    }
    signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{signed}.{_part(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _provider(tokens: Tokens) -> Any:
    from aiokafka.abc import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc]  # the library has no types
        async def token(self) -> str:
            return await tokens.token()

        def extensions(self) -> Mapping[str, str]:
            return tokens.extensions

    return Provider()


def _scopes(given: Options) -> Sequence[str]:
    return [one for one in given.oidc_scopes.split(",") if one] or ["openid"]


def _extensions(given: Options, kind: str) -> Mapping[str, str]:
    """Raises `Wrong`."""
    if not given.oidc_extensions:
        return {}
    try:
        found = json.loads(given.oidc_extensions)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found or not all(isinstance(one, str) for one in found.values()):
        raise Wrong(f"kafka error: improper OIDC Extensions format for authType '{kind}'")
    return found


def _kind(given: Options) -> str:
    """Raises `Wrong`."""
    if given.auth_type:
        return given.auth_type.lower()
    if not given.auth_required:
        raise Wrong("kafka error: 'authType' attribute was missing or empty")
    if given.auth_required.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise Wrong("kafka error: invalid value for 'authRequired' attribute")
    if not truth.is_true(given.auth_required):
        return NONE
    return PASSWORD if given.sasl_password else MTLS


def _check(given: Options, kind: str) -> None:
    """Raises `Wrong`, in the original's words."""
    if given.ca_cert and "-----BEGIN " not in given.ca_cert:
        raise Wrong("kafka error: invalid ca certificate")
    if kind not in (PASSWORD, OIDC, OIDC_JWT, MTLS, CERTIFICATE, AWS, NONE):
        raise Wrong("kafka error: invalid value for 'authType' attribute")
    if kind == AWS:
        raise Wrong("kafka error: authType 'awsiam' is not available")
    wanted: Sequence[tuple[str, str]] = ()
    if kind == PASSWORD:
        wanted = (("SASL Username", given.sasl_username), ("SASL Password", given.sasl_password))
    elif kind in (OIDC, OIDC_JWT):
        wanted = (("OIDC Token Endpoint", given.oidc_token_endpoint), ("OIDC Client ID", given.oidc_client_id))
        if kind == OIDC:
            wanted = (*wanted, ("OIDC Client Secret", given.oidc_client_secret))
        else:
            wanted = (
                *wanted,
                ("OIDC Client Assertion Cert", given.oidc_client_assertion_cert),
                ("OIDC Client Assertion Key", given.oidc_client_assertion_key),
            )
        _extensions(given, kind)
    for name, value in wanted:
        if not value:
            raise Wrong(f"kafka error: missing {name} for authType '{kind}'")
    if kind == CERTIFICATE and not given.ca_cert:
        raise Wrong("missing CA certificate property 'caCert' for authType 'certificate'")
    if kind == MTLS:
        _check_pair(given)


def _check_pair(given: Options) -> None:
    for name, text in (("certificate", given.client_cert), ("key", given.client_key)):
        if text and "-----BEGIN " not in text:
            raise Wrong(f"kafka error: invalid client {name}")
    if bool(given.client_cert) != bool(given.client_key):
        raise Wrong("kafka error: clientKey or clientCert is missing")
    if given.disable_tls:
        raise Wrong("kafka: cannot configure mTLS authentication when TLSDisable is 'true'")
