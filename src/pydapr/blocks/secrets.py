"""Secrets for the app: from which store, whether the app may read them, under which policies.

Called by the faces; goes on to `components.secretstores`. Rules and words are the original's (v1.18.3,
`pkg/api/universal/secrets.go`).
"""

from collections.abc import Callable, Mapping

from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.errors import SecretDenied, SecretFailed, SecretStoreNotFound, SecretStoresNotConfigured
from pydapr.lib import quote
from pydapr.observe import logging
from pydapr.policy import operations, resiliency

log = logging.get("dapr.runtime.compstore")

Scope = Callable[[str], bool]
"""Whether the app may read the secret of a name."""


class Secrets:
    """The stores by name, and the scopes that a Configuration sets for some of them."""

    def __init__(
        self,
        stores: Mapping[str, SecretStore],
        scopes: Mapping[str, Scope],
        policies: resiliency.Resiliency | None = None,
    ) -> None:
        self._stores = stores
        self._scopes = scopes
        self.operations = operations.Operations(resiliency.SECRETSTORE, SecretStoreError, policies)
        for name in sorted(scopes.keys() - stores.keys()):
            log.warning(f"Secrets configuration added for '{name}', but no matching secret store was found")

    async def get(self, store: str, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """The keys and values of one secret. Raises `DaprError`."""
        found = self._store(store)
        if not self._is_allowed(store, name):
            raise SecretDenied(f"access denied by policy to get {quote.go(name)} from {quote.go(store)}")
        try:
            return await self.operations.run(store, "get", lambda: found.get(name, metadata))
        except operations.Failed as error:
            reason = found.scrub(str(error))
            raise SecretFailed(f"failed getting secret with key {name} from secret store {store}: {reason}") from None

    async def get_bulk(self, store: str, metadata: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """All secrets that the app may read, by name. Raises `DaprError`."""
        found = self._store(store)
        try:
            everything = await self.operations.run(store, "bulk_get", lambda: found.get_bulk(metadata))
        except operations.Failed as error:
            reason = found.scrub(str(error))
            raise SecretFailed(f"failed getting secrets from secret store {store}: {reason}") from None
        return {name: values for name, values in everything.items() if self._is_allowed(store, name)}

    def _store(self, name: str) -> SecretStore:
        if not self._stores:
            raise SecretStoresNotConfigured
        found = self._stores.get(name)
        if found is None:
            raise SecretStoreNotFound(name)
        return found

    def _is_allowed(self, store: str, name: str) -> bool:
        scope = self._scopes.get(store)
        return scope is None or scope(name)
