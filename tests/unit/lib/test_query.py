"""Queries of the state API: what is one, what it finds, in which order."""

import json
from typing import Any

import pytest

from pydapr.lib import query
from pydapr.lib.query import Combine, Compare, Order, Query


def test_all_parts_are_read_without_regard_to_case_of_fields() -> None:
    text = (
        '{"Filter": {"AND": [{"EQ": {"a.b": 1}}, {"IN": {"c": ["x", null]}}]}, '
        '"SORT": [{"key": "a", "order": "desc"}, {"Key": "b"}], "page": {"limit": 3, "token": "t"}}'
    )

    assert query.parse(text) == Query(
        Combine("AND", (Compare("EQ", "a.b", 1), Compare("IN", "c", ["x", None]))),
        (Order("a", True), Order("b")),
        3,
        "t",
    )


@pytest.mark.parametrize("text", ["{}", '{"filter": {}}', '{"filter": null, "sort": null, "page": null}'])
def test_nothing_wanted_is_everything(text: str) -> None:
    assert query.parse(text) == Query()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "no JSON"),
        ("[]", "a query must be a map"),
        ('{"filter": []}', None),
        ('{"filter": [1]}', "filter unit must be a map"),
        ('{"filter": {"EQ": {"a": 1}, "NEQ": {"a": 2}}}', "filter unit must have a single element"),
        ('{"filter": {"LIKE": {"a": 1}}}', 'unsupported filter "LIKE"'),
        ('{"filter": {"EQ": 1}}', "EQ filter must be a map"),
        ('{"filter": {"EQ": {}}}', "EQ filter must contain a single key/value pair"),
        ('{"filter": {"IN": {"a": 1}}}', "IN filter value must be an array"),
        ('{"filter": {"OR": {}}}', "OR filter must be an array"),
        ('{"filter": {"AND": [{"EQ": {"a": 1}}]}}', "AND filter must contain at least two entries"),
        ('{"sort": {}}', None),
        ('{"sort": 1}', "sort must be an array"),
        ('{"sort": [{"key": 1}]}', "sort.key must be a string"),
        ('{"page": {"limit": "1"}}', "page.limit must be a whole number"),
        ('{"page": {"token": 1}}', "page.token must be a string"),
    ],
)
def test_what_is_none_is_named(text: str, reason: str | None) -> None:
    if reason is None:
        query.parse(text)
        return
    with pytest.raises(query.Wrong, match=reason):
        query.parse(text)


def test_filters_that_nest_without_end_are_refused() -> None:
    deep: Any = {"EQ": {"a": 1}}
    for _ in range(100):
        deep = {"AND": [deep, {"EQ": {"a": 1}}]}

    with pytest.raises(query.Wrong, match="nested too deeply"):
        query.parse(json.dumps({"filter": deep}))
    with pytest.raises(query.Wrong):
        query.parse("[" * 100_000)


DOCUMENT = {"a": {"b": 5, "t": "text", "n": None, "yes": True}, "list": [1]}


@pytest.mark.parametrize(
    ("filter_", "fits"),
    [
        ({"EQ": {"a.b": 5}}, True),
        ({"EQ": {"a.b": 5.0}}, True),
        ({"EQ": {"a.b": "5"}}, False),
        ({"EQ": {"a.yes": 1}}, False),
        ({"EQ": {"a.n": None}}, True),
        ({"EQ": {"a.none": None}}, True),
        ({"EQ": {"list": [1]}}, True),
        ({"EQ": {"a.b.c": 5}}, False),
        ({"NEQ": {"a.b": 6}}, True),
        ({"NEQ": {"a.none": 6}}, True),
        ({"GT": {"a.b": 4.9}}, True),
        ({"GT": {"a.b": 5}}, False),
        ({"GTE": {"a.b": 5}}, True),
        ({"LT": {"a.b": 5}}, False),
        ({"LTE": {"a.b": 5}}, True),
        ({"LT": {"a.t": "u"}}, True),
        ({"GT": {"a.t": 1}}, False),
        ({"LT": {"a.yes": 2}}, False),
        ({"GT": {"a.none": 0}}, False),
        ({"IN": {"a.b": [1, 5]}}, True),
        ({"IN": {"a.b": []}}, False),
        ({"AND": [{"EQ": {"a.b": 5}}, {"EQ": {"a.t": "x"}}]}, False),
        ({"OR": [{"EQ": {"a.b": 5}}, {"EQ": {"a.t": "x"}}]}, True),
    ],
)
def test_document_fits_or_not(filter_: object, fits: bool) -> None:
    assert query.fits(query.parse_filter(filter_), DOCUMENT) is fits


@pytest.mark.parametrize("document", [None, 5, "text", []])
def test_what_is_no_object_fits_only_what_it_is_not(document: object) -> None:
    assert query.fits(None, document)
    assert not query.fits(query.parse_filter({"EQ": {"a": 1}}), document)
    assert query.fits(query.parse_filter({"NEQ": {"a": 1}}), document)


def test_order_is_by_all_paths_and_stable() -> None:
    items = [{"s": "b", "n": 1}, {"s": "a", "n": 2}, {"n": 9}, {"s": "a", "n": 1}, {"s": 5}, {"s": "b", "n": 3}]

    ordered = query.in_order(items, (Order("s"), Order("n", True)), lambda item: item)

    assert ordered == [
        {"n": 9},
        {"s": 5},
        {"s": "a", "n": 2},
        {"s": "a", "n": 1},
        {"s": "b", "n": 3},
        {"s": "b", "n": 1},
    ]
