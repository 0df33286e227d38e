"""Calls that are tried again, and those that are not."""

import threading

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.http_wire import OK, Message, Wire, always, answer
from tests.integration.resiliency.conftest import BAD, Guard, in_turn

RETRY = """
  policies: {retries: {again: {duration: 5ms, maxRetries: 3%s}}}
  targets: {apps: {CALLEE: {retry: again}}}
"""
PLAIN = RETRY % ""


def test_failing_call_is_tried_until_it_succeeds(guard: Guard) -> None:
    pair = guard(PLAIN, in_turn(BAD, BAD, answer(body=b"fine")))

    reply = pair.call(body=b"once only")

    assert (reply.status, reply.body) == (200, b"fine")
    assert [seen.body for seen in pair.app.seen] == [b"once only"] * 3


def test_retries_are_logged(guard: Guard) -> None:
    pair = guard(PLAIN, in_turn(BAD, BAD, OK))
    pair.call()

    name = f"endpoint[{pair.callee.app_id}, {pair.callee.app_id}:m]"
    pair.caller.await_log(f"Recovered processing operation {name} after 3 attempts")
    assert pair.caller.messages().count(f"Error processing operation {name}. Retrying in 5ms…") == 1


def test_last_answer_of_the_app_is_passed_on(guard: Guard) -> None:
    pair = guard(PLAIN, always(BAD))

    reply = pair.call()

    assert (reply.status, reply.body, reply.get("x-reason")) == (503, b"not now", "tired")
    assert reply.get("content-type") == "text/plain"
    assert len(pair.app.seen) == 4


def test_long_last_answer_is_passed_on_whole(guard: Guard) -> None:
    body = b"0123456789abcdef" * 65536
    pair = guard(PLAIN, always(answer("500 Bad", body=body)))

    assert pair.call().body == body


@pytest.mark.parametrize(("status", "calls"), [("200 OK", 1), ("304 Not Modified", 1), ("404 Not Found", 4)])
def test_answers_from_200_to_399_are_no_failures(guard: Guard, status: str, calls: int) -> None:
    pair = guard(PLAIN, always(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()))

    assert pair.call().status == int(status[:3])
    assert len(pair.app.seen) == calls


@pytest.mark.parametrize(("status", "calls"), [("503 x", 4), ("429 x", 4), ("404 x", 1), ("504 x", 1)])
def test_only_codes_that_match_are_tried_again(guard: Guard, status: str, calls: int) -> None:
    pair = guard(RETRY % ", matching: {httpStatusCodes: '429,500-503'}", always(answer(status, body=b"b")))

    reply = pair.call()

    assert (reply.status, reply.body) == (int(status[:3]), b"b")
    assert len(pair.app.seen) == calls


def test_streamed_request_is_not_tried_again(guard: Guard) -> None:
    pair = guard(PLAIN, always(BAD))
    wire = pair.caller.connect()
    wire.send(http_wire.request("POST", pair.url(), ("Transfer-Encoding: chunked",)) + b"4\r\ndata\r\n0\r\n\r\n")

    reply = wire.message()

    assert (reply.status, reply.body) == (503, b"not now")
    assert len(pair.app.seen) == 1


def test_answer_that_breaks_off_after_its_head_is_not_tried_again(guard: Guard) -> None:
    has_begun = threading.Event()

    def handle(wire: Wire, request: Message) -> None:
        list(wire.pieces())
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        has_begun.wait(http_wire.LIMIT)
        wire.reset()

    pair = guard(PLAIN, handle)
    wire = pair.caller.connect()
    wire.send(http_wire.request("POST", pair.url(), body=b"data"))
    assert wire.head().status == 200
    has_begun.set()

    with pytest.raises((http_wire.Broken, OSError)):
        list(wire.pieces())
    assert len(pair.app.seen) == 1


def test_lost_app_is_tried_again_and_told(guard: Guard) -> None:
    def handle(wire: Wire, request: Message) -> None:
        list(wire.pieces())
        wire.reset()

    pair = guard(PLAIN, handle)

    reply = pair.call()

    assert reply.status == 500
    assert b"ERR_DIRECT_INVOKE" in reply.body and b"error invoking app channel" in reply.body
    harness.eventually(lambda: len(pair.app.seen) == 4, "four calls")


def test_default_policy_is_for_apps_that_no_resource_names(guard: Guard) -> None:
    pair = guard("\n  policies: {retries: {DefaultAppRetryPolicy: {duration: 5ms, maxRetries: 1}}}", always(BAD))

    assert pair.call().status == 503
    assert len(pair.app.seen) == 2


def test_own_app_is_called_under_its_policies(guard: Guard, world: World) -> None:
    pair = guard("\n  policies: {retries: {DefaultRetryPolicy: {duration: 5ms, maxRetries: 1}}}", in_turn(BAD, OK))
    own = world.sidecar("own", pair.app, "--resources-path", str(world.folder / "resources"))

    assert own.call("GET", f"/v1.0/invoke/{own.app_id}/method/m").status == 200
    assert len(pair.app.seen) == 2


def test_named_app_without_retries_has_none_of_the_built_in_ones(guard: Guard) -> None:
    pair = guard("\n  policies: {timeouts: {t: 5s}}\n  targets: {apps: {CALLEE: {timeout: t}}}", always(OK))
    assert pair.call().status == 200
    pair.callee.kill()

    reply = pair.call()

    assert reply.status == 500 and b"retries" not in reply.body
    assert not [line for line in pair.caller.messages() if "Retrying" in line]


def test_built_in_retries_can_be_overridden(guard: Guard) -> None:
    pair = guard("\n  policies: {retries: {DaprBuiltInServiceRetries: {duration: 1ms, maxRetries: 4}}}", always(OK))
    assert pair.call().status == 200
    pair.callee.kill()

    assert pair.call().status == 500
    assert "Error processing operation DaprBuiltInServiceRetries. Retrying in 1ms…" in pair.caller.messages()


def test_bad_policy_is_logged_and_no_reason_not_to_start(guard: Guard) -> None:
    pair = guard(RETRY % ", matching: {httpStatusCodes: 11}", in_turn(BAD, OK))

    assert (
        "Could not read resiliency policy mine: invalid pattern 11, start code 11 is not valid"
        in pair.caller.messages()
    )
    assert pair.call().status == 503
