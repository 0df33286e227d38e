"""What a sentry with an authority does: its own certificate, the validators, and the servers.

Made by `runtime`, which also tells it about another authority.
"""

import asyncio
import contextlib
import datetime
import os
from typing import TYPE_CHECKING

from cryptography import x509

from pydapr.controlplane.beside import Beside
from pydapr.controlplane.process import Fatal
from pydapr.net import server
from pydapr.net.exchange import Handler
from pydapr.observe import logging
from pydapr.security import spiffe, svid, token, trust
from pydapr.sentry import authority, configuration, flags, metrics, service, validators
from pydapr.sentry.validators.insecure import Insecure

if TYPE_CHECKING:
    import ssl

    from pydapr.sentry.kube import Api
    from pydapr.sentry.oidc import OpenId

log = logging.get("dapr.sentry")
server_log = logging.get("dapr.sentry.server")
oidc_log = logging.get("dapr.sentry.server.oidc.http")

FILE_SECONDS = 5.0
"""How often a certificate of the OpenID server that is not there is looked for."""


WARN_BEFORE = datetime.timedelta(days=30)
WARN_SECONDS = 3600.0


class Serving:
    """Everything that goes on beside each other, with the servers and tasks in `beside`."""

    def __init__(
        self,
        settings: flags.Settings,
        current: authority.Authority,
        counts: metrics.Counts,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._authority = current
        self._counts = counts
        self._stack = stack
        self._own = spiffe.sentry(spiffe.domain(settings.trust_domain), settings.namespace)
        self.beside = Beside(stack, log)
        self._health = self.beside.health
        self._source = svid.Source(self._issue_own, trust.read(current.bundle.anchors))
        self._service: service.Service | None = None
        self._openid: OpenId | None = None
        self._openid_tls: ssl.SSLContext | None = None

    async def start(self, rules: configuration.Rules, api: "Api | None", domain: str) -> None:
        """Opens everything. Raises `Fatal`."""
        self._name_parts()
        await self.beside.serve_health(self._settings.healthz_listen_address, self._settings.healthz_port)
        try:
            known = self._open_validators(rules, api)
            await self._source.open()
        except (svid.Unavailable, validators.CannotStart) as error:
            raise Fatal(f"error running Sentry: {error}") from None
        self._health.ready("security-provider")
        self.beside.run(self._source.run())
        self.beside.run(self._warn())
        place = service.Place(self._settings.namespace, domain)
        self._service = service.Service(self._authority, known, rules.default_validator, place, self._counts)
        await self._serve_certificates(self._service)
        await self._serve_openid()
        settings = self._settings
        await self.beside.serve_metrics(self._counts.registry, settings.metrics_listen_address, settings.metrics_port)

    async def take(self, current: authority.Authority) -> None:
        """Goes on with another authority. Raises `Fatal`; the one from before stays then."""
        before, self._authority = self._authority, current
        try:
            await self._source.renew()
        except svid.Unavailable as error:
            self._authority = before
            raise Fatal(str(error)) from None
        assert self._service is not None
        self._service.authority = current
        if self._openid is not None and current.tokens is not None:
            self._openid.tokens = current.tokens

    async def _warn(self) -> None:
        """Says every hour that the authority ends soon, until there is another."""
        while True:
            left = self._authority.bundle.end - datetime.datetime.now(datetime.UTC)
            if left < WARN_BEFORE:
                hours = int(left.total_seconds() // 3600)
                when = f"expires in {hours // 24} days and {hours % 24} hours" if hours >= 0 else "has expired"
                log.warning(f"Dapr root certificate expiration warning: certificate {when}")
            await asyncio.sleep(WARN_SECONDS)

    def _name_parts(self) -> None:
        """Tells the health check what to wait for."""
        for part in ("healthz-server", "sentry-server", "security-provider"):
            self._health.add(part)
        if self._settings.metrics_port:
            self._health.add("metrics-server")
        if self._settings.oidc.enabled and self._settings.jwt.enabled:
            self._health.add("oidc-server")

    async def _issue_own(self, request: bytes) -> svid.Issued:
        """Sentry's own certificate. Raises `svid.Unavailable`."""
        now = datetime.datetime.now(datetime.UTC)
        try:
            chain, _ = self._authority.sign(x509.load_der_x509_csr(request), self._own, (), now)
        except (authority.CannotSign, ValueError) as error:
            self._counts.own_failed.value += 1
            raise svid.Unavailable(str(error)) from None
        return svid.Issued(chain)

    # -- validators --

    def _open_validators(self, rules: configuration.Rules, api: "Api | None") -> dict[int, validators.Validator]:
        """Raises `validators.CannotStart`."""
        found: dict[int, validators.Validator] = {}
        for number, options in rules.validators.items():
            name = configuration.NAMES[number]
            if number == token.JWKS:
                from pydapr.sentry.validators.jwks import Jwks

                found[number] = Jwks(options, self._own)
                self._health.add("sentry-jwks-validator")
                self.beside.run(self._open_validator(found[number], "sentry-jwks-validator"))
            elif number == token.KUBERNETES:
                from pydapr.sentry.validators.kubernetes import Kubernetes

                assert api is not None
                found[number] = Kubernetes(api, self._own)
            else:
                found[number] = Insecure()
            self._stack.callback(found[number].close)
            known_by = "" if number == token.INSECURE else f" with Sentry ID: {self._own}"
            log.info(f"Adding validator '{name}'{known_by}")
            log.info(f"Using validator '{name}'")
        return found

    async def _open_validator(self, validator: validators.Validator, part: str) -> None:
        """Opens it beside the rest of the start; sentry ends when that fails."""
        try:
            await validator.open()
        except validators.CannotStart as error:
            raise Fatal(f"error running Sentry: {error}") from None
        self._health.ready(part)

    # -- servers --

    async def _serve_certificates(self, answering: service.Service) -> None:
        settings = self._settings
        options = server.Options(with_http1=False, tls=self._source.server_context(with_client=False))
        await self.beside.listen(answering.methods(), settings.listen_address, settings.port, options)
        self._stack.callback(server_log.info, "Shutting down gRPC server")
        server_log.info(f"Running gRPC server on port {settings.port}")
        self._health.ready("sentry-server")

    async def _serve_openid(self) -> None:
        settings, tokens = self._settings.oidc, self._authority.tokens
        if not settings.enabled or tokens is None:
            log.info("OIDC HTTP server is disabled")
            return
        from pydapr.sentry import oidc

        log.info(f"Starting OIDC HTTP server on port {settings.port}")
        try:
            self._openid = oidc.OpenId(tokens, settings, self._settings.jwt.issuer)
        except ValueError as error:
            raise Fatal(f"error creating OIDC server: failed to create OIDC server: {error}") from None
        self.beside.run(self._open_openid(self._openid.serve))

    async def _open_openid(self, handler: Handler) -> None:
        """Listens as soon as the certificate is there: whoever makes it may wait for us."""
        settings = self._settings.oidc
        if settings.certificate_file is not None and settings.key_file is not None:
            files = (settings.certificate_file, settings.key_file)
            while not all(map(os.path.exists, files)):
                oidc_log.warning(f"Waiting for TLS certificate and key files to be available: {', '.join(files)}")
                await asyncio.sleep(FILE_SECONDS)
            self._openid_tls = _openid_context()
            self.load_openid_certificate()
        options = server.Options(with_http2=False, tls=self._openid_tls)
        await self.beside.listen(handler, settings.address, settings.port, options)
        self._stack.callback(oidc_log.info, "Shutting down OIDC HTTP server")
        kind = " (insecure)" if self._openid_tls is None else ""
        oidc_log.info(f"Starting OIDC HTTP server{kind} on {settings.address}:{settings.port}")
        self._health.ready("oidc-server")

    def load_openid_certificate(self) -> None:
        """Has the OpenID server, if it speaks TLS, show what is in its files now. Raises `Fatal`."""
        settings = self._settings.oidc
        if self._openid_tls is None or settings.certificate_file is None:
            return
        try:
            self._openid_tls.load_cert_chain(settings.certificate_file, settings.key_file)
        except (OSError, ValueError) as error:
            raise Fatal(f"failed to load TLS certificate and key: {error}") from None


def _openid_context() -> "ssl.SSLContext":
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    return made
