"""InvokeService under policies."""

import grpc
import pytest
from tests.integration.http_wire import Handler, always, answer
from tests.integration.resiliency.conftest import BAD, Guard, Guarded, in_turn, never

from pydapr.wire import appcalls, invocation

POLICIES = """
  policies:
    timeouts: {short: 200ms}
    retries: {again: {duration: 1ms, maxRetries: 2}}
    circuitBreakers: {cb: {trip: consecutiveFailures >= 2}}
  targets: {apps: {CALLEE: {%s}}}
"""


def invoke(pair: Guarded) -> appcalls.Response:
    request = appcalls.Request(method=b"m", data=b"data", extension=(b"POST", b"")).encode()
    message = invocation.field(b"\x0a", pair.callee.app_id.encode()) + invocation.field(b"\x1a", request)
    with grpc.insecure_channel(f"127.0.0.1:{pair.caller.grpc}") as channel:
        method = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/InvokeService")
        response = appcalls.Response()
        response.decode_message(method(message, timeout=20))
        return response


def failure(pair: Guarded) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        invoke(pair)
    return error.value.code(), error.value.details()


def test_failing_call_is_tried_until_it_succeeds(guard: Guard) -> None:
    pair = guard(POLICIES % "retry: again", in_turn(BAD, BAD, answer(body=b"fine")))

    assert invoke(pair).data == b"fine"
    assert [seen.body for seen in pair.app.seen] == [b"data"] * 3


def test_last_failure_is_told(guard: Guard) -> None:
    pair = guard(POLICIES % "retry: again", always(BAD))

    assert failure(pair) == (grpc.StatusCode.UNAVAILABLE, "Service Unavailable")
    assert len(pair.app.seen) == 3


@pytest.mark.parametrize(
    ("policies", "app", "code", "text"),
    [
        ("timeout: short", never, grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded"),
        ("retry: again, circuitBreaker: cb", always(BAD), grpc.StatusCode.UNKNOWN, "circuit breaker is open"),
    ],
)
def test_errors_of_policies(guard: Guard, policies: str, app: Handler, code: grpc.StatusCode, text: str) -> None:
    assert failure(guard(POLICIES % policies, app)) == (code, text)
