"""The turn of an actor when whoever has called it is gone while the app is at work."""

import socket

import pytest
from tests.integration.actors.conftest import ActorWorld, call
from tests.integration.harness import LIMIT, Sidecar, eventually


def begin(sidecar: Sidecar, method: str) -> socket.socket:
    """A call whose answer is not waited for."""
    client = socket.create_connection(("127.0.0.1", sidecar.http), LIMIT)
    client.sendall(f"PUT /v1.0/actors/Cat/1/method/{method} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("gone", ["the client", "the client of another sidecar", "another sidecar"])
def test_a_turn_lasts_until_the_app_has_answered(actors: ActorWorld, gone: str) -> None:
    host = actors.host()
    there = actors.sidecar("there", host)
    caller = there if gone == "the client" else actors.sidecar("caller", None)
    call(there, "Cat/1", "m")
    with begin(caller, "slow"):
        eventually(lambda: len(host.targets()) == 2, "the slow call in the app")
        if gone == "another sidecar":
            caller.kill()
    waiting = begin(there, "next")
    with waiting:
        waiting.settimeout(0.5)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        assert len(host.targets()) == 2
        host.gate.set()
        waiting.settimeout(LIMIT)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    assert host.most_at_once == 1
