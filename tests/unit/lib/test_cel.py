"""Expressions of CEL: what they mean, when they have no value, and what is none. A second implementation agrees."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydapr.lib import cel

EVENT: dict[str, Any] = {
    "type": "com.example.order",
    "source": "shop",
    "time": "2026-03-04T05:06:07.5Z",
    "data": {"n": 7, "f": 1.5, "items": [1, 2, 3], "name": "Ärger", "flag": True, "none": None, "map": {"a": 1}},
}


def value(expression: str) -> Any:
    return cel.compile(expression)({"event": EVENT})


@pytest.mark.parametrize(
    "expression",
    [
        "event.type == 'com.example.order'",
        'event.type != "x" && event.data.n >= 7',
        "event.data.n > 5",
        "event.data.n == 7.0",
        "event.data.f < 2",
        "event.data.n * 2 + 1 == 15",
        "event.data.n - 10 == -3",
        "-7 / 2 == -3",
        "-7 % 4 == -3",
        "event.data['name'] == 'Ärger'",
        "event['data'].items[1] == 2",
        "event.data.name.startsWith('Ä') && event.data.name.endsWith('er') && event.data.name.contains('rge')",
        "event.type.matches('^com[.].*r$')",
        "matches(event.source, 'sh.p')",
        "size(event.data.items) == 3 && event.source.size() == 4",
        "2 in event.data.items",
        "'a' in event.data.map",
        "!(9 in [1, 2])",
        "has(event.data.n) && !has(event.data.m)",
        "event.data.none == null",
        "event.data.flag",
        "!!event.data.flag",
        "event.data.flag ? true : false",
        "event.data.items.exists(x, x > 2)",
        "event.data.items.all(x, x > 0)",
        "event.data.items.exists_one(x, x == 2)",
        "event.data.items.filter(x, x != 2) == [1, 3]",
        "event.data.items.map(x, x * 2) == [2, 4, 6]",
        "event.data.items.map(x, x > 1, x + 0) == [2, 3]",
        "{'a': 1} == event.data.map",
        "[1, 2] + [3] == event.data.items",
        "'1' + '2' == '12'",
        "int('12') == 12 && string(3) == '3' && double('1.5') == event.data.f && bool('true')",
        "timestamp(event.time) > timestamp('2026-01-01T00:00:00Z')",
        "timestamp(event.time) - timestamp('2026-03-04T05:06:07Z') == duration('500ms')",
        "timestamp(event.time).getFullYear() == 2026 && timestamp(event.time).getMonth() == 2",
        "duration('1h30m') == duration('90m')",
        "0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5",
        r"r'\d' == '\\d' && '\x41\u00c4\n' == 'AÄ' + '''" + "\n'''",
        "b'abc' == bytes('abc')",
        "event.data.n > 5 || event.nothing",
        "event.nothing == 1 || true",
        "// a remark\n true",
        "dyn(1) == 1",
    ],
)
def test_expressions_that_hold(expression: str) -> None:
    assert value(expression) is True


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("event.data.missing == 1", "no such key: missing"),
        ("nothing == 1", "no such attribute(s): nothing"),
        ("event.type > 5", "no such overload"),
        ("event.data.n.x", "no such overload"),
        ("event.type + 1", "no such overload"),
        ("!event.data.n", "no such overload"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("event.data.items[9]", "index out of bounds: 9"),
        ("9223372036854775807 * 9223372036854775807 * 2", "integer overflow"),
        ("event.data.n ? 1 : 2", "no such overload"),
        ("event.data.items.all(x, x.y)", "no such overload"),
        ("event.nothing && true", "no such key: nothing"),
        ("timestamp('yesterday')", "type conversion error"),
        ("duration('5 apples')", "invalid duration"),
        ("event.type.matches('(')", "error parsing regexp"),
    ],
)
def test_expressions_without_a_value_say_why(expression: str, reason: str) -> None:
    with pytest.raises(cel.Failed, match=reason.replace("(", "[(]").replace(")", "[)]")):
        value(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "", "event.", "event.type ==", "(1", "1)", "[1,", "{1}", "'open", "event.unknown()", "nofunction(1)", "size()",
        "has(1)", "a b", "1 = 1", "'\\q'", "#", "event.data.items.exists(x)", "18446744073709551616u", "(" * 200,
        "9223372036854775808",
    ],
)  # fmt: skip
def test_text_that_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(cel.Invalid):
        cel.compile(expression)


def test_numbers_and_truth_are_different_things() -> None:
    assert value("event.data.flag == 1") is False
    assert value("true in [1]") is False


leaf = st.sampled_from(["event.data.n", "event.data.f", "1", "2.5", "'x'", "event.source", "true", "event.data.items"])
operator = st.sampled_from(["==", "!=", "<", ">=", "+", "-", "*", "&&", "||", "in"])


@settings(deadline=None)
@given(leaf, operator, leaf, operator, leaf)
def test_a_second_implementation_agrees(a: str, one: str, b: str, two: str, c: str) -> None:
    """Where both have a value; numbers of different types mix in ours only."""
    other = pytest.importorskip("cel")
    expression = f"({a} {one} {b}) {two} {c}"
    try:
        expected = other.evaluate(expression, {"event": EVENT})
    except Exception:
        return
    try:
        found = value(expression)
    except cel.Failed:
        return
    if isinstance(found, bool) and isinstance(expected, bool):
        assert found is expected


@settings(deadline=None)
@given(st.text(alphabet="ab.()[]{}'\"\\1+-*/%!&|<>=?:, ", max_size=30))
def test_any_text_is_an_expression_or_none(text: str) -> None:
    try:
        compiled = cel.compile(text)
    except cel.Invalid:
        return
    try:
        compiled({"a": 1, "b": {"a": [1]}})
    except cel.Failed:
        pass


LONG: dict[str, Any] = {"data": {"list": list(range(3000)), "text": "a" * 200_000 + "b", "huge": 10**400}}


@pytest.mark.parametrize(
    "expression",
    [
        "event.data.list.all(x, event.data.list.all(y, x >= 0))",
        "event.data.list.exists(x, [x, x] in event.data.list)",
        "event.data.list.all(x, event.data.list == event.data.list)",
        "event.data.list.map(x, event.data.text + event.data.text).size() > 0",
        "event.data.list.exists(x, event.data.text.matches('^(a|a)*$'))",
    ],
)
def test_what_costs_too_much_has_no_value(expression: str) -> None:
    with pytest.raises(cel.Failed, match="cost limit exceeded"):
        cel.compile(expression)({"event": LONG})


def test_each_evaluation_has_its_own_limit() -> None:
    compiled = cel.compile("event.data.list.all(x, x >= 0)")
    assert all(compiled({"event": LONG}) is True for _ in range(50))


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["1"] * 20_000) + " == 1",
        "event" + ".a" * 20_000,
        "{[1]: 2} == {}",
        "event.data.huge * 1.5 > 1.0",
        "[1][1e999] == 1",
        "1e999 % 2 == 0",
        f"int('{'1' * 5000}') == 1",
        "duration('2500000h') + duration('2500000000h') + duration('22500000000h') > duration('1h')",
        f"'a'.matches('{'(' * 3000}')",
    ],
)
def test_whatever_goes_wrong_is_told_in_one_way(expression: str) -> None:
    with pytest.raises(cel.Failed):
        cel.compile(expression)({"event": LONG})


@pytest.mark.parametrize("expression", ["[" * 3000, "(" * 3000, "1" * 5000 + " == 1", "{1:" * 3000])
def test_what_is_nested_too_deeply_or_too_long_is_no_expression(expression: str) -> None:
    with pytest.raises(cel.Invalid):
        cel.compile(expression)


def test_a_part_that_fails_decides_nothing() -> None:
    assert cel.compile("event.data.huge * 1.5 > 1.0 || true")({"event": LONG}) is True


@pytest.mark.parametrize(("text", "holds"), [("a" * 5000 + "b", False), ("a" * 5000, True)])
def test_expressions_with_many_ways_are_decided_all_the_same(text: str, holds: bool) -> None:
    assert cel.compile("event.matches('(a+)+$')")({"event": text}) is holds
