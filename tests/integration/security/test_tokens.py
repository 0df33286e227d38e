"""The token of the gRPC API: no method does without. That of HTTP is in `test_paths.py`.

The same tests pass against the original (`PYDAPR_TEST_DAPRD`).
"""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration.grpc_app import DAPR, failure, invocation
from tests.integration.harness import Sidecar, World

REFUSED = ("UNAUTHENTICATED", "Unauthorized")

METHODS = [
    DAPR + "GetMetadata",
    DAPR + "Shutdown",
    DAPR + "InvokeService",
    DAPR + "NoSuchMethod",
    "/other.Service/Method",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/dapr.proto.internals.v1.ServiceInvocation/CallLocal",
]


@pytest.fixture(scope="module")
def guarded(shared_world: World) -> Sidecar:
    return shared_world.daprd("guarded", None, environment={"DAPR_API_TOKEN": "secret"}).await_ready()


@pytest.fixture(scope="module")
def channel(guarded: Sidecar) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc}") as made:
        yield made


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("app_id", ["", "guarded", "nobody"])
def test_every_method_wants_it(channel: Any, guarded: Sidecar, path: str, app_id: str) -> None:
    target = (("dapr-app-id", app_id.replace("guarded", guarded.app_id)),) if app_id else ()
    call = channel.stream_stream(path) if "reflection" in path else channel.unary_unary(path)
    data = invocation(guarded.app_id, "m")

    def ask(*tokens: str) -> tuple[str, str]:
        metadata = (*target, *(("dapr-api-token", token) for token in tokens))
        if "reflection" in path:
            return failure(lambda: list(call(iter((data,)), metadata=metadata, timeout=20)))
        return failure(lambda: call(data, metadata=metadata, timeout=20))

    assert ask() == REFUSED
    for wrong in ("", "Secret", "secre", "secrets", "Bearer secret"):
        assert ask(wrong) == REFUSED
    assert ask("x", "secret") == REFUSED


def test_with_it_they_answer(channel: Any) -> None:
    call = channel.unary_unary(DAPR + "GetMetadata")

    assert call(b"", metadata=(("dapr-api-token", "secret"),), timeout=20)
