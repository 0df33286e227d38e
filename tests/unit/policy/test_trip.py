"""Trip rules mean what another implementation of CEL says that they mean."""

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydapr.policy import trip
from pydapr.policy.breaker import Counts

COUNTS = Counts(requests=10, total_successes=4, total_failures=6, consecutive_successes=0, consecutive_failures=5)

_small = st.integers(0, 12)
_counts = st.builds(Counts, _small, _small, _small, _small, _small)
_blank = st.sampled_from(["", " ", "  ", "\n"])
_operand = st.one_of(st.sampled_from(sorted(trip.NAMES)), _small.map(str), st.just(str(10**17)))
_comparison = st.builds(
    lambda *parts: "".join(parts),
    _blank,
    _operand,
    _blank,
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    _blank,
    _operand,
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.builds(
        lambda a, blank, op, b: f"{a}{blank}{op}{blank}{b}", inner, _blank, st.sampled_from(["&&", "||"]), inner
    )
    return st.one_of(joined, inner.map(lambda text: f"({text})"), inner.map(lambda text: f"!({text})"))


_rules = st.recursive(_comparison, _larger, max_leaves=8)
_noise = st.lists(
    st.sampled_from(
        [*trip.NAMES, "3", "07", "3u", "2.5", "(", ")", "&&", "||", "!", ">", "<=", "==", "-", "+", "true", "in"]
    ),
    max_size=7,
).map(" ".join)


def other(rule: str, counts: Counts) -> bool | None:
    """What the other implementation says, None when it has nothing to say."""
    try:
        found = cel.evaluate(rule, {name: getattr(counts, slot) for name, slot in trip.NAMES.items()})
    except Exception:
        return None
    return found is True


@settings(max_examples=300, deadline=None)
@given(rule=_rules, counts=_counts)
def test_comparisons_of_counts_mean_the_same_elsewhere(rule: str, counts: Counts) -> None:
    assert trip.compile(rule)(counts) is other(rule, counts)


@settings(max_examples=500, deadline=None)
@given(text=_noise, counts=_counts)
def test_whatever_has_a_value_elsewhere_has_the_same_here(text: str, counts: Counts) -> None:
    expected = other(text, counts)
    if expected is not None:
        assert trip.compile(text)(counts) is expected


@pytest.mark.parametrize(
    ("rule", "trips"),
    [
        ("consecutiveFailures > 4", True),
        ("consecutiveFailures > 5", False),
        ("consecutiveFailures >= 5 && requests > 20", False),
        ("consecutiveFailures>=5||requests>20", True),
        ("totalFailures > totalSuccesses", True),
        ("!(totalFailures > totalSuccesses)", False),
        ("requests > 20 || totalFailures > 5 && consecutiveSuccesses == 0", True),
        ("double(totalFailures) / double(requests) > 0.5", True),
        ("requests > 5 && totalFailures * 100 / requests >= 60", True),
        ("requests > 5 ? totalFailures > 7 : false", False),
        ("consecutiveFailures in [5, 10]", True),
        ("consecutiveFailures > 4.5", True),
        ("!true", False),
    ],
)
def test_rules(rule: str, trips: bool) -> None:
    assert trip.compile(rule)(COUNTS) is trips


@pytest.mark.parametrize("rule", ["unknown > 3", "requests / 0 > 1", "consecutiveFailures + 1"])
def test_rules_without_a_value_do_not_trip(rule: str) -> None:
    assert trip.compile(rule)(COUNTS) is False


@pytest.mark.parametrize("rule", ["consecutiveFailures >", "(requests > 3", "&& requests > 3", "'"])
def test_rules_that_are_none_are_refused(rule: str) -> None:
    with pytest.raises(trip.Invalid):
        trip.compile(rule)


def test_deep_rules_do_no_harm() -> None:
    with pytest.raises(trip.Invalid):
        trip.compile("(" * 50_000 + "1 < 2" + ")" * 50_000)
