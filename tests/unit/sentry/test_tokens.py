"""Tokens: what stands in them, and which keys are taken for signing."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk, jwt

from pydapr.security import certificates, spiffe
from pydapr.sentry import bundle, tokens

OWN = spiffe.new("td", "ns", "app")
RSA = rsa.generate_private_key(65537, 2048)


def _rules(**changes: Any) -> tokens.Rules:
    given = {"algorithm": "RS256", "key_id": None, "issuer": None, "life": 60.0, "skew": 5.0, **changes}
    return tokens.Rules(**given)


def test_a_token_says_who_for_whom_and_for_how_long() -> None:
    key, (private, public) = tokens.generate(None)
    issuing = tokens.Tokens(key, _rules(issuer="https://issuer"))
    now = time.time()
    token = issuing.issue(OWN, ["td", "other"], now)
    found = jwk.KeySet.import_key_set(json.loads(public)).keys[0]
    read = jwt.decode(token, found, algorithms=["RS256"])
    assert read.header == {"alg": "RS256", "kid": issuing.key_id, "typ": "JWT"}
    assert found.kid == issuing.key_id
    claims = dict(read.claims)
    assert len(claims.pop("jti")) == 32
    assert claims == {
        "sub": str(OWN),
        "aud": ["td", "other"],
        "iat": int(now),
        "nbf": int(now - 5),
        "exp": int(now + 60),
        "use": "sig",
        "iss": "https://issuer",
    }
    assert b"PRIVATE KEY" in private


def test_without_an_issuer_none_is_named() -> None:
    key, _ = tokens.generate(None)
    said = jwt.decode(
        tokens.Tokens(key, _rules()).issue(OWN, ["a"], 0.0),
        jwk.RSAKey.import_key(certificates.encode_key(key.private)),
        algorithms=["RS256"],
    ).claims
    assert "iss" not in said


def test_a_new_key_has_the_id_that_is_wished_for() -> None:
    key, (_, public) = tokens.generate("mine")
    assert json.loads(public)["keys"][0]["kid"] == "mine"
    assert tokens.Tokens(key, _rules(key_id="mine")).key_id == "mine"


EC256, EC384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS256"), (EC256, "ES256"), (EC384, "ES384"), (ED, "EdDSA")],
)
def test_algorithms_and_their_keys(key: certificates.PrivateKey, algorithm: str) -> None:
    made = tokens.Tokens(tokens.Key(key, {"keys": []}), _rules(algorithm=algorithm))
    assert made.issue(OWN, ["a"], 0.0).count(".") == 2


@pytest.mark.parametrize(
    ("key", "algorithm", "reason"),
    [
        (EC256, "RS256", "RSA algorithm RS256 requires an RSA key"),
        (RSA, "ES256", "ECDSA algorithm ES256 requires an ECDSA key"),
        (EC384, "ES256", "ES256 requires a P-256 curve"),
        (RSA, "EdDSA", "EdDSA algorithm requires an Ed25519 key"),
        (RSA, "HS256", "unsupported signature algorithm: HS256"),
        (RSA, "", "JWT signing algorithm required"),
    ],
)
def test_an_algorithm_that_the_key_is_not_for(key: certificates.PrivateKey, algorithm: str, reason: str) -> None:
    with pytest.raises(certificates.Invalid, match=reason):
        tokens.Tokens(tokens.Key(key, {"keys": []}), _rules(algorithm=algorithm))


def _set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def _public(key: certificates.PrivateKey = RSA, **more: object) -> dict[str, Any]:
    made: dict[str, Any] = jwk.RSAKey.import_key(certificates.encode_key(key)).as_dict(private=False)
    return made | more


OTHER = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("content", "key_id", "reason"),
    [
        (b"", None, "failed to parse JWKS"),
        (b"[]", None, "failed to parse JWKS"),
        (b'{"keys": null}', None, "failed to parse JWKS"),
        (b"{}", None, "JWKS doesn't contain any keys"),
        (_set(), None, "JWKS doesn't contain any keys"),
        (_set(_public(OTHER)), None, "JWKS doesn't contain a matching public key"),
        (_set(_public(use="enc")), None, "JWKS doesn't contain a matching public key"),
        (_set(_public(kid="a")), "b", 'JWKS doesn\'t contain a key with user-provided key ID "b"'),
        (_set(_public(OTHER, kid="a")), "a", "the key content doesn't match the signing key"),
    ],
)
def test_key_sets_that_do_not_fit(content: bytes, key_id: str | None, reason: str) -> None:
    with pytest.raises(certificates.Invalid, match=reason):
        tokens.verified(content, RSA, key_id)


def test_a_single_key_is_a_set() -> None:
    assert tokens.verified(json.dumps(_public(kid="a")).encode(), RSA, "a") == {"keys": [_public(kid="a")]}


def test_a_key_set_may_have_more_keys_and_keeps_none_that_is_private() -> None:
    private = jwk.RSAKey.import_key(certificates.encode_key(RSA)).as_dict(private=True)
    found = tokens.verified(_set(_public(OTHER), private | {"kid": "a"}, {"kty": "oct", "k": "c2VjcmV0"}), RSA, "a")
    assert [sorted(key) for key in found["keys"]] == [["e", "kty", "n"], ["e", "kid", "kty", "n"]]


def test_files_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    names = str(tmp_path / "jwt.key"), str(tmp_path / "jwks.json")
    assert tokens.load(bundle.read_files, *names, None) is None
    _, contents = tokens.generate(None)
    for name, content in zip(names, contents, strict=True):
        Path(name).write_bytes(content)
    assert tokens.load(bundle.read_files, *names, None) is not None
    Path(names[1]).unlink()
    with pytest.raises(bundle.Refused, match=r"jwks\.json is missing beside .*jwt\.key"):
        tokens.load(bundle.read_files, *names, None)
    for damaged in ("", "[" * 100_000):
        Path(names[1]).write_text(damaged)
        with pytest.raises(bundle.Refused, match="failed to verify JWKS: failed to parse JWKS"):
            tokens.load(bundle.read_files, *names, None)
    Path(names[0]).write_text("")
    with pytest.raises(bundle.Refused, match="failed to decode JWT signing key: key is not PEM encoded"):
        tokens.load(bundle.read_files, *names, None)
