"""nameresolution.local: the sidecars of one Dapr home in a small SQLite file, so that they meet without
multicast.

A row per sidecar, in the layout of Dapr's `nameresolution.sqlite` plus the process behind it. A sidecar
writes its row when it registers, renews it every few seconds and deletes it when it stops. A row counts when
its process lives (same machine) and its heartbeat is young; a late heartbeat is good enough only when nobody
else is left. All SQL runs on one worker thread; calls are answered from memory and what they read is renewed
behind them. The file holds nothing of value: when it is damaged it is set aside and begun anew, and when it
is gone everybody comes back with the next heartbeat.
"""

import asyncio
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pydapr.components.nameresolution import (
    Addresses,
    Bench,
    Clock,
    Instance,
    Log,
    NotFound,
    Resolver,
    host_port,
    is_loopback,
    process_started,
    this_machine,
)
from pydapr.lib.record import Record

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
Key = tuple[str, str]

FILE = "registry.db"
_FIELDS = {"component": "nr (local/v1)"}
_FRESH, _USABLE = 1.0, 5.0  # seconds: renewed behind the call after the first, not used after the second
_REMEMBERED = 1024  # names
_READ_WITHIN, _WRITE_WITHIN, _CLOSE_WITHIN = 0.5, 1.0, 0.5  # seconds a caller waits for the worker thread
_BUSY_MS, _KEEP_TRYING = 1000, 3.0
_BUSY, _LOCKED, _CORRUPT, _PROTOCOL, _NOT_A_DATABASE = 5, 6, 11, 15, 26  # SQLite's primary result codes

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS hosts (
    registration_id TEXT NOT NULL PRIMARY KEY,
    address TEXT NOT NULL,
    app_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    last_update INTEGER NOT NULL,
    machine TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0,
    started INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS hosts_address_idx ON hosts (address);
CREATE INDEX IF NOT EXISTS hosts_last_update_idx ON hosts (last_update);
PRAGMA user_version = 1;
COMMIT;
"""
_COLUMNS = "registration_id, address, app_id, namespace, last_update, machine, pid, started"
_PUT = f"REPLACE INTO hosts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_BACK = _PUT.replace("REPLACE", "INSERT OR IGNORE")


class Unavailable(Exception):
    """The registry cannot be read or written; the text says why."""


class Row(Record):
    id: str
    address: str
    app_id: str
    namespace: str
    last_update: int
    machine: str
    pid: int
    started: int


class Table:
    """The file; every method belongs to the worker thread and raises `Unavailable` only."""

    def __init__(self, path: str, expiry: float, wall: Clock, warn: Callable[[str], None]) -> None:
        self._path, self._expiry, self._wall, self._warn = path, expiry, wall, warn
        self._id, self._machine = os.urandom(16).hex(), this_machine()
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self.is_stopping = False

    def put(self, instance: Instance) -> None:
        row = self._own_row(instance)
        self._do(lambda db: db.execute(_PUT, row))
        self._bury()

    def renew(self, instance: Instance) -> None:
        row = self._own_row(instance)
        renewed = "UPDATE hosts SET last_update = ? WHERE registration_id = ?"
        if not self._do(lambda db: db.execute(renewed, (row[4], self._id)).rowcount):
            self._put_back(row)

    def live(self, app_id: str, namespace: str) -> Addresses:
        rows = [row for row in self._rows("WHERE app_id = ? ORDER BY rowid", app_id) if self._lives(row)]
        # Outside Kubernetes the original finds an app whatever its namespace; the own one goes first.
        rows = [row for row in rows if row.namespace == namespace] or rows
        young = [row.address for row in rows if self._is_young(row)]
        return tuple(young or [row.address for row in rows if row.machine == self._machine])

    def count(self) -> int:
        return sum(self._lives(row) and self._is_young(row) for row in self._rows())

    def close(self) -> None:
        """Deletes the own row; without patience, as a row of a dead process is ignored anyway."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA busy_timeout = 200")
            self._connection.execute("DELETE FROM hosts WHERE registration_id = ?", (self._id,))
        except Exception as error:  # sqlite3 is imported late; whatever it is, we are leaving
            self._warn(f"cannot leave the registry {self._path}: {error}")
        self._disconnect()

    def _own_row(self, instance: Instance) -> tuple[str | int, ...]:
        pid = os.getpid()
        where = (self._id, instance.address, instance.app_id, instance.namespace)
        return (*where, int(self._wall()), self._machine, pid, process_started(pid) or 0)

    def _put_back(self, row: tuple[str | int, ...]) -> None:
        """Somebody removed our row. If another sidecar has our address, two machines share this file."""
        if not self._do(lambda db: db.execute(_PUT_BACK, row).rowcount):
            self._warn(f"another sidecar has registered the address {row[1]} in {self._path}")

    def _rows(self, where: str = "", *values: str) -> list[Row]:
        query = f"SELECT {_COLUMNS} FROM hosts {where}"
        return [Row(*found) for found in self._do(lambda db: db.execute(query, values).fetchall())]

    def _lives(self, row: Row) -> bool:
        if row.machine != self._machine or row.pid <= 0:
            return self._is_young(row) and not is_loopback(host_port(row.address)[0])
        started = process_started(row.pid)
        return started is not None and (started == row.started or not started or not row.started)

    def _is_young(self, row: Row) -> bool:
        return abs(self._wall() - row.last_update) < self._expiry

    def _bury(self) -> None:
        dead = [(row.id,) for row in self._rows() if not self._lives(row)]
        if dead:
            self._do(lambda db: db.executemany("DELETE FROM hosts WHERE registration_id = ?", dead))

    def _do(self, work: Callable[["sqlite3.Connection"], T]) -> T:
        """Waits for others, replaces what is damaged, tries anything else once more, then gives up."""
        import sqlite3

        give_up, tries = time.monotonic() + _KEEP_TRYING, 0
        damage: Exception | None = None
        while True:
            try:
                if damage is not None:
                    self._set_aside(damage)
                return work(self._connected())
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                damage = error if code in (_CORRUPT, _NOT_A_DATABASE) else None
                tries += code not in (_BUSY, _LOCKED, _PROTOCOL)
                if tries > 2 or self.is_stopping or time.monotonic() > give_up:
                    raise Unavailable(str(error)) from error
            time.sleep(0.01)

    def _connected(self) -> "sqlite3.Connection":
        if self._connection is not None and self._identity == _identity(self._path):
            return self._connection
        self._disconnect()
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        self._connection = _connect(self._path)
        self._identity = _identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _set_aside(self, error: Exception) -> None:
        """Renames the damaged file, unless somebody else has just put a new one in its place."""
        folder = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY)
        try:
            _lock(folder)
            if not _is_damaged(self._path):
                return
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self._path + suffix):
                    os.replace(self._path + suffix, f"{self._path}.corrupt{suffix}")
            self._warn(f"the registry {self._path} was damaged ({error}); moved to {self._path}.corrupt, begun anew")
        finally:
            os.close(folder)


def _connect(path: str) -> "sqlite3.Connection":
    import sqlite3

    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damaged(path: str) -> bool:
    import sqlite3

    try:
        connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000)
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return error.sqlite_errorcode & 0xFF in (_CORRUPT, _NOT_A_DATABASE)


def _identity(path: str) -> tuple[int, int]:
    """Tells a file from its successor of the same name."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _lock(folder: int) -> None:
    """Until the descriptor is closed. Without it two sidecars may both move the file, which heals."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(folder, fcntl.LOCK_EX)


class Remembered:
    """What the registry said about one name."""

    __slots__ = ("addresses", "read", "read_at", "reading")

    def __init__(self) -> None:
        self.read: Addresses = ()  # as the registry has it
        self.addresses: Addresses = ()  # without those that sit out
        self.read_at = float("-inf")
        self.reading: asyncio.Future[Addresses] | None = None


class Local(Resolver):
    def __init__(
        self,
        home: str | os.PathLike[str],
        log: Log,
        *,
        heartbeat: float = 5.0,
        expiry: float = 20.0,
        wall: Clock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self.path = os.path.join(os.fspath(home), FILE)
        self._log, self._heartbeat, self._clock = log, heartbeat, clock
        self._table = Table(self.path, expiry, wall, self._warn_from_thread)
        self._bench = Bench(clock)
        self._names: dict[Key, Remembered] = {}
        self._instance: Instance | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trouble = ""

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, "registry")

    async def register(self, instance: Instance) -> None:
        self._instance = instance
        writing = self._in_thread(self._table.put, instance)
        writing.add_done_callback(self._went_well)
        await asyncio.wait({writing}, timeout=_WRITE_WITHIN)
        self._timer = self._loop.call_later(self._heartbeat, self._beat)

    def known(self, app_id: str, namespace: str) -> Addresses:
        name = self._names.get((app_id, namespace))
        if name is None:
            return ()
        age = self._clock() - name.read_at
        if age < _FRESH:
            return name.addresses
        self._read(app_id, namespace)
        return name.addresses if age < _USABLE else ()

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        if found := self.known(app_id, namespace):
            return found
        reading = self._read(app_id, namespace)
        await asyncio.wait({reading}, timeout=_READ_WITHIN)
        if reading.done() and not reading.exception() and reading.result():
            return self._bench.without(reading.result())
        raise NotFound(app_id, (await self._place(reading),))

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self._bench.add(address)
        name = self._names.get((app_id, namespace))
        if name is not None:
            name.addresses = self._bench.without(name.read)
            self._read(app_id, namespace)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._table.is_stopping = True
        closing = self._loop.run_in_executor(thread, self._table.close)
        thread.shutdown(wait=False)
        await asyncio.wait({closing}, timeout=_CLOSE_WITHIN)

    def _in_thread(self, work: Callable[..., T], *values: object) -> asyncio.Future[T]:
        if self._thread is not None:
            return self._loop.run_in_executor(self._thread, functools.partial(work, *values))
        closed: asyncio.Future[T] = self._loop.create_future()
        closed.set_exception(Unavailable("closed"))
        return closed

    def _read(self, app_id: str, namespace: str) -> asyncio.Future[Addresses]:
        """One reading at a time for each name; those who come meanwhile share it."""
        key = (app_id, namespace)
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= _REMEMBERED:
                del self._names[next(iter(self._names))]
            name = self._names[key] = Remembered()
        if name.reading is None:
            name.reading = self._in_thread(self._table.live, app_id, namespace)
            name.reading.add_done_callback(functools.partial(self._after_read, name))
        return name.reading

    def _after_read(self, name: Remembered, reading: asyncio.Future[Addresses]) -> None:
        name.reading = None
        if self._went_well(reading):
            name.read, name.read_at = reading.result(), self._clock()
            addresses = self._bench.without(name.read)
            if addresses != name.addresses:
                name.addresses = addresses

    def _beat(self) -> None:
        writing = self._in_thread(self._table.renew, self._instance)
        writing.add_done_callback(self._went_well)
        self._timer = self._loop.call_later(self._heartbeat, self._beat)

    def _went_well(self, done: asyncio.Future[T]) -> bool:
        """Warns once per outage; anything but `Unavailable` is our fault and goes to the loop's handler."""
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, Unavailable):
            raise error
        if error is not None and not self._trouble and self._thread is not None:
            self._log.warning(f"no registry of sidecars at {self.path}: {error}", **_FIELDS)
        self._trouble = str(error or "")
        return error is None and not done.cancelled()

    async def _place(self, reading: asyncio.Future[Addresses]) -> str:
        if not reading.done():
            return f"registry {self.path} (no answer for {_READ_WITHIN} s)"
        if error := reading.exception():
            return f"registry {self.path} ({error})"
        counting = self._in_thread(self._table.count)
        counting.add_done_callback(self._went_well)
        await asyncio.wait({counting}, timeout=0.1)
        if not counting.done() or counting.exception():
            return f"registry {self.path}"
        return f"registry {self.path} ({counting.result()} sidecar{'s' * (counting.result() != 1)})"

    def _warn_from_thread(self, text: str) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(functools.partial(self._log.warning, text, **_FIELDS))
