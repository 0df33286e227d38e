"""Documents in Dapr's encryption scheme, version 1 (`dapr.io/enc/v1`): a signed header, then segments of 64 KiB.

Bytes in, bytes out: who wraps the key of a document, and where its bytes come from, is the business of
`blocks.crypto`. The scheme is described in dapr/kit, `schemes/enc/v1/README.md`.
"""

import base64
import json
import os
from collections.abc import Callable
from typing import Any, Protocol

from pydapr.lib.record import Record

SCHEME = b"dapr.io/enc/v1"
SEGMENT, TAG = 64 * 1024, 16
FILE_KEY, _PREFIX = 32, 7
MAX_HEADER = SEGMENT

AES_GCM, CHACHA = "AES-GCM", "CHACHA20-POLY1305"
_CIPHERS = {1: AES_GCM, 2: CHACHA}
_ALGORITHMS = {1: "A256KW", 2: "A128CBC-NOPAD", 3: "A192CBC-NOPAD", 4: "A256CBC-NOPAD", 5: "RSA-OAEP-256"}
_ALIASES = {"AES": "A256KW", "RSA": "RSA-OAEP-256"}
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Cipher(Protocol):
    """An authenticated cipher with a key of its own."""

    def encrypt(self, nonce: bytes, data: bytes) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes) -> bytes:
        """Raises `ValueError` when `data` is not what was encrypted with `nonce`."""


Ciphers = Callable[[str, bytes], Cipher]
"""Makes a cipher of a name, AES_GCM or CHACHA, from its key."""


class Invalid(ValueError):
    """Something is no document of the scheme, was changed, or is wanted in a way that the scheme does not have."""


def algorithm(name: str) -> str:
    """The algorithm to wrap keys with that `name` means, in any case. Raises `Invalid`."""
    upper = name.upper()
    found = _ALIASES.get(upper, upper)
    if found not in _ALGORITHMS.values():
        raise Invalid(f"option Algorithm is not valid: algorithm {upper} is not supported")
    return found


def cipher(name: str) -> str:
    """The cipher of segments that `name` means, in any case; without a name AES-GCM. Raises `Invalid`."""
    found = name.upper() or AES_GCM
    if found not in _CIPHERS.values():
        raise Invalid(f"option Cipher is not valid: cipher {found} is not supported")
    return found


class Header(Record):
    """What stands before the segments. `signed` are its first two lines, which `mac` belongs to."""

    key_name: str
    algorithm: str
    wrapped: bytes
    cipher: str
    prefix: bytes
    signed: bytes = b""
    mac: bytes = b""


def new_key() -> tuple[bytes, bytes]:
    """A key for one document, and the beginning of its nonces."""
    made = os.urandom(FILE_KEY + _PREFIX)
    return made[:FILE_KEY], made[FILE_KEY:]


def write_header(header: Header, file_key: bytes) -> bytes:
    """The three lines of `header`. Raises `Invalid` when they are too long."""
    manifest: dict[str, Any] = {"k": header.key_name} if header.key_name else {}
    manifest["kw"] = next(number for number, name in _ALGORITHMS.items() if name == header.algorithm)
    manifest["wfk"] = base64.b64encode(header.wrapped).decode()
    manifest["cph"] = next(number for number, name in _CIPHERS.items() if name == header.cipher)
    manifest["np"] = base64.b64encode(header.prefix).decode()
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    signed = SCHEME + b"\n" + text.encode("utf-8", "replace") + b"\n"
    lines = signed + base64.b64encode(_sign(file_key, signed)) + b"\n"
    if len(lines) > MAX_HEADER:
        raise Invalid("failed to sign header: header is too long")
    return lines


def verify(header: Header, file_key: bytes) -> None:
    """Raises `Invalid` when the header was not signed with a key derived from `file_key`."""
    import hmac

    try:
        mac = base64.b64decode(header.mac, validate=True)
    except ValueError:
        raise Invalid("failed to decode header's signature: illegal base64 data") from None
    if not hmac.compare_digest(mac, _sign(file_key, header.signed)):
        raise Invalid("failed to validate the document's signature")


class HeaderReader:
    """Takes a document from its beginning until its header is whole. `rest` is what came after the header."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._newlines = 0
        self.rest = b""

    def feed(self, data: bytes) -> bool:
        """Whether there is enough for `header`."""
        self._data += data
        self._newlines += data.count(b"\n")
        return self._newlines >= 3 or len(self._data) >= MAX_HEADER

    def header(self) -> Header:
        """What the document, as far as it came, begins with. Raises `Invalid`."""
        lines = bytes(self._data).split(b"\n", 3)
        for number, line in enumerate(lines[:-1]):
            if not line:
                raise Invalid("invalid header: invalid format")
            if number == 0 and line != SCHEME:
                raise Invalid("invalid header: unsupported scheme")
        for number, what in enumerate(("scheme name", "manifest", "message authentication code")):
            if len(lines) <= number + 1:
                raise Invalid(f"invalid header: {what} not found")
        self.rest = lines[3]
        if len(self._data) - len(self.rest) > MAX_HEADER:
            raise Invalid("invalid header: message authentication code not found")
        return _parse(lines[1], lines[2])


def _parse(manifest: bytes, mac: bytes) -> Header:
    """Raises `Invalid`, which does not tell what is wrong with the manifest, as the original does not."""
    try:
        found = json.loads(manifest)
        header = Header(
            _text(found.get("k") or ""),
            _ALGORITHMS[_number(found["kw"])],
            base64.b64decode(_text(found["wfk"]), validate=True),
            _CIPHERS[_number(found["cph"])],
            base64.b64decode(_text(found["np"]), validate=True),
            SCHEME + b"\n" + manifest + b"\n",
            mac,
        )
    except (ValueError, KeyError, AttributeError, RecursionError):
        raise Invalid("invalid header: invalid manifest") from None
    if not header.wrapped or len(header.prefix) != _PREFIX:
        raise Invalid("invalid header: invalid manifest")
    return header


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is wanted")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a number is wanted")
    return value


class _Segments:
    """Cuts what comes into segments; the last is known only when nothing follows it."""

    size = SEGMENT

    def __init__(self, file_key: bytes, header: Header, ciphers: Ciphers) -> None:
        self._cipher = ciphers(header.cipher, _derive(file_key, header.prefix, b"payload"))
        self._prefix = header.prefix
        self._number = 0
        self._parts: list[bytes] = []
        self._have = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The segments that are complete now, done. Raises `Invalid`."""
        self._parts.append(data)
        self._have += len(data)
        if self._have <= self.size:
            return []
        whole = b"".join(self._parts)
        done, start = [], 0
        while len(whole) - start > self.size:
            done.append(self._next(whole[start : start + self.size], False))
            start += self.size
        self._parts = [whole[start:]]
        self._have = len(whole) - start
        return done

    def finish(self) -> list[bytes]:
        """The last segment, done; none when nothing came at all. Raises `Invalid`."""
        return [self._next(b"".join(self._parts), True)] if self._have else []

    def _next(self, data: bytes, is_last: bool) -> bytes:
        if self._number >> 32:
            raise Invalid("input stream is too large")
        nonce = self._prefix + self._number.to_bytes(4, "big") + (b"\x01" if is_last else b"\x00")
        done = self._done(nonce, data)
        self._number += 1
        return done

    def _done(self, nonce: bytes, data: bytes) -> bytes:
        raise NotImplementedError


class Sealer(_Segments):
    """Encrypts the segments of a document."""

    def _done(self, nonce: bytes, data: bytes) -> bytes:
        return self._cipher.encrypt(nonce, data)


class Opener(_Segments):
    """Decrypts the segments of a document. What it gives was not changed, and stands where it belongs."""

    size = SEGMENT + TAG

    def _done(self, nonce: bytes, data: bytes) -> bytes:
        try:
            return self._cipher.decrypt(nonce, data)
        except ValueError:
            raise Invalid(f"error processing segment {self._number}: failed to decrypt segment") from None


def _sign(file_key: bytes, signed: bytes) -> bytes:
    return _mac(_derive(file_key, b"", b"header"), signed)


def _derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869) for the 32 bytes that its first block has."""
    return _mac(_mac(salt, key), purpose + b"\x01")


def _mac(key: bytes, data: bytes) -> bytes:
    import hmac  # nearly a megabyte that few starts need

    return hmac.digest(key, data, "sha256")
