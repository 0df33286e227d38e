"""Expressions whose ways are all followed at once: they mean what `re2` means, and cost no more than they may."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pydapr.lib import re2, re2_linear

ATOMS = st.sampled_from(
    ["a", "b", "[ab]", "[^a]", ".", r"\w", r"\d", r"\s", r"\W", "^", "$", r"\b", r"\B", "1", "_", " ", r"\n", "[a-c1]",
     r"[^\w]", r"[\d_]", r"\A", r"\z", "(?i:aB)", "(?s:.)", "A", "(?m:^b$)"]
)  # fmt: skip
COUNTS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, COUNTS).map(lambda one: f"(?:{one[0]}){one[1]}"),
    ),
    max_leaves=8,
)
FLAGS = st.sampled_from(["", "(?m)", "(?i)", "(?s)", "(?im)"])


class Cost:
    """What a search has cost; it raises when that is too much."""

    def __init__(self, most: int = 1 << 60) -> None:
        self.spent, self.most = 0, most

    def __call__(self, steps: int) -> None:
        self.spent += steps
        if self.spent > self.most:
            raise OverflowError


@settings(deadline=None, max_examples=400)
@given(FLAGS, EXPRESSIONS, st.text(alphabet="abcAB1_ \n-é", max_size=9))
def test_it_finds_what_the_other_engine_finds(flags: str, expression: str, text: str) -> None:
    # Python before 3.14 says that the empty text has no place that is no boundary; RE2 says it has.
    assume(text or r"\B" not in expression)
    try:
        pattern = re2.compile(flags + expression)
    except re2.Unusable:
        return
    assert re2_linear.Linear(flags + expression).search(text, Cost()) is (pattern.search(text) is not None)


@pytest.mark.parametrize("expression", ["(a+)+$", "^(a|a)*$", "(a*)*b", "(.*a){12}$", "^(a?){50}a{50}$"])
def test_the_cost_grows_with_the_text_and_no_faster(expression: str) -> None:
    pattern = re2_linear.Linear(expression)
    costs = []
    for size in (2_000, 20_000):
        cost = Cost()
        assert pattern.search("a" * size + "c", cost) is False
        costs.append(cost.spent)
    assert costs[1] < 15 * costs[0]


def test_a_search_that_costs_too_much_is_broken_off() -> None:
    pattern = re2_linear.Linear("(a|b)*a(a|b){200}c")
    text = "".join(random.Random(1).choices("ab", k=10_000))
    with pytest.raises(OverflowError):
        pattern.search(text, Cost(200_000))


def test_what_is_remembered_is_forgotten_before_it_is_too_much() -> None:
    pattern = re2_linear.Linear("(a|b)*a(a|b){12}c")
    text = "".join("ab"[number >> bit & 1] for number in range(4096) for bit in range(12))
    assert pattern.search(text, Cost()) is False
    assert pattern.search(text + "a" * 13 + "c", Cost()) is True


@pytest.mark.parametrize("expression", ["(", "a**", r"(a)\1", "(?=a)", "((a{100}){100}){10}"])
def test_what_is_none_or_too_large_is_refused(expression: str) -> None:
    with pytest.raises(re2.Unusable):
        re2_linear.Linear(expression)


@settings(deadline=None, max_examples=300)
@given(FLAGS, EXPRESSIONS, st.text(alphabet="abcAB1_ \n-é", max_size=9))
def test_a_searcher_finds_the_same(flags: str, expression: str, text: str) -> None:
    assume(text or r"\B" not in expression)
    try:
        pattern = re2.compile(flags + expression)
    except re2.Unusable:
        return
    assert re2_linear.searcher(flags + expression)(text) is (pattern.search(text) is not None)


@pytest.mark.parametrize(
    "expression",
    ["(a+)+$", "^(a|a)*$", "^a*a*a*a*b", "a*b", "^(a?){50}a{50}$", "^/.*/.*/.*/.*/x$", "(?m)^a*$b", "^(?:a*){2}b"],
)
def test_a_searcher_takes_no_time_that_explodes(expression: str) -> None:
    matches = re2_linear.searcher(expression)
    assert not matches("a" * 12_000 + "c" + "/" * 1_000)


def test_usual_rules_are_for_pythons_engine() -> None:
    """It needs a fifth of the time."""
    for rule in (r"^/v1.0/invoke/shop/method/[a-z/]+$", "/healthz", r"\A/api/.*"):
        assert re2_linear._is_short(re2.compile(rule)), rule
    for rule in ("a*", "^a*b*", "^(ab)*", "^(?:ab|cd)", "^[ab]?[ab]?"):
        assert not re2_linear._is_short(re2.compile(rule)), rule
