"""Locks for the app: in which store, under which name, under which policies.

Called by the faces; goes on to `components.lock`. Rules and words are the original's (v1.18.3,
`pkg/api/universal/lock.go`, `pkg/components/lock`).
"""

from collections.abc import Mapping

from pydapr.components.lock import LockError, LockStore, Unlocked
from pydapr.errors import (
    LockFailed,
    LockStoreNotFound,
    LockStoresNotConfigured,
    MalformedRequest,
    UnlockFailed,
)
from pydapr.lib.record import Record
from pydapr.policy import operations, resiliency

SEPARATOR = "||"
_BEGIN = f"lock{SEPARATOR}"


class Illegal(ValueError):
    """A name has in it what separates it from its prefix."""


class Store(Record):
    """An open store, and what stands before the names of an app's resources in it."""

    store: LockStore
    prefix: str


def prefix(strategy: str | None, store: str, app_id: str) -> str:
    """What stands before the resources of an app; None is a component that says nothing. Raises `Illegal`."""
    strategy = "appid" if strategy is None else strategy.lower()
    _check(strategy)
    if strategy == "none":
        return _BEGIN
    if strategy == "appid":
        return f"{_BEGIN}{app_id}{SEPARATOR}" if app_id else _BEGIN
    return f"{_BEGIN}{store if strategy == 'name' else strategy}{SEPARATOR}"


class Lock:
    """The stores by name."""

    def __init__(self, stores: Mapping[str, Store], policies: resiliency.Resiliency | None = None) -> None:
        self._stores = stores
        self._operations = operations.Operations(resiliency.LOCK, LockError, policies)

    async def try_lock(self, store: str, resource: str, owner: str, seconds: int) -> bool:
        """Whether `owner` holds `resource` now. Raises `DaprError`."""
        if seconds <= 0:
            raise MalformedRequest(f"ExpiryInSeconds is not positive in lock store {store}")
        found = self._store(store, resource, owner)
        try:
            _check(resource)
            full = found.prefix + resource
            return await self._operations.run(store, "", lambda: found.store.try_lock(full, owner, seconds))
        except (Illegal, operations.Failed) as error:
            raise LockFailed(found.store.scrub(str(error))) from None

    async def unlock(self, store: str, resource: str, owner: str) -> Unlocked:
        """What became of giving `resource` back. Raises `DaprError`."""
        found = self._store(store, resource, owner)
        try:
            _check(resource)
            return await self._operations.run(store, "", lambda: found.store.unlock(found.prefix + resource, owner))
        except (Illegal, operations.Failed) as error:
            raise UnlockFailed(found.store.scrub(str(error))) from None

    def _store(self, name: str, resource: str, owner: str) -> Store:
        if not self._stores:
            raise LockStoresNotConfigured
        if not resource:
            raise MalformedRequest(f"ResourceId is empty in lock store {name}")
        if not owner:
            raise MalformedRequest(f"LockOwner is empty in lock store {name}")
        found = self._stores.get(name)
        if found is None:
            raise LockStoreNotFound(name)
        return found


def _check(name: str) -> None:
    if SEPARATOR in name:
        raise Illegal(f"input key/keyPrefix '{name}' can't contain '{SEPARATOR}'")
