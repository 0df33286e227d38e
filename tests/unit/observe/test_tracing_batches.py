"""Spans that wait: sent together, lost when they are too many, flushed at the end."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from pydapr.observe import tracing
from pydapr.observe.tracing import Span, Tracer
from pydapr.observe.tracing_batches import Batches, Bounds, Failed

TRACER = Tracer(1.0, None)


class Collector:
    """Takes spans once it is let; `sizes` are of what came together."""

    def __init__(self, fails: bool = False) -> None:
        self.sizes: list[int] = []
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.has_23 = asyncio.Event()
        self.is_hurried = self.is_closed = False
        self._fails = fails

    async def export(self, spans: Sequence[Span]) -> None:
        await self.may_go.wait()
        self.sizes.append(len(spans))
        if sum(self.sizes) == 23:
            self.has_23.set()
        if self._fails:
            raise Failed("not now")

    def hurry(self) -> None:
        self.is_hurried = True

    def close(self) -> None:
        self.is_closed = True


def span() -> Span:
    return Span(TRACER.root(), b"", "name", tracing.CLIENT, lambda _: None)


async def test_a_full_batch_goes_at_once_and_the_rest_later() -> None:
    collector = Collector()
    batches = Batches(collector, Bounds(waiting=100, together=10, delay=0.01))
    for _ in range(23):
        batches.add(span())
    async with asyncio.timeout(10):
        await collector.has_23.wait()
    assert collector.sizes == [10, 10, 3]
    assert batches.lost == 0
    await batches.close(10)


async def test_what_is_too_much_is_lost_and_counted() -> None:
    collector = Collector()
    collector.may_go.clear()
    batches = Batches(collector, Bounds(waiting=20, together=10, delay=100))
    for _ in range(50):
        batches.add(span())
    assert batches.lost == 30
    collector.may_go.set()
    await batches.close(10)
    assert collector.sizes == [10, 10]


async def test_what_a_collector_does_not_take_is_lost() -> None:
    collector = Collector(fails=True)
    batches = Batches(collector, Bounds(delay=100))
    batches.add(span())
    await batches.close(10)
    assert batches.lost == 1


async def test_the_end_sends_what_waits() -> None:
    collector = Collector()
    batches = Batches(collector, Bounds(delay=100))
    batches.add(span())
    await batches.close(10)
    assert collector.sizes == [1]
    assert collector.is_hurried
    assert collector.is_closed


async def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    collector = Collector()
    collector.may_go.clear()
    batches = Batches(collector, Bounds(delay=100))
    batches.add(span())
    async with asyncio.timeout(10):
        await batches.close(0.01)
    assert collector.sizes == []
    assert batches.lost == 1


def test_bounds_are_those_of_the_variables() -> None:
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_SCHEDULE_DELAY": "250", "OTEL_BSP_EXPORT_TIMEOUT": "none"}
    assert Bounds.of(environ) == Bounds(waiting=10, together=10, delay=0.25, timeout=30.0)
    assert Bounds.of({}) == Bounds()


@pytest.mark.parametrize(
    ("fails", "hangs", "count", "told"),
    [
        (False, False, 3, {}),
        (True, False, 3, {"export_failed": 3}),
        (False, True, 3, {"timeout": 3}),
        (True, False, 25, {"queue_full": 5, "export_failed": 20}),
    ],
)
async def test_each_lost_span_is_told_with_its_reason(
    fails: bool, hangs: bool, count: int, told: dict[str, int]
) -> None:
    collector = Collector(fails)
    if hangs:
        collector.may_go.clear()
    losses: dict[str, int] = {}
    bounds = Bounds(waiting=20, delay=100, timeout=0.01 if hangs else 30)
    batches = Batches(collector, bounds, on_loss=_count_in(losses))
    for _ in range(count):
        batches.add(span())
    await batches.close(10)
    assert losses == told
    assert batches.lost == sum(told.values())


async def test_spans_left_at_the_end_are_told_whether_on_their_way_or_waiting() -> None:
    collector = Collector()
    collector.may_go.clear()
    losses: dict[str, int] = {}
    batches = Batches(collector, Bounds(together=10, delay=100), on_loss=_count_in(losses))
    for _ in range(15):
        batches.add(span())
    await batches.close(0.01)
    assert losses == {"shutdown": 15}
    assert batches.lost == 15


def _count_in(losses: dict[str, int]) -> Callable[[int, str], None]:
    def count(number: int, reason: str) -> None:
        losses[reason] = losses.get(reason, 0) + number

    return count
