"""State as JSON in PostgreSQL, the original's first layout, which databases alike have too; it can be queried.

`state.postgresql` and `state.cockroachdb` say what their etags are. A value that is no JSON is kept as text in base64
and marked (`isbinary`).
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from pydapr.components import option, options, state
from pydapr.components.drivers import postgresql
from pydapr.components.drivers.postgresql_state import Table, as_ours, ending
from pydapr.components.state import NO_METADATA, ETagInvalid, Item, Match, Matches, Set, StateError
from pydapr.lib import query as queries

_NUMBER = re.compile(r"[0-9]{1,19}\Z")


@options
class Options(postgresql.Options):
    table_name: str = option("The table of state.", default="state")


class JsonTable(Table):
    """`etag_column` is the subclass', and a whole number up to `most_etag`."""

    features = (*Table.features, state.QUERY_API)
    end_column = "expiredate"
    most_etag = 2**32 - 1

    def __init__(self, options: Options) -> None:
        self.read_columns = f"value, isbinary, {self.etag_column}, expiredate"
        super().__init__(options, options.table_name)

    def _values(self, request: Set) -> tuple[object, ...]:
        if request.is_json:
            try:
                return request.value.decode(), False
            except UnicodeDecodeError as error:
                raise StateError(f"the value is no JSON: {error}") from None
        return json.dumps(base64.b64encode(request.value).decode()), True

    def _etag(self, text: str) -> object:
        if not _NUMBER.match(text) or int(text) > self.most_etag:
            raise ETagInvalid(f"{text!r} is no number of this store")
        return int(text)

    def _item(self, row: Any) -> Item:
        _, text, is_binary, etag, end = row
        if not is_binary:
            return ending(text.encode(), _shown(etag), end)
        try:
            return ending(base64.b64decode(json.loads(text), validate=True), _shown(etag), end)
        except (ValueError, TypeError) as error:
            raise StateError(f"failed to decode base64 data: {error}") from None

    async def query(self, query: queries.Query, *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        """The token is the number of values that went before."""
        if query.token and not query.token.isdecimal():
            raise StateError(f"invalid token {query.token!r}")
        first = int(query.token or 0)
        values: list[object] = []
        sql = f"SELECT key, {self.read_columns} FROM {self._table} WHERE {self._lives}"
        if query.filter is not None:
            sql += f" AND {_condition(query.filter, values)}"
        orders = [f"{_under(one.path, values)}{' DESC' if one.is_descending else ''}" for one in query.sort]
        sql += f" ORDER BY {', '.join([*orders, 'key'])} OFFSET {first}"
        if query.limit:
            sql += f" LIMIT {query.limit + 1}"
        with as_ours():
            rows = await self._database.fetch(sql, *values)
        shown = rows[: query.limit] if query.limit else rows
        token = str(first + len(shown)) if len(rows) > len(shown) else ""
        return Matches([self._match(row) for row in shown], token)

    def _match(self, row: Any) -> Match:
        try:
            item = self._item(row)
        except StateError as error:
            return Match(row[0], b"", error=str(error))
        return Match(row[0], item.value, item.etag)


def _shown(etag: object) -> str:
    return "" if etag is None else str(etag)


def _condition(wanted: queries.Filter, values: list[object]) -> str:
    """A filter in SQL; what it compares with goes to `values`. Raises `StateError`."""
    if isinstance(wanted, queries.Combine):
        return f"({f' {wanted.operation} '.join(_condition(one, values) for one in wanted.filters)})"
    if wanted.operation == "IN":
        if not wanted.value:
            raise StateError(f'empty IN operator for key "{wanted.path}"')
        found = _under(wanted.path, values)
        return f"({' OR '.join(f'{found} = {_given(one, values)}' for one in wanted.value)})"
    found, value = _under(wanted.path, values), wanted.value
    if wanted.operation == "EQ":
        return f"{found} = {_given(value, values)}"
    if wanted.operation == "NEQ":
        return f"({found} IS NULL OR {found} <> {_given(value, values)})"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StateError(f"unsupported type of value {json.dumps(value)}; a number is wanted")
    sign = {"GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}[wanted.operation]
    return f"(jsonb_typeof({found}) = 'number' AND {found} {sign} {_given(value, values)})"


def _under(path: str, values: list[object]) -> str:
    """What stands under a path: documents compare numbers as numbers and texts as texts."""
    values.append(path.split("."))
    return f"(value #> ${len(values)}::text[])"


def _given(value: object, values: list[object]) -> str:
    values.append(json.dumps(value))
    return f"${len(values)}::jsonb"
