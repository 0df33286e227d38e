"""What cryptographic providers have in common that have the keys themselves, as files or as a set."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable

from pydapr.components.crypto import CryptoError, CryptoProvider
from pydapr.components.drivers import jwk, thread

LONGEST_SECONDS = 30.0
"""How long a key may take: a file can be one that never ends, or on a disk that hangs."""

THREADS = 32
"""Keys that are worked with at a time; more wait their turn, which counts as part of their time."""


class LocalKeys(CryptoProvider):
    """A provider that has the keys themselves. RSA and files take their time, so the work is on a thread."""

    _turns: asyncio.Semaphore | None = None

    @abstractmethod
    def key(self, name: str) -> jwk.Key:
        """The key of a name; called on any thread. Raises `CryptoError`."""

    async def wrap(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        def work() -> bytes:
            return jwk.wrap(self._usable(key_name, "wrapKey", algorithm), key, algorithm)

        try:
            return await self._in_time(work)
        except jwk.Unusable as error:
            raise CryptoError(f"failed to encrypt data: {error}") from None

    async def unwrap(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        def work() -> bytes:
            return jwk.unwrap(self._usable(key_name, "unwrapKey", algorithm), wrapped, algorithm)

        try:
            return await self._in_time(work)
        except jwk.Unusable as error:
            raise CryptoError(f"failed to decrypt data: {error}") from None

    def _usable(self, name: str, operation: str, algorithm: str) -> jwk.Key:
        try:
            found = self.key(name)
        except CryptoError as error:
            raise CryptoError(f"failed to retrieve the key encryption key: {error}") from None
        if not found.allows(operation):
            raise CryptoError(f"key cannot perform the '{operation}' operation")
        if found.algorithm not in ("", algorithm):
            raise CryptoError(f"key cannot be used with algorithm '{algorithm}'")
        return found

    async def _in_time(self, work: Callable[[], bytes]) -> bytes:
        if self._turns is None:
            self._turns = asyncio.Semaphore(THREADS)
        try:
            async with asyncio.timeout(LONGEST_SECONDS), self._turns:
                return await thread.run(work)
        except TimeoutError:
            raise CryptoError(f"no answer within {LONGEST_SECONDS:g} s") from None
