"""Jobs in an SQLite file, for a scheduler that is alone: a folder of its own, which one process at a time has.

A write is on the disk when it is acknowledged; all writes of one moment share one transaction, so that one flush of
the disk serves many. Reads have a connection of their own and do not wait for writes; long ones have a third, which
sees one moment of the file however long it reads. `etcd_api` shows the same rows to others as etcd does.
"""

import asyncio
import contextlib
import fcntl
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.lib.record import Record
from pydapr.net import etcd
from pydapr.observe import logging
from pydapr.scheduler.store import Change, Entry, Expect, LeasedStore, NoSpace, StoreError, Write
from pydapr.scheduler.stores import leases, rows, thread
from pydapr.scheduler.stores.rows import Changing, Query, Row

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

log = logging.get("dapr.scheduler.server.store")

SECONDS = 30.0
"""How long the disk has for anything but long reads."""

LONG_SECONDS = 600.0

PORTION = 2000
"""Rows that are told together when somebody begins to follow."""

CHECKED = 64 << 20
"""A file up to this size is read through when it is opened, and tells damage then; a larger one when it meets it."""

CACHE = 32 << 20
"""Bytes of the file that writes keep in memory at most; a small file takes no more than it has."""

LOG_PAGES = 4000
"""How long the log of writes grows before it is worked into the file: keys are written all over it."""

UNLIMITED = 1 << 62

KEPT_CHANGES, KEPT_BYTES = 4096, 1 << 20
"""How much of the past is kept for who watches by etcd's API and lost the connection."""

NO_SPACE = "etcdserver: mvcc: database space exceeded"

_RELIEF = 0.9
"""Once the quota was reached, writes are taken again below this part of it."""


class Size(Record):
    """Bytes of the file, and how many of them hold something."""

    total: int
    used: int


class _Follower:
    """Who is told of changes, from `begin` on; what happens before waits."""

    def __init__(self, prefix: bytes, told: Callable[[Sequence[Change]], None]) -> None:
        self._prefix, self._told = prefix, told
        self._waiting: list[Row] | None = []
        self._after = 0

    def begin(self, after: int) -> None:
        """Whoever follows knows everything up to the revision `after`."""
        waiting, self._waiting = self._waiting, None
        self._after = after
        self.tell(waiting or ())

    def tell(self, changes: Sequence[Row]) -> None:
        if self._waiting is not None:
            self._waiting += changes
            return
        ours = [
            Change(_text(one.key), one.value, one.modified)
            for one in changes
            if one.key.startswith(self._prefix) and one.modified > self._after
        ]
        if ours:
            self._told(ours)


class SqliteStore(LeasedStore):
    """The store in the file of `folder`. Writes beyond `quota` bytes are refused."""

    def __init__(self, folder: str, quota: int = UNLIMITED) -> None:
        self.folder = os.path.abspath(folder)
        self.path = os.path.join(self.folder, "jobs.db")
        self._quota = quota if quota > 0 else UNLIMITED
        self._lock = -1
        self._writer: thread.Thread | None = None
        self._reader: thread.Thread | None = None
        self._scanner: thread.Thread | None = None
        self._followers: list[_Follower] = []
        self._watchers: list[Callable[[Sequence[Row]], None]] = []
        self.leases = leases.Leases(self._end_lease)
        self.revision = 0
        """That of the last change that is known here."""
        self.size = Size(0, 0)
        self.is_full = False
        """Whether the quota was reached: nothing is written until there is room again."""
        self.on_full: Callable[[bool], None] | None = None
        """Called on the loop when that has changed."""
        self._was_full = False
        self.recent: deque[Row] = deque()
        """The last changes; all of those behind `compacted`."""
        self.compacted = 0
        self._recent_bytes = 0
        self._rewrite = self._rewrite_file
        """The one piece of work that no other shares a transaction with."""

    # -- the contract --

    async def open(self) -> None:
        """Raises `StoreError`; with a text that says what to do where somebody can."""
        self._take_folder()
        try:
            # One after the other: the first makes the file.
            self._writer = await self._start("scheduler-writes", self._connect, self._write)
            self._reader = await self._start("scheduler-reads", self._connect_to_read, self._read)
            self._scanner = await self._start("scheduler-scans", self._connect_to_read, self._read)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.leases.close()
        self._followers.clear()
        self._watchers.clear()
        for one in (self._scanner, self._reader, self._writer):
            if one is not None:
                await one.stop()
        self._scanner = self._reader = self._writer = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def get(self, key: str) -> Entry | None:
        name = _bytes(key)
        found = await self.read(lambda db: rows.get(db, name))
        return None if found is None else Entry(key, found.value or b"", found.modified)

    async def scan(self, prefix: str, after: str = "", limit: int = 0) -> Sequence[Entry]:
        first = _bytes(prefix)
        query = Query(max(first, _bytes(after) + b"\0") if after else first, etcd.behind(first), limit)
        is_long = limit == 0 or limit > thread.MOST
        return await self.read(lambda db: _entries(rows.select(db, query)), is_long)

    async def commit(self, writes: Sequence[Write], expects: Sequence[Expect] = ()) -> int | None:
        given = [(_bytes(one.key), one.value, one.lease) for one in writes]
        wanted = [(_bytes(one.key), one.revision) for one in expects]
        size = sum(len(key) + len(value) for key, value, _ in given if value is not None)
        has_puts = any(value is not None for _, value, _ in given)

        def work(changing: Changing) -> int | None:
            for key, revision in wanted:
                found = rows.get(changing.db, key)
                if (found.modified if found is not None else 0) != revision:
                    return None
            if has_puts:
                self.check_room(changing, size)
                self.leases.check(lease for _, _, lease in given)
            at = changing.next()
            for key, value, lease in given:
                if value is None:
                    changing.remove(key, b"", at)
                else:
                    changing.put(key, value, at, lease)
            return changing.revision

        return await self.write(work)

    async def delete_prefix(self, *prefixes: str) -> int:
        ranges = [(_bytes(prefix), etcd.behind(_bytes(prefix))) for prefix in prefixes]

        def work(changing: Changing) -> int:
            at = changing.next()
            return sum(len(changing.remove(key, end, at)) for key, end in ranges)

        return await self.write(work)

    async def follow(self, prefix: str, told: Callable[[Sequence[Change]], None]) -> None:
        first = _bytes(prefix)
        follower = _Follower(first, told)
        portions = _Portions(Query(first, etcd.behind(first)), told, asyncio.get_running_loop())
        self._followers.append(follower)
        try:
            follower.begin(await self.read(portions, True))
        except BaseException:
            self._followers.remove(follower)
            portions.is_over = True
            raise

    async def grant(self, seconds: int) -> int:
        return self.leases.grant(seconds)

    async def keep(self, lease: int) -> bool:
        return self.leases.keep(lease) > 0

    async def revoke(self, lease: int) -> None:
        """Its keys are gone when this returns."""
        if self.leases.forget(lease):
            await self.write(lambda changing: changing.remove_leased(lease, changing.next()))

    # -- for etcd's API --

    async def write(self, work: Callable[[Changing], T]) -> T:
        """What `work` returns, once what it has written is on the disk; it raises `StoreError` before it writes
        anything, or not at all."""
        assert self._writer is not None, "it is not open"
        return await self._writer.ask(work)  # type: ignore[no-any-return]

    async def read(self, work: "Callable[[sqlite3.Connection], T]", is_long: bool = False) -> T:
        """What `work` returns, which sees one moment of the file."""
        reader = self._scanner if is_long else self._reader
        assert reader is not None, "it is not open"
        return await reader.ask(work, LONG_SECONDS if is_long else 0.0)  # type: ignore[no-any-return]

    def watch(self, told: Callable[[Sequence[Row]], None]) -> Callable[[], None]:
        """`told` of all changes until what this returns is called."""
        self._watchers.append(told)
        return lambda: self._watchers.remove(told) if told in self._watchers else None

    def check_room(self, changing: Changing, size: int) -> None:
        """Called by what writes values, before it does. Raises `NoSpace`."""
        if self._quota == UNLIMITED:
            return
        used = self.size.used + sum(len(one.key) + len(one.value or b"") for one in changing.changes) + size
        if not self.is_full and used > self._quota:
            self.is_full = self.size.used > self._quota * _RELIEF
            raise NoSpace(NO_SPACE)
        if self.is_full:
            raise NoSpace(NO_SPACE)

    async def defragment(self) -> None:
        """Gives the disk back what holds nothing. Raises `StoreError`."""
        assert self._writer is not None, "it is not open"
        await self._writer.ask(self._rewrite, LONG_SECONDS)

    def disarm(self) -> None:
        """Takes writes again, if there is room."""
        self.is_full = False
        self._tell_full()

    def compact(self, revision: int) -> None:
        """Drops changes up to `revision` of those that are kept."""
        while self.recent and self.recent[0].modified <= revision:
            one = self.recent.popleft()
            self._recent_bytes -= _weight(one)
        self.compacted = max(self.compacted, min(revision, self.revision))

    async def _end_lease(self, lease: int) -> None:
        try:
            await self.revoke(lease)
        except StoreError as error:
            log.error(f"Failed to remove the keys of a lease that has ended: {error}")

    # -- the file --

    def _take_folder(self) -> None:
        """Makes sure that nobody else has the folder, and that it is ours to use."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            found = os.stat(self.folder)
            if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
                os.chmod(self.folder, 0o700)
            self._lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            text = "another process has it open; give every scheduler a folder (--etcd-data-dir) or an --id of its own"
            raise StoreError(f"cannot use {self.folder}: {text}") from None
        except OSError as error:
            raise StoreError(f"cannot use {self.folder}: {(error.strerror or str(error)).lower()}") from None

    async def _start(
        self,
        name: str,
        connect: "Callable[[], sqlite3.Connection]",
        carry_out: "Callable[[sqlite3.Connection, Sequence[thread.Job]], Callable[[], None]]",
    ) -> thread.Thread:
        import sqlite3

        one = thread.Thread(name, connect, carry_out, SECONDS)
        try:
            async with asyncio.timeout(LONG_SECONDS):
                await one.start()
        except (sqlite3.Error, OSError, TimeoutError) as error:
            raise StoreError(f"cannot open {self.path}: {error or 'no answer from the disk'}") from None
        return one

    def _connect(self) -> "sqlite3.Connection":
        """On the thread of writes: makes the file, or checks the one that is there."""
        import sqlite3

        if not os.path.exists(self.path):
            self._make()
        if not os.path.getsize(self.path):
            raise self._damaged("it is empty")
        db = sqlite3.connect(self.path, isolation_level=None, cached_statements=64)
        try:
            self._check(db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA cache_size = -{CACHE >> 10}")
            db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            db.execute("BEGIN IMMEDIATE")
            changing = Changing(db)
            # Who had a lease from the process before has it no more. The start counts as a change, so that of one
            # revision at least all is known to who watches from where it is.
            changing.remove_all_leased(changing.next())
            changing.revision = changing.next()
            changing.finish()
            db.execute("COMMIT")
            self.revision, self.compacted, self.size = changing.revision, changing.revision - 1, _size(db)
        except BaseException:
            db.close()
            raise
        return db

    def _make(self) -> None:
        """A new file, which has its name only once it is whole: what has the name and holds nothing is damaged."""
        import sqlite3

        if os.path.exists(f"{self.path}-wal"):
            raise self._damaged("its log jobs.db-wal is there, and it is not")
        unfinished = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(unfinished, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = MEMORY")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN")
            rows.make(db)
            db.execute("COMMIT")
        finally:
            db.close()
        os.rename(unfinished, self.path)
        for folder in (self.folder, os.path.dirname(self.folder)):
            _sync(folder)

    def _damaged(self, how: str) -> StoreError:
        return StoreError(f"cannot open {self.path}: it is damaged ({how}); put a backup in its place")

    def _check(self, db: "sqlite3.Connection") -> None:
        """Raises `StoreError` for a file that is not ours, or damaged."""
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application != rows.APPLICATION:
            raise StoreError(f"cannot open {self.path}: it is another program's database")
        if version != rows.FORMAT:
            raise StoreError(f"cannot open {self.path}: its format is {version}, this release knows {rows.FORMAT}")
        if _size(db).total <= CHECKED:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise self._damaged(found)

    def _connect_to_read(self) -> "sqlite3.Connection":
        import sqlite3

        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA query_only = 1")
        return db

    # -- on the threads --

    def _read(self, db: "sqlite3.Connection", jobs: Sequence[thread.Job]) -> Callable[[], None]:
        for job in jobs:
            try:
                db.execute("BEGIN")
                try:
                    job.outcome = job.work(db)
                finally:
                    db.execute("COMMIT")
            except Exception as error:  # it belongs to who waits
                job.outcome = _failure(error)
        return lambda: _settle(jobs)

    def _write(self, db: "sqlite3.Connection", jobs: Sequence[thread.Job]) -> Callable[[], None]:
        changing: Changing | None = None
        if jobs[0].work is self._rewrite and len(jobs) == 1:
            try:
                self._rewrite(db)
            except Exception as error:
                jobs[0].outcome = _failure(error)
        else:
            changing = self._transact(db, jobs)
        if changing is None and len(jobs) > 1:
            # One of them stands in the way of the others.
            for_each = [self._write(db, [job]) for job in jobs]

            def tell_all() -> None:
                for tell in for_each:
                    tell()

            return tell_all
        with contextlib.suppress(Exception):  # a figure for the metrics, as long as the disk tells it
            self.size = _size(db)
        if self.is_full and self.size.used < self._quota * _RELIEF:
            self.is_full = False
        return lambda: self._committed(changing, jobs)

    def _transact(self, db: "sqlite3.Connection", jobs: Sequence[thread.Job]) -> Changing | None:
        """Commits all of the jobs, or none."""
        try:
            db.execute("BEGIN IMMEDIATE")
            changing = Changing(db)
            for job in jobs:
                if job.work is self._rewrite:
                    raise _Apart
                try:
                    job.outcome = job.work(changing)
                except StoreError as error:  # a refusal
                    job.outcome = error
            changing.finish()
            db.execute("COMMIT")
            return changing
        except Exception as error:  # it belongs to who waits
            failure = _failure(error)
            with contextlib.suppress(Exception):
                db.execute("ROLLBACK")
            for job in jobs:
                job.outcome = failure
            return None

    def _rewrite_file(self, db: "sqlite3.Connection") -> None:
        """The file is written anew, and takes the place of the old one in a transaction; that takes as much room."""
        size = _size(db)
        found = os.statvfs(self.folder)
        if found.f_bavail * found.f_frsize < size.used + (1 << 20):
            raise StoreError(f"no space left on device: to defragment {self.path} takes {size.used} bytes more")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- on the loop --

    def _committed(self, changing: Changing | None, jobs: Sequence[thread.Job]) -> None:
        """Whoever follows is told of changes before whoever made them."""
        if changing is not None and changing.changes:
            self.revision = changing.revision
            self._keep(changing.changes)
            for tell in (*(one.tell for one in self._followers), *self._watchers):
                try:
                    tell(changing.changes)
                except Exception as error:  # the others are told all the same
                    log.error(f"A change of the jobs was not taken: {error!r}")
        self._tell_full()
        _settle(jobs)

    def _tell_full(self) -> None:
        if self.is_full != self._was_full:
            self._was_full = self.is_full
            if self.is_full:
                log.error(f"The quota of {self._quota} bytes is reached: jobs are refused until there is room again")
            else:
                log.info("There is room for jobs again")
            if self.on_full is not None:
                self.on_full(self.is_full)

    def _keep(self, changes: Sequence[Row]) -> None:
        self.recent += changes
        self._recent_bytes += sum(map(_weight, changes))
        while self.recent and (len(self.recent) > KEPT_CHANGES or self._recent_bytes > KEPT_BYTES):
            self.compact(self.recent[0].modified)


class _Portions:
    """All rows of a query as they are at one moment, told on the loop: the next ones when the last ones are taken."""

    def __init__(self, query: Query, told: Callable[[Sequence[Change]], None], loop: asyncio.AbstractEventLoop) -> None:
        self._query, self._told, self._loop = query, told, loop
        self.is_over = False
        """Whoever wanted them has gone."""
        self._failure: Exception | None = None

    def __call__(self, db: "sqlite3.Connection") -> int:
        """The revision of that moment."""
        revision = rows.revision(db)
        for portion in rows.portions(db, self._query, PORTION):
            changes = [Change(_text(one.key), one.value, one.modified) for one in portion]
            taken = threading.Event()
            self._loop.call_soon_threadsafe(self._tell, changes, taken)
            if not taken.wait(SECONDS) or self.is_over:
                raise StoreError("what was read is not taken")
            if self._failure is not None:
                raise self._failure
        return revision

    def _tell(self, changes: Sequence[Change], taken: threading.Event) -> None:
        try:
            if not self.is_over:
                self._told(changes)
        except Exception as error:  # it belongs to who follows
            self._failure = error
        finally:
            taken.set()


class _Apart(Exception):
    """What cannot be done together with others."""


def _size(db: "sqlite3.Connection") -> Size:
    pages, free, each = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return Size(pages * each, (pages - free) * each)


def _sync(folder: str) -> None:
    """Has the disk know what is in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # file systems that cannot
            os.fsync(opened)
    finally:
        os.close(opened)


def _failure(error: Exception) -> Exception:
    import sqlite3

    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return NoSpace(f"no space left on device: {error}")
    return StoreError(f"the file of the jobs: {error}")


def _settle(jobs: Sequence[thread.Job]) -> None:
    for job in jobs:
        job.settle()


def _entries(found: Sequence[Row]) -> list[Entry]:
    return [Entry(_text(one.key), one.value or b"", one.modified) for one in found]


def _weight(one: Row) -> int:
    return len(one.key) + len(one.value or b"") + 64


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
