"""state.jetstream keeps state in a key-value bucket of NATS JetStream, which is there already.

The `||` between an app's id and its key is a dot there, as in the original; a key may have letters, digits and
`-/_=.` besides. There are no etags, no transactions and no time to live.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.components import component, option, options
from pydapr.components.drivers import nats
from pydapr.components.state import NO_METADATA, Delete, Item, Set, StateError, StateStore, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.kv import KeyValue


@options
class Options:
    nats_url: str = option("Where the servers are, by commas: `nats://host:4222`.")
    bucket: str = option("The bucket.")
    name: str = option("What the server shows as the connection's name.", default="dapr.io - statestore.jetstream")
    jwt: str = option("Who we are, as a JWT.", default="")
    seed_key: str = option("The seed that belongs to `jwt`.", default="")


@component("state.jetstream", Options)
class JetStream(StateStore):
    def __init__(self, options: Options) -> None:
        self._options = options
        self._place = nats.Place(
            url=options.nats_url, name=options.name or "dapr.io - statestore.jetstream", jwt=options.jwt,
            seed_key=options.seed_key,
        )  # fmt: skip
        nats.check(self._place)
        self._connection: Client | None = None
        self._bucket: KeyValue | None = None

    async def open(self) -> None:
        self._connection = await nats.connect(self._place)
        try:
            with nats.mapped():
                js = self._connection.jetstream(timeout=nats.ANSWER_SECONDS)
                self._bucket = await js.key_value(self._options.bucket)
        except nats.Failed as error:
            what = f"there is no bucket {self._options.bucket}" if error.is_missing else str(error)
            raise OSError(what) from None

    async def close(self) -> None:
        connection, self._connection, self._bucket = self._connection, None, None
        if connection is not None:
            await nats.close(connection)

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        try:
            with nats.mapped():
                found = await self._opened().get(_escaped(key))
        except nats.Failed as error:
            if error.is_missing:
                return None
            raise _as_ours(error, key) from None
        return Item(found.value or b"")

    async def set(self, request: Set) -> None:
        try:
            with nats.mapped():
                await self._opened().put(_escaped(request.key), request.value)
        except nats.Failed as error:
            raise _as_ours(error, request.key) from None

    async def delete(self, request: Delete) -> None:
        try:
            with nats.mapped():
                await self._opened().delete(_escaped(request.key))
        except nats.Failed as error:
            raise _as_ours(error, request.key) from None

    def _opened(self) -> "KeyValue":
        if self._bucket is None:
            raise StateError("the store is closed")
        return self._bucket


def _escaped(key: str) -> str:
    return key.replace("||", ".")


def _as_ours(error: nats.Failed, key: str) -> StateError:
    if error.is_passing:
        return Unavailable(str(error))
    return StateError(f"{error}: key {key}")
