"""Trip rules: the simple form means what the library says it means, and the rest is the library's."""

import sys

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
    st.sampled_from(sorted(trip._COMPARISONS)),
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


@settings(max_examples=300, deadline=None)
@given(rule=_rules, counts=_counts)
def test_rules_of_the_simple_form_are_read_without_the_library(rule: str, counts: Counts) -> None:
    plain = trip.plain(rule)

    assert plain is not None
    assert plain(counts) == trip.library(rule)(counts)


@settings(max_examples=500, deadline=None)
@given(text=_noise, counts=_counts)
def test_whatever_is_read_without_the_library_means_the_same_there(text: str, counts: Counts) -> None:
    plain = trip.plain(text)

    if plain is not None:
        assert plain(counts) == trip.library(text)(counts)


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
    ],
)
def test_simple_rules(rule: str, trips: bool) -> None:
    plain = trip.plain(rule)

    assert plain is not None and plain(COUNTS) is trips


@pytest.mark.parametrize(
    ("rule", "trips"),
    [
        ("double(totalFailures) / double(requests) > 0.5", True),
        ("requests > 5 && totalFailures * 100 / requests >= 60", True),
        ("requests > 5 ? totalFailures > 7 : false", False),
        ("consecutiveFailures in [5, 10]", True),
        ("consecutiveFailures > 4.5", True),
        ("!true", False),
    ],
)
def test_other_rules_are_the_librarys(rule: str, trips: bool) -> None:
    assert trip.plain(rule) is None
    assert trip.compile(rule)(COUNTS) is trips


@pytest.mark.parametrize("rule", ["unknown > 3", "requests / 0 > 1", "consecutiveFailures + 1"])
def test_rules_without_a_value_do_not_trip(rule: str) -> None:
    assert trip.compile(rule)(COUNTS) is False


@pytest.mark.parametrize("rule", ["consecutiveFailures >", "(requests > 3", "&& requests > 3", "'"])
def test_rules_that_are_none_are_refused(rule: str) -> None:
    with pytest.raises(trip.Invalid):
        trip.compile(rule)


def test_deep_rules_do_no_harm() -> None:
    assert trip.plain("(" * 50_000 + "1 < 2" + ")" * 50_000) is None


def test_without_the_library_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)

    assert trip.compile("consecutiveFailures > 3")(COUNTS)
    with pytest.raises(trip.Invalid, match=r"common-expression-language: pip install 'pydapr\[cel\]'"):
        trip.compile("requests + 1 > 3")
