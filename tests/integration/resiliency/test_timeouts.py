"""Calls that take too long."""

import time

import pytest
from tests.integration import harness, http_wire
from tests.integration.http_wire import Message, Wire
from tests.integration.resiliency.conftest import Guard, never

TIMEOUT = """
  policies:
    timeouts: {short: 400ms}
    retries: {again: {duration: 1ms, maxRetries: 1}}
  targets: {apps: {CALLEE: {timeout: short%s}}}
"""


def test_app_that_does_not_answer_is_given_up(guard: Guard) -> None:
    pair = guard(TIMEOUT % "", never)
    began = time.monotonic()

    reply = pair.call()

    assert time.monotonic() - began < 5
    text = f"failed to invoke, id: {pair.callee.app_id}, err: context deadline exceeded"
    assert reply.status == 500
    assert reply.body.decode() == f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"{text}"}}'


def test_each_try_has_its_own_time(guard: Guard) -> None:
    pair = guard(TIMEOUT % ", retry: again", never)

    assert b"context deadline exceeded" in pair.call().body
    harness.eventually(lambda: len(pair.app.seen) == 2, "two calls")


def test_call_given_up_is_cancelled_at_the_app(guard: Guard) -> None:
    ended: list[bool] = []

    def handle(wire: Wire, request: Message) -> None:
        list(wire.pieces())
        ended.append(wire.is_closed())

    pair = guard(TIMEOUT % "", handle)
    pair.call()

    harness.eventually(lambda: ended == [True], "the end of the connection to the app")


def test_answer_that_takes_too_long_is_broken_off(guard: Guard) -> None:
    def handle(wire: Wire, request: Message) -> None:
        list(wire.pieces())
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        wire.is_closed()

    pair = guard(TIMEOUT % ", retry: again", handle)

    with pytest.raises((http_wire.Broken, OSError)):
        pair.call()
    assert len(pair.app.seen) == 1


def test_caller_that_sends_too_slowly_is_given_up(guard: Guard) -> None:
    pair = guard(TIMEOUT % ", retry: again", http_wire.echo)
    wire = pair.caller.connect()
    wire.send(http_wire.request("POST", pair.url(), ("Content-Length: 10",)) + b"part")

    reply = wire.message()

    assert reply.status == 500 and b"context deadline exceeded" in reply.body
