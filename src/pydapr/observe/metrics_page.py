"""The metrics port: whatever path is asked for, it answers with all series, as the original's exporter does."""

import asyncio
import zlib

from pydapr.net.exchange import Exchange, Handler
from pydapr.observe.metrics import Registry
from pydapr.wire import headers as names

_TEXT = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),)
_GZIPPED = ((b"content-encoding", b"gzip"), *_TEXT)
_LEVEL, _WITH_HEAD = 1, 31
"""The fastest of zlib takes 4 ms for a page of 1.3 MB and makes 64 KB of it; the slower ones gain little."""


SECONDS = 60.0
"""How long a page may take its reader. Prometheus gives up after ten."""


def page(registry: Registry, seconds: float = SECONDS) -> Handler:
    """A handler for `net.server` that shows `registry`, compressed for those who take that, as Prometheus does.

    Who does not read it within `seconds` is left.
    """

    async def serve(exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(seconds):
                await show(exchange)
        except TimeoutError:
            exchange.abort()

    async def show(exchange: Exchange) -> None:
        is_gzipped = _takes_gzip(names.first(exchange.headers, b"accept-encoding") or b"")
        exchange.begin(200, _GZIPPED if is_gzipped else _TEXT)
        squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WITH_HEAD) if is_gzipped else None
        for piece in registry.pieces():
            data = piece.encode("utf-8", "replace")
            if squeeze is not None:
                data = squeeze.compress(data)
            if data:
                await exchange.write(data)
            # A sidecar with thousands of series goes on with its requests meanwhile.
            await asyncio.sleep(0)
        if squeeze is not None:
            await exchange.write(squeeze.flush())
        exchange.finish()

    return serve


def _takes_gzip(accepted: bytes) -> bool:
    """Whether `accept-encoding` names gzip, and not to say that it is not wanted."""
    for one in accepted.lower().split(b","):
        name, _, weight = one.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"").strip(b"0.") != b"q="
    return False
