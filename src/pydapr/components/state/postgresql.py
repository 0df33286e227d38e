"""state.postgresql keeps state in PostgreSQL as JSON, in the original's tables, which the original may share.

The etag is the number of the transaction that wrote a row (`xmin`). Version 2 has columns for any bytes instead.
"""

from pydapr.components import component, state
from pydapr.components.drivers import postgresql, postgresql_json, postgresql_state
from pydapr.components.drivers.postgresql_json import JsonTable
from pydapr.components.state import Set

Options = postgresql_json.Options


@component("state.postgresql", Options)
class Postgresql(JsonTable):
    etag_column = "xmin"

    async def _prepare(self) -> None:
        await self._database.open("migrations", (self._make, self._add_end, self._number))

    async def _make(self, connection: "postgresql.Connection") -> None:
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, "
            "isbinary boolean NOT NULL, insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), "
            "updatedate TIMESTAMP WITH TIME ZONE NULL)"
        )

    async def _add_end(self, connection: "postgresql.Connection") -> None:
        await connection.execute(f"ALTER TABLE {self._table} ADD expiredate TIMESTAMP WITH TIME ZONE")

    async def _number(self, connection: "postgresql.Connection") -> None:
        await connection.execute(postgresql_state.ROW_ID.format(table=self._table, made="insertdate"))

    def _set_sql(self, request: Set) -> str:
        end = "now() + $4::float8 * interval '1 second'"
        changes = f"value = $2, isbinary = $3, updatedate = now(), expiredate = {end}"
        if request.etag:
            return f"UPDATE {self._table} SET {changes} WHERE key = $1 AND xmin = $5 AND {self._lives}"
        sql = (
            f"INSERT INTO {self._table} AS t (key, value, isbinary, expiredate) VALUES ($1, $2, $3, {end}) "
            f"ON CONFLICT (key) DO UPDATE SET {changes}"
        )
        if request.concurrency != state.FIRST_WRITE:
            return sql
        return f"{sql} WHERE t.expiredate IS NOT NULL AND t.expiredate <= now()"
