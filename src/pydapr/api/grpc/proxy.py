"""Methods that are none of ours: the metadata say to which app they go. Called by the router; asks `blocks.proxy`.

Where a Resiliency resource concerns apps, `blocks.guarded_proxy` stands between.
"""

from typing import TYPE_CHECKING

from pydapr.blocks.invoke import REPLAYABLE_BYTES
from pydapr.blocks.proxy import Proxy
from pydapr.errors import Code, RpcError
from pydapr.net.http2_server import ServerExchange
from pydapr.net.relay import Relay
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.blocks.guarded_proxy import GuardedProxy
    from pydapr.policy.resiliency import Resiliency

MISSING = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"

LARGEST = (1 << 31) - 1
"""Bytes of a message where there is no other limit."""


class ProxyApi:
    """Passes calls on. `max_message` bounds each message in either direction; `policies` are for calls of own."""

    def __init__(self, proxy: Proxy, max_message: int, policies: "Resiliency | None" = None) -> None:
        self._proxy = proxy
        self._max_message = max_message
        self._guarded: GuardedProxy | None = None
        if policies is not None and policies.applies_to_apps:
            from pydapr.blocks import guarded_proxy

            kept = max_message if max_message < LARGEST else REPLAYABLE_BYTES
            self._guarded = guarded_proxy.GuardedProxy(proxy, policies, max_message, kept)

    async def handle(self, exchange: ServerExchange) -> int:
        """Answers one call; the status it ended with. Raises `RpcError` when it is not the app that answers."""
        fields = exchange.fields
        name = b"dapr-callee-app-id" if b"dapr-callee-app-id" in fields else b"dapr-app-id"
        target = names.first(exchange.headers, name)
        if target is None:
            raise RpcError(Code.UNKNOWN, MISSING)
        if self._guarded is not None and b"dapr-app-id" in fields:
            named = names.first(exchange.headers, b"dapr-app-id") or b""
            return await self._guarded.pass_on(_text(named), _text(target), exchange)
        call = Relay(exchange, self._max_message)
        await self._proxy.pass_on(_text(target), call)
        if call.code and exchange.trace is not None and exchange.trace.record is not None:
            exchange.trace.record.failed(call.message)
        return call.code


def _text(app_id: bytes) -> str:
    return app_id.decode("utf-8", "replace")
