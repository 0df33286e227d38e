"""bindings.http has the app call an HTTP server that is no app of Dapr: any method, over TLS with a certificate, too.

The operation is the method. What stands in the request's metadata in a name that begins with a capital letter is a
header field; `path` goes behind the component's URL. Status and header fields of the answer are the answer's metadata.
"""

import asyncio
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.bindings import Answer, BindingError, OutputBinding, Request
from pydapr.components.drivers import thread
from pydapr.lib import quantity, truth
from pydapr.net import client_tls, dial, http
from pydapr.wire import headers as names
from pydapr.wire import http1

if TYPE_CHECKING:
    import ssl

LONGEST = 3600.0
"""Seconds that an answer may take where no time is set."""

MAX_REDIRECTS = 10

_WITH_BODY = ("post", "put", "patch")
_CONTEXT = ("traceparent", "tracestate", "baggage")
_PRIVATE = ("authorization", "cookie", "cookie2", "proxy-authorization", "proxy-authenticate", "www-authenticate")
"""Fields that a server is not told to which another one has led; nor is it told the security token."""

_JSON = "application/json; charset=utf-8"
_SAFE = "%/:=&?~+!$,;'@()*[]"


@options
class Options:
    url: str = option("What every call begins with, such as `https://example.org/api`.")
    response_timeout: Seconds | None = option("How long an answer may take.", default=None)
    max_response_body_size: str = option("What is beyond this many bytes of an answer is cut off.", default="100Mi")
    mtls_root_ca: str = option("The certificates to trust, as PEM or a file of it.", default="")
    mtls_client_cert: str = option("The certificate to show, as PEM or a file of it.", default="")
    mtls_client_key: str = option("The key of that certificate, as PEM or a file of it.", default="")
    mtls_renegotiation: str = option(
        "`RenegotiateNever`, `RenegotiateOnceAsClient` or `RenegotiateFreelyAsClient`.", default=""
    )
    security_token: str = option("A token that each call carries.", default="")
    security_token_header: str = option("The header field for the token.", default="")
    error_if_not2xx: str = option("Whether any other status than 2xx is an error.", default="true")


@component("bindings.http", Options)
class Http(OutputBinding):
    operations = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")

    def __init__(self, given: Options) -> None:
        self._given = given
        try:
            most = quantity.to_bytes(given.max_response_body_size)
        except ValueError as error:
            raise Wrong(f"invalid value for maxResponseBodySize: {error}") from None
        self._most = most if most > 0 else None
        renegotiation = given.mtls_renegotiation
        if renegotiation and renegotiation not in (
            "RenegotiateNever", "RenegotiateOnceAsClient", "RenegotiateFreelyAsClient",
        ):  # fmt: skip
            raise Wrong(f"invalid renegotiation value: {renegotiation}")
        self._is_strict = truth.is_true(given.error_if_not2xx) if given.error_if_not2xx else True
        self._client: http.Client | None = None

    async def open(self) -> None:
        context = await thread.run(_context, self._given)
        self._client = http.Client(functools.partial(dial.to, context=context), self._most, cuts=True)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def invoke(self, request: Request) -> Answer:
        given = request.metadata
        operation = "post" if request.operation == "create" else request.operation
        url = self._given.url
        if path := given.get("path"):
            url = f"{url.rstrip('/')}/{path.lstrip('/')}"
        url = url.partition("#")[0]
        body = request.data if operation in _WITH_BODY else b""
        try:
            answer = await self._ask(operation.upper(), quote(url, safe=_SAFE), self._fields(given, operation), body)
        except (OSError, ValueError) as error:
            raise BindingError(str(error)) from None
        metadata = _metadata(answer)
        is_strict = truth.is_true(given["errorIfNot2XX"]) if given.get("errorIfNot2XX") else self._is_strict
        if is_strict and not 200 <= answer.status < 300:
            raise BindingError(f"received status code {answer.status}", metadata)
        return Answer(answer.body, metadata)

    def _fields(self, given: Mapping[str, str], operation: str) -> dict[str, str]:
        fields = {"user-agent": "pydapr", "accept": _JSON}
        if operation in _WITH_BODY:
            fields["content-type"] = _JSON
        if self._given.security_token and self._given.security_token_header:
            fields[self._given.security_token_header.lower()] = self._given.security_token
        fields |= {name.lower(): value for name, value in given.items() if "A" <= name[:1] <= "Z"}
        return fields | {name: given[name] for name in _CONTEXT if given.get(name)}

    async def _ask(self, method: str, url: str, fields: dict[str, str], body: bytes) -> http.Answer:
        """The answer, where a server that leads to another one is followed as Go's client does it."""
        assert self._client is not None
        clock = asyncio.get_running_loop().time
        left = LONGEST if self._given.response_timeout is None else float(self._given.response_timeout)
        for _ in range(MAX_REDIRECTS + 1):
            began = clock()
            answer = await self._client.request(method, url, fields, body, left, follows=False)
            left -= clock() - began
            location = answer.header("location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            if answer.status < 307 and method not in ("GET", "HEAD"):
                method, body = "GET", b""
                fields.pop("content-type", None)
            here, url = url, urljoin(url, location)
            if _is_elsewhere(here, url):
                private = (*_PRIVATE, self._given.security_token_header.lower())
                fields = {name: value for name, value in fields.items() if name not in private}
        raise OSError(f'{method.title()} "{location}": stopped after {MAX_REDIRECTS} redirects')


def _is_elsewhere(here: str, there: str) -> bool:
    """Whether what is for one server alone must not go from `here` to `there`."""
    one, other = urlsplit(here), urlsplit(there)
    return one.hostname != other.hostname or (one.scheme == "https" and other.scheme != "https")


def _metadata(answer: http.Answer) -> dict[str, str]:
    reason = http1.REASONS.get(answer.status, b"").decode()
    out = {"statusCode": str(answer.status), "status": f"{answer.status} {reason}".rstrip()}
    for name, value in answer.headers:
        key, text = names.canonical(name).decode("latin-1"), value.decode("utf-8", "replace")
        out[key] = f"{out[key]}, {text}" if key in out else text
    return out


def _context(given: Options) -> "ssl.SSLContext | None":
    """How to speak TLS, None for the usual way. Raises `ValueError`."""
    if not (given.mtls_root_ca or given.mtls_client_cert or given.mtls_renegotiation):
        return None
    both = bool(given.mtls_client_cert and given.mtls_client_key)
    return client_tls.context(
        _pem(given.mtls_root_ca, "MTLSRootCA"),
        _pem(given.mtls_client_cert, "MTLSClientCert") if both else "",
        _pem(given.mtls_client_key, "MTLSClientKey") if both else "",
        given.mtls_renegotiation.removeprefix("Renegotiate"),
    )


def _pem(value: str, name: str) -> str:
    if not value or "-----BEGIN" in value:
        return value
    try:
        with open(value, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise ValueError(
            f'provided "{name}" value is neither a valid file path or nor a valid pem encoded string: {error}'
        ) from None
