"""Keys in their forms, and what they can wrap."""

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pydapr.components.drivers import jwk

SECRET = bytes(range(32))
RSA = rsa.generate_private_key(65537, 2048)
DATA = b"0123456789abcdef"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: str = "PKCS8") -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), plain)


def public(key: rsa.RSAPrivateKey, form: str) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, getattr(serialization.PublicFormat, form))


def certificate() -> bytes:
    import datetime

    name = x509.Name([])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, RSA.public_key(), 1, day, day + datetime.timedelta(1))
    return made.sign(RSA, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "data",
    [
        SECRET,
        base64.b64encode(SECRET),
        base64.b64encode(SECRET) + b"\n",
        base64.b64encode(SECRET).rstrip(b"="),
        base64.urlsafe_b64encode(SECRET),
        json.dumps({"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}).encode(),
    ],
)
def test_a_secret_has_several_forms(data: bytes) -> None:
    assert jwk.parse(data).secret == SECRET


def test_a_secret_may_look_like_json() -> None:
    assert jwk.parse(b"{" + b"x" * 31).secret == b"{" + b"x" * 31


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_what_a_public_key_wraps_the_private_one_unwraps(form: str) -> None:
    private = jwk.parse(pem(RSA, form))
    for data in (public(RSA, "PKCS1"), public(RSA, "SubjectPublicKeyInfo"), certificate()):
        wrapped = jwk.wrap(jwk.parse(data), DATA, jwk.RSA_OAEP)

        assert jwk.unwrap(private, wrapped, jwk.RSA_OAEP) == DATA
        with pytest.raises(jwk.Unusable, match="key type mismatch"):
            jwk.unwrap(jwk.parse(data), wrapped, jwk.RSA_OAEP)


def test_a_secret_wraps_by_aes_key_wrap_of_rfc_3394() -> None:
    key = jwk.parse(bytes.fromhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"))
    plain = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")

    wrapped = jwk.wrap(key, plain, "A256KW")

    assert wrapped.hex().upper() == "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"
    assert jwk.unwrap(key, wrapped, "A256KW") == plain
    with pytest.raises(jwk.Unusable, match="decryption error"):
        jwk.unwrap(key, wrapped[:-1] + b"x", "A256KW")


@pytest.mark.parametrize(
    ("key", "algorithm", "reason"),
    [
        (SECRET, "RSA-OAEP-256", "key type mismatch"),
        (SECRET[:16], "A256KW", "key type mismatch"),
        (pem(RSA), "A256KW", "key type mismatch"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA-OAEP-256", "key type mismatch"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "A256KW", "key type mismatch"),
        (SECRET, "A256CBC-NOPAD", "unsupported algorithm"),
    ],
)
def test_a_key_of_another_kind_cannot_wrap(key: bytes, algorithm: str, reason: str) -> None:
    for work in (jwk.wrap, jwk.unwrap):
        with pytest.raises(jwk.Unusable, match=reason):
            work(jwk.parse(key), DATA, algorithm)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"kty": "oct"}',
        b'{"kty": "oct", "k": "\xc3\xa9"}',
        b'{"kty": "wizardry"}',
        b'{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}',
        b'{"kty": "EC"}',
        b'{"kty": "oct", "k": "AAAA", "use": 1}',
        b'{"kty": "oct", "k": "AAAA", "key_ops": "sign"}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(jwk.Unusable):
        jwk.parse(data)


def test_a_key_that_wants_a_password_is_refused() -> None:
    locked = serialization.BestAvailableEncryption(b"p")
    data = RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)

    with pytest.raises(jwk.Unusable):
        jwk.parse(data)


def test_uses_and_operations_limit_a_key() -> None:
    assert jwk.Key("oct").allows("wrapKey")
    assert jwk.Key("oct", use="enc", operations=("wrapKey",)).allows("wrapKey")
    assert not jwk.Key("oct", operations=("unwrapKey",)).allows("wrapKey")
    assert not jwk.Key("oct", use="sig").allows("wrapKey")


def test_a_key_never_shows_itself() -> None:
    assert "secret" not in repr(jwk.parse(b"secret secret secret secret secr")) == "Key(oct, '')"


def test_a_set_has_keys_by_their_ids() -> None:
    one = {"kty": "oct", "kid": "a", "k": "AAAA"}
    found = jwk.parse_set(json.dumps({"keys": [one, {**one, "kid": "b", "alg": "A256KW"}]}).encode())

    assert (list(found), found["b"].algorithm) == (["a", "b"], "A256KW")
    assert list(jwk.parse_set(json.dumps(one).encode())) == ["a"]
    for bad in (b"[]", b'{"keys": {}}', b'{"keys": [1]}'):
        with pytest.raises(jwk.Unusable):
            jwk.parse_set(bad)
