"""Calls of actors through one sidecar and through another, their state, and what is told of them."""

import json
import threading
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.actors.conftest import PROGRAMS, STORE, ActorWorld, call, runtime
from tests.integration.grpc_app import DAPR
from tests.integration.grpc_app import failure as failure_of
from tests.integration.harness import Sidecar, eventually
from tests.integration.http_wire import Message

from pydapr.lib import quote
from pydapr.proto.dapr.proto.internals.v1 import service_invocation_pb2
from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2


def failure(reply: Message) -> tuple[int, str, str]:
    told = json.loads(reply.body)
    return reply.status, told["errorCode"], told["message"]


def answer(request: Message) -> bytes | None:
    if request.target.endswith("/m404"):
        return http_wire.answer("404 Not Found")
    if request.target.endswith("/m500"):
        return http_wire.answer("500 Internal Server Error", body=b"boom")
    if request.target.endswith("/marked"):
        return http_wire.answer("200 OK", "X-Daprerrorresponseheader: true", body=b"bad")
    return None


def test_a_call_reaches_the_app_as_it_was_made(actors: ActorWorld) -> None:
    host = actors.host(answer=answer)
    sidecar = actors.sidecar("app", host)
    reply = sidecar.call("POST", "/v1.0/actors/Cat/1/method/m?x=%20y", "X-Foo: bar", "Content-Type: a/b", body=b"body")
    assert (reply.status, reply.body) == (200, b"body")
    seen = host.last()
    assert (seen.verb, seen.target, seen.body) == ("PUT", "/actors/Cat/1/method/m?x=%20y", b"body")
    expected = {"x-foo": "bar", "content-type": "a/b", "dapr-api-call": "true"}
    assert {name: seen.get(name) for name in expected} == expected
    assert seen.all("dapr-caller-app-id") == [sidecar.app_id]
    assert seen.all("dapr-caller-namespace") == ["default"]
    assert seen.get("x-dapr-remote") is None
    assert runtime(sidecar) == {
        "runtimeStatus": "RUNNING",
        "activeActors": [{"type": "Cat", "count": 1}],
        "hostReady": True,
        "placement": "placement: connected",
    }
    sidecar.stop()
    assert host.targets("DELETE") == ["/actors/Cat/1"]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("caller", PROGRAMS)
def test_a_call_through_a_sidecar_elsewhere(actors: ActorWorld, program: str, caller: str) -> None:
    host = actors.host(answer=answer)
    there = actors.sidecar("there", host, program=program)
    here = actors.sidecar("here", None, program=caller)
    reply = here.call("POST", "/v1.0/actors/Cat/1/method/m?x=1", "X-Foo: bar", body=b"body")
    assert (reply.status, reply.body) == (200, b"body")
    seen = host.last()
    assert seen.target == "/actors/Cat/1/method/m?x=1"
    assert (seen.get("x-foo"), seen.get("x-dapr-remote")) == ("bar", "true")
    assert seen.all("dapr-caller-app-id") == [there.app_id]
    inside = "error invoke actor method: "
    missing = f"{inside}actor method not found: actors/Cat/1/method/m404"
    broken = f"{inside}error from actor service: (500) boom"
    for method, text in (("m404", missing), ("m500", broken)):
        assert failure(call(there, "Cat/1", method)) == (500, "ERR_ACTOR_INVOKE_METHOD", text)
        remote = f"{inside}rpc error: code = Internal desc = {text}"
        assert failure(call(here, "Cat/1", method)) == (500, "ERR_ACTOR_INVOKE_METHOD", remote)
    marked = call(here, "Cat/1", "marked")
    assert (marked.status, marked.get("x-daprerrorresponseheader"), marked.body) == (200, "true", b"bad")
    with grpc.insecure_channel(f"127.0.0.1:{here.grpc}") as channel:
        invoke: Any = channel.unary_unary(
            f"{DAPR}InvokeActor",
            request_serializer=actors_pb2.InvokeActorRequest.SerializeToString,
            response_deserializer=actors_pb2.InvokeActorResponse.FromString,
        )
        request = actors_pb2.InvokeActorRequest(actor_type="Cat", actor_id="1", method="m", data=b"x")
        request.metadata["X-Foo"] = "grpc"
        assert invoke(request, timeout=20).data == b"x"
        assert host.last().get("x-foo") == "grpc"
        request.method = "m500"
        with pytest.raises(grpc.RpcError) as caught:
            invoke(request, timeout=20)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, broken)


def test_state(actors: ActorWorld) -> None:
    host = actors.host()
    sidecar = actors.sidecar("app", host)
    state = "/v1.0/actors/Cat/1/state"
    write = b'[{"operation":"upsert","request":{"key":"k","value":{"b":1,"a":2}}}]'
    assert failure(sidecar.call("POST", state, body=write))[:2] == (400, "ERR_ACTOR_INSTANCE_MISSING")
    assert sidecar.call("GET", f"{state}/k").status == 204
    call(sidecar, "Cat/1")
    assert sidecar.call("POST", state, body=write).status == 204
    reply = sidecar.call("GET", f"{state}/k")
    assert (reply.status, reply.get("content-type"), json.loads(reply.body)) == (
        200,
        "application/json",
        {"b": 1, "a": 2},
    )
    assert sidecar.call("PUT", state, body=b'[{"operation":"delete","request":{"key":"k"}}]').status == 204
    assert sidecar.call("GET", f"{state}/k").status == 204
    assert failure(sidecar.call("POST", state, body=b"{}"))[:2] == (400, "ERR_MALFORMED_REQUEST")


def test_an_actor_has_one_call_at_a_time(actors: ActorWorld) -> None:
    host = actors.host()
    sidecar = actors.sidecar("app", host)
    calls = [threading.Thread(target=call, args=(sidecar, "Cat/1", "slow")) for _ in range(5)]
    for one in calls:
        one.start()
    assert call(sidecar, "Cat/2").status == 200
    eventually(lambda: "/actors/Cat/1/method/slow" in host.targets(), "the first call")
    host.gate.set()
    for one in calls:
        one.join(20)
    assert host.targets().count("/actors/Cat/1/method/slow") == 5
    assert host.most_at_once == 1


def test_an_actor_that_calls_itself_comes_in_where_that_is_switched_on(actors: ActorWorld) -> None:
    sidecars: list[Sidecar] = []
    inner: list[Message] = []

    def again(request: Message) -> bytes | None:
        if request.target.endswith("/outer"):
            inner.append(
                call(sidecars[0], "Cat/1", "outer", b"", f"Dapr-Reentrancy-Id: {request.get('dapr-reentrancy-id')}")
            )
        return None

    host = actors.host({"entities": ["Cat"], "reentrancy": {"enabled": True, "maxStackDepth": 3}}, again)
    sidecars.append(actors.sidecar("app", host))
    assert call(sidecars[0], "Cat/1", "outer").status == 200
    assert [reply.status for reply in inner] == [500, 200, 200]
    assert failure(inner[0])[1:] == ("ERR_ACTOR_STACK_DEPTH", "maximum stack depth exceeded")
    assert call(sidecars[0], "Cat/1").status == 200


def test_what_is_idle_goes_and_comes_again(actors: ActorWorld) -> None:
    host = actors.host({"entities": ["Cat"], "actorIdleTimeout": "200ms"})
    sidecar = actors.sidecar("app", host)
    call(sidecar, "Cat/1")
    eventually(lambda: host.targets("DELETE") == ["/actors/Cat/1"], "a deactivation")
    eventually(lambda: runtime(sidecar)["activeActors"] == [{"type": "Cat"}], "no active actors")
    assert call(sidecar, "Cat/1").status == 200


def test_without_a_store_actors_are_called_and_not_hosted(actors: ActorWorld) -> None:
    actors.world.write("empty/.keep", "")
    mine = actors.host({"entities": ["Dog"]})
    without = actors.sidecar("without", mine, resources="empty")
    actors.sidecar("with", actors.host())
    assert call(without, "Cat/1").status == 200
    status, code, text = failure(call(without, "Dog/1"))
    assert (status, code) == (500, "ERR_ACTOR_INVOKE_METHOD")
    assert text.endswith("did not find address for actor 'Dog/1'")
    assert failure(without.call("GET", "/v1.0/actors/Cat/1/state/k"))[:2] == (500, "ERR_ACTOR_RUNTIME_NOT_FOUND")


@pytest.mark.parametrize("address", ["", " ", "''"])
def test_without_placement_there_are_no_actors(actors: ActorWorld, address: str) -> None:
    flags = ["--placement-host-address", address] if address else []
    sidecar = actors.world.sidecar("app", None, *flags)
    for verb, target in (("PUT", "method/m"), ("GET", "state/k"), ("POST", "state"), ("POST", "reminders/r")):
        reply = sidecar.call(verb, f"/v1.0/actors/Cat/1/{target}", body=b"[]" if verb != "GET" else None)
        assert failure(reply) == (400, "ERR_ACTOR_NO_PLACEMENT", "placement service is not configured")
    assert runtime(sidecar)["runtimeStatus"] == "DISABLED"
    assert any(message.startswith("Actor runtime disabled") for message in sidecar.messages())


def test_two_stores_for_actors_are_one_too_many(actors: ActorWorld) -> None:
    for name in ("a", "b"):
        text = STORE.replace("FILE", str(actors.world.folder / f"{name}.db")).replace("name: st", f"name: {name}")
        actors.world.write(f"two/{name}.yaml", text)
    flags = ("--placement-host-address", actors.placement.address, "--resources-path", str(actors.world.folder / "two"))
    sidecar = actors.world.daprd("app", None, *flags)
    assert sidecar.exit_code() == 1
    assert "detected duplicate actor state store: a and b" in sidecar.log


def test_a_call_of_another_sidecar_is_counted_by_both(actors: ActorWorld) -> None:
    host = actors.host(answer=answer)
    there, here = actors.sidecar("there", host), actors.sidecar("here", None)
    assert call(here, "Cat/1", "m", b"12345").status == 200

    method = "/dapr.proto.internals.v1.ServiceInvocation/CallActor"
    for sidecar, side, way in ((here, "client", "sent"), (there, "server", "received")):
        page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        labels = f'app_id="{sidecar.app_id}",grpc_{side}_method="{method}"'
        assert f'dapr_grpc_io_{side}_completed_rpcs{{{labels},grpc_{side}_status="OK"}} 1\n' in page
        assert f"dapr_grpc_io_{side}_{way}_bytes_per_rpc_count{{{labels}}} 1\n" in page


def test_a_call_by_grpc_is_counted_with_the_status_that_it_is_told(actors: ActorWorld) -> None:
    sidecar = actors.sidecar("app", actors.host())
    request = actors_pb2.InvokeActorRequest(actor_type="Dog", actor_id="1", method="m").SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(DAPR + "InvokeActor")(request, timeout=20)

    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
    labels = f'app_id="{sidecar.app_id}",grpc_server_method="/dapr.proto.runtime.v1.Dapr/InvokeActor"'
    assert f'dapr_grpc_io_server_completed_rpcs{{{labels},grpc_server_status="FailedPrecondition"}} 1\n' in page


@pytest.mark.parametrize("actor_id", ["../../../orders", "..", "1/../../2", "%2e%2e/%2e%2e/orders", "..\\..\\orders"])
def test_other_sidecars_cannot_lead_out_of_the_paths_of_actors(actors: ActorWorld, actor_id: str) -> None:
    """Nor a reminder; and nothing is deactivated there, either."""
    host = actors.host()
    sidecar = actors.sidecar("app", host)
    request = service_invocation_pb2.InternalInvokeRequest(ver=service_invocation_pb2.V1)
    request.actor.actor_type, request.actor.actor_id, request.message.method = "Cat", actor_id, "m"
    reminder = service_invocation_pb2.Reminder(actor_type="Cat", actor_id=actor_id, name="r")
    expected = f"invalid request: invalid actorId: name is a path traversal sequence: {quote.go(actor_id)}"
    service = "/dapr.proto.internals.v1.ServiceInvocation/"
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.internal}") as channel:
        asked = channel.unary_unary(service + "CallActor")
        reminded = channel.unary_unary(service + "CallActorReminder")
        told = failure_of(lambda: asked(request.SerializeToString(), timeout=20))
        assert told == ("INVALID_ARGUMENT", expected)
        told = failure_of(lambda: reminded(reminder.SerializeToString(), timeout=20))
        assert told == ("INVALID_ARGUMENT", expected)
    sidecar.stop()
    assert not host.targets("PUT") and not host.targets("DELETE")
