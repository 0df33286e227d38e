"""The validator `jwks`: whose tokens it believes, and where its keys come from."""

import asyncio
import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwk, jwt

from pydapr.net import server
from pydapr.net.exchange import Exchange
from pydapr.security import spiffe
from pydapr.sentry import keyset, validators
from pydapr.sentry.validators.jwks import Jwks
from pydapr.wire import signing

SENTRY = spiffe.sentry("localhost", "default")
KEY = jwk.ECKey.generate_key("P-256", {"kid": "one"}, private=True)
ANY = jwk.RSAKey.generate_key(2048, {"kid": "two"}, private=True)
OTHER = jwk.RSAKey.import_key(ANY.as_dict(private=True) | {"use": "sig", "alg": "RS512"})


def _set(*keys: Any) -> str:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def _token(key: Any = KEY, algorithm: str = "ES256", header: dict[str, Any] | None = None, **said: Any) -> str:
    now = int(time.time())
    claims = {"aud": [str(SENTRY)], "sub": "spiffe://public/ns/default/app", "iat": now, "exp": now + 60, **said}
    claims = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": algorithm, "kid": key.kid} if header is None else header
    return jwt.encode(head, claims, key, algorithms=[algorithm])


def _request(token: str, **fields: Any) -> signing.Request:
    given: dict[str, Any] = {"id": "app", "namespace": "default", "certificate_signing_request": b"x", **fields}
    return signing.Request(token=token, **given)


async def _validator(source: str = "", **options: str) -> Jwks:
    made = Jwks({"source": source or _set(KEY, OTHER), **options}, SENTRY)
    await made.open()
    return made


async def test_a_token_in_order_is_believed() -> None:
    validator = await _validator()
    assert await validator.validate(_request(_token())) == "public"
    assert await validator.validate(_request(_token(OTHER, "RS512"))) == "public"
    assert await validator.validate(_request(f" {_token()}\n")) == "public"
    inside = _token(sub="spiffe://td/ns/default/app")
    assert await validator.validate(_request(inside, trust_domain="td")) == "td"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "the request does not contain a token"),
        ("x", "token validation failed: failed to parse jws"),
        (base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".e30.x", "token validation failed: failed to parse jws"),
        (_token(aud="me"), 'token validation failed: "aud" not satisfied'),
        (_token(aud=None), '"aud" not satisfied'),
        (_token(sub="spiffe://public/ns/default/other"), '"sub" not satisfied'),
        (_token(sub="spiffe://td/ns/default/app"), '"sub" not satisfied'),
        (_token(exp=time.time() - 301), '"exp" not satisfied'),
        (_token(nbf=time.time() + 40_000), '"nbf" not satisfied'),
        (_token(iat=time.time() + 40_000), '"iat" not satisfied'),
        (_token(exp="soon"), '"exp" is no time'),
        (_token(header={"alg": "ES256"}), "could not verify message"),
        (_token(header={"alg": "ES256", "kid": "nobody"}), "could not verify message"),
        (_token(header={"alg": "ES256", "kid": "two"}), "could not verify message"),
        (_token(ANY, "RS256"), "could not verify message"),
        (_token(jwk.ECKey.generate_key("P-256", {"kid": "one"})), "could not verify message"),
        (_token()[:-4] + "AAAA", "could not verify message"),
    ],
)
async def test_tokens_that_are_not_believed(token: str, reason: str) -> None:
    with pytest.raises(validators.Refused, match=reason):
        await (await _validator()).validate(_request(token))


async def test_none_is_no_signature_and_a_public_key_is_no_secret() -> None:
    claims = _token().split(".")[1]
    for algorithm in ("none", "HS256"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "one"}).encode()).decode().rstrip("=")
        with pytest.raises(validators.Refused, match="could not verify message"):
            await (await _validator()).validate(_request(f"{head}.{claims}."))


async def test_five_minutes_are_forgiven() -> None:
    validator = await _validator()
    assert await validator.validate(_request(_token(exp=time.time() - 290, nbf=time.time() + 290))) == "public"


async def test_the_request_itself_has_to_be_in_order() -> None:
    validator = await _validator()
    with pytest.raises(validators.Refused, match="invalid request: namespace is required"):
        await validator.validate(_request(_token(), namespace=""))
    with pytest.raises(validators.Refused, match="failed to construct SPIFFE ID for requestor"):
        await validator.validate(_request(_token(), id="a/b"))


async def test_until_its_keys_are_there_who_asks_waits() -> None:
    validator = Jwks({"source": _set(KEY)}, SENTRY)
    asking = asyncio.create_task(validator.validate(_request(_token())))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    await validator.open()
    assert await asking == "public"


async def test_the_option_may_be_base64() -> None:
    text = base64.b64encode(_set(KEY).encode()).decode()
    for source in (text, text.rstrip("=")):
        assert await (await _validator(source)).validate(_request(_token())) == "public"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "property 'location' must not be empty"),
        ({"source": "/no/such/file"}, "not a URL, path to local file, or JSON value"),
        ({"source": "x", "minrefreshinterval": "often"}, "minRefreshInterval: time: invalid duration"),
        ({"source": "https://127.0.0.1:1/", "cacertificate": "/no/such"}, "failed to load CA certificate"),
        ({"source": "http://127.0.0.1:1/"}, "failed to init cache: failed to fetch JWKS"),
    ],
)
async def test_without_keys_it_does_not_start(options: dict[str, str], reason: str) -> None:
    with pytest.raises(validators.CannotStart, match=reason):
        await Jwks(options, SENTRY).open()


def test_options_have_the_originals_defaults() -> None:
    options = keyset.Options({"source": "x"})
    assert (options.refresh_seconds, options.request_seconds) == (600.0, 30.0)
    options = keyset.Options({"source": "x", "minrefreshinterval": "2m", "requesttimeout": "5"})
    assert (options.refresh_seconds, options.request_seconds) == (120.0, 5.0)


async def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(_set(OTHER))
    validator = await _validator(str(path))
    with pytest.raises(validators.Refused):
        await validator.validate(_request(_token()))
    _replace(path, _set(KEY))
    assert await validator.validate(_request(_token())) == "public"
    _replace(path, "broken")
    assert await validator.validate(_request(_token())) == "public"


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


class _Issuer:
    """Serves a key set by HTTP."""

    def __init__(self) -> None:
        self.keys = _set(OTHER)
        self.status = 200
        self.count = 0
        self.url = ""

    async def __call__(self, exchange: Exchange) -> None:
        self.count += 1
        exchange.respond(self.status, (), self.keys.encode())

    async def start(self) -> server.Server:
        one = server.Server(self)
        self.url = f"http://127.0.0.1:{await one.listen('127.0.0.1', 0)}/"
        return one


async def test_keys_of_a_url_are_fetched_again_when_they_are_old_and_one_is_missing() -> None:
    issuer = _Issuer()
    serving = await issuer.start()
    now = [0.0]
    keys = keyset.KeySet(keyset.Options({"source": issuer.url, "minrefreshinterval": "1m"}), lambda: now[0])
    await keys.open()
    issuer.keys = _set(KEY)
    assert await keys.get("one") is None
    assert issuer.count == 1
    now[0] = 61.0
    found = await asyncio.gather(*(keys.get("one") for _ in range(5)))
    assert all(found)
    assert issuer.count == 2
    issuer.status = 500
    now[0] = 200.0
    assert await keys.get("one") is not None
    assert await keys.get("two") is None
    keys.close()
    await serving.stop(0)


async def test_a_server_that_answers_nonsense_has_no_keys() -> None:
    issuer = _Issuer()
    serving = await issuer.start()
    for issuer.keys, reason in (("x", "failed to unmarshal"), ("[]", "no JSON object"), ("{}", "it has no keys")):
        with pytest.raises(keyset.Unusable, match=reason):
            await keyset.KeySet(keyset.Options({"source": issuer.url})).open()
    await serving.stop(0)


def test_keys_that_cannot_check_signatures_are_left_out() -> None:
    entries = [
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
        {**KEY.as_dict(private=False), "kid": "b", "use": "enc"},
        {"kty": "EC", "kid": "c"},
        {**KEY.as_dict(private=False), "kid": ""},
        1,
        KEY.as_dict(private=False),
    ]
    found = keyset.parse(json.dumps({"keys": entries}).encode())
    assert set(found) == {"one"}
    assert list(keyset.parse(json.dumps(KEY.as_dict(private=False)).encode())) == ["one"]


def test_key_set_that_is_nested_without_end_is_unusable() -> None:
    with pytest.raises(keyset.Unusable, match="failed to unmarshal JWK set"):
        keyset.parse(b"[" * 100_000)
