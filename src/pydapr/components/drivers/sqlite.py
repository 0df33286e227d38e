"""A SQLite file that several processes may share, for components: reads and writes each on a thread of their own.

Writes that arrive while others are carried out go into one transaction together, so that a flush of the disk serves
many; each is answered when it is committed. Several connections of one process to a database in memory would stand in
each other's way: there, reads are made between the writes.
"""

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlencode

from pydapr.components import Wrong
from pydapr.lib.record import Record

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
_File = tuple[int, int] | None

_GONE = (-1, -1)
"""Another file than any."""
Work = Callable[["sqlite3.Connection"], T]

IDENTIFIER = re.compile(r"[0-9A-Za-z_]+\Z")
_PRAGMA = re.compile(r"[A-Za-z_]+(?:\([\w-]*\)|=[\w-]*)?\Z")
_FORBIDDEN = {"busy_timeout": "busyTimeout", "journal_mode": "disableWAL", "foreign_keys": ""}

MOST = 256
"""Writes that share a transaction at most: the first of them waits for the last."""

_PAUSE = 0.005


_FULL = 13
"""SQLite's code for a file, or a disk, that has no room."""


class Failed(Exception):
    """The database did not do it. `is_passing` says that trying again may help."""

    def __init__(self, message: str, is_passing: bool) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class Full(Failed):
    """The file, or the disk that it is on, has no room."""


class Place(Record):
    """Where a database is, and the pragmas that a connection to it begins with."""

    uri: str
    pragmas: tuple[str, ...]
    is_in_memory: bool
    path: str
    """For messages."""
    file: str = ""
    """As the system knows it; empty for none."""


def place(connection_string: str, disable_wal: bool) -> Place:
    """What a connection string of the original says. Raises `Wrong`."""
    path, _, query = connection_string.partition("?")
    is_in_memory = path.lower().startswith((":memory:", "file::memory:"))
    wanted = parse_qs(query)
    pragmas = wanted.pop("_pragma", [])
    wanted.pop("_txlock", None)
    for pragma in pragmas:
        name = next((name for name in _FORBIDDEN if pragma.lower().startswith(name)), "")
        if name or not _PRAGMA.match(pragma):
            instead = f"; please use `{_FORBIDDEN[name]}` instead" if _FORBIDDEN.get(name) else ""
            raise Wrong(f"found forbidden option '_pragma={pragma}' in the connection string{instead}")
    if is_in_memory:
        wanted["cache"] = ["shared"]
    is_read_only = wanted.get("mode", [""])[0] == "ro" or wanted.get("immutable", [""])[0] == "1"
    journal = "MEMORY" if is_in_memory else "DELETE" if disable_wal or is_read_only else "WAL"
    uri = path if path.lower().startswith("file:") else f"file:{path}"
    return Place(
        f"{uri}?{urlencode(wanted, doseq=True)}",
        (f"journal_mode({journal})", "synchronous(FULL)", *pragmas),
        is_in_memory,
        path,
        _file_of(uri, is_in_memory),
    )


def _file_of(uri: str, is_in_memory: bool) -> str:
    """The path that SQLite reads from a URI."""
    path = uri.removeprefix("file:")
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]  # behind the authority, which is empty, or this machine
    return "" if is_in_memory else os.path.abspath(unquote(path.partition("#")[0]))


def connect(where: Place, busy: float) -> "sqlite3.Connection":
    """A connection that waits `busy` seconds for others who write. Raises `sqlite3.Error`."""
    import sqlite3

    busy = max(busy, 0.0)
    db = sqlite3.connect(where.uri, uri=True, timeout=busy, isolation_level=None)
    try:
        patience = time.monotonic() + busy
        for pragma in where.pragmas:
            # A change of the journal does not heed the busy timeout, and several sidecars may start at once.
            while True:
                try:
                    db.execute(f"PRAGMA {pragma}")
                    break
                except sqlite3.OperationalError as error:
                    if not is_locked(error) or time.monotonic() >= patience:
                        raise
                    time.sleep(_PAUSE)
    except BaseException:
        db.close()
        raise
    return db


def is_locked(error: "sqlite3.Error") -> bool:
    """Whether others who write are in the way."""
    return "locked" in str(error) or "busy" in str(error)


class _Job:
    """Work for a thread, and who waits for its result."""

    __slots__ = ("future", "is_several", "outcome", "work")

    def __init__(self, work: Work[Any], future: "asyncio.Future[Any]", is_several: bool) -> None:
        self.work, self.future, self.is_several = work, future, is_several
        self.outcome: Any = None


class Database:
    """An open database. `refusals` are what work raises when it has changed nothing, and does not want to.

    `timeout` bounds every call, which raises `Failed` then; the work may still happen. Without `reads_apart` reads are
    made between the writes.
    """

    def __init__(
        self, where: Place, busy: float, timeout: float, *refusals: type[Exception], reads_apart: bool = True
    ) -> None:
        self._where, self._busy, self._timeout = where, busy, timeout
        self._refusals = refusals
        self._writes: SimpleQueue[_Job | None] = SimpleQueue()
        has_reads = reads_apart and not where.is_in_memory
        self._reads = SimpleQueue[_Job | None]() if has_reads else self._writes
        self._is_open = False
        self._prepare: Work[None] | None = None
        """What is done first, while nothing has been asked yet."""

        self._tables: Work[None] | None = None
        """What is done first with a file that has come in the place of another."""
        self._connecting: asyncio.Task[None] | None = None
        self._ended: list[tuple[SimpleQueue[_Job | None], asyncio.Future[None]]] = []
        """What each thread gets its work from, and what is done when it is over."""

    async def open(self, prepare: Work[None], on_use: bool = False) -> None:
        """Connects, and has `prepare` make the tables, within one exclusive transaction. Raises `Failed`.

        With `on_use` that is done when something is asked for the first time, and once more if it fails.
        """
        self._is_open = True
        self._prepare = self._tables = prepare
        if not on_use:
            await self._connect()

    async def _connect(self) -> None:
        """For all who ask at once, and whoever of them gives up."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._start_all())
        connecting = self._connecting
        connecting.add_done_callback(_look)
        await asyncio.wait((connecting,))
        if self._connecting is connecting:
            self._connecting = None
        connecting.result()

    async def _start_all(self) -> None:
        if self._prepare is None:
            return
        loop = asyncio.get_running_loop()
        await self._start(loop, self._writes, self._prepare)
        if self._reads is not self._writes and self._is_open:
            try:
                await self._start(loop, self._reads, None)
            except Failed:
                self._writes.put(None)
                raise
        self._prepare = None

    async def _start(
        self, loop: asyncio.AbstractEventLoop, queue: "SimpleQueue[_Job | None]", prepare: Work[None] | None
    ) -> None:
        connected, ended = loop.create_future(), loop.create_future()

        def run() -> None:
            try:
                self._serve(loop, queue, prepare, connected)
            finally:
                _call(loop, _succeed, ended)

        # Not of asyncio's own pool, which the end of the process waits for, however long the disk hangs.
        threading.Thread(target=run, name="sqlite", daemon=True).start()
        self._ended.append((queue, ended))
        try:
            await connected
        except Failed:
            self._ended = [one for one in self._ended if one[1] is not ended]  # it reads nothing more
            raise

    async def close(self) -> None:
        """Ends after what was begun; waits for it no longer than for any call."""
        self._is_open, self._prepare = False, None
        ended, self._ended = self._ended, []
        for queue, _ in ended:
            queue.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await asyncio.gather(*(future for _, future in ended))
                if self._connecting is not None:
                    await asyncio.wait((self._connecting,))

    async def write(self, work: Work[T], is_several: bool = False) -> T:
        """The result of `work`, which is committed then. `is_several` if it has statements that hold all or none."""
        return await self._done(self._writes, work, is_several)

    async def read(self, work: Work[T]) -> T:
        """The result of `work`, which sees all that was committed before."""
        return await self._done(self._reads, work, False)

    async def _done(self, queue: "SimpleQueue[_Job | None]", work: Work[T], is_several: bool) -> T:
        if not self._is_open:
            raise Failed("the database is not open", False)
        if self._prepare is not None:
            await self._connect()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.put(_Job(work, future, is_several))
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            raise Failed(f"database error: no answer within {self._timeout:g} s", True) from None

    # -- on the threads --

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        queue: "SimpleQueue[_Job | None]",
        prepare: Work[None] | None,
        connected: "asyncio.Future[None]",
    ) -> None:
        try:
            db, file = self._connected(prepare)
        except Exception as error:  # whatever it is, it belongs to who waits
            _call(loop, _fail, connected, Failed(str(error), False))
            return
        _call(loop, _succeed, connected)
        carry_out = self._write if queue is self._writes else self._read
        try:
            is_last = False
            while not is_last:
                jobs: list[_Job] = []
                while len(jobs) < MOST and not is_last and (not jobs or not queue.empty()):
                    job = queue.get()
                    is_last = job is None
                    # Nobody waits for what was cancelled before its turn.
                    if job is not None and not job.future.cancelled():
                        jobs.append(job)
                try:
                    if jobs and self._file() != file:
                        # Somebody has taken the file away, or put another in its place: what is written into the
                        # old one from now on nobody would ever find.
                        db.close()
                        file = _GONE
                        db, file = self._connected(self._tables)
                except Exception as error:
                    for job in jobs:
                        job.outcome = Failed(f"the file was taken away: {error}", True)
                else:
                    carry_out(db, jobs)
                _call(loop, _settle, jobs)
        finally:
            db.close()

    def _connected(self, prepare: Work[None] | None) -> "tuple[sqlite3.Connection, _File]":
        """A connection, after `prepare`, and the file that it is to."""
        db = connect(self._where, self._busy)
        try:
            if prepare is not None:
                self._transact(db, "BEGIN EXCLUSIVE", lambda: prepare(db), lambda: self._is_open)
            return db, self._file()
        except BaseException:
            db.close()
            raise

    def _file(self) -> "_File":
        """The file that stands where this database is; None if none does."""
        if not self._where.file:
            return None
        try:
            found = os.stat(self._where.file)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _read(self, db: "sqlite3.Connection", jobs: list[_Job]) -> None:
        for job in jobs:
            try:
                job.outcome = job.work(db)
            except Exception as error:
                job.outcome = _failure(error, self._refusals)

    def _write(self, db: "sqlite3.Connection", jobs: list[_Job]) -> None:
        """All jobs in one transaction; each by itself if one of them stands in the way of the others."""
        if not jobs:
            return
        try:
            self._transact(db, "BEGIN IMMEDIATE", lambda: self._each(db, jobs))
        except Exception as error:
            if len(jobs) > 1 and not isinstance(error, Failed):
                for job in jobs:
                    self._write(db, [job])
                return
            for job in jobs:
                job.outcome = _failure(error, self._refusals)

    def _each(self, db: "sqlite3.Connection", jobs: list[_Job]) -> None:
        for job in jobs:
            if not job.is_several:
                try:
                    job.outcome = job.work(db)
                except self._refusals as error:
                    job.outcome = error
                continue
            db.execute("SAVEPOINT job")
            try:
                job.outcome = job.work(db)
            except self._refusals as error:
                db.execute("ROLLBACK TO job")
                job.outcome = error
            db.execute("RELEASE job")

    def _transact(
        self,
        db: "sqlite3.Connection",
        begin: str,
        work: Callable[[], None],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Raises `Failed` when others kept the database locked all the time, else what came up."""
        import sqlite3

        end = time.monotonic() + self._timeout
        while True:
            try:
                db.execute(begin)
                break
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                if time.monotonic() >= end or not is_wanted():
                    raise Failed(f"database error: {error} by others for {self._timeout:g} s", True) from None
            time.sleep(_PAUSE)
        try:
            work()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _failure(error: Exception, refusals: tuple[type[Exception], ...]) -> Exception:
    import sqlite3

    if isinstance(error, (Failed, *refusals)):
        return error
    kind = Full if getattr(error, "sqlite_errorcode", 0) & 0xFF == _FULL else Failed
    return kind(f"database error: {error}", isinstance(error, sqlite3.OperationalError))


def _call(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *given: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(what, *given)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if isinstance(job.outcome, Exception):
            job.future.set_exception(job.outcome)
        else:
            job.future.set_result(job.outcome)


def _look(task: "asyncio.Task[None]") -> None:
    """Who asked for it may have given up, and then nobody minds how it ended."""
    if not task.cancelled():
        task.exception()


def _succeed(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
