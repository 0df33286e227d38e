"""Secret stores: named secrets, each a few texts by key, which apps and resources read and nobody writes here.

`daprd.opening` opens the stores that resources describe; `blocks.secrets` reads them for apps, `daprd.references`
for other resources.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from pydapr.components import Part

MULTIPLE_KEY_VALUES = "MULTIPLE_KEY_VALUES_PER_SECRET"
"""The feature of a store whose secrets may have several keys; in others the one key is the secret's name."""


class SecretStoreError(Exception):
    """A secret cannot be had. The message says which and why, and holds no value of any secret."""


class SecretStore(Part, ABC):
    """Where secrets are. `metadata` comes with the request (`metadata.version_id`); each store has its own keys."""

    tells = False
    """Whether `watch` notices changes."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` each time that secrets may be others than before, until it is cancelled."""

    @abstractmethod
    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """The keys and values of one secret. Raises `SecretStoreError`, within a bounded time."""

    @abstractmethod
    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        """All secrets by name. Raises `SecretStoreError`, within a bounded time."""
