"""The identity of placement or the scheduler under mTLS: asked of sentry at the start, kept current.

Made by their `runtime` when `--tls-enabled` asks for it, and imported only then: the libraries for certificates cost
60 ms and 12 MB. What is promised of it is in docs/mtls.md; checks are the original's (v1.18.3, `pkg/security`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.controlplane.process import Fatal
from pydapr.lib.record import Record
from pydapr.net import http2_pool, server
from pydapr.security import anchor_file, certificates, request, spiffe, svid, tls, token, trust

if TYPE_CHECKING:
    import ssl


class Wanted(Record):
    """Who the process is, and of whom it asks its certificates."""

    service: str
    """Such as `dapr-placement`."""
    namespace: str
    trust_domain: str
    trust_anchors_file: str
    sentry_address: str
    mode: str


class Identity:
    """Who a service of the control plane is. There is an identity after `open`; `renew` and `watch` run beside."""

    def __init__(self, wanted: Wanted, environ: Mapping[str, str]) -> None:
        """Raises `Fatal`."""
        self._wanted = wanted
        try:
            domain = spiffe.domain(wanted.trust_domain)
            self.id = spiffe.Id(domain, wanted.namespace, wanted.service)
            sentry = spiffe.sentry(domain, wanted.namespace)
        except spiffe.Malformed as error:
            raise Fatal(f"invalid trust domain or namespace: {error}") from None
        self._environ = environ
        self._sentry_id = sentry
        self._sentry: request.Sentry | None = None
        self._source: svid.Source | None = None
        self._file = anchor_file.AnchorFile(wanted.trust_anchors_file)

    @property
    def source(self) -> svid.Source:
        """The certificates; there are some after `open`."""
        assert self._source is not None
        return self._source

    async def open(self) -> None:
        """Gets the first certificate: waits for the file of trust anchors, and for sentry. Raises `Fatal`."""
        anchors = await self._first_anchors()
        in_kubernetes = self._wanted.mode == "kubernetes"
        self._sentry = request.Sentry(
            self._wanted.sentry_address,
            self._sentry_id,
            anchors,
            request.who(self._environ, self._wanted.service, self._sentry_id, self._wanted.namespace),
            lambda: token.read(self._environ, in_kubernetes=in_kubernetes),
        )
        self._source = svid.Source(self._sentry, anchors)
        try:
            await self._source.open(waits=True)
        except svid.Unavailable as error:
            raise Fatal(str(error)) from None

    async def renew(self) -> None:
        """Keeps the certificate current, until cancelled."""
        await self.source.run()

    async def watch(self) -> None:
        """Takes over what the file of trust anchors says when it changes, until cancelled."""
        await self._file.follow(self._go_by)

    def _go_by(self, anchors: trust.Anchors) -> None:
        assert self._sentry is not None
        self._sentry.anchors = anchors
        self.source.go_by(anchors)

    async def _first_anchors(self) -> trust.Anchors:
        if not self._wanted.trust_anchors_file:
            raise Fatal("trust anchors are required: name their file with --trust-anchors-file")
        try:
            return await self._file.first()
        except (certificates.Invalid, OSError) as error:
            raise Fatal(f"failed to read trust anchors: {error}") from None

    # -- what is opened with it --

    def options(self) -> server.Options:
        """For a server of gRPC whose clients show who they are."""
        context = self.source.server_context(with_client=True)
        return server.Options(with_http1=False, tls=context, welcomes=tls.is_somebody)

    def client_context(self) -> "ssl.SSLContext":
        """For the next connection to another process."""
        return self.source.client_context()

    def way_to(self, other: spiffe.Id) -> http2_pool.Connector:
        """Connects to `other`, and to nobody else."""
        return tls.connector(self.client_context, lambda found: found == other)
