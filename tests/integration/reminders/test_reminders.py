"""Reminders from the app's call to the app, whoever is killed between."""

import json
from pathlib import Path

import grpc
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import World, eventually
from tests.integration.reminders.cats import Cats, hosted, post
from tests.integration.reminders.conftest import Plane

from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2


def test_a_reminder_comes_as_it_was_given_until_it_is_forgotten(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    assert post(sidecar, "c1/reminders/eat", dueTime="0s", period="100ms", data={"what": "fish"}).status == 204
    eventually(lambda: cats.counts["c1/remind/eat"] > 2, "the reminder comes")
    assert cats.bodies["c1/remind/eat"] == {"data": {"what": "fish"}, "dueTime": "", "period": ""}

    target = "/v1.0/actors/Cat/c1/reminders/eat"
    kept = {
        "actorID": "c1", "actorType": "Cat", "data": {"what": "fish"}, "dueTime": "0s", "period": "@every 100ms",
    }  # fmt: skip
    assert sidecar.document("GET", target) == kept
    assert sidecar.call("DELETE", target).status == 204
    gone = sidecar.call("GET", target)
    assert (gone.status, json.loads(gone.body)["errorCode"]) == (404, "ERR_ACTOR_REMINDER_NOT_FOUND")


def test_actors_and_reminders_over_http_need_no_protobuf(world: World, plane: Plane) -> None:
    """To import its library takes a start 10 to 60 ms and 4 MB."""
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    assert post(sidecar, "c1/reminders/eat", dueTime="0s", period="100ms").status == 204
    eventually(lambda: cats.counts["c1/remind/eat"], "the reminder comes")
    assert sidecar.call("DELETE", "/v1.0/actors/Cat/c1/reminders/eat").status == 204
    loaded = Path(f"/proc/{sidecar.pid}/maps")
    assert "google/_upb" not in loaded.read_text()

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        channel.unary_unary(f"{DAPR}GetMetadata")(b"", timeout=10)
    assert "google/_upb" in loaded.read_text()


def test_an_answer_that_cancels_ends_a_reminder(world: World, plane: Plane) -> None:
    cats = Cats(world)
    cats.cancels.add("eat")
    sidecar = hosted(plane.sidecar(cats.app))
    # On a busy machine it takes a moment until the scheduler hears of the end, and the next one may be due before that.
    assert post(sidecar, "c1/reminders/eat", dueTime="0s", period="1s").status == 204
    eventually(lambda: cats.counts["c1/remind/eat"], "the reminder comes")
    eventually(lambda: sidecar.status("/v1.0/actors/Cat/c1/reminders/eat") == 404, "the reminder is gone")
    before = cats.counts["c1/remind/eat"]
    post(sidecar, "c1/reminders/later", dueTime="1500ms")
    eventually(lambda: cats.counts["c1/remind/later"], "a later one comes")
    assert cats.counts["c1/remind/eat"] == before == 1


def test_errors_are_worded_as_the_original_does(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    for path, wanted, status, code, message in (
        ("c1/reminders/x", {}, 500, "ERR_ACTOR_REMINDER_CREATE", "job must have either a due time or a schedule"),
        ("c1/reminders/x", {"dueTime": "x"}, 500, "ERR_ACTOR_REMINDER_CREATE", "due time format not recognized"),
        ("c1/reminders/x", {"dueTime": "1s", "ttl": "1m"}, 500, "ERR_ACTOR_REMINDER_CREATE", "to have a ttl"),
        ("c1/reminders/x", {"period": "R3/P1D"}, 500, "ERR_ACTOR_REMINDER_CREATE", "unsupported period format: R3/P1D"),
        ("c1/reminders/a%23b", {"dueTime": "1s"}, 400, "ERR_BAD_REQUEST", 'forbidden character: "a#b"'),
        ("c1/timers/x", {"dueTime": "x"}, 500, "ERR_ACTOR_TIMER_CREATE", "unsupported time/duration format: x"),
        ("c1/timers/x", {"dueTime": 5}, 400, "ERR_MALFORMED_REQUEST", "dueTime must be a string"),
    ):
        refused = post(sidecar, path, **wanted)
        told = json.loads(refused.body)
        assert (refused.status, told["errorCode"]) == (status, code), told
        assert message in told["message"]
    dog = sidecar.call("POST", "/v1.0/actors/Dog/d1/reminders/eat", body=b'{"dueTime":"1s"}')
    assert (dog.status, json.loads(dog.body)["errorCode"]) == (403, "ERR_ACTOR_REMINDER_NON_HOSTED")


def test_reminders_are_listed_and_forgotten_by_type_over_grpc(world: World, plane: Plane) -> None:
    sidecar = hosted(plane.sidecar(Cats(world).app))
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:

        def ask(method: str, request: bytes) -> bytes:
            answer: bytes = channel.unary_unary(f"{DAPR}{method}")(request, timeout=20)
            return answer

        for actor_id in ("c1", "c2"):
            wanted = actors_pb2.RegisterActorReminderRequest(
                actor_type="Cat", actor_id=actor_id, name="eat", due_time="1h", period="1h", data=b"fish"
            )
            ask("RegisterActorReminder", wanted.SerializeToString())

        def listed(**more: str) -> list[tuple[str, str, str, bytes]]:
            request = actors_pb2.ListActorRemindersRequest(actor_type="Cat", **more)
            found = actors_pb2.ListActorRemindersResponse.FromString(
                ask("ListActorReminders", request.SerializeToString())
            )
            return sorted(
                (one.name, one.reminder.actor_id, one.reminder.period, one.reminder.data.value)
                for one in found.reminders
            )

        data = b'\x0a\x0a"ZmlzaA=="'
        assert listed() == [("eat", "c1", "@every 1h0m0s", data), ("eat", "c2", "@every 1h0m0s", data)]
        assert listed(actor_id="c2") == [("eat", "c2", "@every 1h0m0s", data)]
        one = actors_pb2.UnregisterActorRemindersByTypeRequest(actor_type="Cat", actor_id="c2")
        ask("UnregisterActorRemindersByType", one.SerializeToString())
        assert [actor_id for _, actor_id, _, _ in listed()] == ["c1"]
        everything = actors_pb2.UnregisterActorRemindersByTypeRequest(actor_type="Cat")
        ask("UnregisterActorRemindersByType", everything.SerializeToString())
        assert listed() == []


def test_no_reminder_is_lost_with_a_sidecar(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    wanted = {f"c{number}/remind/eat" for number in range(100)}
    for number in range(100):
        assert post(sidecar, f"c{number}/reminders/eat", dueTime="2s").status == 204

    sidecar.kill()
    plane.sidecar(cats.app)

    eventually(lambda: not wanted - cats.counts.keys(), "all reminders have come", 60)


def test_no_reminder_is_lost_with_the_scheduler(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    wanted = {f"c{number}/remind/eat" for number in range(100)}
    for number in range(100):
        assert post(sidecar, f"c{number}/reminders/eat", dueTime="1s").status == 204

    plane.scheduler.kill()
    plane.scheduler.start()

    eventually(lambda: not wanted - cats.counts.keys(), "all reminders have come", plane.scheduler.recovers_within + 20)
    assert sidecar.process.poll() is None


def test_without_a_scheduler_reminders_are_refused_and_timers_come(world: World, plane: Plane) -> None:
    cats = Cats(world)
    resources = str(world.folder / "resources")
    placed = ("--placement-host-address", f"127.0.0.1:{plane.placement.port}", "--resources-path", resources)
    sidecar = hosted(world.sidecar("app", cats.app, *placed))
    refused = post(sidecar, "c1/reminders/eat", dueTime="1s")
    assert json.loads(refused.body) == {
        "errorCode": "ERR_ACTOR_REMINDER_CREATE",
        "message": "error creating actor reminder: scheduler clients are disabled",
    }
    assert post(sidecar, "c1/timers/eat", dueTime="0s").status == 204
    eventually(lambda: cats.counts["c1/timer/eat"], "the timer comes")


def test_without_placement_there_are_no_actors_to_remind(world: World) -> None:
    sidecar = world.sidecar("app")
    for verb, path in (("POST", "reminders/x"), ("GET", "reminders/x"), ("DELETE", "reminders/x"), ("PUT", "timers/x")):
        refused = sidecar.call(verb, f"/v1.0/actors/Cat/c1/{path}", body=b'{"dueTime":"1s"}')
        assert (refused.status, json.loads(refused.body)["errorCode"]) == (400, "ERR_ACTOR_NO_PLACEMENT")
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        stream = channel.stream_stream(f"{DAPR}SubscribeActorEventsAlpha1")
        assert failure(lambda: next(stream(iter([b""]), timeout=20))) == (
            "UNAVAILABLE",
            "placement service is not configured",
        )
