"""Making connections: to host and port, over TLS, to a Unix domain socket. Used by whoever makes a pool."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

Factory = Callable[[], asyncio.Protocol]


def split(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; the host of an IPv6 address without its brackets. Raises `ValueError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"no port in address {address!r}")
    return host.strip("[]"), int(port)


async def address(address: str, factory: Factory) -> object:
    """Connects to `host:port`. Raises `OSError`."""
    try:
        host, port = split(address)
    except ValueError as error:
        raise OSError(str(error)) from None
    return await asyncio.get_running_loop().create_connection(factory, host, port)


def to(
    host: str, port: int, with_tls: bool = False, verify: bool = True, context: "ssl.SSLContext | None" = None
) -> Callable[[Factory], Awaitable[object]]:
    """A connector to one server; `context` takes the place of the usual rules of TLS."""

    async def connect(factory: Factory) -> object:
        loop = asyncio.get_running_loop()
        if not with_tls:
            return await loop.create_connection(factory, host, port)
        rules = context or _context(verify)
        return await loop.create_connection(factory, host, port, ssl=rules, server_hostname=host)

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
