"""Keys as JWK (RFC 7517), PEM or plain bytes, and the wrapping of other keys with them. For components.

Which forms there are, and what is told when one is wrong, is as in dapr/kit, `crypto`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydapr.lib.record import Record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

RSA_OAEP = "RSA-OAEP-256"
_AES_KW = "A256KW"

MISMATCH = "key type mismatch"

Form = Literal["jwk", "pem", ""]


class Unusable(ValueError):
    """A key is none, or cannot do what is wanted of it."""


class Key(Record):
    """A key. Of those that are neither RSA nor a plain secret nothing is kept but that they are there."""

    kind: str
    """RSA, EC, OKP or oct."""
    secret: bytes = b""
    rsa: "rsa.RSAPrivateKey | rsa.RSAPublicKey | None" = None
    name: str = ""
    algorithm: str = ""
    use: str = ""
    operations: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Key({self.kind}, {self.name!r})"

    def allows(self, operation: str) -> bool:
        """Whether the key may do it, by its `use` and `key_ops`."""
        if self.operations and operation not in self.operations:
            return False
        return self.use in ("", "enc")


def parse(data: bytes, form: Form = "") -> Key:
    """One key, in a form that is guessed when it is not given. Raises `Unusable`."""
    if not data:
        raise Unusable("key is empty")
    if form == "jwk" or (not form and data[:1] == b"{" and len(data) not in (16, 24, 32)):
        return _from_jwk(_json(data))
    if form == "pem" or (not form and len(data) > 10 and data.startswith(b"-----")):
        return _from_pem(data)
    return Key("oct", secret=_plain(data))


def parse_set(data: bytes) -> dict[str, Key]:
    """The keys of a set, by their ids; also a single key. Raises `Unusable`."""
    document = _json(data)
    listed = document.get("keys", [document])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unusable("failed to parse JWKS: keys is no list of keys")
    found: dict[str, Key] = {}
    for one in listed:
        key = _from_jwk(one)
        found.setdefault(key.name, key)
    return found


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise Unusable("failed to parse JWK: it is no JSON") from None
    if not isinstance(document, dict):
        raise Unusable("failed to parse JWK: it is no JSON object")
    return document


def _from_jwk(found: Mapping[str, Any]) -> Key:
    kind, operations = found.get("kty"), found.get("key_ops") or ()
    about = {"name": "kid", "algorithm": "alg", "use": "use"}
    texts = {name: found.get(member, "") for name, member in about.items()}
    if not isinstance(operations, list | tuple) or not all(
        isinstance(one, str) for one in (*operations, *texts.values())
    ):
        raise Unusable("failed to parse JWK: kid, alg, use and key_ops are texts")
    given = {**texts, "operations": tuple(operations)}
    if kind == "oct":
        return Key("oct", secret=_bytes(found, "k"), **given)
    if kind == "RSA":
        return Key("RSA", rsa=_rsa(found), **given)
    if kind in ("EC", "OKP"):
        _bytes(found, "x")
        return Key(kind, **given)
    raise Unusable("invalid key type")


def _bytes(found: Mapping[str, Any], member: str) -> bytes:
    text = found.get(member)
    if not isinstance(text, str) or not text:
        raise Unusable(f"failed to parse JWK: {member} is missing")
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError:
        raise Unusable(f"failed to parse JWK: {member} is no base64") from None


def _rsa(found: Mapping[str, Any]) -> "rsa.RSAPrivateKey | rsa.RSAPublicKey":
    from cryptography.hazmat.primitives.asymmetric import rsa

    def number(member: str) -> int:
        return int.from_bytes(_bytes(found, member), "big")

    try:
        public = rsa.RSAPublicNumbers(number("e"), number("n"))
        if not found.get("d"):
            return public.public_key()
        d = number("d")
        if found.get("p") and found.get("q"):
            p, q = number("p"), number("q")
        else:
            p, q = rsa.rsa_recover_prime_factors(public.n, public.e, d)
        dmp1, dmq1, iqmp = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
        return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public).private_key()
    except Unusable:
        raise
    except (ValueError, ArithmeticError):
        raise Unusable("failed to parse JWK: it is no RSA key") from None


def _from_pem(data: bytes) -> Key:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    try:
        if b" PRIVATE KEY-----" in data or b"-----BEGIN PRIVATE KEY-----" in data:
            found: Any = serialization.load_pem_private_key(data, None)
        elif b"-----BEGIN CERTIFICATE-----" in data:
            found = x509.load_pem_x509_certificate(data).public_key()
        else:
            found = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it wants a password
        raise Unusable("failed to parse PEM encoded key") from None
    if isinstance(found, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return Key("RSA", rsa=found)
    return Key("EC" if isinstance(found, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) else "OKP")


def _plain(data: bytes) -> bytes:
    """A secret: base64 in either alphabet, else the bytes themselves."""
    trimmed = data.rstrip(b"\n=")
    for extra in (b"+/", b"-_"):
        try:
            return base64.b64decode(trimmed + b"=" * (-len(trimmed) % 4), extra, validate=True)
        except (ValueError, binascii.Error):
            continue
    return data


# -- wrapping --


def wrap(key: Key, plain: bytes, algorithm: str) -> bytes:
    """`plain`, encrypted with `key`. Raises `Unusable`."""
    if algorithm == RSA_OAEP:
        if key.rsa is None:
            raise Unusable(MISMATCH)
        public = key.rsa if not hasattr(key.rsa, "public_key") else key.rsa.public_key()
        try:
            return public.encrypt(plain, _oaep())
        except ValueError:
            raise Unusable("crypto/rsa: message too long for RSA key size") from None
    from cryptography.hazmat.primitives import keywrap

    return _with_secret(key, algorithm, lambda secret: keywrap.aes_key_wrap(secret, plain))


def unwrap(key: Key, wrapped: bytes, algorithm: str) -> bytes:
    """What `wrapped` was before. Raises `Unusable`."""
    from cryptography.hazmat.primitives import keywrap

    try:
        if algorithm != RSA_OAEP:
            return _with_secret(key, algorithm, lambda secret: keywrap.aes_key_unwrap(secret, wrapped))
        if key.rsa is None or not hasattr(key.rsa, "decrypt"):
            raise Unusable(MISMATCH)
        return key.rsa.decrypt(wrapped, _oaep())
    except Unusable:
        raise
    except (ValueError, keywrap.InvalidUnwrap):
        raise Unusable("decryption error") from None


def _with_secret(key: Key, algorithm: str, work: Callable[[bytes], bytes]) -> bytes:
    if algorithm != _AES_KW:  # also what documents may name besides: AES-CBC, for whose nonce they have no place
        raise Unusable("unsupported algorithm")
    if key.kind != "oct" or len(key.secret) != 32:
        raise Unusable(MISMATCH)
    return work(key.secret)


def _oaep() -> "padding.OAEP":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
