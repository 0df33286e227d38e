"""The circuit breaker, with given time."""

from collections.abc import Callable

import pytest

from pydapr.policy import breaker
from pydapr.policy.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Counts, Rules

Change = tuple[str, str, str]


def make(
    changes: list[Change] | None = None,
    after: int = 1,
    max_requests: int = 1,
    interval: float = 0.0,
    timeout: float = 5.0,
) -> Breaker:
    """A breaker of the time 0 that opens with the given number of consecutive failures."""
    rules = Rules("rules", max_requests, interval, timeout, lambda counts: counts.consecutive_failures >= after)
    heard: Callable[[str, str, str], None] = lambda *change: (changes if changes is not None else []).append(change)  # noqa: E731
    return Breaker("it", rules, heard, 0.0)


def run(one: Breaker, now: float, *outcomes: bool) -> None:
    for is_success in outcomes:
        one.leave(one.enter(now), is_success, now)


def test_opens_when_the_rule_says_so() -> None:
    one = make(after=3)
    run(one, 0.0, False, False)
    assert one.state(0.0) == CLOSED

    run(one, 0.0, False)

    assert one.state(0.0) == OPEN
    with pytest.raises(breaker.Open, match="circuit breaker is open"):
        one.enter(0.0)


def test_success_ends_a_row_of_failures() -> None:
    one = make(after=2)

    run(one, 0.0, False, True, False)

    assert one.state(0.0) == CLOSED


def test_default_rule_opens_with_the_sixth_failure() -> None:
    assert [breaker.more_than_five(Counts(consecutive_failures=count)) for count in (5, 6)] == [False, True]


def test_half_opens_after_its_time_and_closes_with_a_success() -> None:
    changes: list[Change] = []
    one = make(changes)
    run(one, 0.0, False)

    assert one.state(5.0) == OPEN
    assert one.state(5.1) == HALF_OPEN
    run(one, 5.1, True)

    assert changes == [("it", CLOSED, OPEN), ("it", OPEN, HALF_OPEN), ("it", HALF_OPEN, CLOSED)]


def test_half_open_opens_again_with_a_failure() -> None:
    one = make()
    run(one, 0.0, False)
    run(one, 6.0, False)

    assert one.state(10.0) == OPEN
    assert one.state(11.1) == HALF_OPEN


def test_half_open_lets_so_many_requests_in_and_needs_as_many_successes() -> None:
    one = make(max_requests=2)
    run(one, 0.0, False)
    first, second = one.enter(6.0), one.enter(6.0)

    with pytest.raises(breaker.TooMany, match="too many requests"):
        one.enter(6.0)
    one.leave(first, True, 6.0)
    assert one.state(6.0) == HALF_OPEN
    one.leave(second, True, 6.0)

    assert one.state(6.0) == CLOSED


def test_interval_forgets_failures() -> None:
    one = make(after=2, interval=10.0)
    run(one, 9.0, False)

    run(one, 10.1, False)
    assert one.state(10.1) == CLOSED
    run(one, 11.0, False)

    assert one.state(11.0) == OPEN


def test_what_began_in_an_earlier_state_does_not_count() -> None:
    one = make()
    early = one.enter(0.0)
    run(one, 0.0, False)
    assert one.state(6.0) == HALF_OPEN

    one.leave(early, False, 6.0)

    assert one.state(6.0) == HALF_OPEN


def test_counts_are_what_the_rule_sees() -> None:
    seen: list[tuple[int, ...]] = []

    def trip(counts: Counts) -> bool:
        seen.append(tuple(getattr(counts, slot) for slot in Counts.__slots__))
        return False

    one = Breaker("it", Rules("rules", trip=trip), lambda *_: None, 0.0)
    run(one, 0.0, True, True, False)

    expected = {
        "requests": 3,
        "total_successes": 2,
        "total_failures": 1,
        "consecutive_successes": 0,
        "consecutive_failures": 1,
    }
    assert [dict(zip(Counts.__slots__, values, strict=True)) for values in seen] == [expected]


def test_every_change_is_one_of_the_table() -> None:
    assert set(breaker.TRANSITIONS.values()) == {CLOSED, OPEN, HALF_OPEN}
    assert {state for state, _ in breaker.TRANSITIONS} == {CLOSED, OPEN, HALF_OPEN}


def test_cache_forgets_the_one_not_asked_for_longest() -> None:
    cache = breaker.Cache(2)
    first = cache.get("a", lambda name: make())
    cache.get("b", lambda name: make())
    assert cache.get("a", lambda name: make()) is first

    cache.get("c", lambda name: make())

    assert cache.get("a", lambda name: make()) is first
    assert len(cache) == 2
