"""The SQLite driver: what is committed together, what stands in whose way, and the end."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pydapr.components import Wrong
from pydapr.components.drivers.sqlite import Database, Failed, place


class No(Exception):
    """What work says when it has changed nothing."""


def prepare(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER NOT NULL)")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(place(str(tmp_path / "x.db"), False), 0.05, 1.0, No)
    await made.open(prepare)
    yield made
    await made.close()


def put(key: str, value: int | None) -> Callable[[sqlite3.Connection], int]:
    def work(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO t VALUES (?, ?)", (key, value))
        return int(db.total_changes)

    return work


def keys(db: sqlite3.Connection) -> list[str]:
    return [key for (key,) in db.execute("SELECT k FROM t ORDER BY k")]


async def test_writes_of_one_moment_are_each_answered(database: Database) -> None:
    await asyncio.gather(*(database.write(put(f"{n:03}", n)) for n in range(300)))

    assert len(await database.read(keys)) == 300


async def test_one_that_fails_does_not_stand_in_the_way_of_others(database: Database) -> None:
    jobs = [database.write(put(f"{n}", None if n == 3 else n)) for n in range(6)]

    outcomes = await asyncio.gather(*jobs, return_exceptions=True)

    assert [isinstance(outcome, Failed) for outcome in outcomes] == [n == 3 for n in range(6)]
    assert await database.read(keys) == ["0", "1", "2", "4", "5"]


async def test_refusal_takes_back_what_its_own_work_did_and_no_more(database: Database) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES ('half', 1)")
        raise No

    outcomes = await asyncio.gather(
        database.write(put("a", 1)),
        database.write(half, is_several=True),
        database.write(put("b", 1)),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], No)
    assert await database.read(keys) == ["a", "b"]


async def test_lock_of_another_is_waited_for_and_then_told(database: Database, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Failed, match=r"no answer within 1 s|locked by others") as raised:
            await database.write(put("a", 1))
        assert raised.value.is_passing
        assert await database.read(keys) == []
        waiting = asyncio.ensure_future(database.write(put("b", 1)))
        await asyncio.sleep(0)
        other.execute("COMMIT")
        await waiting
    assert "b" in await database.read(keys)


async def test_cancelled_work_that_waits_is_not_begun(database: Database, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.ensure_future(database.write(put("first", 1)))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(database.write(put("second", 1)))
        await asyncio.sleep(0)
        second.cancel()
        other.execute("COMMIT")
        await first
    await database.write(put("third", 1))

    assert await database.read(keys) == ["first", "third"]


async def test_close_finishes_what_was_begun_and_refuses_what_comes(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "x.db"), False), 0.05, 5.0, No)
    await database.open(prepare)
    writing = [asyncio.ensure_future(database.write(put(f"{n}", n))) for n in range(50)]
    await asyncio.sleep(0)

    await database.close()

    assert all(one.done() and one.exception() is None for one in writing)
    with pytest.raises(Failed, match="not open"):
        await database.read(keys)
    await database.close()
    await database.open(prepare)
    assert len(await database.read(keys)) == 50
    await database.close()


async def test_database_in_memory_is_one_for_reads_and_writes() -> None:
    database = Database(place(":memory:", False), 0.05, 5.0, No)
    await database.open(prepare)

    await asyncio.gather(*(database.write(put(f"{n}", n)) for n in range(9)), database.read(keys))

    assert len(await database.read(keys)) == 9
    await database.close()


async def test_opening_that_is_given_up_does_not_hold_the_end(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "x.db"), False), 0.05, 60.0, No)
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode(WAL)")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(database.open(prepare), 0.2)
        async with asyncio.timeout(20):
            await database.close()


async def test_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "none" / "x.db"), False), 0.05, 1.0, No)

    with pytest.raises(Failed, match="unable to open database file"):
        await database.open(prepare)
    await database.close()


@pytest.mark.parametrize(
    ("text", "disable_wal", "uri", "journal"),
    [
        ("/d/x.db", False, "file:/d/x.db?", "WAL"),
        ("file:x.db", True, "file:x.db?", "DELETE"),
        ("x.db?mode=ro&_txlock=deferred", False, "file:x.db?mode=ro", "DELETE"),
        (":memory:", False, "file::memory:?cache=shared", "MEMORY"),
    ],
)
def test_connection_string_is_read_as_the_original_does(text: str, disable_wal: bool, uri: str, journal: str) -> None:
    made = place(text, disable_wal)

    assert (made.uri, made.pragmas[0]) == (uri, f"journal_mode({journal})")


@pytest.mark.parametrize("pragma", ["busy_timeout(5)", "journal_mode(OFF)", "foreign_keys(1)", "x;DROP TABLE t"])
def test_pragma_that_is_ours_or_none_is_refused(pragma: str) -> None:
    with pytest.raises(Wrong, match="forbidden option"):
        place(f"x.db?_pragma={pragma}", False)


# -- opened when it is used --


async def test_file_is_opened_by_the_first_who_ask_together(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "x.db"), False), 0.05, 1.0, No)
    await database.open(prepare, on_use=True)
    assert not os.listdir(tmp_path)

    await asyncio.gather(*(database.write(put(f"{n}", n)) for n in range(5)), database.read(keys))

    assert await database.read(keys) == ["0", "1", "2", "3", "4"]
    await database.close()


async def test_first_use_is_tried_again_when_it_failed(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "later" / "x.db"), False), 0.05, 1.0, No)
    await database.open(prepare, on_use=True)
    with pytest.raises(Failed, match="unable to open database file"):
        await database.read(keys)

    os.mkdir(tmp_path / "later")

    assert await database.read(keys) == []
    await database.close()


async def test_who_gives_up_the_first_use_does_not_spoil_it_for_others(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "x.db"), False), 0.05, 1.0, No)
    await database.open(prepare, on_use=True)
    given_up = asyncio.create_task(database.write(put("never", 1)))
    await asyncio.sleep(0)
    given_up.cancel()

    await database.write(put("1", 1))

    assert await database.read(keys) == ["1"]
    await database.close()


async def test_file_that_was_never_used_is_closed(tmp_path: Path) -> None:
    database = Database(place(str(tmp_path / "x.db"), False), 0.05, 1.0, No)
    await database.open(prepare, on_use=True)

    await database.close()

    assert not os.listdir(tmp_path)
    with pytest.raises(Failed, match="not open"):
        await database.read(keys)


# -- a file that is taken away --


@pytest.mark.parametrize("reads_apart", [True, False])
async def test_what_is_written_is_in_the_file_that_stands_there_now(tmp_path: Path, reads_apart: bool) -> None:
    path = tmp_path / "x.db"
    database = Database(place(str(path), False), 0.05, 1.0, No, reads_apart=reads_apart)
    await database.open(prepare)
    await database.write(put("old", 1))
    for name in os.listdir(tmp_path):
        os.remove(tmp_path / name)

    assert await database.read(keys) == []
    await database.write(put("new", 1))
    await database.close()

    with contextlib.closing(sqlite3.connect(path)) as other:
        assert keys(other) == ["new"]


async def test_file_whose_folder_is_taken_away_is_told_and_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    database = Database(place(str(folder / "x.db"), False), 0.05, 1.0, No)
    await database.open(prepare)
    await database.write(put("old", 1))

    folder.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(Failed, match="was taken away: unable to open"):
            await database.write(put("lost", 1))
    (tmp_path / "elsewhere").rename(folder)

    await database.write(put("new", 1))
    assert await database.read(keys) == ["new", "old"]
    await database.close()


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("/d/x.db", "/d/x.db"),
        ("file:/d/a%20b.db?cache=private", "/d/a b.db"),
        ("file:///d/x.db", "/d/x.db"),
        ("file://localhost/d/x.db", "/d/x.db"),
        (":memory:", ""),
    ],
)
def test_file_is_known_by_its_path(text: str, file: str) -> None:
    assert place(text, False).file == file
