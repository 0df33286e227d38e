"""What the app answers is what the client gets: status, header fields, body."""

import pytest
from tests.integration.http_wire import OK, Message, Wire, always, answer
from tests.integration.invoke.conftest import Pair

WITH_BODY = [200, 201, 202, 203, 205, 206, 226, 299, 300, 301, 302, 303, 307, 308]
ERRORS = [400, 401, 403, 404, 405, 408, 409, 410, 418, 422, 429, 451, 499, 500, 501, 502, 503, 504, 599]


@pytest.mark.parametrize("status", WITH_BODY + ERRORS)
def test_status_and_body_are_unchanged(pair: Pair, status: int) -> None:
    body = b'{"text":"of the app"}'
    pair.serve(always(answer(f"{status} Some Words", "X-S: 1", "Content-Type: application/json", body=body)))

    reply = pair.call("POST", "m", body=b"x")

    assert (reply.status, reply.body, reply.get("x-s")) == (status, body, "1")
    assert reply.get("content-type") == "application/json"


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_has_none(pair: Pair, status: int) -> None:
    pair.serve(always(f'HTTP/1.1 {status} X\r\nETag: "q"\r\n\r\n'.encode()))

    reply = pair.call("GET", "m")

    assert (reply.status, reply.body, reply.get("etag")) == (status, b"", '"q"')
    assert reply.get("transfer-encoding") is None


def test_other_protocol_is_an_answer_without_a_body_and_the_last_one(pair: Pair) -> None:
    pair.serve(always(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\nX-S: 1\r\n\r\nother"))

    reply = pair.call("GET", "m")

    assert (reply.status, reply.body, reply.get("x-s"), reply.get("connection")) == (101, b"", "1", "close")


def test_redirects_are_the_clients_to_follow(pair: Pair) -> None:
    pair.serve(always(answer("307 Temporary Redirect", "Location: /other")))

    reply = pair.call("GET", "m")

    assert (reply.status, reply.get("location"), len(pair.app.seen)) == (307, "/other", 1)


def test_header_fields_pass(pair: Pair) -> None:
    kept = [
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2; HttpOnly"),
        ("Content-Type", "text/x; charset=latin-1"),
        ("Server", "s"),
        ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("Location", "/other"),
        ("Www-Authenticate", "Basic"),
        ("X-Empty", ""),
        ("Etag", '"q"'),
        ("Vary", "a"),
        ("X-A", "1"),
        ("X-A", "2"),
    ]
    pair.serve(always(answer("200 OK", *(f"{name}: {value}" for name, value in kept), body=b"abc")))

    reply = pair.call("GET", "m")

    assert sorted(header for header in reply.headers if header in kept) == sorted(kept)
    assert [value for name, value in reply.headers if name == "Set-Cookie"] == ["a=1; Path=/", "b=2; HttpOnly"]


def test_what_concerns_one_hop_or_is_ours_does_not(pair: Pair) -> None:
    fields = ["Connection: X-Gone", "X-Gone: 1", "Keep-Alive: x", "Trailer: X-Q", "y-bin: AA", "grpc-status: 5"]
    pair.serve(always(answer("200 OK", *fields, "dapr-y: 1", body=b"abc")))

    reply = pair.call("GET", "m")

    assert reply.names() & {"connection", "x-gone", "keep-alive", "trailer", "y-bin", "grpc-status"} == set()
    assert (reply.get("dapr-grpc-status"), reply.get("dapr-y")) == ("5", "1")


def test_head_is_answered_without_a_body(pair: Pair) -> None:
    pair.serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: a/b\r\n\r\n"))

    reply = pair.call("HEAD", "m")

    assert (reply.status, reply.get("content-type"), reply.body) == (200, "a/b", b"")
    assert reply.get("content-length") in (None, "1234")


@pytest.mark.parametrize("early", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
def test_what_comes_before_the_answer_is_passed_over(pair: Pair, early: bytes) -> None:
    pair.serve(always(early + answer(body=b"late")))

    reply = pair.call("POST", "m", body=b"x")

    assert (reply.status, reply.body) == (200, b"late")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_binary_bodies_of_any_size(pair: Pair, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)

    assert pair.call("POST", "m", body=body[:size]).body == body[:size]


def test_body_in_chunks(pair: Pair) -> None:
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    pair.serve(always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))

    assert pair.call("GET", "m").body == b"abcde"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_body_that_ends_with_the_connection(pair: Pair, version: str) -> None:
    def handle(wire: Wire, request: Message) -> None:
        wire.send(f"HTTP/{version} 200 OK\r\n\r\nabc".encode())
        wire.close()

    pair.serve(handle)

    assert pair.call("GET", "m").body == b"abc"


def test_request_in_chunks(pair: Pair) -> None:
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

    reply = pair.call("POST", "m", "Transfer-Encoding: chunked", body=chunks)

    assert (reply.body, pair.app.last.body) == (b"abcde", b"abcde")


def test_connection_is_kept(pair: Pair) -> None:
    pair.serve(always(OK))
    wire = pair.caller.connect()

    for _ in range(3):
        wire.send(f"GET {pair.url('m')} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert wire.message().status == 200
    wire.close()
