"""The address under which this host is announced to others.

Asked once at start by the processes that announce themselves: daprd (name resolution, placement), scheduler.
`DAPR_HOST_IP` decides; else the kernel's choice of source address; else the best address of an interface.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Addresses for documentation (RFC 5737, RFC 3849): connecting a UDP socket asks for a route, sends nothing.
_PROBES = ((socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:db8::1", 80)))


def host_address(environ: Mapping[str, str]) -> str:
    """The address; raises OSError when the host has none but loopback."""
    given = environ.get("DAPR_HOST_IP")
    if given:
        return given
    for family, probe in _PROBES:
        address = _outbound(family, probe)
        if address:
            return address
    best = preferred(_interface_addresses())
    if not best:
        raise OSError("could not determine host IP address")
    return best


def _outbound(family: socket.AddressFamily, probe: tuple[str, int]) -> str:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(probe)
            address = str(sock.getsockname()[0]).partition("%")[0]
    except OSError:
        return ""
    return "" if _is_clat(address) else address


def _is_clat(address: str) -> bool:
    # RFC 7335: the inside of a 464XLAT translator, of no use to others
    return address in {f"192.0.0.{last}" for last in range(8)}


def _interface_addresses() -> Iterable[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, proto=socket.IPPROTO_UDP)
    except OSError:
        return ()
    return (str(entry[4][0]).partition("%")[0] for entry in found)


def preferred(addresses: Iterable[str]) -> str:
    """The first of the best kind: public v4, global v6, private v4, private v6, link-local; or empty."""
    import ipaddress

    best, best_rank = "", 100
    for address in addresses:
        ip = ipaddress.ip_address(address)
        rank = -1 if ip.is_loopback or _is_clat(address) else _rank(ip)
        if 0 <= rank < best_rank:
            best, best_rank = address, rank
    return best


def _rank(ip: object) -> int:
    import ipaddress

    assert isinstance(ip, ipaddress.IPv4Address | ipaddress.IPv6Address)
    if ip.is_link_local:
        return 99
    if ip.is_unspecified or ip.is_multicast:
        return -1
    if isinstance(ip, ipaddress.IPv4Address):
        shared = ip in ipaddress.ip_network("100.64.0.0/10")
        rfc1918 = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
        private = any(ip in ipaddress.ip_network(network) for network in rfc1918)
        return 2 if shared or private else 0
    return 3 if ip in ipaddress.ip_network("fc00::/7") else 1
