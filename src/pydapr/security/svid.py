"""A workload's identity document (SVID) and its renewal in time.

`Source` asks for a certificate, by `request` or from sentry's own authority, hands TLS contexts out that always show
the current one, and renews it at half of its life. Used by sentry and by every process that speaks mTLS.
"""

import asyncio
import base64
import datetime
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.security import certificates, spiffe, tls, trust

if TYPE_CHECKING:
    import ssl

log = logging.get("dapr.runtime.security")

LOOK_SECONDS = 60.0
"""How often the clock is looked at: it may have been set, or the machine have slept."""

RETRY_SECONDS = 10.0


class Unavailable(Exception):
    """No identity could be had; the text says why."""


class Issued(Record):
    """What was issued for a signing request: the chain in PEM, and tokens if there are any."""

    chain: bytes
    jwt: str = ""
    jwt_by_audience: Mapping[str, str] = {}


class Identity(Record):
    """A certificate with its key, from when until when it holds, and tokens with the same name."""

    id: spiffe.Id
    chain: bytes
    key: bytes
    not_before: float
    not_after: float
    jwt: str = ""
    jwt_expires: float | None = None
    jwt_by_audience: Mapping[str, str] = {}


Request = Callable[[bytes], Awaitable[Issued]]
"""From a signing request (DER) to what is issued for it. Raises `Unavailable`."""


def renew_at(not_before: float, not_after: float, jwt_expires: float | None, now: float) -> float:
    """When an identity that was got `now` is to be renewed: at half of its life, token or certificate, if that is
    sooner. A certificate's life begins before it is issued, by the clock skew that is allowed for."""
    at = not_before + (not_after - not_before) / 2
    return at if jwt_expires is None else min(at, now + (jwt_expires - now) / 2)


def claims(token: str) -> Mapping[str, Any]:
    """What a token says. It is not verified: it came over a connection that is. Raises `ValueError`."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("invalid JWT")
    said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    if not isinstance(said, dict):
        raise ValueError("invalid JWT")
    return said


def audiences(said: Mapping[str, Any]) -> list[object]:
    """For whom a token is."""
    value = said.get("aud")
    return value if isinstance(value, list) else [value] if value else []


class Source:
    """The current identity. `open` once, then `run` beside everything else."""

    def __init__(self, request: Request, anchors: trust.Anchors, clock: Callable[[], float] = time.time) -> None:
        self._request = request
        self.anchors = anchors
        self._clock = clock
        self._identity: Identity | None = None
        self._contexts: list[ssl.SSLContext] = []
        self._renew_at = 0.0

    @property
    def identity(self) -> Identity:
        """The current one; there is one after `open`."""
        assert self._identity is not None
        return self._identity

    async def open(self) -> None:
        """Gets the first identity. Raises `Unavailable`."""
        log.info("Fetching initial identity")
        try:
            self._take(await self._fetch())
        except Unavailable as error:
            raise Unavailable(f"failed to retrieve the initial identity: {error}") from None
        log.info("Security is initialized successfully")

    async def renew(self) -> None:
        """Gets another identity now, because who issues them has changed. Raises `Unavailable`."""
        self._take(await self._fetch())

    async def run(self) -> None:
        """Renews the identity, until cancelled."""
        self._say("Starting workload identity expiry watcher", with_renewal=True)
        while True:
            await asyncio.sleep(max(0.0, min(LOOK_SECONDS, self._renew_at - self._clock())))
            if self._clock() < self._renew_at:
                continue
            self._say("Renewing workload identity", with_renewal=False)
            try:
                self._take(await self._fetch())
            except Unavailable as error:
                log.error(f"Error renewing identity, trying again in 10 seconds: {error}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._say("Successfully renewed workload identity", with_renewal=True)

    # -- contexts --

    def server_context(self, with_client: bool, protocols: tuple[str, ...] = ("h2",)) -> "ssl.SSLContext":
        """For a server; `with_client` has it demand a certificate under our anchors."""
        made = tls.server(self.anchors if with_client else None, protocols)
        return self._kept(made)

    def client_context(self) -> "ssl.SSLContext":
        """For calls, by which both sides show who they are. Whom one has reached is checked by `tls.connector`."""
        return self._kept(tls.client(self.anchors))

    def _kept(self, context: "ssl.SSLContext") -> "ssl.SSLContext":
        tls.show(context, self.identity.chain, self.identity.key)
        self._contexts.append(context)
        return context

    # -- identities --

    def _take(self, identity: Identity) -> None:
        self._identity = identity
        for context in self._contexts:
            tls.show(context, identity.chain, identity.key)
        self._renew_at = renew_at(identity.not_before, identity.not_after, identity.jwt_expires, self._clock())

    async def _fetch(self) -> Identity:
        key = ed25519.Ed25519PrivateKey.generate()
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
        issued = await self._request(request.public_bytes(serialization.Encoding.DER))
        try:
            return _identity(issued, key)
        except ValueError as error:
            raise Unavailable(f"error parsing newly signed certificate: {error}") from None

    def _say(self, what: str, with_renewal: bool) -> None:
        identity = self.identity
        text = f"{what}; cert expires on: {_shown(identity.not_after)}"
        if identity.jwt_expires is not None:
            text += f", jwt expires on: {_shown(identity.jwt_expires)}"
        if with_renewal:
            text += f", renewal at: {_shown(self._renew_at)}"
        log.info(text)


def _identity(issued: Issued, key: ed25519.Ed25519PrivateKey) -> Identity:
    """Raises `ValueError`."""
    leaf = certificates.read_all(issued.chain)[0]
    public = leaf.public_key()
    if not isinstance(public, ed25519.Ed25519PublicKey) or public != key.public_key():
        raise ValueError("it is not for the key that was asked for")
    return Identity(
        certificates.spiffe_id(leaf),
        issued.chain,
        certificates.encode_key(key),
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
        issued.jwt,
        _expiry(claims(issued.jwt)) if issued.jwt else None,
        issued.jwt_by_audience,
    )


def _expiry(said: Mapping[str, Any]) -> float:
    value = said.get("exp")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("the token says no end of its time")
    return float(value)


def _shown(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
