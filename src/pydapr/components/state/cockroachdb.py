"""state.cockroachdb keeps state in CockroachDB as JSON, in the original's tables, which the original may share.

The etag counts the writes of a row. Version 2 of the type is `state.postgresql` v2 by another name.
"""

from collections.abc import Sequence

from pydapr.components import component, state
from pydapr.components.drivers import postgresql_json
from pydapr.components.drivers.postgresql_json import JsonTable
from pydapr.components.state import Set

Options = postgresql_json.Options


@component("state.cockroachdb", Options)
class Cockroachdb(JsonTable):
    etag_column = "etag"
    most_etag = 2**63 - 1

    async def _prepare(self) -> None:
        """Statement by statement, each of which may be done again: there is no migration that is counted.

        The lock is held by another connection, since CockroachDB does not change tables in the middle of transactions.
        """
        await self._database.open("migrations", ())
        async with self._database.lock():
            for sql in self._statements():
                await self._database.execute(sql)

    def _statements(self) -> Sequence[str]:
        table, index = self._table, self._table.rpartition(".")[2].strip('"')
        return (
            f"CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, "
            "isbinary boolean NOT NULL, etag INT, insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), "
            "updatedate TIMESTAMP WITH TIME ZONE NULL, expiredate TIMESTAMP WITH TIME ZONE NULL, "
            "row_id INT8 NOT NULL DEFAULT unique_rowid(), UNIQUE (row_id))",
            f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMPTZ NULL",
            f'CREATE INDEX IF NOT EXISTS "{index}_expiredate_idx" ON {table} (expiredate)',
            f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS row_id INT8",
            f"ALTER TABLE {table} ALTER COLUMN row_id SET DEFAULT unique_rowid()",
            f"UPDATE {table} SET row_id = unique_rowid() WHERE row_id IS NULL",
            f"ALTER TABLE {table} ALTER COLUMN row_id SET NOT NULL",
            f'CREATE UNIQUE INDEX IF NOT EXISTS "{index}_row_id_uidx" ON {table} (row_id)',
        )

    def _set_sql(self, request: Set) -> str:
        """The original gives every row that is written without an etag the etag 1 or 2, so that old ones fit again."""
        end = "now() + $4::float8 * interval '1 second'"
        changes = f"value = $2, isbinary = $3, updatedate = now(), expiredate = {end}"
        if request.etag:
            return f"UPDATE {self._table} SET {changes}, etag = etag + 1 WHERE key = $1 AND etag = $5 AND {self._lives}"
        sql = (
            f"INSERT INTO {self._table} AS t (key, value, isbinary, etag, expiredate) VALUES ($1, $2, $3, 1, {end}) "
            f"ON CONFLICT (key) DO UPDATE SET {changes}, etag = t.etag + 1"
        )
        if request.concurrency != state.FIRST_WRITE:
            return sql
        return f"{sql} WHERE t.expiredate IS NOT NULL AND t.expiredate <= now()"
