"""Queries in the language of Redis' search module, indexes, and what comes back."""

import json

import pytest

from pydapr.components.drivers import redis_search
from pydapr.components.state import StateError
from pydapr.lib import query

SCHEMA = json.dumps(
    [{"name": "people", "indexes": [{"key": "person.org", "type": "TEXT"}, {"key": "id", "type": "NUMERIC"}]}]
)
INDEX = redis_search.indexes(SCHEMA)["people"]


def search(document: dict[str, object]) -> str:
    command = redis_search.search(INDEX, query.parse(json.dumps(document)))
    assert command[:2] == ("FT.SEARCH", "people")
    assert command[-4:] == ("RETURN", "2", "$.data", "$.version")
    return " ".join(map(str, command[2:-4]))


def test_index_is_made_as_the_original_makes_it() -> None:
    fields = ["$.data.person.org", "AS", "var0", "TEXT", "SORTABLE", "$.data.id", "AS", "var1", "NUMERIC", "SORTABLE"]
    assert list(INDEX.create) == ["FT.CREATE", "people", "ON", "JSON", "SCHEMA", *fields]


@pytest.mark.parametrize(
    "text", ["{", "5", '[{"indexes":[]}]', '[{"name":"a","indexes":[{"key":"x"}]}]', '[{"name":"a"},{"name":"a"}]']
)
def test_schema_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="query index schema"):
        redis_search.indexes(text)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "*"),
        ({"filter": {"EQ": {"person.org": "A B"}}}, "@var0:(A B)"),
        ({"filter": {"EQ": {"id": 3}}}, "@var1:[3 3]"),
        ({"filter": {"EQ": {"id": 1.5}}}, "@var1:[1.500000 1.500000]"),
        ({"filter": {"GT": {"id": 3}}}, "@var1:[(3 +inf]"),
        ({"filter": {"LTE": {"id": 3}}}, "@var1:[-inf 3]"),
        ({"filter": {"IN": {"person.org": ["A", "B"]}}}, "@var0:(A|B)"),
        ({"filter": {"IN": {"id": [1, 2]}}}, "((@var1:[1 1])|(@var1:[2 2]))"),
        (
            {"filter": {"AND": [{"NEQ": {"id": 1}}, {"OR": [{"EQ": {"id": 2}}, {"LT": {"id": 3}}]}]}},
            "((-(@var1:[1 1])) ((@var1:[2 2])|(@var1:[-inf (3])))",
        ),
        (
            {"sort": [{"key": "id", "order": "DESC"}], "page": {"limit": 2, "token": "4"}},
            "* SORTBY var1 DESC LIMIT 4 2",
        ),
    ],
)
def test_queries_are_translated(document: dict[str, object], text: str) -> None:
    assert search(document) == text


@pytest.mark.parametrize(
    "document",
    [
        {"filter": {"EQ": {"elsewhere": 1}}},
        {"filter": {"GT": {"id": "a"}}},
        {"filter": {"EQ": {"id": True}}},
        {"filter": {"IN": {"id": [1]}}},
        {"sort": [{"key": "id"}, {"key": "person.org"}]},
        {"page": {"limit": 1, "token": "x"}},
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(StateError):
        search(document)


def test_what_is_found_is_read() -> None:
    fields = [b"$.data", b'{"a":1}', b"$.version", b"3"]
    found = redis_search.matches([2, b"k1", fields, b"k2", []], query.Query(limit=2, token="2"))

    first, second = found.items
    assert (first.key, first.value, first.etag, found.token) == ("k1", b'{"a":1}', "3", "4")
    assert second.error
    with pytest.raises(StateError):
        redis_search.matches(b"OK", query.Query())
