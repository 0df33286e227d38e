"""bindings.redis sets, reads, deletes and counts values in Redis: a server, one that sentinels watch, or a cluster.

The key is `key` in the metadata of a request; `ttlInSeconds` or `ttl` ends what `create` and `increment` write, and
`get` with `delete: true` takes the value away.
"""

from collections.abc import Mapping

from pydapr.components import component
from pydapr.components.bindings import CREATE, DELETE, GET, Answer, BindingError, OutputBinding, Request
from pydapr.components.drivers import redis
from pydapr.components.drivers.redis_connection import Command, Failure, Reply
from pydapr.lib import ttl

INCREMENT = "increment"


@component("bindings.redis", redis.Options)
class Redis(OutputBinding):
    operations = (CREATE, DELETE, GET, INCREMENT)

    def __init__(self, options: redis.Options) -> None:
        self._client = redis.client(redis.settings(options))

    async def open(self) -> None:
        try:
            await self._client.open()
        except OSError as error:
            raise OSError(f"redis binding: {str(error).removeprefix('redis store: ')}") from error

    async def close(self) -> None:
        await self._client.close()

    async def invoke(self, request: Request) -> Answer | None:
        key, operation = request.metadata.get("key"), request.operation
        if not key:
            raise BindingError("redis binding: missing key in request metadata")
        if operation == DELETE:
            await self._ask(key, ("DEL", key))
            return None
        if operation == GET:
            takes = request.metadata.get("delete") == "true"
            value = await self._ask(key, ("GETDEL" if takes else "GET", key), may_repeat=not takes)
            return Answer(value or b"")
        if operation not in (CREATE, INCREMENT):
            raise BindingError(f"invalid operation type: {operation}")
        seconds = _ttl(request.metadata)
        write: Command = ("SET", key, request.data) if operation == CREATE else ("INCR", key)
        end: list[Command] = [] if seconds is None else [("EXPIRE", key, seconds)]
        await self._ask(key, write, *end, may_repeat=operation == CREATE)
        return None

    async def _ask(self, key: str, *commands: Command, may_repeat: bool = True) -> Reply:
        """The reply to the first."""
        try:
            replies = await self._client.run(key, commands, may_repeat=may_repeat)
        except OSError as error:
            raise BindingError(f"redis binding: {error}") from None
        for reply in replies:
            if isinstance(reply, Failure):
                raise BindingError(str(reply))
        return replies[0]


def _ttl(metadata: Mapping[str, str]) -> int | None:
    """Whole seconds; None for ever. Raises `BindingError`."""
    try:
        seconds = ttl.of(metadata)
    except ValueError as error:
        raise BindingError(str(error)) from None
    return None if seconds is None else int(seconds)
