"""The shutdown API over gRPC. Called by the router; tells the runtime."""

from collections.abc import Callable

from pydapr.net.http2_server import ServerExchange


class ShutdownApi:
    """Answers Shutdown, then the sidecar stops. `stop(force)` begins the stop."""

    def __init__(self, stop: Callable[[bool], None]) -> None:
        self._stop = stop

    async def shut_down(self, exchange: ServerExchange, data: bytes) -> bytes:
        """With `dapr-force-shutdown` in the metadata the graceful part is left out and the exit code is 1."""
        wishes = [value.lower() for name, value in exchange.headers if name == b"dapr-force-shutdown"]
        self._stop(b"true" in wishes)
        return b""
