"""Bodies pass while they arrive, in both directions."""

import subprocess
import threading

import pytest
from tests.integration import harness, http_wire
from tests.integration.http_wire import Broken, Message, Wire, answer
from tests.integration.invoke.conftest import Pair

BEGIN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


def test_events_arrive_one_by_one(pair: Pair) -> None:
    seen = threading.Semaphore(0)

    def handle(wire: Wire, request: Message) -> None:
        wire.send(BEGIN + b"Content-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            wire.chunk(b"data: %d\n\n" % number)
            assert seen.acquire(timeout=10)
        wire.chunk(b"")

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("GET", pair.url("m"), ("Accept: text/event-stream",)))

    assert wire.head().get("content-type") == "text/event-stream"
    for number in range(3):
        assert wire.piece() == b"data: %d\n\n" % number
        seen.release()
    assert wire.piece() == b""


@pytest.mark.skipif(bool(harness.OTHER), reason="the original holds the head back until there is a body")
def test_head_arrives_before_the_body(pair: Pair) -> None:
    goes_on = threading.Event()

    def handle(wire: Wire, request: Message) -> None:
        wire.send(BEGIN + b"\r\n")
        assert goes_on.wait(10)
        wire.chunk(b"rest")
        wire.chunk(b"")

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("GET", pair.url("m")))

    assert wire.head().status == 200
    goes_on.set()
    assert b"".join(wire.pieces()) == b"rest"


@pytest.mark.skipif(bool(harness.OTHER), reason="the original holds the request back until it is whole")
def test_request_reaches_the_app_while_the_client_still_speaks(pair: Pair) -> None:
    """And the answer comes while the request is not at its end: an echo in both directions."""

    def handle(wire: Wire, request: Message) -> None:
        wire.send(BEGIN + b"\r\n")
        for piece in wire.pieces():
            wire.chunk(piece)
        wire.chunk(b"")

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("POST", pair.url("m"), ("Transfer-Encoding: chunked",)))
    wire.chunk(b"first")

    assert wire.head().status == 200
    assert wire.piece() == b"first"
    for word in (b"second", b"third"):
        wire.chunk(word)
        assert wire.piece() == word
    wire.chunk(b"")
    assert wire.piece() == b""


@pytest.mark.skipif(bool(harness.OTHER), reason="the original waits for the end of the request")
def test_app_may_answer_before_it_has_read(pair: Pair) -> None:
    def handle(wire: Wire, request: Message) -> None:
        wire.send(answer("413 Too Large", "Connection: close", body=b"enough"))
        for _ in wire.pieces():
            pass

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("POST", pair.url("m"), ("Transfer-Encoding: chunked",)))
    wire.chunk(b"x")

    assert wire.message().body == b"enough"


def test_app_sees_that_the_client_is_gone(pair: Pair) -> None:
    asked, gone = threading.Event(), threading.Event()

    def handle(wire: Wire, request: Message) -> None:
        wire.send(BEGIN + b"\r\n")
        wire.chunk(b"x")
        asked.set()
        if wire.is_closed():
            gone.set()
        raise Broken

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("GET", pair.url("m")))
    assert asked.wait(10)

    wire.close()

    assert gone.wait(10)


def test_app_sees_that_the_client_is_gone_before_it_has_answered(pair: Pair) -> None:
    asked, gone = threading.Event(), threading.Event()

    def handle(wire: Wire, request: Message) -> None:
        asked.set()
        if wire.is_closed():
            gone.set()
        raise Broken

    pair.serve(handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("GET", pair.url("m")))
    assert asked.wait(10)

    wire.close()

    assert gone.wait(10)


@pytest.mark.skipif(bool(harness.OTHER), reason="the original ends a broken answer as if it were whole")
def test_client_sees_that_the_app_broke_off(pair: Pair) -> None:
    def handle(wire: Wire, request: Message) -> None:
        wire.send(BEGIN + b"\r\n5\r\nab")
        wire.close()

    pair.serve(handle)

    try:
        reply = pair.call("GET", "m")
    except (Broken, ConnectionError):
        return
    # The end was known before the head had to go out, so there is a better answer than to break off.
    assert reply.status == 500


def test_length_that_promises_too_much_is_overlooked(pair: Pair) -> None:
    def handle(wire: Wire, request: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nabc")
        wire.close()

    pair.serve(handle)

    reply = pair.call("GET", "m")

    assert (reply.status, reply.body) == (200, b"abc")
    pair.callee.await_log("HTTP service invocation failed to complete with error: ")


def test_no_answer_at_all_is_an_error(pair: Pair) -> None:
    def handle(wire: Wire, request: Message) -> None:
        wire.close()

    pair.serve(handle)

    reply = pair.call("POST", "m", body=b"x")

    assert reply.status == 500
    assert f'Post \\"http://127.0.0.1:{pair.app.port}/m\\": EOF'.encode() in reply.body


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_client_that_waits_to_be_asked_for_the_body(pair: Pair, size: int) -> None:
    """curl's `Expect: 100-continue`."""
    url = f"http://127.0.0.1:{pair.caller.http}{pair.url('m')}"
    options = ["-sS", "-i", "--expect100-timeout", "20", "-H", "Expect: 100-continue", "--data-binary", "@-"]

    done = subprocess.run(["curl", *options, url], input=b"x" * size, capture_output=True, timeout=15)

    assert done.stdout.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert done.stdout.endswith(b"x" * size)
