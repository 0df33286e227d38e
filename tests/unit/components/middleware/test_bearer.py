"""Tokens that let requests pass, and those that do not."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing, Web

from pydapr.components.middleware.bearer import Bearer, Options

joserfc = pytest.importorskip("joserfc")

from joserfc import jwk, jwt  # noqa: E402

NOW = 1_700_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key() -> Any:
    return jwk.ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bearer(web: Web, key: Any, clock: Clock) -> AsyncIterator[Bearer]:
    publish(web, key)
    configuration = {"issuer": web.url, "jwks_uri": f"{web.url}/keys"}
    web.pages["/.well-known/openid-configuration"] = (200, "application/json", json.dumps(configuration))
    made = Bearer(Options(issuer=web.url, audience="shop"), clock)
    await made.open()
    yield made
    await made.close()


def publish(web: Web, *keys: Any) -> None:
    document = {"keys": [key.as_dict(private=False) for key in keys]}
    web.pages["/keys"] = (200, "application/json", json.dumps(document))


def token(web: Web, key: Any, kid: str = "k1", **claims: Any) -> str:
    said = {"iss": web.url, "aud": "shop", "exp": NOW + 60, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": kid}, said, key)


def shown(text: str) -> Asked:
    return Asked(headers=[(b"authorization", text.encode())])


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["other", "shop"]},
        {"exp": NOW - 299},
        {"exp": None},
        {"nbf": NOW + 299, "iat": NOW + 299},
    ],
)
async def test_good_token_passes(bearer: Bearer, passing: Passing, web: Web, key: Any, claims: dict[str, Any]) -> None:
    asked = await passing(bearer, shown("bEARER " + token(web, key, **claims)))

    assert asked.status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"exp": NOW - 301},
        {"exp": True},
        {"nbf": NOW + 301},
        {"iat": NOW + 301},
    ],
)
async def test_token_for_others_or_out_of_its_time_is_refused(
    bearer: Bearer, passing: Passing, end: End, web: Web, key: Any, claims: dict[str, Any]
) -> None:
    asked = await passing(bearer, shown("Bearer " + token(web, key, **claims)))

    assert (asked.status, asked.sent) == (401, b"Unauthorized")
    assert not end.seen


@pytest.mark.parametrize(
    "text", ["", "Bearer", "Bearer abc", "Basic dXNlcjpwYXNz", "Bearer a.b.c.d.e.f.g", "Bearer " + "é" * 20]
)
async def test_what_is_no_token_is_refused(bearer: Bearer, passing: Passing, text: str) -> None:
    assert (await passing(bearer, shown(text))).status == 401


async def test_request_without_authorization_is_refused(bearer: Bearer, passing: Passing) -> None:
    assert (await passing(bearer, Asked())).status == 401


async def test_token_of_a_foreign_key_is_refused(bearer: Bearer, passing: Passing, web: Web) -> None:
    foreign = jwk.ECKey.generate_key("P-256", {"kid": "k1"})

    assert (await passing(bearer, shown("Bearer " + token(web, foreign)))).status == 401


async def test_unsigned_token_is_refused(bearer: Bearer, passing: Passing) -> None:
    unsigned = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.e30."

    assert (await passing(bearer, shown("Bearer " + unsigned))).status == 401


async def test_secret_made_of_the_public_key_signs_nothing(
    bearer: Bearer, passing: Passing, web: Web, key: Any
) -> None:
    parts = ({"alg": "HS256", "kid": "k1"}, {"iss": web.url, "aud": "shop"})
    text = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
    mark = hmac.new(key.as_pem(private=False), text.encode(), "sha256").digest()

    assert (await passing(bearer, shown(f"Bearer {text}.{_encoded(mark)}"))).status == 401


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_key_that_is_new_is_fetched_but_not_at_each_request(
    bearer: Bearer, passing: Passing, web: Web, key: Any, clock: Clock
) -> None:
    new = jwk.ECKey.generate_key("P-256", {"kid": "k2"})
    publish(web, key, new)
    clock.now += 31
    fetched = len(web.asked)

    assert (await passing(bearer, shown("Bearer " + token(web, new, "k2")))).status == 200
    assert (await passing(bearer, shown("Bearer " + token(web, new, "k3")))).status == 401
    assert len(web.asked) == fetched + 1


async def test_keys_stay_when_they_cannot_be_fetched_again(
    bearer: Bearer, passing: Passing, web: Web, key: Any, clock: Clock
) -> None:
    web.pages["/keys"] = (500, "text/plain", "")
    clock.now += 31

    assert (await passing(bearer, shown("Bearer " + token(web, key, "k9")))).status == 401
    assert (await passing(bearer, shown("Bearer " + token(web, key)))).status == 200


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ((404, "text/plain", ""), "invalid response status code: 404"),
        ((200, "text/plain", "{"), "failed to retrieve"),
        ((200, "text/plain", '{"issuer": "x"}'), "doesn't match the one provided"),
        ((200, "text/plain", '{"issuer": "URL"}'), "does not contain a 'jwks_uri'"),
        ((200, "text/plain", '{"issuer": "URL", "jwks_uri": "URL/nothing"}'), "failed to fetch JWKS"),
    ],
)
async def test_discovery_that_fails_is_told(web: Web, page: tuple[int, str, str], reason: str) -> None:
    web.pages["/.well-known/openid-configuration"] = (page[0], page[1], page[2].replace("URL", web.url))

    with pytest.raises(ValueError, match=reason):
        await Bearer(Options(issuer=web.url, audience="shop")).open()
