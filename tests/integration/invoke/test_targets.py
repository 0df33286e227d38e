"""How an app is named: in the path, by the `dapr-app-id` header, by Basic authentication."""

import base64
import time

import pytest
from tests.integration import harness
from tests.integration.invoke.conftest import Pair

NO_TARGET = (
    b'{"errorCode":"ERR_DIRECT_INVOKE","message":'
    b'"failed getting app id either from the URL path or the header dapr-app-id"}'
)


def basic(user: str) -> str:
    return "Authorization: Basic " + base64.b64encode(user.encode()).decode()


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/x/y%20z?q=1", "/x/y%20z?q=1"),
        ("/", "/"),
        ("//a//b/../c/", "/a/c"),
        ("/v1.0/metadata", None),
        ("/v1.0/invoke/nobody/method/x", "/v1.0/invoke/nobody/method/x"),
    ],
)
def test_header_names_the_app_on_any_path_but_our_own(pair: Pair, target: str, seen: str | None) -> None:
    reply = pair.caller.call("GET", target, f"dapr-app-id: {pair.callee.app_id}")

    assert reply.status == 200
    assert [request.target for request in pair.app.seen] == ([seen] if seen else [])


def test_header_is_not_sent_on(pair: Pair) -> None:
    pair.caller.call("GET", "/x", f"dapr-app-id: {pair.callee.app_id}")

    assert pair.app.last.get("dapr-app-id") is None


def test_first_of_two_headers_counts(pair: Pair) -> None:
    reply = pair.caller.call("GET", "/x", f"dapr-app-id: {pair.callee.app_id}", "dapr-app-id: other")

    assert reply.status == 200


def test_empty_header_leaves_the_path_in_force(pair: Pair) -> None:
    reply = pair.call("GET", "x", "dapr-app-id:")

    assert (reply.status, pair.app.last.target) == (200, "/x")


@pytest.mark.parametrize("name", ["dapr-app-id", "Dapr-App-Id"])
def test_user_of_basic_authentication_names_the_app(pair: Pair, name: str) -> None:
    credentials = basic(f"{name}:{pair.callee.app_id}")

    reply = pair.caller.call("GET", "/x", credentials)

    assert reply.status == 200
    assert f"Authorization: {pair.app.last.get('authorization')}" == credentials


def test_other_credentials_are_the_apps_own(pair: Pair) -> None:
    assert pair.call("GET", "x", basic("user:secret")).status == 200
    assert pair.app.last.get("authorization") == basic("user:secret").partition(": ")[2]


@pytest.mark.parametrize("target", ["/v1.0/invoke", "/v1.0/invoke//method/a", "/v1.0/invoke/a", "/nothing", "/"])
def test_without_an_app_there_is_nothing(pair: Pair, target: str) -> None:
    reply = pair.caller.call("GET", target)

    assert (reply.status, reply.body) == (404, NO_TARGET)


@pytest.mark.parametrize("slashes", ["//v1.0/invoke/{}/method/a", "/v1.0//invoke/{}/method/a"])
def test_doubled_slashes_are_one(pair: Pair, slashes: str) -> None:
    assert pair.caller.call("GET", slashes.format(pair.callee.app_id)).status == 200
    assert pair.app.last.target == "/a"


def test_namespace_may_stand_behind_the_app(pair: Pair) -> None:
    reply = pair.caller.call("GET", f"/v1.0/invoke/{pair.callee.app_id}.default/method/a")

    assert (reply.status, pair.app.last.target) == (200, "/a")


def test_more_than_one_dot_is_an_error(pair: Pair) -> None:
    reply = pair.caller.call("GET", "/v1.0/invoke/a.b.c/method/x")

    text = b"failed to invoke, id: a.b.c, err: invalid app id a.b.c"
    assert (reply.status, reply.body) == (500, b'{"errorCode":"ERR_DIRECT_INVOKE","message":"%b"}' % text)


def test_unknown_app_is_told_soon(pair: Pair) -> None:
    began = time.monotonic()
    reply = pair.caller.call("GET", "/v1.0/invoke/nobody/method/x")

    assert reply.status == 500
    assert reply.body.startswith(
        b'{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: nobody, err: couldn\'t find service: nobody'
    )
    assert time.monotonic() - began < (5 if harness.OTHER else 1.2)
    assert harness.OTHER or b"registry.db" in reply.body
    assert harness.OTHER or b"mDNS" in reply.body
