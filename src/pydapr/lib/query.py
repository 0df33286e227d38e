"""Queries of the state API: filter, sort, page, out of their JSON; and which documents one fits. Pure.

Read by `blocks.state`, translated or carried out by the stores. Rules are the original's (components-contrib v1.18,
`state/query`): paths have dots, a filter is an object with one entry, names of fields are taken without regard to case.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydapr.lib.record import Record

T = TypeVar("T")

COMPARISONS = frozenset({"EQ", "NEQ", "GT", "GTE", "LT", "LTE", "IN"})
COMBINATIONS = frozenset({"AND", "OR"})
DESC = "DESC"


class Wrong(ValueError):
    """What was given is no query."""


class Compare(Record):
    """What stands under a path (`person.org`) against a value; against any of a list for IN."""

    operation: str
    path: str
    value: Any


class Combine(Record):
    """All (AND) or any (OR) of two or more filters."""

    operation: str
    filters: "tuple[Compare | Combine, ...]"


Filter = Compare | Combine


class Order(Record):
    """By which path to sort."""

    path: str
    is_descending: bool = False


class Query(Record):
    """What to find, in which order, how many at a time (0 for all), and from where."""

    filter: Filter | None = None
    sort: tuple[Order, ...] = ()
    limit: int = 0
    token: str = ""


def parse(text: str | bytes) -> Query:
    """The query in a JSON text. Raises `Wrong`."""
    try:
        document = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise Wrong(f"no JSON: {error}" if text else "unexpected end of JSON input") from None
    fields = _fields(document, "a query")
    wanted = fields.get("filter")
    page = _fields(fields.get("page"), "page")
    sort = fields.get("sort") or []
    if not isinstance(sort, list):
        raise Wrong("sort must be an array")
    return Query(
        parse_filter(wanted) if wanted else None,
        tuple(_order(one) for one in sort),
        _whole(page.get("limit")),
        _text(page.get("token"), "page.token"),
    )


def parse_filter(document: object, depth: int = 0) -> Filter:
    """Raises `Wrong`."""
    if depth > 64:
        raise Wrong("filters are nested too deeply")
    if not isinstance(document, dict):
        raise Wrong("filter unit must be a map")
    if len(document) != 1:
        raise Wrong("filter unit must have a single element")
    ((operation, about),) = document.items()
    if operation in COMBINATIONS:
        if not isinstance(about, list):
            raise Wrong(f"{operation} filter must be an array")
        if len(about) < 2:
            raise Wrong(f"{operation} filter must contain at least two entries")
        return Combine(operation, tuple(parse_filter(one, depth + 1) for one in about))
    if operation not in COMPARISONS:
        raise Wrong(f'unsupported filter "{operation}"')
    if not isinstance(about, dict):
        raise Wrong(f"{operation} filter must be a map")
    if len(about) != 1:
        raise Wrong(f"{operation} filter must contain a single key/value pair")
    ((path, value),) = about.items()
    if operation == "IN" and not isinstance(value, list):
        raise Wrong("IN filter value must be an array")
    return Compare(operation, path, value)


def _fields(document: object, what: str) -> dict[str, Any]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Wrong(f"{what} must be a map")
    return {name.lower(): value for name, value in document.items()}


def _order(document: object) -> Order:
    fields = _fields(document, "sort entry")
    return Order(_text(fields.get("key"), "sort.key"), _text(fields.get("order"), "sort.order").upper() == DESC)


def _text(value: object, what: str) -> str:
    if value is not None and not isinstance(value, str):
        raise Wrong(f"{what} must be a string")
    return value or ""


def _whole(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise Wrong("page.limit must be a whole number")
    return max(value, 0)


# -- for stores that have no language of their own for it --


def find(document: Any, path: str) -> Any:
    """What stands under a path, None when nothing does."""
    for name in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def fits(wanted: Filter | None, document: Any) -> bool:
    """Whether a document fits. A comparison with what is not there, or of another kind, fits NEQ only."""
    if wanted is None:
        return True
    if isinstance(wanted, Combine):
        decide: Callable[[Iterable[bool]], bool] = all if wanted.operation == "AND" else any
        return decide(fits(one, document) for one in wanted.filters)
    found = find(document, wanted.path)
    if wanted.operation == "IN":
        return any(_equal(found, one) for one in wanted.value)
    if wanted.operation in ("EQ", "NEQ"):
        return _equal(found, wanted.value) is (wanted.operation == "EQ")
    if _kind(found) != _kind(wanted.value) or _kind(found) not in (1, 2):
        return False
    if wanted.operation == "GT":
        return bool(found > wanted.value)
    if wanted.operation == "GTE":
        return bool(found >= wanted.value)
    if wanted.operation == "LT":
        return bool(found < wanted.value)
    return bool(found <= wanted.value)


def in_order(items: Iterable[T], orders: Sequence[Order], document: Callable[[T], Any]) -> list[T]:
    """`items` sorted by what their documents have, stable; what has nothing under the path comes first."""
    result = list(items)
    for order in reversed(orders):
        path = order.path
        result.sort(key=lambda item: _rank(find(document(item), path)), reverse=order.is_descending)
    return result


def _kind(value: Any) -> int:
    """0 for what has no order: null, truth, objects and lists."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1
    return 2 if isinstance(value, str) else 0


def _equal(first: Any, second: Any) -> bool:
    return isinstance(first, bool) is isinstance(second, bool) and bool(first == second)


def _rank(value: Any) -> tuple[int, Any]:
    kind = _kind(value)
    return (kind, value if kind else 0)
