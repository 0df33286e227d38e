"""The shutdown API over HTTP. Called by the router; tells the runtime."""

from collections.abc import Callable

from pydapr.net.exchange import Exchange
from pydapr.wire import headers as names


class ShutdownApi:
    """Answers POST `/v1.0/shutdown`: 204, then the sidecar stops. `stop(force)` begins the stop."""

    def __init__(self, stop: Callable[[bool], None]) -> None:
        self._stop = stop

    async def post(self, exchange: Exchange) -> None:
        """With the header `dapr-force-shutdown` the graceful part is left out and the exit code is 1."""
        force = (names.first(exchange.headers, b"dapr-force-shutdown") or b"").lower() == b"true"
        exchange.respond(204, ())
        self._stop(force)
