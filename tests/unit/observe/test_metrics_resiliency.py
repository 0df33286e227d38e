"""What policies record; expectations are the original's (v1.18.3, `pkg/diagnostics/resiliency_monitoring.go`)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_resiliency import ResiliencyMetrics
from pydapr.policy import reading
from pydapr.policy.breaker import Refused
from pydapr.policy.resiliency import OUTBOUND, Definition, Names, Resiliency
from pydapr.policy.runner import DeadlineExceeded, Runner
from pydapr.resources import resiliency as resource


class Failed(Exception):
    """What operations here raise."""


class World:
    """Policies for the app `b`, and what is recorded of them."""

    def __init__(self, timeout: str = "", retry: bool = False, breaker: bool = False) -> None:
        self.registry = Registry({"app_id": "a"})
        wanted = resource.Resiliency(
            name="mine",
            namespace="ns",
            timeouts={"t": timeout} if timeout else {},
            retries={"r": resource.Retry(duration="1ms", max_retries=2)} if retry else {},
            circuit_breakers={"c": resource.CircuitBreaker(trip="consecutiveFailures >= 1")} if breaker else {},
            apps={"b": resource.Target("t", "r", "c")},
            actors={},
            components={},
        )
        self.policies: Resiliency = reading.load([wanted], ResiliencyMetrics(self.registry))

    def definition(self) -> Definition:
        found = self.policies.app("b", "m", asyncio.get_running_loop().time())
        assert found is not None
        return found

    def run(self, operation: Callable[[], Awaitable[None]], kind: type[Exception] | None = None) -> None:
        async def main() -> None:
            await Runner(Failed).run(self.definition(), operation, lambda: True)

        if kind is None:
            asyncio.run(main())
        else:
            with pytest.raises(kind):
                asyncio.run(main())

    def value(self, metric: str, policy: str, status: str = "") -> float:
        labels = (
            f'app_id="a",flow_direction="outbound",name="mine",namespace="ns",policy="{policy}",'
            f'status="{status}",target="app_b"'
        )
        series = dict(line.rsplit(" ", 1) for line in self.registry.text().splitlines())
        return float(series.get(f"dapr_resiliency_{metric}{{{labels}}}", -1))


async def succeed() -> None: ...


async def fail() -> None:
    raise Failed


async def hang() -> None:
    await asyncio.Event().wait()


def test_a_resource_without_faults_counts_as_loaded() -> None:
    assert 'dapr_resiliency_loaded{app_id="a",name="mine",namespace="ns"} 1' in World("1s").registry.text()


def test_a_resource_with_a_fault_does_not() -> None:
    assert "dapr_resiliency_loaded" not in World("soon").registry.text()


def test_each_policy_of_an_operation_is_counted() -> None:
    world = World("10s", retry=True, breaker=True)
    world.run(succeed)

    assert world.value("count", "timeout") == world.value("count", "retry") == 1
    assert world.value("count", "circuitbreaker", "closed") == 1
    assert "activations" not in world.registry.text()


def test_retries_are_counted_once_for_an_operation() -> None:
    world = World(retry=True)
    world.run(fail, Failed)

    assert world.value("activations_total", "retry") == 1


@pytest.mark.parametrize("retry", [True, False])
def test_a_time_that_is_up_is_counted_once_for_an_operation(retry: bool) -> None:
    world = World("1ms", retry=retry)
    world.run(hang, DeadlineExceeded)

    assert world.value("activations_total", "timeout") == 1


def test_a_breaker_that_trips_is_counted_with_its_new_state() -> None:
    world = World(breaker=True)
    world.run(fail, Failed)

    assert world.value("activations_total", "circuitbreaker", "open") == 1


def test_the_gauge_shows_the_state_before_the_latest_operation() -> None:
    world = World(breaker=True)
    world.run(fail, Failed)
    before = [world.value("cb_state", "circuitbreaker", one) for one in ("closed", "half-open", "open", "unknown")]
    world.run(fail, Refused)
    after = [world.value("cb_state", "circuitbreaker", one) for one in ("closed", "half-open", "open", "unknown")]

    assert (before, after) == ([1, 0, 0, 0], [0, 0, 1, 0])


def test_components_have_their_kind_in_the_target() -> None:
    world = World("1s")
    world.policies.add_component("store", Names(timeout="t"), Names(timeout="t"))
    world.policies.component("store", "Statestore", OUTBOUND, 0.0)

    assert 'target="Statestore_store"' in world.registry.text()
