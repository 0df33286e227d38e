"""bindings.postgres has the app send SQL to PostgreSQL: `exec`, `query`, and `close`, after which nothing goes.

Metadata of the request are `sql` and `params`, a JSON array for `$1`, `$2`, …. Rows come as arrays.
"""

import dataclasses
import json
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pydapr.components import Seconds, component, option, options
from pydapr.components.bindings import BindingError
from pydapr.components.drivers import postgresql, sql_bindings


@options
class Options:
    connection_string: str = option(
        "How to reach the database, as `key=value` pairs or a URL.", default="", aliases=("url",)
    )
    host: str = option("The server; as the following, in place of what `connectionString` says.", default="")
    hostaddr: str = option("The server's address.", default="")
    port: str = option("The server's port.", default="")
    database: str = option("The database.", default="")
    user: str = option("The user.", default="")
    password: str = option("The password.", default="")
    ssl_root_cert: str = option("A file with the certificates to trust.", default="")
    timeout: Seconds = option("How long connecting may take.", default=Seconds(20), aliases=("timeoutInSeconds",))
    max_conns: int = option("How many connections there may be.", default=0)
    connection_max_idle_time: Seconds = option("How long a connection may be idle.", default=Seconds(0))
    query_exec_mode: str = option(
        "`exec` and the like keep no prepared statements, for proxies such as PgBouncer.", default=""
    )
    use_azure_ad: bool = option("Sign in with Azure AD: refused, it is not available.", default=False)
    use_aws_iam: bool = option("Sign in with AWS IAM: refused, it is not available.", default=False)


@component("bindings.postgres", Options)
class Postgres(sql_bindings.SqlBinding):
    def __init__(self, given: Options) -> None:
        super().__init__()
        names = [field.name for field in dataclasses.fields(given)]
        self._database = postgresql.Database(postgresql.Options(**{name: getattr(given, name) for name in names}))

    async def open(self) -> None:
        try:
            await self._database.connect()
        except postgresql.Failed as error:
            raise OSError(f"unable to connect to the DB: {error}") from None

    async def close(self) -> None:
        await self._database.close()

    async def exec(self, sql: str, values: Sequence[Any]) -> int:
        try:
            async with self._database.connection(self.seconds) as connection:
                if not values:
                    return await postgresql.execute(connection, sql)
                statement = await connection.prepare(sql)
                await statement.fetch(*_arguments(statement, values))
                last = str(statement.get_statusmsg()).rpartition(" ")[2]
                return int(last) if last.isdecimal() else 0
        except (postgresql.Failed, ValueError, TypeError, ArithmeticError) as error:
            raise _failed(error) from None

    async def query(self, sql: str, values: Sequence[Any]) -> Sequence[Any]:
        try:
            async with self._database.connection(self.seconds) as connection:
                statement = await connection.prepare(sql)
                rows = await statement.fetch(*_arguments(statement, values))
                kinds = [one.type.name for one in statement.get_attributes()]
        except (postgresql.Failed, ValueError, TypeError, ArithmeticError) as error:
            raise _failed(error) from None
        return [[_shown(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in rows]


def _shown(value: Any, kind: str) -> Any:
    if value is not None and kind in ("json", "jsonb"):
        return json.loads(value)
    if isinstance(value, Decimal):
        return value
    if isinstance(value, IPv4Address | IPv6Address):
        return f"{value}/{value.max_prefixlen}"
    return sql_bindings.shown(value)


def _failed(error: Exception) -> BindingError:
    is_told = isinstance(error, postgresql.Failed) and error.state
    return BindingError(f"error executing query: {'ERROR: ' if is_told else ''}{error}")


# -- parameters: the library wants values of the types that the statement has --


def _arguments(statement: Any, values: Sequence[Any]) -> list[Any]:
    wanted = [one.name for one in statement.get_parameters()]
    if len(wanted) != len(values):
        raise ValueError(f"expected {len(wanted)} arguments, got {len(values)}")
    return [_argument(value, kind) for value, kind in zip(values, wanted, strict=True)]


def _argument(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind.endswith("[]"):
        return [_argument(one, kind[:-2]) for one in value] if isinstance(value, list) else value
    if kind in ("json", "jsonb"):
        return value if isinstance(value, str) else json.dumps(value, default=float)
    if kind in ("int2", "int4", "int8", "oid"):
        number = Decimal(value) if isinstance(value, str | Decimal) else value
        if number != int(number):
            raise ValueError(f"{value} is no whole number")
        return int(number)
    if kind in ("float4", "float8"):
        return float(value)
    if kind == "numeric":
        return Decimal(value)
    if kind == "bool":
        return value if isinstance(value, bool) else str(value).lower() in ("t", "true", "1", "on", "y", "yes")
    if isinstance(value, str):
        return _from_text(value, kind)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal) else value


def _from_text(value: str, kind: str) -> Any:
    if kind in ("timestamp", "timestamptz"):
        moment = datetime.fromisoformat(value)
        if kind == "timestamp":
            return moment.replace(tzinfo=None)
        return moment if moment.tzinfo is not None else moment.astimezone()
    if kind == "date":
        return date.fromisoformat(value[:10])
    if kind in ("time", "timetz"):
        return time.fromisoformat(value)
    if kind == "bytea":
        return bytes.fromhex(value[2:]) if value.startswith("\\x") else value.encode()
    return value
