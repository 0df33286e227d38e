"""What others make up, such as names, is not kept however long it is and however much of it comes."""

import tracemalloc
from collections.abc import Callable

import pytest

from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_blocks import OperationMetrics
from pydapr.observe.metrics_grpc import GrpcMetrics
from pydapr.observe.metrics_resiliency import ResiliencyMetrics
from pydapr.observe.metrics_service import ServiceMetrics

Record = Callable[[str], None]


def operations(registry: Registry) -> Record:
    metrics = OperationMetrics(registry, "output_binding", (1, 2), "")
    return lambda name: metrics.done("files", name, False, 0.1)


def bindings(registry: Registry) -> Record:
    metrics = OperationMetrics(registry, "output_binding", (1, 2), "")
    return lambda name: metrics.done(name, "create", False, 0.1)


def callers(registry: Registry) -> Record:
    metrics = ServiceMetrics(registry, (1, 2))

    def record(name: str) -> None:
        metrics.received(name.encode())
        metrics.replied(name.encode(), 200)

    return record


def targets(registry: Registry) -> Record:
    metrics = ServiceMetrics(registry, (1, 2))
    return lambda name: metrics.app(name).answered(200, 0.1)


def methods(registry: Registry) -> Record:
    metrics = GrpcMetrics(registry, (1, 2))
    return lambda name: metrics.passing(True, name.encode()).ended(0, 0.1)


def policies(registry: Registry) -> Record:
    metrics = ResiliencyMetrics(registry)
    return lambda name: metrics.watch("mine", "", name, "outbound").applied(True, True, "closed")


RECORDERS = [operations, bindings, callers, targets, methods, policies]


def grown(record: Record, count: int, length: int) -> int:
    """Bytes that are in use after names of some length were recorded, and were not before."""
    tracemalloc.start()
    try:
        for number in range(count):
            record(str(number).ljust(length, "x"))
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("recorder", RECORDERS)
def test_long_names_are_not_kept(recorder: Callable[[Registry], Record]) -> None:
    assert grown(recorder(Registry({"app_id": "a"}, limit=10)), 50, 1_000_000) < 1_000_000


@pytest.mark.parametrize("recorder", RECORDERS)
def test_many_names_are_not_kept(recorder: Callable[[Registry], Record]) -> None:
    record = recorder(Registry({"app_id": "a"}, limit=10))
    first = grown(record, 2000, 100)

    assert grown(record, 20_000, 100) < first + 2_000_000
