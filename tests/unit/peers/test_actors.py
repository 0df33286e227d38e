"""The messages by which sidecars call each other's actors, against what protobuf makes of them."""

from pydapr.api import internal_actors
from pydapr.app.channel import Call
from pydapr.lib.actors import Actor, Packed, Reminder
from pydapr.net.body import Body
from pydapr.peers import actors
from pydapr.proto.dapr.proto.internals.v1 import service_invocation_pb2 as pb
from pydapr.wire import invocation

CAT = Actor("Cat", "ä 1")


def test_a_call() -> None:
    headers = [(b"content-type", b"text/plain"), (b"x-foo", b"1"), (b"x-foo", b"2"), (b"connection", b"close")]
    call = Call(b"POST", "m/é", b"a=b&c", headers, Body.of(b"body"))
    encoded = actors.encode_request(CAT, call)
    message = pb.InternalInvokeRequest.FromString(encoded)
    assert message.ver == 1
    assert (message.actor.actor_type, message.actor.actor_id) == ("Cat", "ä 1")
    assert message.message.method == "m/é"
    assert message.message.data.value == b"body"
    assert message.message.content_type == "text/plain"
    assert (message.message.http_extension.verb, message.message.http_extension.querystring) == (3, "a=b&c")
    assert list(message.metadata["X-Foo"].values) == ["1", "2"]
    assert "Connection" not in message.metadata
    read = invocation.decode_request(encoded)
    assert read.actor == (b"Cat", "ä 1".encode())
    assert (read.data, read.query) == (b"body", b"a=b&c")


def test_a_call_without_a_body() -> None:
    message = pb.InternalInvokeRequest.FromString(
        actors.encode_request(CAT, Call(b"PUT", "m", b"", [], Body.of(b""), True))
    )
    assert not message.message.HasField("data")


def test_a_reminder_there_and_back() -> None:
    for reminder in (
        Reminder(CAT, "r"),
        Reminder(CAT, "r", Packed("type.googleapis.com/x", b"\x00\xff"), "1s", "@every 1s", skips_turn=True),
        Reminder(CAT, "t", None, "1s", "2s", "call", is_timer=True),
    ):
        encoded = actors.encode_reminder(reminder)
        assert internal_actors._reminder(encoded) == reminder
        message = pb.Reminder.FromString(encoded)
        assert (message.actor_type, message.actor_id, message.name) == ("Cat", "ä 1", reminder.name)
        assert (message.due_time, message.period) == (reminder.due_time, reminder.period)
        assert (message.is_timer, message.skip_lock) == (reminder.is_timer, reminder.skips_turn)
        assert message.callback == reminder.callback
        if reminder.data is not None:
            assert (message.data.type_url, message.data.value) == (reminder.data.type_url, reminder.data.value)


def test_a_reminder_of_the_original() -> None:
    message = pb.Reminder(actor_id="1", actor_type="Cat", name="r", period="@every 1s")
    message.registered_time.seconds = 5
    message.expiration_time.seconds = -62135596800
    found = internal_actors._reminder(message.SerializeToString())
    assert found == Reminder(Actor("Cat", "1"), "r", None, "", "@every 1s")
