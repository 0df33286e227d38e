"""Sidecars with bindings."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tests.integration.collector import Collector
from tests.integration.grpc_app import CALLBACK
from tests.integration.harness import World

NO_PAIRS = "    []\n"
Resources = Callable[..., tuple[str, str]]


def component(name: str, type_: str, **metadata: str) -> str:
    """A Component resource."""
    pairs = "".join(f"  - {{name: {key}, value: {json.dumps(value)}}}\n" for key, value in metadata.items())
    head = "---\napiVersion: dapr.io/v1alpha1\nkind: Component\n"
    return (
        f"{head}metadata: {{name: {name}}}\nspec:\n  type: {type_}\n  version: v1\n  metadata:\n{pairs or '    []'}\n"
    )


@pytest.fixture
def resources(world: World) -> Resources:
    """Writes resources, and gives the flags for them."""

    def write(*texts: str) -> tuple[str, str]:
        return "--resources-path", str(world.write("resources/all.yaml", "".join(texts)).parent)

    return write


class RpcApp(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """An app that speaks gRPC, whose callbacks `answers` answers by name with a message or a status."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[bytes], bytes] | grpc.StatusCode] = {}
        self.server = grpc.server(ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((self,))
        self.port = int(self.server.add_insecure_port("127.0.0.1:0"))
        self.server.start()

    def service(self, details: Any) -> Any:
        name = details.method.removeprefix(CALLBACK)
        metadata = {item.key: item.value for item in details.invocation_metadata}

        def answer(data: bytes, call: Any) -> bytes:
            self.seen.append((name, data, metadata))
            found = self.answers.get(name, grpc.StatusCode.UNIMPLEMENTED)
            if isinstance(found, grpc.StatusCode):
                call.abort(found, "not here")
            reply: bytes = found(data)
            return reply

        return grpc.unary_unary_rpc_method_handler(answer)

    def given(self, name: str) -> list[tuple[bytes, dict[str, Any]]]:
        return [(data, metadata) for called, data, metadata in list(self.seen) if called == name]

    def close(self) -> None:
        self.server.stop(0)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def rpc_app() -> Iterator[RpcApp]:
    made = RpcApp()
    yield made
    made.close()
