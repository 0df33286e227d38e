"""lock.redis keeps locks in Redis, in the original's form: a string with the owner, which ends with its time.

A server, or one that sentinels watch. A cluster is refused, as by the original. What a server has acknowledged and not
handed to its replica is lost when that one takes over, and with it a lock: sentinels are for work that can bear it.
"""

import re

from pydapr.components import Wrong, component
from pydapr.components.drivers import redis
from pydapr.components.drivers.redis_connection import Command, Failure, Reply
from pydapr.components.lock import LockError, LockStore, Unlocked

_UNLOCK = """
local owner = redis.call("GET", KEYS[1])
if not owner then return 1 end
if owner ~= ARGV[1] then return 2 end
redis.call("DEL", KEYS[1])
return 0
"""


@component("lock.redis", redis.Options)
class Redis(LockStore):
    def __init__(self, options: redis.Options) -> None:
        if options.redis_type == redis.CLUSTER:
            raise Wrong("this component does not support connecting to Redis Cluster")
        self._client = redis.client(redis.settings(options))
        self._may_have_replicas = options.failover

    async def open(self) -> None:
        await self._client.open()
        if not self._may_have_replicas and await self._replicas():
            raise Wrong("replication is not supported")

    async def close(self) -> None:
        await self._client.close()

    async def _replicas(self) -> int:
        """How many servers follow this one, as far as it tells."""
        [told] = await self._client.run("", [("INFO", "replication")])
        found = re.search(rb"connected_slaves:(\d+)", told) if isinstance(told, bytes) else None
        return int(found[1]) if found else 0

    async def try_lock(self, resource: str, owner: str, seconds: int) -> bool:
        # Not sent again by itself when the connection is lost: it may have been taken, by this very owner.
        return await self._ask(resource, ("SET", resource, owner, "NX", "EX", seconds)) is not None

    async def unlock(self, resource: str, owner: str) -> Unlocked:
        return Unlocked(await self._ask(resource, ("EVAL", _UNLOCK, 1, resource, owner)))

    async def _ask(self, resource: str, command: Command) -> Reply:
        try:
            [reply] = await self._client.run(resource, [command])
        except (OSError, Failure) as error:
            raise LockError(str(error)) from None
        if isinstance(reply, Failure):
            raise LockError(str(reply))
        return reply
