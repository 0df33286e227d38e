"""state.postgresql v2 keeps state in PostgreSQL, or what speaks as it does, as bytes, in the original's tables.

Sidecars of the original may share them. Etags are random (UUID), so that databases without transaction numbers do.
"""

import uuid
from typing import Any

from pydapr.components import component, option, options, state
from pydapr.components.drivers import postgresql, postgresql_state
from pydapr.components.state import ETagMismatch, Item, Set


@options
class Options(postgresql.Options):
    table_prefix: str = option("What the name of the table begins with; after it comes `state`.", default="")


@component("state.postgresql/v2", Options)
class PostgresqlV2(postgresql_state.Table):
    read_columns = "value, etag, expires_at"
    etag_column = "etag"
    end_column = "expires_at"

    def __init__(self, options: Options) -> None:
        super().__init__(options, f"{options.table_prefix}state")
        self._prefix = options.table_prefix

    async def _prepare(self) -> None:
        await self._database.open(f"migrations-state-v2-{self._prefix}", (self._make, self._number))

    def _cleanup_key(self) -> str:
        return f"last-cleanup-state-v2-{self._prefix}"

    async def _make(self, connection: "postgresql.Connection") -> None:
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (key text NOT NULL PRIMARY KEY, value bytea NOT NULL, "
            "etag uuid NOT NULL DEFAULT gen_random_uuid(), created_at timestamp with time zone NOT NULL DEFAULT now(), "
            "updated_at timestamp with time zone, expires_at timestamp with time zone)"
        )
        await connection.execute(f"CREATE INDEX ON {self._table} (expires_at)")

    async def _number(self, connection: "postgresql.Connection") -> None:
        await connection.execute(postgresql_state.ROW_ID.format(table=self._table, made="created_at"))

    def _set_sql(self, request: Set) -> str:
        end = "now() + $3::float8 * interval '1 second'"
        changes = f"value = $2, updated_at = now(), etag = gen_random_uuid(), expires_at = {end}"
        if request.etag:
            return f"UPDATE {self._table} SET {changes} WHERE key = $1 AND etag = $4 AND {self._lives}"
        sql = (
            f"INSERT INTO {self._table} AS t (key, value, etag, expires_at) VALUES ($1, $2, gen_random_uuid(), {end}) "
            f"ON CONFLICT (key) DO UPDATE SET {changes}"
        )
        if request.concurrency != state.FIRST_WRITE:
            return sql
        return f"{sql} WHERE t.expires_at IS NOT NULL AND t.expires_at <= now()"

    def _values(self, request: Set) -> tuple[object, ...]:
        return (request.value,)

    def _etag(self, text: str) -> object:
        """As with the original, what is no UUID is an etag that does not match."""
        try:
            return uuid.UUID(text)
        except ValueError:
            raise ETagMismatch(f"{text!r} is no UUID") from None

    def _item(self, row: Any) -> Item:
        _, value, etag, end = row
        return postgresql_state.ending(value, str(etag), end)
