"""The state of actors: in the one store that is meant for it, written by who hosts the actor, in transactions only.

Called by the faces. Keys are built of app, type, id and key, whatever the component says of prefixes (v1.18.3,
`pkg/actors/state`); values are encrypted where the component has a key, which the original leaves undone.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.hosting import Here
from pydapr.blocks.state import Store
from pydapr.components import state
from pydapr.components.state import Delete, Item, Set, StateError
from pydapr.errors import (
    ActorInstanceMissing,
    ActorRuntimeNotFound,
    ActorStateGetFailed,
    ActorStateSaveFailed,
    ActorTypeReserved,
)
from pydapr.lib.actors import Actor
from pydapr.policy import resiliency
from pydapr.policy.breaker import Refused
from pydapr.policy.runner import DeadlineExceeded, Runner

T = TypeVar("T")

RESERVED = "dapr.internal."
"""How the types of actors begin that belong to workflows."""

PARTITION_KEY = "partitionKey"

UNFIT = (
    "actors: state store does not exist or incorrectly configured. Have you set the property "
    '\'{"name": "actorStateStore", "value": "true"}\' in your state store component file?'
)

_FAILURES = (StateError, DeadlineExceeded, Refused)


def refuse_reserved(actor_type: str) -> None:
    """Raises `ActorTypeReserved` for a type that only workflows may use."""
    if actor_type.startswith(RESERVED):
        raise ActorTypeReserved(actor_type)


def is_fit(store: Store) -> bool:
    """Whether a store can keep the state of actors."""
    return state.TRANSACTIONAL in store.store.features and state.ETAG in store.store.features


class ActorState:
    """Reads and writes. `store` gives the store in force, None without any; methods raise `DaprError`."""

    def __init__(
        self,
        app_id: str,
        actors: Actors,
        here: Here,
        store: Callable[[], Store | None],
        policies: "resiliency.Resiliency | None",
        with_ttl: bool,
    ) -> None:
        self._app_id, self._actors, self._here, self._store = app_id, actors, here, store
        self._policies = policies
        self._with_ttl = with_ttl
        self._runner = Runner(StateError)

    async def get(self, actor: Actor, key: str) -> Item | None:
        """What an actor has under a key, None when nothing."""
        refuse_reserved(actor.type)
        await self._actors.ready()
        store = self._found(ActorStateGetFailed)
        base = f"{self._app_id}||{actor.type}||{actor.id}"
        full, metadata = f"{base}||{key}", {PARTITION_KEY: base}
        try:
            item = await self._run(store, lambda: store.store.get(full, metadata=metadata))
        except _FAILURES as error:
            raise ActorStateGetFailed(store.store.scrub(str(error))) from None
        if item is None or store.cipher is None:
            return item
        try:
            return Item(store.cipher.decrypt(item.value), item.etag, item.metadata)
        except ValueError:
            return item  # the original has written it, which encrypts nothing here

    async def require(self, actor: Actor) -> None:
        """Raises `ActorInstanceMissing` unless the actor is active here."""
        await self._actors.ready()
        if not self._here.is_active(actor):
            raise ActorInstanceMissing

    async def transact(self, actor: Actor, operations: Sequence[Set | Delete]) -> None:
        """All operations or none; their keys are the actor's. Only where the actor is active."""
        refuse_reserved(actor.type)
        await self._actors.ready()
        if not await self._actors.sure():
            raise ActorInstanceMissing
        await self._here.write(actor, lambda: self._write(actor, operations))

    async def _write(self, actor: Actor, operations: Sequence[Set | Delete]) -> None:
        base = f"{self._app_id}||{actor.type}||{actor.id}"
        metadata = {PARTITION_KEY: base}
        for one in operations:
            if not one.key:
                raise ActorStateSaveFailed("missing key")
            if state.TTL_IN_SECONDS in one.metadata and not self._with_ttl:
                raise ActorStateSaveFailed('ttlInSeconds is not supported without the "ActorStateTTL" feature enabled')
            one.key = f"{base}||{one.key}"
            one.metadata = {**one.metadata, **metadata} if one.metadata else metadata
        store = self._found(ActorStateSaveFailed)
        if not operations:
            return
        most = await store.store.most_operations()
        if 0 < most < len(operations):
            raise ActorStateSaveFailed("the transaction contains more operations than supported by the state store")
        if store.cipher is not None:
            for one in operations:
                if isinstance(one, Set):
                    _encrypt(store, one)
        try:
            await self._run(store, lambda: store.store.transact(operations, metadata=metadata))
        except _FAILURES as error:
            raise ActorStateSaveFailed(store.store.scrub(str(error))) from None

    def _found(self, failed: type[ActorStateGetFailed] | type[ActorStateSaveFailed]) -> Store:
        store = self._store()
        if store is None:
            raise ActorRuntimeNotFound
        if not is_fit(store):
            raise failed(UNFIT)
        return store

    async def _run(self, store: Store, operation: Callable[[], Awaitable[T]]) -> T:
        if self._policies is not None:
            now = asyncio.get_running_loop().time()
            definition = self._policies.component(store.name, resiliency.STATESTORE, resiliency.OUTBOUND, now)
            if definition is not None:
                return await self._runner.run(definition, operation, _always)
        return await operation()


def _encrypt(store: Store, request: Set) -> None:
    assert store.cipher is not None
    value = request.value
    if request.is_json and value.startswith(b'"'):
        value = json.loads(value).encode("utf-8", "replace")
    request.value, request.is_json = store.cipher.encrypt(value), False


def _always() -> bool:
    return True
