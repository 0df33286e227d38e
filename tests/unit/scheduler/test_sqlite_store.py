"""The file of a single scheduler: who may have it, what it refuses, and that nothing acknowledged is lost."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pydapr.scheduler.store import Expect, NoSpace, StoreError, Write
from pydapr.scheduler.stores import rows
from pydapr.scheduler.stores.sqlite import SqliteStore

WRITER = """
import asyncio, sys
from pydapr.scheduler.store import Write
from pydapr.scheduler.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    lease = await store.grant(3600)
    await store.commit([Write("leadership/it", b"", lease)])
    async def write(worker):
        number = 0
        while True:
            await store.commit([Write(f"jobs/{worker}/{number}", b"x" * 100), Write(f"twin/{worker}/{number}", b"")])
            print(f"{worker}/{number}", flush=True)
            number += 1
    await asyncio.gather(*map(write, range(16)))

asyncio.run(main())
"""


FILLER = """
import asyncio, os, signal, sys
from pydapr.scheduler.store import NoSpace, Write
from pydapr.scheduler.stores.sqlite import SqliteStore

async def fill(store):
    async def write(worker):
        for number in range(10000):
            await store.commit([Write(f'jobs/{worker}/{number}', b'x' * 300)])
            print(f'jobs/{worker}/{number}', flush=True)
    for ended in await asyncio.gather(*map(write, range(16)), return_exceptions=True):
        assert isinstance(ended, NoSpace), ended
    print('full', flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

async def main(step, folder):
    store = SqliteStore(folder)
    await store.open()
    if step == 'fill':
        await fill(store)
    print(*(one.key for one in await store.scan('jobs/')), sep='\\n')
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def opened(folder: Path, quota: int = 0) -> SqliteStore:
    store = SqliteStore(str(folder), quota)
    await store.open()
    return store


def written_until_killed(folder: Path) -> list[str]:
    """What a process has had acknowledged before it was killed."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as told:
        acknowledged = [told.readline().strip() for _ in range(2000)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in told if line.endswith("\n")]
    process.wait(20)
    return acknowledged


def damage(file: str) -> None:
    with open(file, "r+b") as opened:
        opened.seek(3 * 4096)
        opened.write(os.urandom(20 * 4096))


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed_and_it_leaves_no_lock(tmp_path: Path) -> None:
    acknowledged = written_until_killed(tmp_path)

    store = await opened(tmp_path)

    jobs = {one.key.removeprefix("jobs/") for one in await store.scan("jobs/")}
    twins = {one.key.removeprefix("twin/") for one in await store.scan("twin/")}
    assert len(acknowledged) >= 2000 and jobs >= set(acknowledged)
    assert jobs == twins  # all of a commit or nothing of it
    assert await store.get("leadership/it") is None  # its lease has ended with the process
    await store.close()


async def test_a_second_process_is_told_why_it_cannot_have_it(tmp_path: Path) -> None:
    store = await opened(tmp_path)

    with pytest.raises(StoreError, match="another process has it open; give every scheduler a folder"):
        await opened(tmp_path)

    await store.close()
    await (await opened(tmp_path)).close()


async def test_revisions_go_on_after_a_restart_and_the_folder_is_ours_alone(tmp_path: Path) -> None:
    store = await opened(tmp_path / "new")
    revision = await store.commit([Write("a", b"1")])
    await store.commit([Write("b", None), Write("a", None)])
    await store.close()

    store = await opened(tmp_path / "new")

    assert revision is not None
    later = await store.commit([Write("a", b"1")], [Expect("a", 0)])
    assert later is not None and later > revision + 1
    assert stat.S_IMODE(os.stat(store.folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    await store.close()


async def test_the_quota_refuses_writes_and_removing_makes_room(tmp_path: Path) -> None:
    store = await opened(tmp_path, 4 << 20)
    told = list[bool]()
    store.on_full = told.append
    await store.commit([Write("jobs/small", b"1")])
    with pytest.raises(NoSpace, match="etcdserver: mvcc: database space exceeded"):
        for number in range(100):
            await store.commit([Write(f"fill/{number}", b"x" * 100_000)])

    with pytest.raises(NoSpace):
        await store.commit([Write("jobs/other", b"1")])
    assert store.is_full and told == [True]
    await store.commit([Write("jobs/small", None)])
    await store.delete_prefix("fill/")

    assert not store.is_full and told == [True, False]
    assert await store.commit([Write("jobs/other", b"1")]) is not None
    used = store.size.total
    for number in range(30):
        await store.commit([Write(f"fill/{number}", b"x" * 100_000)])
    assert store.size.total <= used + (64 << 10)  # what was removed is used again
    await store.close()


async def test_defragmenting_gives_the_disk_back_what_holds_nothing(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(20):
        await store.commit([Write(f"fill/{number}", b"x" * 100_000)])
    before = store.size.total
    await store.delete_prefix("fill/")

    await store.defragment()

    assert store.size.total < before / 10
    assert await store.commit([Write("jobs/a", b"1")]) is not None
    await store.close()


async def test_defragmenting_fails_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(tmp_path)
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:4], 0, *found[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)

    with pytest.raises(StoreError, match="no space left on device"):
        await store.defragment()

    await store.close()


async def test_one_that_fails_does_not_fail_the_others_of_the_moment(tmp_path: Path) -> None:
    store = await opened(tmp_path)

    def fail(changing: rows.Changing) -> None:
        changing.put(b"never", b"", changing.next())
        raise sqlite3.OperationalError("made up")

    writing = [asyncio.create_task(store.commit([Write(f"jobs/{number}", b"")])) for number in range(5)]
    failing = asyncio.create_task(store.write(fail))
    writing += [asyncio.create_task(store.commit([Write(f"more/{number}", b"")])) for number in range(5)]

    results = await asyncio.gather(*writing)
    with pytest.raises(StoreError, match="made up"):
        await failing

    assert len(set(results)) == 10
    assert len(await store.scan("")) == 10
    await store.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("PRAGMA application_id = 7", "it is another program's database"),
        ("PRAGMA user_version = 99", "its format is 99, this release knows 1"),
    ],
)
async def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, statement: str, told: str) -> None:
    store = await opened(tmp_path)
    await store.close()
    db = sqlite3.connect(store.path)
    db.execute(statement)
    db.close()

    with pytest.raises(StoreError, match=told):
        await opened(tmp_path)


async def test_a_damaged_file_is_told_at_the_start(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(200):
        await store.commit([Write(f"jobs/{number}", b"x" * 500)])
    await store.close()
    damage(store.path)

    with pytest.raises(StoreError, match=r"damaged|malformed"):
        await opened(tmp_path)


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_file_that_has_lost_all_it_held_is_no_new_one(tmp_path: Path, is_there: bool) -> None:
    written_until_killed(tmp_path)
    file = tmp_path / "jobs.db"
    os.truncate(file, 0) if is_there else file.unlink()

    with pytest.raises(StoreError, match="it is damaged"):
        await opened(tmp_path)

    assert (file.stat().st_size == 0) if is_there else not file.exists()  # nor is it made one


async def test_the_file_of_another_program_keeps_its_form(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        db.execute("CREATE TABLE others (name TEXT)")
    before = (tmp_path / "jobs.db").read_bytes()

    with pytest.raises(StoreError, match="another program's"):
        await opened(tmp_path)

    assert (tmp_path / "jobs.db").read_bytes() == before


async def test_on_a_full_disk_nothing_is_lost_that_was_acknowledged(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=4m none $0 && $1 -c "$2" fill $0; mount -o remount,size=40m $0; $1 -c "$2" look $0'
    unshared = await asyncio.create_subprocess_exec(
        "unshare", "-Urm", "sh", "-c", script, str(tmp_path), sys.executable, FILLER, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(unshared.communicate(), 60)
    if not out:
        pytest.skip("no file system can be mounted here")
    acknowledged, kept = out.decode().split("full\n")
    assert len(acknowledged.split()) > 100
    assert set(kept.split()) == set(acknowledged.split())


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"something else" * 1000)

    with pytest.raises(StoreError, match="file is not a database"):
        await opened(tmp_path)


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match=r"cannot use .*: not a directory"):
        await opened(tmp_path / "file" / "jobs")
