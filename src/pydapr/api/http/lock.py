"""The lock API over HTTP. Called by the router; asks `blocks.lock`.

Bodies are the messages of gRPC in protobuf's form of JSON, as in the original.
"""

import json
from typing import TYPE_CHECKING, TypeVar

from pydapr.api.http.errors import JSON
from pydapr.blocks.lock import Lock
from pydapr.errors import BodyUnreadable, MalformedRequest
from pydapr.lib import urls
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

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
        asked = await self._read(exchange, lock_pb2.TryLockRequest())
        is_taken = await self._lock.try_lock(store, asked.resource_id, asked.lock_owner, asked.expiry_in_seconds)
        exchange.respond(200, JSON, b'{"success":true}' if is_taken else b'{"success":false}')

    async def unlock(self, exchange: Exchange) -> None:
        """What became of giving the lock back, as a number."""
        from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

        store = urls.segments(exchange.target, UNLOCK_PREFIX)[0]
        asked = await self._read(exchange, lock_pb2.UnlockRequest())
        became = await self._lock.unlock(store, asked.resource_id, asked.lock_owner)
        exchange.respond(200, JSON, b'{"status":%d}' % became)

    async def _read(self, exchange: Exchange, message: "M") -> "M":
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge as error:
            raise BodyUnreadable(str(error)) from None
        if not body:
            return message
        from google.protobuf import json_format

        try:
            document = json.loads(body)
            if not isinstance(document, dict):
                raise ValueError("a JSON object is wanted")
            return json_format.ParseDict(document, message, ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            raise MalformedRequest(f"failed deserializing HTTP body: {error}") from None
