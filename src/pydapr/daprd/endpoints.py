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
from pydapr.components.secretstores import SecretStore
from pydapr.daprd import references
from pydapr.net import dial
from pydapr.observe import logging
from pydapr.resources import httpendpoint
from pydapr.resources.fields import NameValue

if TYPE_CHECKING:
    import ssl

log = logging.get("dapr.runtime.channels")

_RENEGOTIATION = ("", "Never", "OnceAsClient", "FreelyAsClient")


async def open_all(
    wanted: Iterable[httpendpoint.HttpEndpoint], environ: Mapping[str, str], stores: Mapping[str, SecretStore]
) -> dict[str, AppChannel]:
    """A channel for each endpoint, by name."""
    return {one.name: await _open(one, environ, stores) for one in wanted}


async def _open(
    wanted: httpendpoint.HttpEndpoint, environ: Mapping[str, str], stores: Mapping[str, SecretStore]
) -> AppChannel:
    try:
        headers = await _values(wanted, wanted.headers, environ, stores)
        context = await _context(wanted, environ, stores)
        return app_endpoint.EndpointChannel(wanted.base_url, headers, functools.partial(dial.to, context=context))
    except ValueError as error:
        log.error(f"HTTPEndpoint {wanted.log_name} cannot be called: {error}")
        return app_endpoint.Unusable(f"cannot invoke http endpoint {wanted.name}: {error}")


async def _values(
    wanted: httpendpoint.HttpEndpoint,
    pairs: Iterable[NameValue],
    environ: Mapping[str, str],
    stores: Mapping[str, SecretStore],
) -> list[tuple[str, str]]:
    """Names and values of `pairs`. Raises `ValueError` when one of them cannot be had."""
    owner = references.Owner("HTTPEndpoint", wanted.name, wanted.namespace, wanted.secret_store, wanted.file)
    try:
        given = await references.resolve(owner, pairs, environ, stores)
    except references.NotLoaded as reason:
        raise ValueError(f"{reason}, but that store is not loaded") from None
    if given.faults:
        raise ValueError("; ".join(given.faults))
    return list(given.pairs)


async def _context(
    wanted: httpendpoint.HttpEndpoint, environ: Mapping[str, str], stores: Mapping[str, SecretStore]
) -> "ssl.SSLContext | None":
    """The rules of TLS, None for the usual ones. Raises `ValueError`."""
    tls = wanted.client_tls
    if tls is None:
        return None
    if tls.renegotiation not in _RENEGOTIATION:
        raise ValueError(f"invalid renegotiation value {tls.renegotiation} for http endpoint {wanted.name}")
    from pydapr.net import client_tls

    texts = {"rootCA": tls.root_ca, "certificate": tls.certificate, "privateKey": tls.private_key}
    pairs = [NameValue(name, pem.value, pem.secret_key_ref) for name, pem in texts.items() if pem is not None]
    found = dict(await _values(wanted, pairs, environ, stores))
    root_ca, certificate, private_key = (found.get(name, "") for name in texts)
    return client_tls.context(root_ca, certificate, private_key, tls.renegotiation)
