"""Actors of apps without a port, on streams that the apps open."""

import queue
import signal
import threading
import time
from typing import Any

import grpc
import pytest
from tests.integration.grpc_app import DAPR
from tests.integration.harness import LIMIT, Sidecar, World, eventually
from tests.integration.http_wire import echo
from tests.integration.reminders.conftest import Plane

from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

Request = actors_pb2.SubscribeActorEventsRequestAlpha1
Response = actors_pb2.SubscribeActorEventsResponseAlpha1
Initial = actors_pb2.SubscribeActorEventsRequestInitialAlpha1
RPC = ("--app-protocol", "grpc")


class Stream:
    """An app that hosts actors and answers each call with its own data, but those of the method or reminder `hang`."""

    def __init__(self, sidecar: Sidecar, *types: str, first: Request | None = None) -> None:
        self.asked: list[Response] = []
        self._requests: queue.Queue[Request | None] = queue.Queue()
        self._requests.put(first or Request(initial_request=Initial(entities=types)))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")
        method = self._channel.stream_stream(
            f"{DAPR}SubscribeActorEventsAlpha1",
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )
        self._call = method(iter(self._requests.get, None))
        self.finishes = False
        self.error: grpc.RpcError | None = None
        self.is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            for response in self._call:
                self._answer(response)
                self.asked.append(response)
        except grpc.RpcError as error:
            self.error = error
        self.is_over.set()

    def _answer(self, response: Response) -> None:
        kind = response.WhichOneof("response_type")
        given: Any = getattr(response, kind or "")
        if kind == "invoke_request" and given.method != "hang":
            answer = actors_pb2.SubscribeActorEventsRequestInvokeResponseAlpha1(id=given.id, data=given.data)
            self._requests.put(Request(invoke_response=answer))
        elif kind == "reminder_request" and (given.name != "hang" or self.finishes):
            done = actors_pb2.SubscribeActorEventsRequestReminderResponseAlpha1(id=given.id)
            self._requests.put(Request(reminder_response=done))
        elif kind == "deactivate_request":
            gone = actors_pb2.SubscribeActorEventsRequestDeactivateResponseAlpha1(id=given.id)
            self._requests.put(Request(deactivate_response=gone))

    def greeted(self) -> "Stream":
        eventually(lambda: self.asked, "the stream is greeted")
        assert self.asked[0].WhichOneof("response_type") == "initial_response"
        return self

    def say(self, request: Request) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        self._requests.put(None)

    def close(self) -> None:
        """The app is gone, as if killed."""
        self._channel.close()
        self._requests.put(None)

    def kinds(self) -> list[str | None]:
        return [response.WhichOneof("response_type") for response in self.asked]


def invoke(sidecar: Sidecar, method: str = "meow", actor: str = "Cat/c1") -> tuple[int, bytes]:
    answer = sidecar.call("POST", f"/v1.0/actors/{actor}/method/{method}", body=b"data")
    return answer.status, answer.body


def reached(sidecar: Sidecar, actor: str = "Cat/c1") -> None:
    eventually(lambda: invoke(sidecar, actor=actor) == (200, b"data"), "the actor answers")


def hosted(sidecar: Sidecar) -> list[str]:
    runtime = sidecar.document("GET", "/v1.0/metadata")["actorRuntime"]
    return [one["type"] for one in runtime.get("activeActors", ())]


def test_an_app_without_a_port_hosts_actors_and_their_reminders(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    stream = Stream(sidecar, "Cat", "Dog").greeted()
    assert hosted(sidecar) == ["Cat", "Dog"]
    reached(sidecar)
    answer = sidecar.call("POST", "/v1.0/actors/Cat/c1/reminders/eat", body=b'{"dueTime":"0s","data":"fish"}')
    assert answer.status == 204
    eventually(lambda: "reminder_request" in stream.kinds(), "the reminder comes")
    reminder = next(one.reminder_request for one in stream.asked if one.HasField("reminder_request"))
    assert (reminder.actor_type, reminder.actor_id, reminder.name) == ("Cat", "c1", "eat")
    assert reminder.data.value == b'\x0a\x06"fish"'


def test_an_app_that_is_gone_fails_its_calls_at_once_and_may_come_back(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    stream = Stream(sidecar, "Cat").greeted()
    reached(sidecar)
    answers: queue.Queue[tuple[int, bytes]] = queue.Queue()
    threading.Thread(target=lambda: answers.put(invoke(sidecar, "hang")), daemon=True).start()
    eventually(lambda: any(one.invoke_request.method == "hang" for one in stream.asked), "the app has the call")

    stream.close()
    status, body = answers.get(timeout=LIMIT)
    assert status == 503
    assert b"actor host disconnected before responding" in body
    eventually(lambda: hosted(sidecar) == [], "the type is gone")

    Stream(sidecar, "Cat").greeted()
    assert hosted(sidecar) == ["Cat"]
    reached(sidecar)


def test_a_new_stream_takes_over_from_an_old_one(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    old = Stream(sidecar, "Cat", "Dog").greeted()
    reached(sidecar)
    new = Stream(sidecar, "Cat").greeted()
    reached(sidecar)
    assert "invoke_request" in new.kinds()
    old.half_close()
    assert old.is_over.wait(LIMIT)
    assert old.error is None
    eventually(lambda: hosted(sidecar) == ["Cat"], "only the type of the new stream is left")
    assert invoke(sidecar) == (200, b"data")


def test_a_reminder_whose_app_died_with_it_comes_to_the_next_one(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    stream = Stream(sidecar, "Cat").greeted()
    reached(sidecar)
    assert sidecar.call("POST", "/v1.0/actors/Cat/c1/reminders/hang", body=b'{"dueTime":"0s"}').status == 204
    eventually(lambda: "reminder_request" in stream.kinds(), "the reminder comes")
    stream.close()
    eventually(lambda: hosted(sidecar) == [], "the type is gone")

    again = Stream(sidecar, "Cat").greeted()
    again.finishes = True
    eventually(lambda: "reminder_request" in again.kinds(), "the reminder comes again")


def test_an_app_that_answers_what_nobody_asked_harms_nobody(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    stream, other = Stream(sidecar, "Cat").greeted(), Stream(sidecar, "Dog").greeted()
    reached(sidecar)
    before = resident(sidecar)
    answer = actors_pb2.SubscribeActorEventsRequestInvokeResponseAlpha1(id="x" * 10_000, data=bytes(10_000))
    for _ in range(3000):
        stream.say(Request(invoke_response=answer))
        stream.say(Request(initial_request=Initial(entities=["Bird"])))
        stream.say(Request())
    reached(sidecar)
    reached(sidecar, "Dog/d1")
    assert hosted(sidecar) == ["Cat", "Dog"]
    assert resident(sidecar) < before + (32 << 20)
    assert len(sidecar.log) < 8 << 20
    other.close()


def resident(sidecar: Sidecar) -> int:
    """Bytes of memory."""
    with open(f"/proc/{sidecar.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_actors_are_deactivated_before_the_stream_ends_with_the_sidecar(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(None, *RPC)
    stream = Stream(sidecar, "Cat").greeted()
    reached(sidecar)
    began = time.monotonic()
    assert sidecar.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert stream.is_over.wait(LIMIT)
    assert stream.kinds()[-1] == "deactivate_request"
    assert stream.error is None or stream.error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("kind", ["empty", "other"])
def test_a_stream_begins_with_what_the_app_hosts(world: World, plane: Plane, kind: str) -> None:
    sidecar = plane.sidecar(None, *RPC)
    answer = actors_pb2.SubscribeActorEventsRequestDeactivateResponseAlpha1(id="1")
    first = Request() if kind == "empty" else Request(deactivate_response=answer)
    stream = Stream(sidecar, first=first)
    assert stream.is_over.wait(LIMIT)
    assert stream.error is not None
    assert stream.error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_an_app_that_speaks_http_has_no_stream(world: World, plane: Plane) -> None:
    sidecar = plane.sidecar(world.app(echo))
    stream = Stream(sidecar, "Cat")
    assert stream.is_over.wait(LIMIT)
    assert stream.error is not None
    assert stream.error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert hosted(sidecar) == []
