"""A collector, and Configurations that send traces to it."""

from collections.abc import Iterator

import pytest
from tests.integration.collector import Collector
from tests.integration.harness import World

CONFIGURATION = """apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: tracing
spec:
  tracing:
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def config(world: World, text: str, name: str = "tracing") -> tuple[str, str]:
    """The flags for a Configuration with `text` below `tracing`."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return "--config", str(world.write(f"{name}.yaml", CONFIGURATION + lines))


def otlp(world: World, collector: Collector, protocol: str = "grpc", more: str = "") -> tuple[str, str]:
    """The flags for OTLP to `collector`, of all requests."""
    address = collector.grpc if protocol == "grpc" else collector.http
    text = f'samplingRate: "1"\notel:\n  endpointAddress: {address}\n  protocol: {protocol}\n  isSecure: false\n'
    return config(world, text + more)
