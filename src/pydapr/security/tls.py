"""TLS by SPIFFE ids: a peer is who its certificate says, whatever its host is called.

`Source` in `svid` makes contexts here; `connector` goes into a pool of `net.http2_pool`.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from pydapr.net import client_tls, dial
from pydapr.net.http2_pool import Connector
from pydapr.security import spiffe, trust

Accepts = Callable[[spiffe.Id], bool]
"""Whether a peer is the one that is meant."""


def server(clients: trust.Anchors | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """For a server; with `clients` it demands a certificate that leads to one of these anchors."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(list(protocols))
    if clients is not None:
        _trust(made, clients)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def client(servers: trust.Anchors) -> ssl.SSLContext:
    """For calls to servers whose certificate leads to one of these anchors; names of hosts do not matter."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = False
    made.set_alpn_protocols(["h2"])
    _trust(made, servers)
    return made


def _trust(made: ssl.SSLContext, anchors: trust.Anchors) -> None:
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an anchor is an anchor, self-signed or not
    made.load_verify_locations(cadata=anchors.pem)


def show(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Has `context` show this certificate from the next connection on."""
    with client_tls.as_file(chain.decode("ascii")) as chain_path, client_tls.as_file(key.decode("ascii")) as key_path:
        context.load_cert_chain(chain_path, key_path)


def peer(transport: asyncio.BaseTransport) -> spiffe.Id | None:
    """Who is on the other side of a TLS connection; None without a certificate. Raises `spiffe.Malformed`."""
    shown: dict[str, Any] | None = transport.get_extra_info("peercert")
    names = [value for kind, value in (shown or {}).get("subjectAltName", ()) if kind == "URI"]
    if not names:
        return None
    if len(names) > 1:
        raise spiffe.Malformed("certificate contains more than one URI SAN")
    return spiffe.parse(names[0])


def connector(context: ssl.SSLContext, accepts: Accepts) -> Connector:
    """Connects, and is satisfied only when `accepts` says that the peer is the one that is meant."""

    async def connect(address: str, factory: dial.Factory) -> object:
        try:
            host, port = dial.split(address)
        except ValueError as error:
            raise OSError(str(error)) from None
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(factory, host, port, ssl=context, server_hostname=host)
        refusal = _refusal(transport, accepts)
        if refusal:
            transport.abort()
            raise OSError(f"transport: authentication handshake failed: {refusal}")
        return transport, protocol

    return connect


def _refusal(transport: asyncio.BaseTransport, accepts: Accepts) -> str:
    try:
        found = peer(transport)
    except spiffe.Malformed as error:
        return str(error)
    if found is None:
        return "certificate contains no URI SAN"
    return "" if accepts(found) else f'unexpected ID "{found}"'
