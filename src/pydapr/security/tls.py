"""TLS by SPIFFE ids: a peer is who its certificate says, whatever its host is called.

`Source` in `svid` makes contexts here; `connector` goes into a pool of `net.http2_pool`.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from pydapr.net import client_tls, dial
from pydapr.net.http2_pool import Connector, Unsafe
from pydapr.security import spiffe, trust

Accepts = Callable[[spiffe.Id], bool]
"""Whether a peer is the one that is meant."""

Contexts = Callable[[], ssl.SSLContext]
"""The context for the next connection."""


def server(clients: trust.Anchors | None, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """For a server; with `clients` it demands a certificate that leads to one of these anchors."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_TICKET  # who comes back shows its certificate again
    made.num_tickets = 0
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


def check(chain: bytes, key: bytes) -> None:
    """Whether a certificate can be shown: its issuer's key may be too short. Raises `ssl.SSLError`, `OSError`."""
    show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, key)


def peer(transport: asyncio.BaseTransport) -> spiffe.Id | None:
    """Who is on the other side of a TLS connection; None without a certificate. Raises `spiffe.Malformed`."""
    shown: dict[str, Any] | None = transport.get_extra_info("peercert")
    names = [value for kind, value in (shown or {}).get("subjectAltName", ()) if kind == "URI"]
    if not names:
        return None
    if len(names) > 1:
        raise spiffe.Malformed("certificate contains more than one URI SAN")
    return spiffe.parse(names[0])


def is_somebody(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer shows one SPIFFE id, as servers demand of whoever calls them."""
    try:
        return peer(transport) is not None
    except spiffe.Malformed:
        return False


def connector(context: Contexts, accepts: Accepts) -> Connector:
    """Connects, and is satisfied only when `accepts` says that the peer is the one that is meant."""

    async def connect(address: str, factory: dial.Factory) -> object:
        try:
            made = await dial.address_by_tls(address, factory, context())
        except ssl.SSLError as error:
            raise Unsafe(_told(error)) from None
        transport = made[0]
        refusal = _refusal(transport, accepts)
        if refusal:
            transport.abort()
            raise Unsafe(refusal)
        return made

    return connect


def _told(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {error.verify_message}"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "tls: first record does not look like a TLS handshake"
    return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"


def _refusal(transport: asyncio.BaseTransport, accepts: Accepts) -> str:
    try:
        found = peer(transport)
    except spiffe.Malformed as error:
        return str(error)
    if found is None:
        return "certificate contains no URI SAN"
    if not accepts(found):
        return f'unexpected SPIFFE ID: "{found}"'
    spoken: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return "" if spoken.selected_alpn_protocol() == "h2" else "credentials: cannot check peer: missing selected ALPN"
