"""Queries of the state API in the language of Redis' search module, and back. Pure.

Used by `state.redis` where the server has the modules for JSON and search. The original's indexes and expressions
(components-contrib v1.18), so that both find what either has written: fields of indexes are called `var0`, `var1`, …
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydapr.components.drivers.redis_connection import Command, Reply
from pydapr.components.state import Match, Matches, StateError
from pydapr.lib import query as queries
from pydapr.lib.record import Record


class Index(Record):
    """An index of `queryIndexes`: how to make it, and what its fields are called, by their paths."""

    name: str
    create: Command
    fields: Mapping[str, str]


def indexes(text: str) -> dict[str, Index]:
    """Those that the metadata describe, by name. Raises `ValueError`."""
    if not text:
        return {}
    try:
        documents = json.loads(text)
        found = [_index(document) for document in documents or ()]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"redis store: error parsing query index schema: {error}") from None
    names = [index.name for index in found]
    if len(set(names)) != len(names):
        raise ValueError("redis store: error parsing query index schema: duplicate schema name")
    return dict(zip(names, found, strict=True))


def _index(document: Mapping[str, Any]) -> Index:
    given = {key.lower(): value for key, value in document.items()}
    name, fields = given.get("name"), dict[str, str]()
    if not name:
        raise ValueError("empty query schema name")
    create: list[str] = ["FT.CREATE", name, "ON", "JSON", "SCHEMA"]
    for number, entry in enumerate(given.get("indexes") or ()):
        key, type_ = entry.get("key"), entry.get("type")
        if not key or not type_:
            raise ValueError(f"empty {'type' if key else 'key'} in query schema {name}")
        fields[key] = f"var{number}"
        create += [f"$.data.{key}", "AS", fields[key], type_, "SORTABLE"]
    return Index(name, tuple(create), fields)


def search(index: Index, wanted: queries.Query) -> Command:
    """The command for a query. Raises `StateError` for what cannot be asked."""
    command: list[str] = ["FT.SEARCH", index.name, _expression(index, wanted.filter) if wanted.filter else "*"]
    if len(wanted.sort) > 1:
        raise StateError("multiple SORTBY steps are not allowed. Sort multiple fields in a single step")
    for order in wanted.sort:
        command += ["SORTBY", _field(index, order.path), *(["DESC"] if order.is_descending else [])]
    if wanted.limit:
        command += ["LIMIT", str(offset(wanted)), str(wanted.limit)]
    return (*command, "RETURN", "2", "$.data", "$.version")


def offset(wanted: queries.Query) -> int:
    """How many went before a page. Raises `StateError`."""
    if wanted.token and not wanted.token.isdecimal():
        raise StateError(f"invalid token {wanted.token!r}")
    return int(wanted.token or 0)


def matches(reply: Reply, wanted: queries.Query) -> Matches:
    """What a server has found: the number of all, then key and fields of each. Raises `StateError`."""
    if not isinstance(reply, list) or len(reply) % 2 != 1:
        raise StateError("the search module gave no answer that can be read")
    found = [_match(key.decode(), fields) for key, fields in zip(reply[1::2], reply[2::2], strict=True)]
    token = str(offset(wanted) + len(found)) if wanted.limit and found else ""
    return Matches(found, token)


def _match(key: str, fields: Sequence[bytes]) -> Match:
    values = dict(zip(fields[::2], fields[1::2], strict=False))
    value = values.get(b"$.data")
    if value is None:
        return Match(key, b"", error="the answer of the search module has no value")
    return Match(key, value, values.get(b"$.version", b"").decode())


def _field(index: Index, path: str) -> str:
    if path not in index.fields:
        raise StateError(f'JSON path "{path}" is not indexed')
    return index.fields[path]


def _expression(index: Index, wanted: queries.Filter) -> str:
    if isinstance(wanted, queries.Combine):
        between = " " if wanted.operation == "AND" else "|"
        return f"({between.join(_part(index, one) for one in wanted.filters)})"
    return _comparison(index, wanted)


def _part(index: Index, wanted: queries.Filter) -> str:
    text = _expression(index, wanted)
    if isinstance(wanted, queries.Combine):
        return text
    return f"({text})"


def _comparison(index: Index, wanted: queries.Compare) -> str:
    field, value, operation = _field(index, wanted.path), wanted.value, wanted.operation
    if operation == "IN":
        if len(value) < 2:
            raise StateError(f'too few values in IN operator for key "{wanted.path}"')
        if isinstance(value[0], str):
            return f"@{field}:({'|'.join(map(str, value))})"
        return f"({'|'.join(f'({_equal(field, one)})' for one in value)})"
    if operation == "EQ":
        return _equal(field, value)
    if operation == "NEQ":
        return f"-({_equal(field, value)})"
    if isinstance(value, str):
        raise StateError(f"unsupported type of value {value}; string type not permitted")
    bounds = {"GT": "({} +inf", "GTE": "{} +inf", "LT": "-inf ({}", "LTE": "-inf {}"}[operation]
    return f"@{field}:[{bounds.format(_number(value))}]"


def _equal(field: str, value: Any) -> str:
    if isinstance(value, str):
        return f"@{field}:({value})"
    number = _number(value)
    return f"@{field}:[{number} {number}]"


def _number(value: Any) -> str:
    """Raises `StateError` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StateError(f"unsupported type of value {json.dumps(value)}; a text or a number is wanted")
    return str(value) if isinstance(value, int) else f"{value:f}"
