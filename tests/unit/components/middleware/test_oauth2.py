"""Both flows of OAuth2: people who sign in, and the client's own token."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing, Web

from pydapr.components import Wrong
from pydapr.components.middleware import oauth2, oauth2clientcredentials

TOKEN = json.dumps({"access_token": "t0k", "token_type": "bearer", "expires_in": 3600})


def own(web: Web, style: int = 0, path_filter: str = "") -> oauth2clientcredentials.OAuth2ClientCredentials:
    return oauth2clientcredentials.OAuth2ClientCredentials(
        oauth2clientcredentials.Options(
            client_id="me", client_secret="s:e", scopes="a,b", token_url=f"{web.url}/token", header_name="X-Auth",
            endpoint_params_query="tenant=1", auth_style=style, path_filter=path_filter,
        )
    )  # fmt: skip


async def test_own_token_is_shown_and_kept(web: Web, passing: Passing, end: End) -> None:
    web.pages["/token"] = (200, "application/json", TOKEN)
    station = own(web)

    for _ in range(2):
        await passing(station, Asked(headers=[(b"x-auth", b"forged")]))

    assert [one.headers for one in end.seen] == [[(b"x-auth", b"Bearer t0k")]] * 2
    ((_, head, body),) = web.asked
    assert parse_qs(body) == {"grant_type": ["client_credentials"], "scope": ["a b"], "tenant": ["1"]}
    assert base64.b64encode(b"me:s%3Ae").decode() in head


async def test_id_and_secret_in_the_body(web: Web, passing: Passing) -> None:
    web.pages["/token"] = (200, "application/x-www-form-urlencoded", "access_token=t0k&expires_in=60")

    assert (await passing(own(web, style=1), Asked())).status == 200
    assert parse_qs(web.asked[0][2])["client_secret"] == ["s:e"]


async def test_without_a_token_nothing_goes_on(web: Web, passing: Passing, end: End) -> None:
    web.pages["/token"] = (401, "application/json", "{}")

    asked = await passing(own(web), Asked())

    assert (asked.status, end.seen) == (500, [])
    assert len(web.asked) == 2  # by Basic authentication, then in the body


@pytest.mark.parametrize(
    ("target", "is_meant"), [(b"/api/x", True), (b"//api/x", True), (b"/x/../api/y", True), (b"/x", False)]
)
async def test_filter_decides_which_paths_are_meant(
    web: Web, passing: Passing, end: End, target: bytes, is_meant: bool
) -> None:
    web.pages["/token"] = (200, "application/json", TOKEN)

    await passing(own(web, path_filter="^/api/"), Asked(target))

    assert bool(end.seen[0].headers) == is_meant


def test_unknown_style_is_told(web: Web) -> None:
    with pytest.raises(Wrong, match=r"can only have the values 0,1,2\. Received: '3'"):
        own(web, style=3)


def signing_in(web: Web, **more: object) -> oauth2.OAuth2:
    return oauth2.OAuth2(
        oauth2.Options(
            client_id="me", client_secret="secret", auth_url="https://id.example/auth", token_url=f"{web.url}/token",
            redirect_url="https://shop.example/back", scopes="openid,email", **more,  # type: ignore[arg-type]
        )
    )  # fmt: skip


def cookie(asked: Asked) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", asked.told[b"set-cookie"].partition(b";")[0])]


async def test_who_has_not_signed_in_is_sent_to_the_server(web: Web, passing: Passing, end: End) -> None:
    asked = await passing(signing_in(web), Asked(b"/a?b=1"))

    location = urlsplit(asked.told[b"location"].decode())
    query = parse_qs(location.query)
    assert asked.status == 302
    assert (location.netloc, location.path) == ("id.example", "/auth")
    assert query.pop("state")
    assert query == {
        "access_type": ["offline"],
        "client_id": ["me"],
        "redirect_uri": ["https://shop.example/back"],
        "response_type": ["code"],
        "scope": ["openid email"],
    }
    assert b"; Path=/; HttpOnly; SameSite=Lax" in asked.told[b"set-cookie"]
    assert not end.seen


async def test_who_comes_back_with_a_code_is_signed_in(web: Web, passing: Passing, end: End) -> None:
    web.pages["/token"] = (200, "application/json", TOKEN)
    station = signing_in(web)
    first = await passing(station, Asked(b"/a?b=1"))
    state = parse_qs(urlsplit(first.told[b"location"].decode()).query)["state"][0]

    back = await passing(station, Asked(f"/back?code=c&state={state}".encode(), cookie(first)))
    again = await passing(station, Asked(b"/a?b=1", [*cookie(back), (b"authorization", b"forged")]))

    assert (back.status, back.told[b"location"]) == (302, b"/a?b=1")
    assert parse_qs(web.asked[0][2])["code"] == ["c"]
    assert again.status == 200
    assert (b"authorization", b"Bearer t0k") in end.seen[0].headers
    assert (b"authorization", b"forged") not in end.seen[0].headers
    assert cookie(back) != cookie(first)
    assert (await passing(station, Asked(b"/a", cookie(first)))).status == 302


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("code=c&state=other", 400, b"invalid state"),
        ("state={state}", 400, b"code not found"),
        ("code=c&state={state}", 500, b"Internal Server Error"),
    ],
)
async def test_return_that_does_not_fit_is_refused(
    web: Web, passing: Passing, end: End, query: str, status: int, said: bytes
) -> None:
    station = signing_in(web)
    first = await passing(station, Asked(b"/a"))
    state = parse_qs(urlsplit(first.told[b"location"].decode()).query)["state"][0]

    back = await passing(station, Asked(f"/back?{query.format(state=state)}".encode(), cookie(first)))

    assert (back.status, back.sent) == (status, said)
    assert not end.seen


async def test_state_without_a_session_is_refused(web: Web, passing: Passing) -> None:
    assert (await passing(signing_in(web), Asked(b"/back?code=c&state=x"))).status == 500


async def test_people_are_never_sent_back_to_another_host(web: Web, passing: Passing) -> None:
    web.pages["/token"] = (200, "application/json", TOKEN)
    station = signing_in(web)
    first = await passing(station, Asked(b"//evil.example/a"))
    state = parse_qs(urlsplit(first.told[b"location"].decode()).query)["state"][0]

    back = await passing(station, Asked(f"/back?code=c&state={state}".encode(), cookie(first)))

    assert back.told[b"location"] == b"/evil.example/a"
