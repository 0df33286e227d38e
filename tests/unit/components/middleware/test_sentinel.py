"""Rules that hold requests back. Time stands still unless a test moves it."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing

from pydapr.components import Wrong
from pydapr.components.middleware.sentinel import Machine, Options, Sentinel
from pydapr.net.exchange import Exchange

R = "GET:/a"


class Clock:
    """Begins at a whole second."""

    def __init__(self) -> None:
        self.ms = 1_000_000.0

    def __call__(self) -> int:
        return int(self.ms * 1_000_000)


class Still(Machine):
    def look(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rules(*given: dict[str, Any]) -> str:
    return json.dumps([{"resource": R, **one} for one in given])


def flow(clock: Clock, *given: dict[str, Any]) -> Sentinel:
    return Sentinel(Options(flow_rules=rules(*given)), clock)


async def passes(sentinel: Sentinel, times: int = 1, target: bytes = b"/a", status: int = 200, took: float = 0) -> int:
    """How many of so many requests pass; `took` is how much later it is when the answer is there."""

    async def inner(exchange: Exchange) -> None:
        sentinel._clock.ms += took  # type: ignore[attr-defined]
        exchange.respond(status, [])

    handle, passed = sentinel.wrap(inner), 0
    for _ in range(times):
        asked = Asked(target)
        await handle(asked)
        passed += asked.status != 429
    return passed


async def test_more_than_the_threshold_in_a_second_get_429(clock: Clock, passing: Passing, end: End) -> None:
    sentinel = flow(clock, {"threshold": 10})

    assert await passes(sentinel, 100) == 10
    refused = await passing(sentinel, Asked(b"/a"))

    assert (refused.status, refused.sent) == (429, b"Too Many Requests")
    assert refused.told == {b"content-type": b"text/plain; charset=utf-8"}
    assert end.seen == []


async def test_the_window_slides_by_half_seconds(clock: Clock) -> None:
    sentinel = flow(clock, {"threshold": 2})
    assert await passes(sentinel) == 1
    clock.ms += 600
    assert await passes(sentinel, 3) == 1
    clock.ms += 400

    assert await passes(sentinel, 3) == 1


async def test_resource_is_method_and_decoded_path_without_query(clock: Clock) -> None:
    sentinel = Sentinel(Options(flow_rules='[{"resource": "GET:/a b", "threshold": 0}]'), clock)

    assert await passes(sentinel, target=b"/a%20b?c=d") == 0
    assert await passes(sentinel, target=b"/a%20b/c") == 1


@pytest.mark.parametrize("interval", [250, 1700, 60_000])
async def test_threshold_counts_for_an_interval_of_its_own(clock: Clock, interval: int) -> None:
    clock.ms -= clock.ms % interval
    sentinel = flow(clock, {"threshold": 2, "statIntervalInMs": interval})

    assert await passes(sentinel, 3) == 2
    clock.ms += interval - 1
    assert await passes(sentinel, 3) == 0
    clock.ms += 1
    assert await passes(sentinel, 3) == 2


async def test_an_associated_resource_is_counted_in_place_of_its_own(clock: Clock) -> None:
    rule = {"threshold": 2, "relationStrategy": 1, "refResource": "GET:/b"}
    sentinel = flow(clock, rule)

    assert await passes(sentinel, 5) == 5
    assert await passes(sentinel, 2, target=b"/b") == 2
    assert await passes(sentinel, 5) == 0


async def test_throttled_requests_wait_in_line_as_long_as_they_may(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(round(seconds, 3))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    sentinel = flow(clock, {"threshold": 10, "controlBehavior": 1, "maxQueueingTimeMs": 250})

    assert await passes(sentinel, 5) == 3
    assert waited == [0.1, 0.2]
    clock.ms += 300
    assert await passes(sentinel) == 1


async def test_throttling_without_waiting_keeps_a_distance(clock: Clock) -> None:
    sentinel = flow(clock, {"threshold": 10, "controlBehavior": 1})

    assert await passes(sentinel, 3) == 1
    clock.ms += 99
    assert await passes(sentinel) == 0
    clock.ms += 1
    assert await passes(sentinel) == 1
    assert await passes(flow(clock, {"threshold": 0.5, "controlBehavior": 1})) == 0


async def test_warm_up_begins_with_a_third_and_comes_to_the_threshold(clock: Clock) -> None:
    warm = {"threshold": 30, "tokenCalculateStrategy": 1, "warmUpPeriodSec": 4, "warmUpColdFactor": 3}
    sentinel = flow(clock, warm)

    passed = []
    for _ in range(15):
        passed.append(await passes(sentinel, 50))
        clock.ms += 1000

    assert passed[0] == 10
    assert passed == sorted(passed)
    assert passed[-1] == 30


async def test_memory_decides_on_an_adaptive_threshold(clock: Clock) -> None:
    adaptive = {
        "tokenCalculateStrategy": 2,
        "lowMemUsageThreshold": 8,
        "highMemUsageThreshold": 2,
        "memLowWaterMarkBytes": 1000,
        "memHighWaterMarkBytes": 2000,
    }
    for memory, wanted in ((500, 8), (1500, 5), (5000, 2)):
        machine = Machine()
        machine.memory = lambda memory=memory: memory  # type: ignore[method-assign,misc]
        sentinel = Sentinel(Options(flow_rules=rules(adaptive)), clock, machine)
        assert await passes(sentinel, 10) == wanted


async def test_isolation_bounds_what_is_under_way(clock: Clock) -> None:
    sentinel = Sentinel(Options(isolation_rules=rules({"threshold": 2})), clock)
    go = asyncio.Event()
    inside = asyncio.Semaphore(0)

    async def inner(exchange: Exchange) -> None:
        inside.release()
        await go.wait()
        exchange.respond(200, [])

    handle = sentinel.wrap(inner)
    two = [Asked(b"/a"), Asked(b"/a")]
    tasks = [asyncio.ensure_future(handle(one)) for one in two]
    for _ in tasks:
        await asyncio.wait_for(inside.acquire(), 10)
    third = Asked(b"/a")
    await asyncio.wait_for(handle(third), 10)
    go.set()
    await asyncio.gather(*tasks)

    assert [one.status for one in (*two, third)] == [200, 200, 429]
    assert await passes(sentinel) == 1


async def test_who_goes_away_is_not_under_way_any_more(clock: Clock) -> None:
    sentinel = Sentinel(Options(isolation_rules=rules({"threshold": 1})), clock)
    inside = asyncio.Event()

    async def inner(exchange: Exchange) -> None:
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(sentinel.wrap(inner)(Asked(b"/a")))
    await asyncio.wait_for(inside.wait(), 10)
    task.cancel()
    await asyncio.wait((task,))

    assert await passes(sentinel) == 1


def breaker(clock: Clock, **given: Any) -> Sentinel:
    rule = {"retryTimeoutMs": 3000, "minRequestAmount": 4, "statIntervalMs": 10_000, **given}
    return Sentinel(Options(circuit_breaker_rules=rules(rule)), clock)


async def test_breaker_opens_for_slow_answers_and_closes_when_one_is_fast_again(clock: Clock) -> None:
    sentinel = breaker(clock, strategy=0, maxAllowedRtMs=50, threshold=0.5)

    assert await passes(sentinel, 2, took=10) == 2
    assert await passes(sentinel, 2, took=60) == 2
    assert await passes(sentinel, 5) == 0
    clock.ms += 2999
    assert await passes(sentinel) == 0
    clock.ms += 1
    assert await passes(sentinel, took=60) == 1
    assert await passes(sentinel) == 0, "the probe was slow"
    clock.ms += 3000
    assert await passes(sentinel, 10, took=1) == 10


@pytest.mark.parametrize(("strategy", "threshold"), [(1, 0.5), (2, 2)])
async def test_breaker_opens_for_errors(clock: Clock, strategy: int, threshold: float) -> None:
    sentinel = breaker(clock, strategy=strategy, threshold=threshold)

    assert await passes(sentinel, 2) == 2
    assert await passes(sentinel, 2, status=500) == 2
    assert await passes(sentinel) == 0


@pytest.mark.parametrize(("strategy", "threshold"), [(1, 0.51), (2, 3)])
async def test_breaker_stays_closed_below_its_threshold(clock: Clock, strategy: int, threshold: float) -> None:
    sentinel = breaker(clock, strategy=strategy, threshold=threshold)

    assert await passes(sentinel, 2) + await passes(sentinel, 2, status=503) == 4
    assert await passes(sentinel) == 1


async def test_a_failure_without_an_answer_is_an_error(clock: Clock) -> None:
    sentinel = breaker(clock, strategy=2, threshold=1, minRequestAmount=1)

    async def inner(exchange: Exchange) -> None:
        raise OSError

    with pytest.raises(OSError):
        await sentinel.wrap(inner)(Asked(b"/a"))
    assert await passes(sentinel) == 0


async def test_breaker_wants_as_many_probes_as_the_rule_says(clock: Clock) -> None:
    sentinel = breaker(clock, strategy=2, threshold=1, minRequestAmount=1, probeNum=3)
    assert await passes(sentinel, 2, status=500) == 1
    clock.ms += 3000

    assert await passes(sentinel, 2) == 2
    assert await passes(sentinel, 2, status=500) == 1, "the third probe failed"


async def test_a_probe_that_another_breaker_holds_back_can_be_made_later(clock: Clock) -> None:
    first = {"strategy": 2, "threshold": 1, "statIntervalMs": 10_000, "retryTimeoutMs": 1000}
    second = {**first, "retryTimeoutMs": 5000}
    sentinel = Sentinel(Options(circuit_breaker_rules=rules(first, second)), clock)
    assert await passes(sentinel, status=500) == 1

    clock.ms += 1000
    assert await passes(sentinel) == 0
    clock.ms += 4000
    assert await passes(sentinel, 3) == 3


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ({"metricType": 3, "triggerCount": 4}, 4),
        ({"metricType": 2, "triggerCount": 1}, 9),
        ({"metricType": 2, "triggerCount": 0}, 0),
        ({"metricType": 1, "triggerCount": 20}, 1),
        ({"metricType": 1, "triggerCount": 21}, 9),
        ({"metricType": 0, "triggerCount": 3}, 0),
        ({"metricType": 0, "triggerCount": 4}, 9),
        ({"metricType": 0, "triggerCount": 3, "strategy": 1}, 9),
        ({"metricType": 4, "triggerCount": 0.2}, 0),
        ({"metricType": 4, "triggerCount": 0.9}, 9),
    ],
)
async def test_system_rules_count_for_all_requests(clock: Clock, rule: dict[str, Any], passed: int) -> None:
    machine = Still()
    machine.load, machine.cpu = 3.5, 0.5
    sentinel = Sentinel(Options(system_rules=json.dumps([rule])), clock, machine)

    assert await passes(sentinel, 9, target=b"/any", took=20) == passed


def test_the_machine_is_looked_at() -> None:
    machine = Machine()
    machine.look()

    assert machine.load >= 0
    assert machine.memory() > 1_000_000


async def test_rules_without_meaning_are_left_out(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    sentinel = breaker(clock, statIntervalMs=0)

    assert await passes(sentinel, 10, status=500) == 10
    assert "Ignoring invalid sentinel circuit breaker rule" in capfd.readouterr().out


async def test_hotspot_rules_are_read_and_never_met(clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
    sentinel = Sentinel(Options(hot_spot_param_rules=rules({"metricType": 1, "durationInSec": 1})), clock)

    assert await passes(sentinel, 5) == 5
    assert "never hold a request back" in capfd.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        Options(flow_rules='[{"resource": "GET:/a", "strategy": 1, "statIntervalInMs": -1}]'),
        Options(isolation_rules="x"),
        Options(circuit_breaker_rules='[{"strategy": 9}]'),
        Options(hot_spot_param_rules="{}"),
        Options(system_rules='[{"metricType": "load"}]'),
    ],
)
def test_rules_that_cannot_be_read_end_the_start(options: Options) -> None:
    with pytest.raises(Wrong, match=r"fail to load sentinel .* rules"):
        Sentinel(options)
