"""Asking a sentry for a certificate: what `svid.Source` is given in every process but sentry itself.

The sentry is known by its SPIFFE id under the trust anchors, so these have to be there beforehand; the caller is
known to it by a token, or not at all. What is sent is what the original sends (v1.18.3, `pkg/security/sentry.go`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_client, http2_pool
from pydapr.security import pem, spiffe, svid, tls, trust
from pydapr.wire import http2, signing

if TYPE_CHECKING:
    import ssl

METHOD = b"/dapr.proto.sentry.v1.CA/SignCertificate"
TRY_SECONDS = 3.0
TRIES = 5
PATIENCE_SECONDS = TRY_SECONDS * TRIES
"""How long a sentry that cannot be reached is waited for."""

PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 1.0

_TRY_AGAIN = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)

Token = Callable[[], tuple[str, int]]
"""The token now, and the number of the validator that it is for (`token.read`). Raises `OSError`, `ValueError`."""

Around = Callable[[bytes, bytes, Awaitable[bytes]], Awaitable[bytes]]
"""Stands around a call of a method, given with its path and its message."""


class Sentry:
    """A sentry at `address` whose id is `sentry_id`. `asks` is who we are; calling it asks for one certificate."""

    def __init__(
        self,
        address: str,
        sentry_id: spiffe.Id,
        anchors: trust.Anchors,
        asks: Mapping[str, str],
        token: Token,
        jwt_audiences: Sequence[str] = (),
    ) -> None:
        self._address = address
        self.anchors = anchors
        """By which sentry is known; may be replaced by others."""
        self._turn = 0
        self._connect = tls.connector(self._context, lambda found: found == sentry_id)
        self._asks = asks
        self._token = token
        self._jwt_audiences = jwt_audiences
        self.around: Around = lambda path, message, work: work

    async def __call__(self, request: bytes) -> svid.Issued:
        """What sentry issues for a signing request. Raises `svid.Unavailable`, of it `Unreached`."""
        message = self._message(request)
        pool = http2_pool.Pool(self._connect, http2.Limits())
        try:
            answer = await self._ask(pool, message)
        finally:
            pool.close()
        return _issued(answer)

    def _message(self, request: bytes) -> bytes:
        try:
            token, validator = self._token()
        except (OSError, ValueError) as error:
            raise svid.WithoutToken(f"error obtaining token: {error}") from None
        return signing.Request(
            **self._asks,
            token=token,
            token_validator=validator,
            certificate_signing_request=pem.encode("CERTIFICATE REQUEST", request),
            jwt_audiences=self._jwt_audiences,
        ).encode()

    def _context(self) -> "ssl.SSLContext":
        ways = trust.in_turn(self.anchors)
        return tls.client(ways[self._turn % len(ways)])

    async def _ask(self, pool: http2_pool.Pool, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        pause = PAUSE_SECONDS
        while True:
            kind = svid.Unavailable
            try:
                connection = await pool.connection(self._address)
                try:
                    work = grpc_client.call(connection, METHOD, self._address, message, TRY_SECONDS)
                    return await self.around(METHOD, message, work)
                finally:
                    connection.transport.abort()  # there is no second request, and a farewell takes a round trip
                    await asyncio.sleep(0)  # by then the socket is closed
            except http2_pool.Unreachable as error:
                reason, may_pass = f"error establishing connection to sentry: {error}", True
                kind = svid.Unreached
                self._turn += 1
            except RpcError as error:
                reason, may_pass = f"error from sentry SignCertificate: {error}", error.code in _TRY_AGAIN
            if not may_pass or loop.time() + pause >= deadline:
                raise kind(reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)


def who(environ: Mapping[str, str], app_id: str, control_plane: spiffe.Id, namespace: str) -> dict[str, str]:
    """Who asks. Only services of the control plane name a trust domain; sentry puts all others into its default."""
    asks = {"id": environ.get("SENTRY_LOCAL_IDENTITY") or app_id, "namespace": namespace}
    if app_id in spiffe.CONTROL_PLANE and namespace == control_plane.namespace:
        asks["trust_domain"] = control_plane.trust_domain
    return asks


def _issued(data: bytes) -> svid.Issued:
    """Raises `svid.Unavailable`."""
    try:
        answer = signing.Answer.decode(data)
    except signing.Invalid as error:
        raise svid.Unavailable(f"error from sentry SignCertificate: {error}") from None
    tokens = answer.jwt_by_audience
    try:
        if answer.jwt and not svid.audiences(svid.claims(answer.jwt)):
            raise svid.Unavailable("JWT audience is empty")
        for audience, token in tokens.items():
            if svid.audiences(svid.claims(token)) != [audience]:
                raise svid.Unavailable("JWT audience mismatch")
    except ValueError as error:
        raise svid.Unavailable(f"error parsing JWT: {error}") from None
    return svid.Issued(answer.workload_certificate, answer.jwt, tokens)
