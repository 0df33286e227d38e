"""Making connections: to host and port, over TLS, to a Unix domain socket. Used by whoever makes a pool."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydapr.net import buffered, lookup

if TYPE_CHECKING:
    import ssl

Factory = Callable[[], asyncio.Protocol]

_PROBES = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 9))
"""When the kernel looks whether a quiet peer is still there, as Go has it: a machine that is gone is noticed."""


TLS_PATIENCE: dict[str, Any] = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 1.0}
"""Seconds for a peer to begin, and to take leave when we have closed; asyncio's own are 60 and 30."""


HERE = "localhost"


def split(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; the host of an IPv6 address without its brackets. Raises `ValueError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"no port in address {address!r}")
    return host.strip("[]"), int(port)


async def address(address: str, factory: Factory) -> object:
    """Connects to `host:port`; without a host it is this machine. Raises `OSError`."""
    try:
        host, port = split(address)
    except ValueError as error:
        raise OSError(str(error)) from None
    return await _connect(factory, host or HERE, port)


async def address_by_tls(
    address: str, factory: Factory, context: "ssl.SSLContext"
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connects to `host:port` over TLS; without a host it is this machine. Raises `OSError`."""
    try:
        host, port = split(address)
    except ValueError as error:
        raise OSError(str(error)) from None
    host = host or HERE
    return await _connect(factory, host, port, ssl=context, server_hostname=host, **TLS_PATIENCE)


async def unix(path: str, factory: Factory) -> object:
    """Connects to a Unix domain socket. Raises `OSError`."""
    return await asyncio.get_running_loop().create_unix_connection(factory, path)


def keep_alive(sock: Any) -> None:
    """Has the kernel watch the other end; `sock` is a TCP socket, or asyncio's view of one."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        if hasattr(socket, name):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _connect(
    factory: Factory, host: str, port: int, **tls: Any
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connects by the first address of `host` that takes it. Raises `OSError`, of it `NoSuchHost`."""
    loop = asyncio.get_running_loop()
    made: Callable[[], asyncio.BaseProtocol] = (lambda: buffered.Buffered(factory())) if tls else factory
    failed: OSError | None = None
    for place in [(host, port)] if needs_no_lookup(host) else await lookup.places(host, port):
        try:
            transport, protocol = await loop.create_connection(made, *place, **tls)
        except OSError as error:
            if type(error).__module__ == "ssl":
                raise
            failed = failed or error
            continue
        with contextlib.suppress(OSError):  # it may be gone again, which whoever uses it will see
            keep_alive(transport.get_extra_info("socket"))
        return transport, protocol
    raise failed or OSError(f"no address for {host}")


@lru_cache(256)
def needs_no_lookup(host: str) -> bool:
    """Whether `host` is an address, or a name that this machine knows itself, as it does none."""
    if host in (HERE, ""):
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False


def to(
    host: str,
    port: int,
    with_tls: bool = False,
    verify: bool = True,
    context: "ssl.SSLContext | None" = None,
    server_name: str = "",
) -> Callable[[Factory], Awaitable[object]]:
    """A connector to one server; `context` takes the place of the usual rules of TLS, `server_name` that of the host
    in the server's certificate."""

    async def connect(factory: Factory) -> object:
        if not with_tls:
            return await _connect(factory, host, port)
        rules = context or _context(verify)
        return await _connect(factory, host, port, ssl=rules, server_hostname=server_name or host)

    return connect


@cache
def _context(verify: bool) -> "ssl.SSLContext":
    import ssl  # here and not above: it costs 10 ms of start-up

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def parse_url(url: str) -> tuple[str, int, bool, str]:
    """Host, port, whether over TLS, and path of an `http` or `https` URL. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http(s) URL with a host")
    with_tls = parts.scheme == "https"
    return parts.hostname, parts.port or (443 if with_tls else 80), with_tls, parts.path.rstrip("/")
