"""The sidecar's identity under mTLS: asked of sentry at the start, kept current, and what is opened with it.

Called by `daprd.runtime` when `--enable-mtls` asks for it, and imported only then: the libraries for certificates
cost 60 ms and 12 MB. Variables, checks and their words are the original's (v1.18.3, `pkg/security/security.go`),
but for `DAPR_TRUST_ANCHORS_FILE`, which only its control plane knows, as a flag.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydapr.daprd import flags
from pydapr.net import http2_pool
from pydapr.peers import verified
from pydapr.security import anchor_file, certificates, request, spiffe, svid, tls, token, trust

if TYPE_CHECKING:
    import ssl

    from pydapr.observe.metrics_grpc import GrpcMetrics
    from pydapr.observe.metrics_service import IdentityMetrics


class Refused(Exception):
    """There can be no identity; the message is the reason."""


class Identity:
    """Who this sidecar is. There is an identity after `open`; `renew` and `watch_anchors` run beside everything."""

    def __init__(self, settings: flags.Settings, environ: Mapping[str, str]) -> None:
        """Raises `Refused`."""
        control_plane = self._control_plane = _control_plane(settings)
        self._file: anchor_file.AnchorFile | None = None
        anchors = self._anchors(settings)
        asks = request.who(environ, settings.app_id, control_plane, settings.identity_namespace)
        if not settings.sentry_address:
            raise Refused("--enable-mtls needs --sentry-address, where certificates are asked for")
        self._sentry = request.Sentry(
            settings.sentry_address,
            control_plane,
            anchors,
            asks,
            lambda: token.read(environ, in_kubernetes=False),
            settings.sentry_jwt_audiences,
        )
        self._source = svid.Source(self._sentry, anchors)
        self.pools = verified.Pools(self._way_to)
        self._source.on_change.append(self.pools.retire)

    def _anchors(self, settings: flags.Settings) -> trust.Anchors:
        try:
            if settings.trust_anchors and settings.trust_anchors_file:
                raise Refused(
                    "trust anchors cannot be specified in both DAPR_TRUST_ANCHORS and DAPR_TRUST_ANCHORS_FILE"
                )
            if settings.trust_anchors:
                return trust.read(settings.trust_anchors.encode())
        except certificates.Invalid as error:
            raise Refused(str(error)) from None
        if not settings.trust_anchors_file:
            raise Refused("trust anchors are required: set DAPR_TRUST_ANCHORS or DAPR_TRUST_ANCHORS_FILE")
        self._file = anchor_file.AnchorFile(settings.trust_anchors_file)
        return trust.Anchors("")  # until `open` has read it

    async def open(self) -> None:
        """Gets the first certificate. Waits for the file of trust anchors, and for sentry. Raises `Refused`."""
        try:
            if self._file is not None:
                self._sentry.anchors = self._source.anchors = await self._file.first()
            await self._source.open(waits=True)
        except (certificates.Invalid, OSError, svid.Unavailable) as error:
            raise Refused(str(error)) from None

    async def renew(self) -> None:
        """Keeps the certificate current, until cancelled."""
        await self._source.run()

    async def watch_anchors(self) -> None:
        """Takes over what the file of trust anchors says when it changes, until cancelled."""
        if self._file is not None:
            await self._file.follow(self._go_by)

    def _go_by(self, anchors: trust.Anchors) -> None:
        self._sentry.anchors = anchors
        self._source.go_by(anchors)

    def measure(self, metrics: "IdentityMetrics", calls: "GrpcMetrics") -> None:
        """Counts this identity, and its renewals from now on."""
        metrics.made()
        self._source.on_renewal = metrics.renewed
        self._sentry.around = calls.asked

    # -- what is opened with it --

    def server_context(self) -> "ssl.SSLContext":
        """For the internal port: others show a certificate too. `tls.is_somebody` says whether it is of use."""
        return self._source.server_context(with_client=True)

    def on_change(self, told: Callable[[], None]) -> None:
        """Has `told` called when connections should be made anew, by another certificate or other anchors."""
        self._source.on_change.append(told)

    def way_to(self, service: str) -> http2_pool.Connector:
        """Connects to a service of the control plane, such as `dapr-placement`, and to nobody else."""
        meant = spiffe.Id(self._control_plane.trust_domain, self._control_plane.namespace, service)
        return tls.connector(self._source.client_context, lambda found: found == meant)

    def _way_to(self, app_id: str, namespace: str) -> http2_pool.Connector:
        path = f"/ns/{namespace}/{app_id}"
        return tls.connector(self._source.client_context, lambda found: found.path == path)


def _control_plane(settings: flags.Settings) -> spiffe.Id:
    """The id of sentry. Raises `Refused`."""
    if not settings.control_plane_trust_domain:
        raise Refused("control plane trust domain is required")
    try:
        domain = spiffe.domain(settings.control_plane_trust_domain)
    except spiffe.Malformed as error:
        raise Refused(f"invalid control plane trust domain: {error}") from None
    try:
        return spiffe.sentry(domain, settings.control_plane_namespace)
    except spiffe.Malformed as error:
        raise Refused(f"failed to parse sentry SPIFFE ID: {error}") from None
