"""What an HTTP app is asked to do for its actors, and what its answers mean."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pydapr.app.actors import HttpActors
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.errors import ActorInvokeFailed
from pydapr.lib.actors import Actor, Packed, Reminder
from pydapr.net.body import Body
from pydapr.policy.resiliency import Names, Resiliency

CAT = Actor("Cat", "a b")


class FakeApp(AppChannel):
    """Answers each call as `then` does."""

    def __init__(self, then: Callable[[Call], Answer]) -> None:
        self.then = then
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []

    async def invoke(self, call: Call) -> Answer:
        self.calls.append(call)
        self.bodies.append(call.body.take())
        return self.then(call)

    def close(self) -> None: ...

    def retire(self) -> None: ...


def answer(status: int = 200, data: bytes = b"ok", *headers: tuple[bytes, bytes]) -> Callable[[Call], Answer]:
    return lambda call: Answer(status, headers, Body.of(data))


def made(then: Callable[[Call], Answer], policies: Resiliency | None = None) -> tuple[HttpActors, FakeApp]:
    app = FakeApp(then)
    return HttpActors(lambda: app, policies), app


def call(method: str) -> Call:
    return Call(b"POST", method, b"x=1", [(b"x-foo", b"bar")], Body.of(b"body"), True)


async def test_a_method_is_a_put_of_its_path() -> None:
    actors, app = made(answer())
    given = call("m/../n")
    assert (await actors.invoke(CAT, given, "")).body.take() == b"ok"
    sent = app.calls[0]
    assert (sent.verb, sent.method, sent.query) == (b"PUT", "actors/Cat/a b/method/n", b"x=1")
    assert (b"x-foo", b"bar") in sent.headers
    await actors.invoke(CAT, given, "")
    assert app.bodies == [b"body", b"body"]  # a call may be made again
    await actors.invoke(CAT, call(""), "")
    assert app.calls[-1].method == "actors/Cat/a b/method"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "error invoke actor method: actor method not found: actors/Cat/a b/method/m"),
        (201, "error invoke actor method: error from actor service: (201) ok"),
        (500, "error invoke actor method: error from actor service: (500) ok"),
    ],
)
async def test_only_200_is_a_success(status: int, text: str) -> None:
    actors, _ = made(answer(status))
    with pytest.raises(ActorInvokeFailed) as caught:
        await actors.invoke(CAT, call("m"), "")
    assert caught.value.message == text


async def test_an_app_that_cannot_be_reached_and_a_method_that_cannot_be_are_errors() -> None:
    def fail(call: Call) -> Answer:
        raise AppUnreachable("connection refused")

    actors, _ = made(fail)
    with pytest.raises(ActorInvokeFailed, match="connection refused"):
        await actors.invoke(CAT, call("m"), "")
    with pytest.raises(ActorInvokeFailed, match="invalid method name"):
        await actors.invoke(CAT, call("m?"), "")
    with pytest.raises(ActorInvokeFailed, match="app channel"):
        await HttpActors(lambda: None).invoke(CAT, call("m"), "")


async def test_an_error_that_the_app_marks_is_an_answer() -> None:
    actors, _ = made(answer(200, b"bad", (b"x-daprerrorresponseheader", b"true")))
    assert (await actors.invoke(CAT, call("m"), "")).body.take() == b"bad"


@pytest.mark.parametrize("data", [None, Packed("type.googleapis.com/google.protobuf.BytesValue", b'\x0a\x07{"x":1}')])
async def test_a_reminder_says_what_it_carries(data: Packed | None) -> None:
    actors, app = made(answer())
    assert await actors.remind(Reminder(CAT, "r", data), "")
    assert app.calls[0].method == "actors/Cat/a b/method/remind/r"
    expected: dict[str, Any] = {"dueTime": "", "period": ""}
    if data is not None:
        expected = {"data": {"x": 1}, **expected}
    assert json.loads(app.bodies[0]) == expected
    assert app.calls[0].headers == ((b"content-type", b"application/json"),)


async def test_a_timer_says_its_callback_and_times() -> None:
    actors, app = made(answer())
    packed = Packed("type.googleapis.com/google.protobuf.StringValue", b"\x0a\x02hi")
    assert await actors.remind(Reminder(CAT, "t", packed, "1s", "1h", "cb", is_timer=True), "id")
    assert app.calls[0].method == "actors/Cat/a b/method/timer/t"
    assert json.loads(app.bodies[0]) == {"data": "hi", "callback": "cb", "dueTime": "1s", "period": "1h"}
    assert (b"dapr-reentrancy-id", b"id") in app.calls[0].headers


async def test_an_app_may_want_no_more_of_a_reminder() -> None:
    actors, _ = made(answer(200, b"", (b"x-daprremindercancel", b"True")))
    assert not await actors.remind(Reminder(CAT, "r"), "")
    with pytest.raises(ActorInvokeFailed, match="canceled"):
        await actors.invoke(CAT, call("m"), "")
    actors, _ = made(answer(500))
    with pytest.raises(ActorInvokeFailed):
        await actors.remind(Reminder(CAT, "r"), "")


async def test_deactivation_does_not_wait_for_what_else_the_app_says() -> None:
    closed = []

    def slow(call: Call) -> Answer:
        return Answer(200, (), Body(), lambda: closed.append(call.method))

    actors, app = made(slow)
    await actors.deactivate(CAT)
    assert (app.calls[0].verb, app.calls[0].method) == (b"DELETE", "actors/Cat/a b")
    assert closed == ["actors/Cat/a b"]
    actors, _ = made(answer(500, b"why"))
    with pytest.raises(ActorInvokeFailed, match="why"):
        await actors.deactivate(CAT)


async def test_the_timeout_of_a_policy_begins_with_the_turn() -> None:
    import asyncio

    policies = Resiliency()
    policies.timeouts["short"] = 0.01
    policies.add_actor("Cat", Names(timeout="short"), 10)

    class Hanging(FakeApp):
        async def invoke(self, call: Call) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    app = Hanging(answer())
    with pytest.raises(ActorInvokeFailed, match="deadline exceeded"):
        await HttpActors(lambda: app, policies).invoke(CAT, call("m"), "")
