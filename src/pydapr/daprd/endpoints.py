"""From HTTPEndpoint resources to the channels by which service invocation calls them. Called by `daprd.runtime`.

An endpoint that cannot be used as it is described, for instance because a header is to come from a secret
store, does not keep the sidecar from starting: the log tells of it, and so does each call. It is never called
without what its description asks for.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydapr.app import endpoint as app_endpoint
from pydapr.app.channel import AppChannel
from pydapr.daprd import references
from pydapr.net import dial
from pydapr.observe import logging
from pydapr.resources import httpendpoint

if TYPE_CHECKING:
    import ssl

log = logging.get("dapr.runtime.channels")

_RENEGOTIATION = ("", "Never", "OnceAsClient", "FreelyAsClient")


def open_all(wanted: Iterable[httpendpoint.HttpEndpoint], environ: Mapping[str, str]) -> dict[str, AppChannel]:
    """A channel for each endpoint, by name."""
    return {one.name: _open(one, environ) for one in wanted}


def _open(wanted: httpendpoint.HttpEndpoint, environ: Mapping[str, str]) -> AppChannel:
    try:
        headers = references.resolve(f"HTTPEndpoint {wanted.name}", wanted.headers, environ)
        context = _context(wanted)
        return app_endpoint.EndpointChannel(wanted.base_url, headers, functools.partial(dial.to, context=context))
    except ValueError as error:
        log.error(f"HTTPEndpoint {wanted.log_name} cannot be called: {error}")
        return app_endpoint.Unusable(f"cannot invoke http endpoint {wanted.name}: {error}")


def _context(wanted: httpendpoint.HttpEndpoint) -> "ssl.SSLContext | None":
    """The rules of TLS, None for the usual ones. Raises `ValueError`."""
    tls = wanted.client_tls
    if tls is None:
        return None
    if tls.renegotiation not in _RENEGOTIATION:
        raise ValueError(f"invalid renegotiation value {tls.renegotiation} for http endpoint {wanted.name}")
    from pydapr.net import client_tls

    return client_tls.context(
        _pem(wanted, "rootCA", tls.root_ca),
        _pem(wanted, "certificate", tls.certificate),
        _pem(wanted, "privateKey", tls.private_key),
        tls.renegotiation,
    )


def _pem(wanted: httpendpoint.HttpEndpoint, what: str, pem: httpendpoint.Pem | None) -> str:
    if pem is None:
        return ""
    if not pem.value and pem.secret_key_ref is not None:
        raise ValueError(references.from_secret(f"HTTPEndpoint {wanted.name}", what))
    return pem.value or ""
