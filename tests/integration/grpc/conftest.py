"""Apps that speak gRPC, and channels to the gRPC API of sidecars."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import Sidecar


@pytest.fixture
def grpc_app() -> Iterator[GrpcApp]:
    made = GrpcApp()
    yield made
    made.close()


@pytest.fixture
def channel() -> Iterator[Callable[[Sidecar], Any]]:
    """Makes a channel to a sidecar."""
    made: list[Any] = []

    def make(sidecar: Sidecar) -> Any:
        made.append(grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}"))
        return made[-1]

    yield make
    for one in made:
        one.close()
