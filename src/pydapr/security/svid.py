"""A workload's identity document (SVID) and its renewal in time.

`Source` asks for a certificate, by `request` or from sentry's own authority, hands TLS contexts out that always show
the current one and trust the current anchors, and renews it at half of its life, or at once when the anchors have
changed. Used by sentry and by every process that speaks mTLS.
"""

import asyncio
import base64
import contextlib
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
"""Between two attempts to renew; a tenth of what is left when that is less, but not below `SOON_SECONDS`."""

SOON_SECONDS = 1.0


KNOWN_ISSUERS = 16
"""Issuers, of now and of before, that are remembered: others may still show certificates by those of before."""

LEAST_SECONDS = 0.25
"""Between two renewals, however short certificates live."""


class Unavailable(Exception):
    """No identity could be had; the text says why, `reason` by which step in a word."""

    reason = "sign"


class Unreached(Unavailable):
    """Who issues identities was not there, or was not the one that is meant: nothing was asked."""

    reason = "sentry_conn"


class WithoutToken(Unavailable):
    """We have nothing to show who we are."""

    reason = "sentry_token"


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
    sooner. A certificate's life begins before it is issued, by the clock skew that is allowed for; of one whose half
    is over by that, what is left is halved."""
    at = not_before + (not_after - not_before) / 2
    if at <= now:
        at = now + (not_after - now) / 2
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
        self._client: ssl.SSLContext | None = None
        self._servers: list[_Server] = []
        self._issuers: dict[x509.Certificate, None] = {}
        self._renew_at = 0.0
        self._trust_changed = asyncio.Event()
        self.on_change: list[Callable[[], None]] = []
        """Who is told of another identity or other anchors: connections made before hold to the old ones."""
        self.on_renewal: Callable[[str], None] = lambda reason: None
        """Who counts renewals, and failed ones with the reason."""

    @property
    def identity(self) -> Identity:
        """The current one; there is one after `open`."""
        assert self._identity is not None
        return self._identity

    async def open(self, waits: bool = False) -> None:
        """Gets the first identity; `waits` for who issues it as long as need be. Raises `Unavailable`."""
        log.info("Fetching initial identity")
        while True:
            try:
                await self.renew()
                break
            except Unavailable as error:
                if not (waits and isinstance(error, Unreached)):
                    raise Unavailable(f"failed to retrieve the initial identity: {error}") from None
                log.warning(f"Still waiting for the initial identity: {error}")
        log.info("Security is initialized successfully")

    async def renew(self) -> None:
        """Gets an identity now. Raises `Unavailable`."""
        identity = await self._fetch()
        try:
            self._take(identity)
        except OSError as error:  # such as no room for another file
            raise Unavailable(f"error taking the identity over: {error}") from None

    async def run(self) -> None:
        """Renews the identity, until cancelled."""
        self._say("Starting workload identity expiry watcher", with_renewal=True)
        while True:
            await self._sleep(max(0.0, min(LOOK_SECONDS, self._renew_at - self._clock())))
            if not self._is_due() and not self._trust_changed.is_set():
                continue
            is_due = self._trust_changed.is_set()
            self._trust_changed.clear()
            self._say("Renewing workload identity", with_renewal=False)
            try:
                await self.renew()
            except Unavailable as error:
                self.on_renewal(error.reason)
                if is_due:  # those who were trusted before are not to stay because of that
                    self._tell()
                self._renew_at = min(self._renew_at, self._clock())
                seconds = min(RETRY_SECONDS, max(SOON_SECONDS, (self.identity.not_after - self._clock()) / 10))
                log.error(f"Error renewing identity, trying again in {seconds:.0f} seconds: {error}")
                await self._sleep(seconds)
                continue
            self.on_renewal("")
            self._say("Successfully renewed workload identity", with_renewal=True)

    def _is_due(self) -> bool:
        """Half of its life is over, or it has not begun: the clock has been set back, and peers do not take it."""
        return not self.identity.not_before <= self._clock() < self._renew_at

    async def _sleep(self, seconds: float) -> None:
        """Waits, until the anchors change at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._trust_changed.wait()

    def go_by(self, anchors: trust.Anchors) -> None:
        """Goes by other anchors from the next connection on; `run` renews the identity, which may be under one that
        is not among them any more. Raises `OSError` when that is not possible at once: it is done with the renewal."""
        self.anchors = anchors
        self._trust_changed.set()
        self._make_contexts()

    # -- contexts --

    def server_context(self, with_client: bool, protocols: tuple[str, ...] = ("h2",)) -> "ssl.SSLContext":
        """For a server, for as long as it lives; `with_client` has it demand a certificate under our anchors."""
        made = _Server(self, with_client, protocols)
        self._servers.append(made)
        return made.door

    @property
    def trusted(self) -> trust.Anchors:
        """The anchors, in a form in which OpenSSL finds its way."""
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        return trust.with_issuers(self.anchors, self._issuers, now)

    def client_context(self) -> "ssl.SSLContext":
        """For the next call, by which both sides show who they are. Whom one has reached is checked by
        `tls.connector`."""
        if self._client is None:
            self._client = self.showing(tls.client(self.trusted))
        return self._client

    def showing(self, context: "ssl.SSLContext") -> "ssl.SSLContext":
        """`context`, with the current certificate."""
        tls.show(context, self.identity.chain, self.identity.key)
        return context

    def _make_contexts(self) -> None:
        self._client = None
        for server in self._servers:
            server.renew()

    # -- identities --

    def _take(self, identity: Identity) -> None:
        self._identity = identity
        for issuer in certificates.read_all(identity.chain)[1:]:
            self._issuers.pop(issuer, None)
            self._issuers[issuer] = None
        while len(self._issuers) > KNOWN_ISSUERS:
            del self._issuers[next(iter(self._issuers))]
        now = self._clock()
        at = renew_at(identity.not_before, identity.not_after, identity.jwt_expires, now)
        self._renew_at = max(at, now + LEAST_SECONDS)
        self._make_contexts()
        self._tell()

    def _tell(self) -> None:
        for told in self.on_change:
            told()

    async def _fetch(self) -> Identity:
        key = ed25519.Ed25519PrivateKey.generate()
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
        issued = await self._request(request.public_bytes(serialization.Encoding.DER))
        try:
            identity = _identity(issued, key)
            tls.check(identity.chain, identity.key)
        except (ValueError, OSError) as error:
            raise Unavailable(f"error parsing newly signed certificate: {error}") from None
        return identity

    def _say(self, what: str, with_renewal: bool) -> None:
        identity = self.identity
        text = f"{what}; cert expires on: {_shown(identity.not_after)}"
        if identity.jwt_expires is not None:
            text += f", jwt expires on: {_shown(identity.jwt_expires)}"
        if with_renewal:
            text += f", renewal at: {_shown(self._renew_at)}"
        log.info(text)


class _Server:
    """A server's context: `door` is the one that asyncio has, and lets each connection in by the current one."""

    def __init__(self, source: Source, with_client: bool, protocols: tuple[str, ...]) -> None:
        self._source = source
        self._with_client = with_client
        self._protocols = protocols
        self.door = self._current = self._made()
        self.door.sni_callback = self._let_in

    def renew(self) -> None:
        self._current = self._made()

    def _made(self) -> "ssl.SSLContext":
        anchors = self._source.trusted if self._with_client else None
        return self._source.showing(tls.server(anchors, self._protocols))

    def _let_in(self, connection: "ssl.SSLObject | ssl.SSLSocket", name: str, door: "ssl.SSLContext") -> None:
        """Called at the beginning of each handshake, whether or not the client names a host: certificate and anchors
        are from the context that is set here, whether a certificate is demanded from the first one."""
        connection.context = self._current


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
