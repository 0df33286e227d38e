"""Servers named by a URL instead of an app id."""

import pytest
from tests.integration import harness
from tests.integration.harness import World
from tests.integration.http_wire import App, always, answer
from tests.integration.invoke.conftest import Pair


@pytest.fixture(scope="module")
def server(shared_world: World) -> App:
    return shared_world.app(always(answer("201 Created", "X-From: server", body=b"hello")))


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("http://127.0.0.1:{}/method/x/y%20z?q=1", "/x/y%20z?q=1"),
        ("http:%2F%2F127.0.0.1:{}/method/x", "/x"),
        ("http%3A%2F%2F127.0.0.1%3A{}/method/x//y/", "/x/y"),
        ("http://127.0.0.1:{}/prefix/method/x", "/prefix/x"),
    ],
)
def test_is_called_directly(remote: Pair, server: App, target: str, seen: str) -> None:
    server.seen.clear()

    reply = remote.caller.call("POST", "/v1.0/invoke/" + target.format(server.port), "X-A: 1", body=b"hi")

    assert (reply.status, reply.body, reply.get("x-from")) == (201, b"hello", "server")
    assert (server.last.start, server.last.body) == (f"POST {seen} HTTP/1.1", b"hi")
    assert server.last.get("host") == f"127.0.0.1:{server.port}"
    assert server.last.get("x-a") == "1"


def test_tells_what_was_refused(remote: Pair) -> None:
    port = harness.free_port()

    reply = remote.caller.call("GET", f"/v1.0/invoke/http://127.0.0.1:{port}/method/x?q=1")

    base = f"http://127.0.0.1:{port}"
    text = (
        f'failed to invoke, id: {base}, err: Get \\"{base}/x?q=1\\": '
        f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    )
    assert reply.status == 500
    assert reply.body.decode() == f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"{text}"}}'


def test_other_schemes_are_app_ids_that_nobody_has(remote: Pair) -> None:
    reply = remote.caller.call("GET", "/v1.0/invoke/ftp://a/method/x")

    assert reply.status == 500
    assert b"couldn't find service: ftp://a" in reply.body or b"timeout waiting for address" in reply.body
