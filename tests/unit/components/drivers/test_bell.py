"""Waking other processes: who is rung, who is gone, and what is left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pydapr.components.drivers import bell
from pydapr.components.drivers.bell import Bell

OTHER = """
import asyncio, sys
from pydapr.components.drivers.bell import Bell

async def main():
    heard = asyncio.Event()
    one = Bell(sys.argv[1], lambda text: (print(text, flush=True), heard.set()))
    one.open("other")
    print(one.path, flush=True)
    await heard.wait()
    one.close()

asyncio.run(main())
"""


class Ear:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.heard.append(text)
        self._changed.set()

    async def until(self, *texts: str) -> None:
        async with asyncio.timeout(10):
            while self.heard != list(texts):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "pubsub.db")


@pytest.fixture
def other(file: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", OTHER, file], stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


def is_there(path: str) -> bool:
    return os.path.exists(path)


def entries(folder: Path) -> list[str]:
    return os.listdir(folder)


def silent(_: str) -> None:
    pytest.fail("nobody rings here")


async def test_ring_is_heard_with_its_text(file: str) -> None:
    ear = Ear()
    mine, theirs = Bell(file, silent), Bell(file, ear)
    theirs.open("b")

    assert mine.ring(theirs.path, "orders")
    assert mine.ring(theirs.path, "ünïcode 🎈")

    await ear.until("orders", "ünïcode 🎈")
    mine.close()
    theirs.close()


async def test_other_process_is_rung_and_found_dead_when_it_was_killed(file: str, other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    path = other.stdout.readline().strip()
    mine = Bell(file, silent)
    assert bell.answers(path)

    other.send_signal(signal.SIGKILL)
    other.wait(20)

    assert not bell.answers(path)
    assert not mine.ring(path, "orders")
    bell.remove(path)
    assert not is_there(path)
    mine.close()


async def test_other_process_hears(file: str, other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    path = other.stdout.readline().strip()
    mine = Bell(file, silent)

    assert mine.ring(path, "orders")

    assert other.stdout.readline().strip() == "orders"
    assert other.wait(20) == 0
    assert not bell.answers(path)
    mine.close()


async def test_full_bell_counts_as_rung(file: str) -> None:
    ear = Ear()
    mine, theirs = Bell(file, silent), Bell(file, ear)
    theirs.open("b")

    assert all(mine.ring(theirs.path, "orders") for _ in range(2000))

    mine.close()
    theirs.close()


async def test_nothing_is_left_behind(file: str, tmp_path: Path) -> None:
    one, two = Bell(file, silent), Bell(file, silent)
    one.open("one")
    two.open("two")
    assert one.path.startswith(str(tmp_path)) or len(one.path) <= 100

    one.close()
    assert is_there(two.path)
    two.close()

    assert not entries(tmp_path)


async def test_bell_that_was_taken_away_is_missed(file: str) -> None:
    one = Bell(file, silent)
    assert not one.is_gone
    one.open("one")
    assert not one.is_gone
    os.unlink(one.path)
    assert one.is_gone
    one.close()
    one.open("one")
    assert not one.is_gone
    one.close()


def made(folder: Path, mode: int | None, elsewhere: Path) -> Path:
    """A folder, or a link to one that is elsewhere."""
    if mode is None:
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir()
        folder.chmod(mode)
    return folder


@pytest.mark.parametrize("mode", [0o777, 0o720, None])
async def test_folder_that_another_may_change_has_no_bell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        monkeypatch.setenv("TMPDIR", temporary)
        short = made(Path(temporary, f"pydapr-bells-{os.getuid()}"), mode, tmp_path)
        one = Bell(str(tmp_path / ("x" * 120)), silent)
        one.open("one")
        assert (one.path, entries(short)) == ("", [])

        if mode is not None:
            os.chmod(short, 0o700)
            one.open("one")
            assert one.path == str(short / "one")
            one.close()


async def test_long_path_gets_a_bell_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    ear = Ear()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    one = Bell(str(deep / "pubsub.db"), ear)
    one.open("0123456789abcdef")

    assert one.path.startswith("/tmp/")
    assert one.ring(one.path, "orders")

    await ear.until("orders")
    one.close()
    assert not entries(deep)


async def test_without_any_place_there_is_no_bell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 120)))
    one = Bell(str(tmp_path / ("y" * 120) / "pubsub.db"), silent)

    one.open("one")

    assert one.path == ""
    with contextlib.suppress(OSError):
        one.close()
