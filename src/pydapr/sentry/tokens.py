"""Tokens (JWT-SVIDs) that go with certificates: the key that signs them, the key set that checks them.

Made by `runtime` only when tokens are wanted, because this is what needs `joserfc` (the extra `jwt`).
"""

import base64
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from pydapr.lib import quote
from pydapr.lib.record import Record
from pydapr.security import certificates, spiffe
from pydapr.sentry import bundle as bundles

DEFAULT_ALGORITHM = "RS256"
KEY_BITS = 2048

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"ES256": ("secp256r1", "P-256"), "ES384": ("secp384r1", "P-384"), "ES512": ("secp521r1", "P-521")}
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

Document = Mapping[str, Any]


class Key(Record):
    """A signing key and the public keys by which others check; one of them is its own."""

    private: certificates.PrivateKey
    public: Document
    """The JWK set, as it is given to others."""


class Rules(Record):
    """What stands in tokens. `life` and `skew` in seconds."""

    algorithm: str
    key_id: str | None
    issuer: str | None
    life: float
    skew: float


class Tokens:
    """Issues tokens. Raises `certificates.Invalid` when key and rules do not fit."""

    def __init__(self, key: Key, rules: Rules) -> None:
        _check(key.private, rules.algorithm)
        self.public = key.public
        self.algorithm = rules.algorithm
        self._rules = rules
        self._key = _jwk(key.private)
        self.key_id = thumbprint(self._key) if rules.key_id is None else rules.key_id
        self._header = {"alg": rules.algorithm, "kid": self.key_id, "typ": "JWT"}

    def issue(self, own: spiffe.Id, audiences: Sequence[str], now: float) -> str:
        """A token for `own`, to be shown to `audiences`."""
        rules = self._rules
        said: dict[str, Any] = {
            "jti": os.urandom(16).hex(),
            "sub": str(own),
            "aud": list(audiences),
            "iat": int(now),
            "nbf": int(now - rules.skew),
            "exp": int(now + rules.life),
            "use": "sig",  # Azure wants it
        }
        if rules.issuer is not None:
            said["iss"] = rules.issuer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # EdDSA has a newer name, which others do not know
            return jwt.encode(self._header, said, self._key, algorithms=[rules.algorithm])


def generate(key_id: str | None) -> tuple[Key, list[bytes]]:
    """A new key, and the contents of its files: the private key and the key set."""
    private = rsa.generate_private_key(65537, KEY_BITS)
    key = _jwk(private)
    public = key.as_dict(private=False)
    public |= {"alg": DEFAULT_ALGORITHM, "kid": thumbprint(key) if key_id is None else key_id, "use": "sig"}
    document = {"keys": [public]}
    return Key(private, document), [certificates.encode_key(private), text(document)]


def load(read: bundles.Read, key_file: str, jwks_file: str, key_id: str | None) -> Key | None:
    """The key in these files, None when there is none. Raises `bundle.Refused`."""
    content = read({"JWT signing key": key_file, "JWKS": jwks_file})
    if content is None:
        return None
    try:
        private = certificates.read_key(content[0])
    except certificates.Invalid as error:
        text = f"failed to load JWT signing key: failed to decode JWT signing key: {error}"
        raise bundles.Refused(text + bundles.advice(key_file, jwks_file)) from None
    try:
        return Key(private, verified(content[1], private, key_id))
    except certificates.Invalid as error:
        raise bundles.Refused(f"failed to verify JWKS: {error}{bundles.advice(key_file, jwks_file)}") from None


def text(document: Document) -> bytes:
    """A JWK set as JSON."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def thumbprint(key: Any) -> str:
    """The SHA-256 thumbprint (RFC 7638), in the alphabet that the original takes."""
    value = key.thumbprint()
    return base64.b64encode(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))).decode()


def verified(content: bytes, private: certificates.PrivateKey, key_id: str | None) -> Document:
    """The key set in `content`, with the public part of its keys only. Raises `certificates.Invalid`."""
    try:
        document = json.loads(content)
        keys = document.get("keys", [document] if "kty" in document else ())
        public = [one for key in keys if (one := _public(key)) is not None]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise certificates.Invalid(f"failed to parse JWKS: {error}") from None
    if not public:
        raise certificates.Invalid("JWKS doesn't contain any keys")
    wanted = certificates.public_bytes(private.public_key())
    named = public if key_id is None else [key for key in public if key.get("kid") == key_id]
    if not named:
        raise certificates.Invalid(f"JWKS doesn't contain a key with user-provided key ID {quote.go(str(key_id))}")
    if not any(_content(key) == wanted for key in named if key.get("use", "sig") == "sig"):
        if key_id is not None:
            raise certificates.Invalid(
                f"JWKS contains a key with user-provided key ID {quote.go(key_id)} but the key content doesn't match "
                "the signing key"
            )
        raise certificates.Invalid("JWKS doesn't contain a matching public key for the JWT signing key")
    return {"keys": public}


def _public(key: Any) -> dict[str, Any] | None:
    """A key without what only its owner may know; None for a kind that is the same for both."""
    secret = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
    if key.get("kty") not in _PUBLIC:
        return None
    return {name: value for name, value in key.items() if name not in secret}


def _content(key: Document) -> bytes:
    kind = key["kty"]
    try:
        found = jwk.import_key({"kty": kind} | {name: key[name] for name in _PUBLIC[kind]})
        return bytes(found.as_der(private=False)) if isinstance(found, jwk.RSAKey | jwk.ECKey | jwk.OKPKey) else b""
    except (JoseError, ValueError, TypeError, KeyError):
        return b""


def _jwk(private: certificates.PrivateKey) -> jwk.RSAKey | jwk.ECKey | jwk.OKPKey:
    """Around the key as it is: reading it again would check its primes again, which takes longer than all the rest."""
    if isinstance(private, rsa.RSAPrivateKey):
        return jwk.RSAKey(private, private)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return jwk.ECKey(private, private)
    return jwk.OKPKey(private, private)


def _check(key: certificates.PrivateKey, algorithm: str) -> None:
    """Raises `certificates.Invalid` when the key is not one for the algorithm."""
    kind = type(key).__name__
    wrong = ""
    if algorithm in _RSA:
        if not isinstance(key, rsa.RSAPrivateKey):
            wrong = f"RSA algorithm {algorithm} requires an RSA key, but got {kind}"
    elif algorithm in _CURVES:
        curve, name = _CURVES[algorithm]
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            wrong = f"ECDSA algorithm {algorithm} requires an ECDSA key, but got {kind}"
        elif key.curve.name != curve:
            wrong = f"{algorithm} requires a {name} curve, got {key.curve.name}"
    elif algorithm == "EdDSA":
        if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            wrong = f"EdDSA algorithm requires an Ed25519 key, but got {kind}"
    else:
        wrong = f"unsupported signature algorithm: {algorithm}" if algorithm else "JWT signing algorithm required"
    if wrong:
        raise certificates.Invalid(f"JWT signing key is incompatible with algorithm {algorithm}: {wrong}")
