"""The lock API over gRPC. Called by the router; asks `blocks.lock`."""

from pydapr.api.grpc import unary
from pydapr.blocks.lock import Lock
from pydapr.net.http2_server import ServerExchange


class LockApi:
    """Answers TryLockAlpha1 and UnlockAlpha1."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def lock(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Whether the lock is taken now."""
        from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

        asked = unary.decode(lock_pb2.TryLockRequest, data)
        is_taken = await self._lock.try_lock(
            asked.store_name, asked.resource_id, asked.lock_owner, asked.expiry_in_seconds
        )
        return lock_pb2.TryLockResponse(success=is_taken).SerializeToString()

    async def unlock(self, exchange: ServerExchange, data: bytes) -> bytes:
        """What became of giving the lock back."""
        from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

        asked = unary.decode(lock_pb2.UnlockRequest, data)
        became = await self._lock.unlock(asked.store_name, asked.resource_id, asked.lock_owner)
        status = lock_pb2.UnlockResponse.Status.Name(became)
        return lock_pb2.UnlockResponse(status=status).SerializeToString()
