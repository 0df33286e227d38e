"""MySQL and MariaDB for components: connection strings of the original (Go's driver), a pool, errors as `Failed`.

Used by `state.mysql`. Home of `asyncmy` (an extra). A connection that was interrupted in the middle of something is not
used again.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pydapr.components import Wrong
from pydapr.lib.record import Record

if TYPE_CHECKING:
    import ssl

    from asyncmy.connection import Connection as Connection

IDENTIFIER = re.compile(r"[0-9A-Za-z_]+\Z")
DUPLICATE, DEADLOCK, DUPLICATE_INDEX, DUPLICATE_COLUMN = 1062, 1213, 1061, 1060
MOST = 16
"""How many connections there may be."""

_PASSING = frozenset({1040, 1053, 1205, DEADLOCK, 1927, 2003, 2006, 2013, 2014})
"""Errors of what may go well another time: too many, a server that ends, locks, lost connections."""

_INTERRUPTED = (OSError, EOFError, RuntimeError)
"""What the library raises, besides its own errors, when a connection ends on the way."""

_PLACE = re.compile(r"(?:(?P<way>tcp|unix)(?:\((?P<place>.*)\))?)?\Z", re.DOTALL)


class Failed(Exception):
    """The database did not do it. `is_passing` says that trying again may help."""

    def __init__(self, message: str, is_passing: bool, code: int = 0) -> None:
        super().__init__(message)
        self.is_passing, self.code = is_passing, code


class Place(Record):
    """Where a server is, and who we are there."""

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str = ""
    user: str = ""
    password: str = ""
    tls: str = ""
    """As the original's driver has it: `true`, `skip-verify`, `preferred`, `custom` (by `pemPath`); empty for none."""


def place(connection_string: str) -> Place:
    """What `user:password@tcp(host:port)/?tls=true` says; its database does not count. Raises `Wrong`."""
    before, slash, after = connection_string.rpartition("/")
    sign_in, _, way = before.rpartition("@")
    found = _PLACE.match(way)
    if not slash or found is None:
        raise Wrong("the connection string is none: user:password@tcp(host:port)/ is wanted")
    user, _, password = sign_in.partition(":")
    given = dict(parse_qsl(after.partition("?")[2]))
    tls = given.get("tls", "").lower()
    made = Place(user=user, password=password, tls="" if tls in ("false", "0") else tls)
    where = found["place"] or ""
    if found["way"] == "unix":
        return made.replace(socket=where or "/tmp/mysql.sock")
    host, colon, port = where.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = where, "3306"
    if not port.isdecimal():
        raise Wrong("the connection string has a port that is no number")
    return made.replace(host=host.strip("[]") or "127.0.0.1", port=int(port))


def tls_context(wanted: Place, pem_path: str) -> "ssl.SSLContext | None":
    """Raises `Wrong`, `OSError`."""
    if not wanted.tls:
        return None
    import ssl

    if wanted.tls == "custom":
        if not pem_path:
            raise Wrong("tls=custom needs the metadata property pemPath")
        try:
            return ssl.create_default_context(cafile=pem_path)
        except ssl.SSLError:
            raise Wrong(f"pemPath: {pem_path} holds no certificate in PEM form") from None
    if wanted.tls not in ("true", "1", "skip-verify", "preferred"):
        raise Wrong("the connection string has an unknown tls: true, skip-verify, preferred or custom is wanted")
    made = ssl.create_default_context()
    if wanted.tls in ("skip-verify", "preferred"):
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


class Database:
    """A pool of connections to one schema, each in autocommit. All methods raise `Failed`, within the timeout."""

    def __init__(self, where: Place, tls: "ssl.SSLContext | None", timeout: float) -> None:
        self._where, self._tls, self._timeout = where, tls, timeout
        self._schema = ""
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(MOST)
        self._is_closed = False

    def use(self, schema: str) -> None:
        """From now on connections have this schema."""
        self._drop_idle()
        self._schema = schema

    def close(self) -> None:
        self._is_closed = True
        self._drop_idle()

    async def fetch(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        async with self.connection() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, values)
            found: Sequence[Sequence[Any]] = await cursor.fetchall()
            return found

    async def execute(self, sql: str, *values: object) -> int:
        """How many rows it concerned."""
        async with self.connection() as connection:
            return await execute(connection, sql, *values)

    @contextlib.asynccontextmanager
    async def connection(self, seconds: float = 0.0) -> "AsyncIterator[Connection]":
        """For as long as `seconds`, or the timeout."""
        from asyncmy import errors

        within = seconds or self._timeout
        try:
            async with asyncio.timeout(within), self._free:
                connection = await self._take()
                is_whole = False
                try:
                    yield connection
                    is_whole = True
                except errors.MySQLError as error:
                    is_whole = _code(error) not in _PASSING
                    raise
                except _INTERRUPTED:
                    raise
                except Exception:
                    is_whole = True  # it is about what was read, not about the connection
                    raise
                finally:
                    if is_whole and not self._is_closed and not connection.get_transaction_status():
                        self._idle.append(connection)
                    else:
                        connection.close()
        except errors.MySQLError as error:
            raise Failed(_told(error), _code(error) in _PASSING, _code(error)) from None
        except TimeoutError:
            raise Failed(f"no answer within {within:g}s", True) from None
        except _INTERRUPTED as error:
            raise Failed(str(error) or "the connection was lost", True) from None

    # -- within --

    async def _take(self) -> "Connection":
        while self._idle:
            connection = self._idle.pop()
            # The library does not tell that the server has gone before it is asked for something.
            transport: asyncio.Transport | None = getattr(connection, "_transport", None)
            if transport is not None and not transport.is_closing():
                return connection
            connection.close()
        import asyncmy

        where = self._where
        return await asyncmy.connect(
            host=where.host, port=where.port, unix_socket=where.socket or None, user=where.user,
            password=where.password, database=self._schema or None, ssl=self._tls, charset="utf8mb4", autocommit=True,
            connect_timeout=max(int(self._timeout), 1),
        )  # fmt: skip

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


async def execute(connection: "Connection", sql: str, *values: object) -> int:
    """How many rows a statement concerned."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, values)
        assert isinstance(cursor.rowcount, int)
        return cursor.rowcount


def _code(error: Exception) -> int:
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def _told(error: Exception) -> str:
    return f"Error {_code(error)}: {error.args[1]}" if len(error.args) > 1 else str(error)
