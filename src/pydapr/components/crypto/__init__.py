"""Cryptographic providers: keys that never leave them, by which they wrap and unwrap other keys.

`daprd.opening` opens the providers that resources describe; `blocks.crypto` has them wrap the keys of documents for
apps. `LocalKeys` is for providers that have the keys at hand.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pydapr.components import Part

if TYPE_CHECKING:
    from pydapr.components.drivers.jwk import Key


class CryptoError(Exception):
    """A key cannot be had, or cannot be used like this. The message holds nothing of any key."""


class KeyNotFound(CryptoError):
    """There is no key of this name."""

    def __init__(self) -> None:
        super().__init__("key not found")


class CryptoProvider(Part, ABC):
    """Where keys are. Names of keys, and what `algorithm` they can be used with, are each provider's own."""

    @abstractmethod
    async def wrap(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        """`key`, encrypted with the key of a name. Raises `CryptoError`, within a bounded time."""

    @abstractmethod
    async def unwrap(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        """What `wrap` was given. Raises `CryptoError`, within a bounded time."""


class LocalKeys(CryptoProvider):
    """A provider that has the keys themselves. RSA and files take their time, so the work is on a thread."""

    @abstractmethod
    def key(self, name: str) -> "Key":
        """The key of a name; called on any thread. Raises `CryptoError`."""

    async def wrap(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        from pydapr.components.drivers import jwk, thread

        def work() -> bytes:
            return jwk.wrap(self._usable(key_name, "wrapKey", algorithm), key, algorithm)

        try:
            return await thread.run(work)
        except jwk.Unusable as error:
            raise CryptoError(f"failed to encrypt data: {error}") from None

    async def unwrap(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        from pydapr.components.drivers import jwk, thread

        def work() -> bytes:
            return jwk.unwrap(self._usable(key_name, "unwrapKey", algorithm), wrapped, algorithm)

        try:
            return await thread.run(work)
        except jwk.Unusable as error:
            raise CryptoError(f"failed to decrypt data: {error}") from None

    def _usable(self, name: str, operation: str, algorithm: str) -> "Key":
        try:
            found = self.key(name)
        except CryptoError as error:
            raise CryptoError(f"failed to retrieve the key encryption key: {error}") from None
        if not found.allows(operation):
            raise CryptoError(f"key cannot perform the '{operation}' operation")
        if found.algorithm not in ("", algorithm):
            raise CryptoError(f"key cannot be used with algorithm '{algorithm}'")
        return found
