"""Where events go: the first rule that holds."""

import pytest

from pydapr.blocks.pubsub import routing

RULES = (
    routing.rule("event.type == 'a'", "/a"),
    routing.rule(" event.data.n > 5 ", "/big"),
    routing.Rule("/else"),
)


def test_the_first_rule_that_holds_counts() -> None:
    assert routing.path(RULES, {"type": "a", "data": {"n": 9}}) == "/a"
    assert routing.path(RULES, {"type": "b", "data": {"n": 9}}) == "/big"
    assert routing.path(RULES, {"type": "b", "data": {"n": 1}}) == "/else"


def test_an_event_for_which_no_rule_holds_goes_nowhere() -> None:
    assert routing.path(RULES[:1], {"type": "b"}) is None
    assert routing.path((), {"type": "b"}) is None


def test_a_rule_without_expression_holds_always() -> None:
    assert routing.rule("  ", "/x") == routing.Rule("/x")


def test_a_rule_without_an_answer_leaves_the_event_undecided() -> None:
    with pytest.raises(routing.Undecided, match="no such key: data"):
        routing.path(RULES, {"type": "b"})
    with pytest.raises(routing.Undecided, match=r"the result of match expression event\.type was not a boolean"):
        routing.path((routing.rule("event.type", "/x"),), {"type": "b"})


def test_what_is_no_expression_makes_no_rule() -> None:
    with pytest.raises(routing.Invalid):
        routing.rule("event.type ==", "/x")
