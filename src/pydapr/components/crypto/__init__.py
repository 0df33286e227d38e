"""Cryptographic providers: keys that never leave them, by which they wrap and unwrap other keys.

`daprd.opening` opens the providers that resources describe; `blocks.crypto` has them wrap the keys of documents for
apps. `components.drivers.localkeys` is for providers that have the keys at hand.
"""

from abc import ABC, abstractmethod

from pydapr.components import Part


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
