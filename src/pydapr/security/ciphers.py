"""The ciphers of encrypted documents, given to `blocks.crypto` by `daprd.blocks`: only who uses them loads them."""

from typing import TYPE_CHECKING

from pydapr.security import envelope

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


class Aead:
    """A cipher of the library behind `envelope.Cipher`."""

    __slots__ = ("_cipher",)

    def __init__(self, cipher: "AESGCM | ChaCha20Poly1305") -> None:
        self._cipher = cipher

    def encrypt(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.encrypt(nonce, data, None)

    def decrypt(self, nonce: bytes, data: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, data, None)
        except InvalidTag:
            raise ValueError("the data were changed") from None


def make(name: str, key: bytes) -> Aead:
    """The cipher of a name in the scheme."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    return Aead(AESGCM(key) if name == envelope.AES_GCM else ChaCha20Poly1305(key))
