"""The start lock."""

import fcntl
from pathlib import Path

import pytest

from pydapr.cli import startlock


def test_nobody_else_has_it_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with startlock.held(str(path)), path.open("r+b") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_starts_without_it_where_it_cannot_be_made(tmp_path: Path) -> None:
    with startlock.held(str(tmp_path / "missing" / "lock")):
        pass
