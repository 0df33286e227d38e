"""PostgreSQL for components: how to reach it by the original's metadata, a pool, migrations, removal of what has ended.

Used by `drivers.postgresql_state`. Home of `asyncpg` (an extra). Errors of library and server become `Failed` here.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pydapr.components import Seconds, Wrong, option, options
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    Connection = Any
    """Of asyncpg, which has no types."""

log = logging.get("dapr.contrib")

TABLE = re.compile(r'(?:[A-Za-z_][\w$]*|"[^"\0]+")(?:\.(?:[A-Za-z_][\w$]*|"[^"\0]+"))?\Z', re.ASCII)
"""A name of a table, with or without its schema."""

_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)")
_URLS = ("postgres://", "postgresql://")
_OURS = (
    "pool_",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "description_cache_capacity",
    "connect_timeout",
)
_MODES = {"": 100, "cache_statement": 100, "cache_describe": 100, "describe_exec": 0, "exec": 0, "simple_protocol": 0}
"""How many prepared statements a connection keeps, by what the original calls it."""

_POOL = 4
_PASSING = ("40001", "40P01", "57P01", "57P02", "57P03", "53300")
"""SQLSTATEs of what may go well another time: serialization, deadlock, a server that ends or begins, too many."""

_ALREADY = ("23505", "42710", "42P07")
"""SQLSTATEs of what another is just making."""

_CLEANING_SECONDS = 600.0

RELEASE_SECONDS = 3.0
"""How long a server has to get a connection ready for the next use."""


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
    metadata_table_name: str = option("The table that tells the layout.", default="dapr_metadata")
    timeout: Seconds = option("How long any call may take.", default=Seconds(20), aliases=("timeoutInSeconds",))
    cleanup_interval: Seconds | None = option(
        "How often values are removed whose time is over, 0 for never.",
        default=Seconds(3600),
        aliases=("cleanupIntervalInSeconds",),
    )
    max_conns: int = option("How many connections there may be.", default=0)
    connection_max_idle_time: Seconds = option("How long a connection may be idle.", default=Seconds(0))
    query_exec_mode: str = option(
        "`exec` and the like keep no prepared statements, for proxies such as PgBouncer.", default=""
    )
    use_azure_ad: bool = option("Sign in with Azure AD: refused, it is not available.", default=False)
    use_aws_iam: bool = option("Sign in with AWS IAM: refused, it is not available.", default=False)


class Failed(Exception):
    """The database did not do it. `is_passing` says that trying again may help, `state` is its code (SQLSTATE)."""

    def __init__(self, message: str, is_passing: bool, state: str = "") -> None:
        super().__init__(message)
        self.is_passing, self.state = is_passing, state


Migration = Callable[["Connection"], Awaitable[None]]


class Database:
    """A pool of connections. All methods raise `Failed`, within the timeout."""

    def __init__(self, given: Options) -> None:
        if given.timeout < 1:
            raise Wrong("invalid value for 'timeout': must be greater than 1s")
        if given.use_azure_ad or given.use_aws_iam:
            raise Wrong("useAzureAD, useAWSIAM: signing in with Azure AD or AWS IAM is not available")
        if given.query_exec_mode not in _MODES:
            raise Wrong(f"invalid queryExecMode metadata value: {given.query_exec_mode}")
        if not TABLE.match(given.metadata_table_name):
            raise Wrong(f"invalid identifier: {given.metadata_table_name}")
        self._url, pool = address(given)
        self._most = given.max_conns if given.max_conns > 1 else max(pool, 2) if pool else _POOL
        self._idle = float(given.connection_max_idle_time) or 1800.0
        self._statements = _MODES[given.query_exec_mode]
        self._timeout = float(given.timeout)
        self._about = given.metadata_table_name
        self._pool: Any = None
        self._cleaning: asyncio.Task[None] | None = None

    async def open(self, key: str, migrations: Sequence[Migration]) -> None:
        """Connects, and does those migrations that have not been done; `key` is where their number stands."""
        await self.connect()
        await self._make_metadata_table()
        await self._migrate(key, migrations)

    async def connect(self) -> None:
        """Connects, and has no table of ours."""
        import asyncpg

        async with self.errors():
            try:
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=1, max_size=self._most, timeout=self._timeout,
                    max_inactive_connection_lifetime=self._idle, statement_cache_size=self._statements,
                )  # fmt: skip
            except (ValueError, asyncpg.InterfaceError) as error:
                raise Failed(f"failed to parse connection string: {error}", False) from None

    async def close(self) -> None:
        await tasks.stop((self._cleaning,))
        self._cleaning = None
        if self._pool is not None:
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self, seconds: float = 0.0) -> "AsyncIterator[Connection]":
        """For as long as `seconds`, or the timeout."""
        import asyncpg

        async with self.errors(seconds):
            connection = await self._pool.acquire()
            try:
                yield connection
            finally:
                # one whose server has stopped answering is thrown away, which takes nothing from what came of it
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await self._pool.release(connection, timeout=RELEASE_SECONDS)

    @contextlib.asynccontextmanager
    async def lock(self) -> "AsyncIterator[Connection]":
        """A transaction during which no other sidecar changes tables: the original takes the row `lock` for it, too."""
        about = self._about
        await self.execute(f"INSERT INTO {about} (key, value) VALUES ('lock', 'lock') ON CONFLICT (key) DO NOTHING")
        async with self.connection() as connection, connection.transaction():
            await connection.fetch(f"SELECT value FROM {about} WHERE key = 'lock' FOR UPDATE")
            yield connection

    async def own_connection(self) -> "Connection":
        """A connection outside of the pool, such as one that listens; whoever gets it closes it."""
        import asyncpg

        async with self.errors():
            return await asyncpg.connect(self._url, timeout=self._timeout, statement_cache_size=0)

    async def fetch(self, sql: str, *values: object) -> Sequence[Any]:
        async with self.connection() as connection:
            found: Sequence[Any] = await connection.fetch(sql, *values)
            return found

    async def execute(self, sql: str, *values: object) -> int:
        """How many rows it concerned."""
        async with self.connection() as connection:
            return await execute(connection, sql, *values)

    def clean(self, key: str, ended: str, interval: float | None) -> None:
        """From now on removes what `ended` removes; of the sidecars that share the tables one does in each interval."""
        if interval is None or interval <= 0:
            return
        log.info(f"Schedule expired data clean up every {interval:g}s")
        self._cleaning = asyncio.create_task(self._clean(key, ended, interval))

    # -- within --

    @contextlib.asynccontextmanager
    async def errors(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """Raises as `Failed` what the library raises within, and when it takes longer than `seconds` or the timeout."""
        import asyncpg

        try:
            async with asyncio.timeout(seconds or self._timeout):
                yield
        except asyncpg.PostgresError as error:
            state = str(getattr(error, "sqlstate", "") or "")
            raise Failed(f"{error} (SQLSTATE {state})", state in _PASSING or state.startswith("08"), state) from None
        except TimeoutError:
            raise Failed(f"no answer within {seconds or self._timeout:g}s", True) from None
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise Failed(str(error), True) from None

    async def _migrate(self, key: str, migrations: Sequence[Migration]) -> None:
        about = self._about
        async with self.lock() as connection:
            row = await connection.fetchrow(f"SELECT value FROM {about} WHERE key = $1", key)
            text = row[0] if row is not None else "0"
            if not text.isdecimal():
                raise Failed(f"invalid migration level found in metadata table: {text}", False)
            for number, migration in enumerate(migrations[int(text) :], int(text) + 1):
                log.info(f"Performing migration {number}")
                await migration(connection)
                await connection.execute(
                    f"INSERT INTO {about} (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2",
                    key,
                    str(number),
                )

    async def _make_metadata_table(self) -> None:
        """Two that make it at once may fail, even with IF NOT EXISTS."""
        sql = f"CREATE TABLE IF NOT EXISTS {self._about} (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
        for is_last in (*[False] * 9, True):
            try:
                await self.execute(sql)
            except Failed as error:
                if is_last or error.state not in _ALREADY:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def _clean(self, key: str, ended: str, interval: float) -> None:
        about, milliseconds = self._about, int(interval * 1000) - 100
        turn = (
            f"INSERT INTO {about} (key, value) VALUES ($1, now()::text) "
            "ON CONFLICT (key) DO UPDATE SET value = now()::text "
            f"WHERE (EXTRACT('epoch' FROM now() - {about}.value::timestamp with time zone) * 1000)::bigint > $2"
        )
        while True:
            await asyncio.sleep(interval)
            try:
                if not await self.execute(turn, key, milliseconds):
                    continue
                async with self.errors(_CLEANING_SECONDS), self._pool.acquire() as connection:
                    removed = await execute(connection, ended)
            except Failed as error:
                log.error(f"Error removing expired data: {error}")
            else:
                log.info(f"Removed {removed} expired rows")


async def execute(connection: "Connection", sql: str, *values: object) -> int:
    """How many rows a statement concerned."""
    told: str = await connection.execute(sql, *values)
    last = told.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def address(given: Options) -> tuple[str, int]:
    """The URL of a database for asyncpg, and how many connections it asks for, 0 when it does not. Raises `Wrong`."""
    text = given.connection_string.strip()
    found = _of_url(text) if text.startswith(_URLS) else _of_pairs(text)
    own = {
        "host": given.hostaddr or given.host, "port": given.port, "database": given.database, "user": given.user,
        "password": given.password, "sslrootcert": given.ssl_root_cert,
    }  # fmt: skip
    found.update({name: value for name, value in own.items() if value})
    if not found:
        raise Wrong("failed to build connection string: connectionString or host is required")
    pool = found.get("pool_max_conns", "")
    kept = {name: value for name, value in found.items() if not name.startswith(_OURS)}
    return f"postgresql://?{urlencode(kept, quote_via=quote)}", int(pool) if pool.isdecimal() else 0


def _of_pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        pair = _PAIR.match(text, at)
        if pair is None:
            raise Wrong("failed to parse connection string: pairs such as host=localhost are wanted")
        name, value = pair[1], pair[2]
        if value.startswith("'"):
            value = value[1:-1]
        found[name] = re.sub(r"\\(.)", r"\1", value)
        at = pair.end()
    return _plainly_named(found)


def _of_url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    place = parts.netloc.rpartition("@")[2]
    found: dict[str, str] = {}
    hosts = [one.rpartition(":") if re.search(r":\d+\Z", one) else (one, "", "") for one in place.split(",") if one]
    if hosts:
        found["host"] = ",".join(host.strip("[]") for host, _, _ in hosts)
        if any(port for _, _, port in hosts):
            found["port"] = ",".join(port or "5432" for _, _, port in hosts)
    if parts.path.strip("/"):
        found["database"] = unquote(parts.path.strip("/"))
    if "@" in parts.netloc:
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        found.update({name: unquote(value) for name, value in (("user", user), ("password", password)) if value})
    return {**found, **_plainly_named(dict(parse_qsl(parts.query)))}


def _plainly_named(found: dict[str, str]) -> dict[str, str]:
    """The same with one name for what has two."""
    for name, plain in (("dbname", "database"), ("hostaddr", "host")):
        if name in found:
            found[plain] = found.pop(name)
    return found
