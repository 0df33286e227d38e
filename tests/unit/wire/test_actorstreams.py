"""Messages of a stream of actors are those of protobuf, whichever side writes them."""

import contextlib

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2
from pydapr.wire import actorstreams, anyvalues

Response = actors_pb2.SubscribeActorEventsResponseAlpha1
Request = actors_pb2.SubscribeActorEventsRequestAlpha1

PACKED = (anyvalues.BYTES.encode(), anyvalues.bytes_value(b'"text"'))
ANY = any_pb2.Any()
ANY.Pack(wrappers_pb2.BytesValue(value=b'"text"'))


def test_the_greeting_is_an_initial_response() -> None:
    assert Response.FromString(actorstreams.GREETING).WhichOneof("response_type") == "initial_response"


def test_a_call_is_an_invoke_request_with_the_first_of_each_name() -> None:
    headers = [(b"A", b"1"), (b"B", "ü".encode()), (b"A", b"2"), (b"C", b"\xff")]
    for _ in range(2):  # the second time from memory
        read = Response.FromString(actorstreams.invoke(b"7", "Cat", "ü", "meow", b"\x00data", headers)).invoke_request
        assert (read.id, read.actor_type, read.actor_id, read.method) == ("7", "Cat", "ü", "meow")
        assert read.data == b"\x00data"
        assert dict(read.metadata) == {"A": "1", "B": "ü", "C": "ÿ"}


def test_reminders_and_timers_carry_what_they_were_given() -> None:
    read = Response.FromString(actorstreams.reminder(b"1", "Cat", "c1", "eat", "", "", PACKED)).reminder_request
    assert (read.id, read.actor_type, read.actor_id, read.name) == ("1", "Cat", "c1", "eat")
    assert read.data == ANY
    written = actorstreams.timer(b"2", "Cat", "c1", "eat", "1s", "R2/PT1S", "onEat", PACKED)
    timer = Response.FromString(written).timer_request
    assert (timer.id, timer.due_time, timer.period, timer.callback) == ("2", "1s", "R2/PT1S", "onEat")
    assert timer.data == ANY
    assert not Response.FromString(
        actorstreams.reminder(b"1", "Cat", "c1", "eat", "", "", None)
    ).reminder_request.HasField("data")


def test_a_deactivation_names_the_actor() -> None:
    read = Response.FromString(actorstreams.deactivate(b"3", "Cat", "c1")).deactivate_request
    assert (read.id, read.actor_type, read.actor_id) == ("3", "Cat", "c1")


def _reply(request: Request) -> actorstreams.Reply:
    read = actorstreams.reply(request.SerializeToString())
    assert read is not None
    return read


def test_the_answer_to_a_call_is_read() -> None:
    read = _reply(
        Request(
            invoke_response=actors_pb2.SubscribeActorEventsRequestInvokeResponseAlpha1(
                id="7", data=b"meow", metadata={"X-One": "1"}, error=True
            )
        )
    )
    assert (read.kind, read.id, read.data, read.is_set) == (actorstreams.INVOKE, b"7", b"meow", True)
    assert read.metadata == [(b"x-one", b"1")]


def test_other_answers_are_read() -> None:
    answer = actors_pb2.SubscribeActorEventsRequestReminderResponseAlpha1(id="1", cancel=True)
    reminder, timer = _reply(Request(reminder_response=answer)), _reply(Request(timer_response=answer))
    assert (reminder.kind, reminder.id, reminder.is_set) == (actorstreams.REMINDER, b"1", True)
    assert (timer.kind, timer.id, timer.is_set) == (actorstreams.TIMER, b"1", True)
    done = _reply(Request(deactivate_response=actors_pb2.SubscribeActorEventsRequestDeactivateResponseAlpha1(id="3")))
    assert (done.kind, done.id) == (actorstreams.DEACTIVATE, b"3")
    failed = _reply(
        Request(request_failed=actors_pb2.SubscribeActorEventsRequestFailedAlpha1(id="4", code=5, message="no"))
    )
    assert (failed.kind, failed.id, failed.code, failed.message) == (actorstreams.FAILED, b"4", 5, "no")


def test_what_is_no_answer_is_none() -> None:
    assert actorstreams.reply(b"") is None
    initial = actors_pb2.SubscribeActorEventsRequestInitialAlpha1(entities=["Cat"])
    assert actorstreams.reply(Request(initial_request=initial).SerializeToString()) is None


@pytest.mark.parametrize("data", [b"\x12\x05abc", b"\x10\x01", b"\x1a\x03\x12\x01a", b"\x32\x03\x12\x01a"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(actorstreams.Invalid):
        actorstreams.reply(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(actorstreams.Invalid):
        read = actorstreams.reply(data)
        assert read is None or read.kind in range(actorstreams.INVOKE, actorstreams.FAILED + 1)
