"""Targets that are spared."""

import time

from tests.integration import harness, http_wire
from tests.integration.http_wire import OK, always
from tests.integration.resiliency.conftest import BAD, Guard, Guarded, in_turn

BREAKER = """
  policies:
    retries: {again: {duration: 1ms, maxRetries: 5}}
    circuitBreakers: {cb: {timeout: 300ms, trip: consecutiveFailures >= 2}}
  targets: {apps: {CALLEE: {circuitBreaker: cb%s}}}
"""


def is_open(pair: Guarded, method: str = "m") -> bool:
    reply = pair.call(method)
    text = f'"message":"failed to invoke, id: {pair.callee.app_id}, err: circuit breaker is open"'
    return reply.status == 500 and text.encode() in reply.body


def test_failing_app_is_spared(guard: Guard) -> None:
    pair = guard(BREAKER % "", always(BAD))
    assert [pair.call().status for _ in range(2)] == [503, 503]

    assert is_open(pair)
    assert len(pair.app.seen) == 2
    assert f'Circuit breaker "{pair.callee.app_id}:m" changed state from closed to open' in pair.caller.messages()


def test_other_methods_are_not_spared(guard: Guard) -> None:
    pair = guard(BREAKER % "", always(BAD))
    for _ in range(2):
        pair.call()

    assert is_open(pair) and not is_open(pair, "other")


def test_recovered_app_is_called_again(guard: Guard) -> None:
    pair = guard(BREAKER % "", in_turn(BAD, BAD, OK))
    for _ in range(2):
        pair.call()
    assert is_open(pair)
    time.sleep(0.35)

    assert [pair.call().status for _ in range(2)] == [200, 200]
    change = f'Circuit breaker "{pair.callee.app_id}:m" changed state from half-open to closed'
    harness.eventually(lambda: change in pair.caller.messages(), change)


def test_open_breaker_ends_the_retries(guard: Guard) -> None:
    pair = guard(BREAKER % ", retry: again", always(BAD))

    assert is_open(pair)
    assert len(pair.app.seen) == 2


def test_streamed_requests_count(guard: Guard) -> None:
    pair = guard(BREAKER % ", retry: again", always(BAD))
    for _ in range(2):
        wire = pair.caller.connect()
        wire.send(http_wire.request("POST", pair.url(), ("Transfer-Encoding: chunked",)) + b"4\r\ndata\r\n0\r\n\r\n")
        assert wire.message().status == 503

    assert is_open(pair)
    assert len(pair.app.seen) == 2
