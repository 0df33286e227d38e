"""Methods that are none of ours: the metadata say to which app they go. Called by the router; asks `blocks.proxy`."""

from pydapr.blocks.proxy import Proxy
from pydapr.errors import Code, RpcError
from pydapr.net.http2_server import ServerExchange
from pydapr.net.relay import Relay
from pydapr.wire import headers as names

MISSING = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"

LARGEST = (1 << 31) - 1
"""Bytes of a message where there is no other limit."""


class ProxyApi:
    """Passes calls on. `max_message` bounds each message in either direction."""

    def __init__(self, proxy: Proxy, max_message: int) -> None:
        self._proxy = proxy
        self._max_message = max_message

    async def handle(self, exchange: ServerExchange) -> None:
        """Answers one call; raises `RpcError` when it is not the app that answers."""
        fields = exchange.fields
        name = b"dapr-callee-app-id" if b"dapr-callee-app-id" in fields else b"dapr-app-id"
        target = names.first(exchange.headers, name)
        if target is None:
            raise RpcError(Code.UNKNOWN, MISSING)
        await self._proxy.pass_on(target.decode("utf-8", "replace"), Relay(exchange, self._max_message))
