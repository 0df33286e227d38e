"""The lock API over HTTP. Called by the router; asks `blocks.lock`.

Bodies are the messages of gRPC in protobuf's form of JSON, as in the original.
"""

from pydapr.api.http import protojson
from pydapr.api.http.errors import JSON
from pydapr.blocks.lock import Lock
from pydapr.lib import urls
from pydapr.net.exchange import Exchange

LOCK_PREFIX, UNLOCK_PREFIX = b"/v1.0-alpha1/lock/", b"/v1.0-alpha1/unlock/"


class LockApi:
    """Answers POST of `/v1.0-alpha1/lock/<store>` and `/v1.0-alpha1/unlock/<store>`."""

    def __init__(self, lock: Lock, max_body: int) -> None:
        self._lock = lock
        self._max_body = max_body

    async def lock(self, exchange: Exchange) -> None:
        """Whether the lock is taken now."""
        from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

        store = urls.segments(exchange.target, LOCK_PREFIX)[0]
        asked = await protojson.read(exchange, lock_pb2.TryLockRequest(), self._max_body)
        is_taken = await self._lock.try_lock(store, asked.resource_id, asked.lock_owner, asked.expiry_in_seconds)
        exchange.respond(200, JSON, b'{"success":true}' if is_taken else b'{"success":false}')

    async def unlock(self, exchange: Exchange) -> None:
        """What became of giving the lock back, as a number."""
        from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

        store = urls.segments(exchange.target, UNLOCK_PREFIX)[0]
        asked = await protojson.read(exchange, lock_pb2.UnlockRequest(), self._max_body)
        became = await self._lock.unlock(store, asked.resource_id, asked.lock_owner)
        exchange.respond(200, JSON, b'{"status":%d}' % became)
