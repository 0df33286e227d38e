"""Values that a store shall not be able to read: AES-GCM, in the original's form (v1.18.3, `pkg/encryption`).

A value is base64 of nonce and ciphertext, two bars, and the name of the secret that has the key: so that values under
an older key, the secondary, can still be read. Made by `daprd.state`, used by the block.
"""

import base64
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE, _TAG = 12, 16
_SEPARATOR = b"||"


class Unreadable(ValueError):
    """A value cannot be decrypted."""


class Cipher:
    """Encrypts with the primary key, decrypts with any. Keys are hexadecimal, by the name of their secret.

    Raises `ValueError`, without any part of a key, when one of them is none.
    """

    def __init__(self, store: str, primary: str, keys: Mapping[str, str]) -> None:
        self._store = store
        self._suffix = _SEPARATOR + primary.encode()
        self._ciphers = {name.encode(): _cipher(name, key) for name, key in keys.items()}
        self._primary = self._ciphers[primary.encode()]

    def encrypt(self, value: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._primary.encrypt(nonce, value, None)) + self._suffix

    def decrypt(self, value: bytes) -> bytes:
        """Raises `Unreadable`."""
        if not value:
            return b""
        told = f"could not decrypt data for state store {self._store}"
        data, bars, name = value.rpartition(_SEPARATOR)
        if not bars or not name:
            raise Unreadable(f"{told}: encryption key name not found on record")
        cipher = self._ciphers.get(name)
        if cipher is None:
            shown = name.decode("utf-8", "replace")
            raise Unreadable(f"{told}: it was encrypted with the key of secret {shown}, which the component lacks")
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(data, validate=True)
            if len(sealed) < _NONCE + _TAG:
                raise ValueError("too short")
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (ValueError, InvalidTag):
            raise Unreadable(f"{told}: message authentication failed") from None


def _cipher(name: str, key: str) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(bytes.fromhex(key))
    except ValueError:
        raise ValueError(f"the key of secret {name} is no AES key: 16, 24 or 32 bytes in hexadecimal are") from None
