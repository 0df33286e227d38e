"""The metrics port: whatever path is asked for, it answers with all series, as the original's exporter does."""

import asyncio

from pydapr.net.exchange import Exchange, Handler
from pydapr.observe.metrics import Registry

_TEXT = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8; escaping=underscores"),)


def page(registry: Registry) -> Handler:
    """A handler for `net.server` that shows `registry`."""

    async def serve(exchange: Exchange) -> None:
        exchange.begin(200, _TEXT)
        for piece in registry.pieces():
            await exchange.write(piece.encode("utf-8", "replace"))
            # A sidecar with thousands of series goes on with its requests meanwhile.
            await asyncio.sleep(0)
        exchange.finish()

    return serve
