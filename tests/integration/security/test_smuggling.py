"""A second request inside the first: what a client, an app or another sidecar could hide one in.

Which bytes of HTTP/1.1 are refused is listed in `tests/unit/net/test_http1_server.py`; here is what a running sidecar
answers, and that the app hears of none of it.
"""

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App

from pydapr.wire import appcalls
from pydapr.wire import invocation as wire

HIDDEN = b"GET /v1.0/invoke/%b/method/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Pair:
    """A caller, a callee, and the callee's app."""

    def __init__(self, world: World) -> None:
        self.app: App = world.app()
        self.callee = world.daprd("callee", self.app)
        self.caller = world.daprd("caller").await_ready()
        self.callee.await_ready()

    def sidecar(self, way: str) -> Sidecar:
        return self.callee if way == "own" else self.caller


@pytest.fixture(scope="module")
def pair(shared_world: World) -> Pair:
    return Pair(shared_world)


@pytest.fixture(autouse=True)
def _fresh(pair: Pair) -> None:
    pair.app.seen.clear()


def raw(sidecar: Sidecar, data: bytes) -> bytes:
    """Everything that comes back until the sidecar closes."""
    client = sidecar.connect()
    client.send(data)
    pieces = []
    try:
        while piece := client.sock.recv(65536):
            pieces.append(piece)
    except ConnectionError:
        pass
    return b"".join(pieces)


def refusal(reason: bytes) -> bytes:
    return (
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
        b"400 Bad Request: " + reason
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding can't be present with Content-Length",
        ),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"Content-Length can't be present with Transfer-Encoding",
        ),
        (b"Content-Length: 0\r\nContent-Length: 100\r\n", b"Duplicate Content-Length"),
        (b"Content-Length: 0, 0\r\n", b"Invalid character in Content-Length"),
        (b"Content-Length: -1\r\n", b"Invalid character in Content-Length"),
        (b"Content-Length: 0x10\r\n", b"Invalid character in Content-Length"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"Invalid `Transfer-Encoding` header value"),
        (b"Transfer-Encoding:\r\n chunked\r\n", b"Invalid header value char"),
        (b"Transfer-Encoding : chunked\r\n", b"Invalid header field char"),
        (b"X: a\r\n b\r\n", b"Unexpected whitespace after header value"),
        (b"X: a\n", b"Missing expected CR after header value"),
        (b"X: a\rb\r\n", b"Missing expected LF after header value"),
        (b"X: a\0b\r\n", b"Invalid header value char"),
    ],
)
def test_framing_that_can_be_read_in_two_ways(pair: Pair, fields: bytes, reason: bytes) -> None:
    name = pair.callee.app_id.encode()
    head = b"POST /v1.0/invoke/%b/method/first HTTP/1.1\r\nHost: x\r\n%b\r\n" % (name, fields)

    answer = raw(pair.callee, head + b"0\r\n\r\n" + HIDDEN % name)

    assert answer == refusal(reason)
    assert not pair.app.seen


def test_a_coding_that_is_not_known(pair: Pair) -> None:
    answer = raw(pair.callee, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n") and answer.endswith(b"\r\n\r\n501 Not Implemented")


@pytest.mark.parametrize("way", ["own", "other"])
@pytest.mark.parametrize("letter", ["\r\n", "\n", "\0", "\x7f"])
def test_a_query_that_ends_the_request_line(pair: Pair, way: str, letter: str) -> None:
    query = f"a=b HTTP/1.1{letter}X: y{letter}{letter}GET /hidden HTTP/1.1"
    message = appcalls.Request(b"m", b"", b"", b"text/plain", (b"GET", query.encode())).encode()
    request = wire.field(b"\x0a", pair.callee.app_id.encode()) + wire.field(b"\x1a", message)

    with grpc.insecure_channel(f"127.0.0.1:{pair.sidecar(way).grpc}") as channel:
        code, text = failure(lambda: channel.unary_unary(DAPR + "InvokeService")(request, timeout=20))

    assert code == "INTERNAL"
    assert text.endswith(": net/url: invalid control character in URL")
    assert not pair.app.seen


@pytest.mark.parametrize("way", ["own", "other"])
def test_metadata_that_end_a_line(pair: Pair, way: str) -> None:
    """The type of a message is a header field of the app's request, and the only one that gRPC itself lets pass."""
    message = appcalls.Request(
        b"m", b"", b"", b"text/plain\r\nX-Hidden: 1\r\n\r\nGET / HTTP/1.1", (b"GET", b"")
    ).encode()
    request = wire.field(b"\x0a", pair.callee.app_id.encode()) + wire.field(b"\x1a", message)

    with grpc.insecure_channel(f"127.0.0.1:{pair.sidecar(way).grpc}") as channel:
        channel.unary_unary(DAPR + "InvokeService")(request, timeout=20)

    assert [seen.target for seen in pair.app.seen] == ["/m"]
    assert pair.app.last.get("content-type") == "text/plain  X-Hidden: 1    GET / HTTP/1.1"
    assert pair.app.last.get("x-hidden") is None


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"X: a\nContent-Length: 0\r\n\r\n",
        b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("way", ["own", "other"])
def test_an_answer_of_the_app_that_can_be_read_in_two_ways(pair: Pair, way: str, framing: bytes) -> None:
    pair.app.handler = http_wire.always(b"HTTP/1.1 200 OK\r\n" + framing)
    try:
        answer = pair.sidecar(way).call("GET", f"/v1.0/invoke/{pair.callee.app_id}/method/m")
    finally:
        pair.app.handler = http_wire.echo

    assert answer.status == 500
    assert b'"errorCode":"ERR_DIRECT_INVOKE"' in answer.body


def test_what_follows_an_answer_of_the_app_is_no_answer_to_the_next_call(pair: Pair) -> None:
    """An app that says more than it was asked could answer the request of somebody else."""
    hidden = http_wire.answer(body=b"hidden")
    pair.app.handler = http_wire.always(http_wire.answer(body=b"first") + hidden)
    url = f"/v1.0/invoke/{pair.callee.app_id}/method/m"
    try:
        bodies = [pair.callee.call("GET", url).body for _ in range(3)]
    finally:
        pair.app.handler = http_wire.echo

    assert bodies == [b"first"] * 3
