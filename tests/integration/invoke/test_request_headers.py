"""Which header fields of the client reach the app, and which the sidecars add."""

import socket

import pytest
from tests.integration.invoke.conftest import Pair

KEPT = [
    "Accept: */*",
    "Authorization: Bearer x",
    "Baggage: k=v",
    "Content-Type: text/x-foo; charset=utf-8",
    "Cookie: a=b; c=d",
    "Dapr-Api-Token: tok",
    "Dapr-X: 1",
    'If-None-Match: "x"',
    "Origin: http://a",
    "Referer: http://b",
    "User-Agent: me/1",
    "Warning: 1",
    "X-Empty: ",
    "X-Forwarded-Proto: https",
    "X-Long: " + "z" * 3000,
    "X-Unicode: é",
]
HOP_BY_HOP = [
    "Keep-Alive: timeout=5",
    "Proxy-Authenticate: x",
    "Proxy-Authorization: Basic eA==",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Trailer: X-T",
    "Upgrade: foo",
]


@pytest.mark.parametrize("body", [None, b"x"])
def test_what_is_meant_for_the_app_arrives(pair: Pair, body: bytes | None) -> None:
    pair.call("GET" if body is None else "POST", "m", *KEPT, body=body)

    got = {f"{name}: {value}".encode("latin-1").decode() for name, value in pair.app.last.headers}
    assert set(KEPT) <= got


def test_names_are_in_canonical_case(pair: Pair) -> None:
    pair.call("GET", "m", "x-lower-CASE: 1")

    assert ("X-Lower-Case", "1") in pair.app.last.headers


def test_repeated_fields_stay_apart_and_in_order(pair: Pair) -> None:
    pair.call("GET", "m", "X-Multi: b", "X-Other: 1", "X-Multi: a", "X-Multi: b")

    assert pair.app.last.all("x-multi") == ["b", "a", "b"]


def test_what_concerns_one_hop_stays_behind(pair: Pair) -> None:
    pair.call("GET", "m", *HOP_BY_HOP, "Connection: keep-alive, X-Drop", "X-Drop: gone", "x-bin: AAEC")

    named = {line.partition(":")[0].lower() for line in HOP_BY_HOP} | {"connection", "x-drop", "x-bin"}
    assert pair.app.last.names() & named == set()


def test_fields_of_grpc_are_renamed(pair: Pair) -> None:
    pair.call("GET", "m", "grpc-timeout: 1S", "grpc-x: 2")

    assert (pair.app.last.get("dapr-grpc-timeout"), pair.app.last.get("dapr-grpc-x")) == ("1S", "2")
    assert pair.app.last.get("grpc-x") is None


def test_host_is_the_apps(pair: Pair) -> None:
    pair.call("GET", "m", "Host: elsewhere")

    assert pair.app.last.all("host") == [f"127.0.0.1:{pair.app.port}"]


def test_sidecars_say_who_calls_whom(remote: Pair) -> None:
    remote.call("GET", "m")

    seen = remote.app.last
    assert seen.get("dapr-caller-app-id") == remote.caller.app_id
    assert seen.get("dapr-callee-app-id") == remote.callee.app_id
    assert seen.get("dapr-caller-namespace") == "default"
    assert seen.get("destination-app-id") is None
    host = seen.get("x-forwarded-for")
    name = socket.gethostname()
    assert seen.get("x-forwarded-host") == name
    assert seen.get("forwarded") == f"for={host};by={host};host={name}"


def test_values_that_claim_to_be_ours_come_with_ours(remote: Pair) -> None:
    forged = ("dapr-caller-app-id: evil", "dapr-callee-app-id: evil", "dapr-caller-namespace: evil")
    remote.call("GET", "m", *forged, "destination-app-id: evil")

    seen = remote.app.last
    assert seen.all("dapr-caller-app-id") == [remote.caller.app_id, "evil"]
    assert seen.all("dapr-callee-app-id") == [remote.callee.app_id, "evil"]
    assert seen.all("dapr-caller-namespace") == ["default", "evil"]
    assert seen.get("destination-app-id") is None


def test_forwarded_fields_grow(remote: Pair) -> None:
    remote.call("GET", "m", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8", "Forwarded: for=1.1.1.1")

    seen = remote.app.last
    assert seen.all("x-forwarded-for")[:2] == ["1.2.3.4", "5.6.7.8"]
    assert len(seen.all("x-forwarded-for")) == 3
    assert seen.all("forwarded")[0] == "for=1.1.1.1"
    assert len(seen.all("x-forwarded-host")) == 1


def test_own_app_gets_nothing_added(remote: Pair) -> None:
    remote.callee.call("GET", remote.url("m"), "X-Forwarded-For: 1.2.3.4")

    seen = remote.app.last
    assert seen.all("x-forwarded-for") == ["1.2.3.4"]
    assert "dapr-caller-app-id" not in seen.names()
