"""Operations of components: policies, failures, measurements."""

import asyncio

import pytest

from pydapr.policy import operations, resiliency
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry


class Broken(Exception):
    """What a component raises."""


class Flaky:
    """Fails some times, then succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Broken(f"not {self.calls}")
        return "done"


class Measured:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, bool]] = []

    def done(self, component: str, operation: str, is_success: bool, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.told.append((component, operation, is_success))


def made(direction: str = resiliency.OUTBOUND, retry: str = "", timeout: str = "") -> operations.Operations:
    policies = Resiliency()
    policies.retries["again"] = Retry(duration=0.0, max_retries=2)
    policies.timeouts["soon"] = 0.01
    given = Names(retry=retry, timeout=timeout)
    inbound, outbound = (given, Names()) if direction == resiliency.INBOUND else (Names(), given)
    policies.add_component("store", inbound, outbound)
    return operations.Operations(resiliency.LOCK, Broken, policies, direction)


@pytest.mark.parametrize("direction", [resiliency.OUTBOUND, resiliency.INBOUND])
async def test_an_operation_is_tried_again_as_its_policy_says(direction: str) -> None:
    operation = Flaky(2)

    assert await made(direction, retry="again").run("store", "get", operation) == "done"
    assert operation.calls == 3


async def test_what_fails_for_good_is_told_once() -> None:
    ran = made(retry="again")
    measured = Measured()
    ran.metrics = measured  # type: ignore[assignment]  # all that it needs

    with pytest.raises(operations.Failed, match="not 3"):
        await ran.run("store", "get", Flaky(9))
    assert await ran.run("store", "put", Flaky(1)) == "done"

    assert measured.told == [("store", "get", False), ("store", "put", True)]


async def test_a_component_without_policies_is_called_once() -> None:
    operation = Flaky(1)

    with pytest.raises(operations.Failed, match="not 1"):
        await operations.Operations(resiliency.LOCK, Broken, None).run("store", "get", operation)
    assert operation.calls == 1


async def test_a_timeout_is_a_failure_too() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(operations.Failed, match="context deadline exceeded"):
        await made(timeout="soon").run("store", "get", hang)


async def test_a_fault_of_ours_passes_through() -> None:
    async def wrong() -> None:
        raise KeyError("fault")

    with pytest.raises(KeyError):
        await made(retry="again").run("store", "get", wrong)
