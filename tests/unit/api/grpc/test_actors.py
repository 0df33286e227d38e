"""Calls of actors as they come over gRPC."""

import pytest

from pydapr.api.grpc import actors
from pydapr.errors import RpcError
from pydapr.lib.actors import Actor
from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2


def test_a_request_is_taken_apart() -> None:
    request = actors_pb2.InvokeActorRequest(
        actor_type="Cat", actor_id="1", method="m", data=b"\x00", metadata={"X": "y"}
    )
    assert actors._request(request.SerializeToString()) == (Actor("Cat", "1"), "m", b"\x00", [(b"x", b"y")])


@pytest.mark.parametrize(("actor_type", "actor_id"), [("Cat", ""), ("", "1"), ("", "")])
def test_half_of_a_name_names_no_actor(actor_type: str, actor_id: str) -> None:
    request = actors_pb2.InvokeActorRequest(actor_type=actor_type, actor_id=actor_id, method="m")
    assert actors._request(request.SerializeToString())[0] == Actor("", "")


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(RpcError, match="error unmarshalling request"):
        actors._request(b"\x0a\xff")
