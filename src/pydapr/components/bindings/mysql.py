"""bindings.mysql has the app send SQL to MySQL or MariaDB: `exec`, `query`, and `close`, after which nothing goes.

Metadata of the request are `sql` and `params`, a JSON array for the question marks in it. Rows come as objects by the
names of the columns, without those that are NULL; what is binary, and JSON, comes in base64, as in the original.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.bindings import BindingError
from pydapr.components.drivers import mysql, sql_bindings

CONNECT_SECONDS = 20.0

_JSON = 245
"""The number of a column's type."""

_piece = re.compile(
    r"""'(?:[^'\\]|\\.|'')*(?:'|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | /\*.*?(?:\*/|\Z)
    | (?:--\s|\#)[^\n]* | [?%]""",
    re.DOTALL | re.VERBOSE,
)


@options
class Options:
    url: str = option("How to reach the server: `user:password@tcp(localhost:3306)/database`.", default="")
    pem_path: str = option("A file with the certificates to trust; the URL must say `tls=custom`.", default="")
    max_idle_conns: int = option("Taken, without effect: connections are kept as they come.", default=0)
    max_open_conns: int = option("Taken, without effect: there are up to 16 connections.", default=0)
    conn_max_lifetime: Seconds = option("Taken, without effect.", default=Seconds(0))
    conn_max_idle_time: Seconds = option("Taken, without effect.", default=Seconds(0))


@component("bindings.mysql", Options)
class Mysql(sql_bindings.SqlBinding):
    def __init__(self, given: Options) -> None:
        super().__init__()
        if not given.url:
            raise Wrong("missing MySql connection string")
        self._given = given
        self._database: mysql.Database | None = None

    async def open(self) -> None:
        where = mysql.place(self._given.url)
        schema = self._given.url.rpartition("/")[2].partition("?")[0]
        self._database = mysql.Database(where, mysql.tls_context(where, self._given.pem_path), CONNECT_SECONDS)
        self._database.use(schema)
        try:
            await self._database.fetch("SELECT 1")
        except mysql.Failed as error:
            raise OSError(f"unable to ping the DB: {error}") from None

    async def close(self) -> None:
        if self._database is not None:
            self._database.close()

    async def exec(self, sql: str, values: Sequence[Any]) -> int:
        return max((await self._run(sql, values))[0], 0)

    async def query(self, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
        _, columns, rows = await self._run(sql, values)
        found = [
            {name: _shown(value, kind) for (name, kind), value in zip(columns, row, strict=True) if value is not None}
            for row in rows
        ]
        return found or None  # `null` without rows, as in the original

    async def _run(
        self, sql: str, values: Sequence[Any]
    ) -> "tuple[int, list[tuple[str, int]], Sequence[Sequence[Any]]]":
        """How many rows a statement concerned, the names and types of its columns, and what it has found."""
        assert self._database is not None
        text, given = _statement(sql, values)
        try:
            async with (
                self._database.connection(self.seconds) as connection,
                connection.cursor() as cursor,
            ):
                await cursor.execute(text, given)
                columns = [(one[0], one[1]) for one in cursor.description or ()]
                rows: Sequence[Sequence[Any]] = await cursor.fetchall() if columns else ()
                assert isinstance(cursor.rowcount, int)
                return cursor.rowcount, columns, rows
        except (mysql.Failed, ValueError, TypeError) as error:
            raise BindingError(f"error executing query: {error}") from None


def _shown(value: Any, kind: int) -> Any:
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if kind == _JSON and isinstance(value, str):
        return sql_bindings.shown(value.encode())
    return sql_bindings.shown(value)


def _statement(sql: str, values: Sequence[Any]) -> tuple[str, list[Any] | None]:
    """The statement as the library wants it, and the values for it."""
    if not values:
        return sql, None
    count = 0

    def change(match: re.Match[str]) -> str:
        nonlocal count
        piece = match[0]
        if piece == "?":
            count += 1
            return "%s"
        return piece.replace("%", "%%")

    text = _piece.sub(change, sql)
    if count != len(values):
        raise BindingError(f"error executing query: sql: expected {count} arguments, got {len(values)}")
    for number, value in enumerate(values):
        if isinstance(value, list | dict):
            raise BindingError(f"error executing query: sql: converting argument ${number + 1} type: unsupported type")
    return text, [float(value) if isinstance(value, Decimal) else value for value in values]
