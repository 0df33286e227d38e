"""What the tests of name resolution share: a clock to turn, a log to read, sidecars as processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PROCESS = Path(__file__).with_name("sidecar_process.py")


@dataclass
class Hand:
    """A clock that moves when told."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Notes:
    """A log to read afterwards."""

    lines: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def debug(self, msg: str, /, **fields: object) -> None:
        self.lines.append(("debug", msg, fields))

    def info(self, msg: str, /, **fields: object) -> None:
        self.lines.append(("info", msg, fields))

    def warning(self, msg: str, /, **fields: object) -> None:
        self.lines.append(("warning", msg, fields))

    def of(self, level: str) -> list[str]:
        return [msg for found, msg, _ in self.lines if found == level]


class Child:
    """`sidecar_process.py`, which waits for a line before it registers."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, str(_PROCESS), *map(str, arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def tell(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def register(self) -> str:
        """Both steps; answers with what was warned of, or "registered"."""
        assert self.hear() == "loaded"
        self.tell()
        return self.hear()

    def end(self) -> int:
        self._process.communicate()
        return self._process.returncode

    def kill(self) -> None:
        """With SIGKILL, and not reaped: as a parent leaves it that does not look."""
        self._process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def is_running(self) -> bool:
        return self._process.poll() is None


Start = Callable[..., Child]


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Child] = []

    def begin(*arguments: object) -> Child:
        started.append(Child(*arguments))
        return started[-1]

    yield begin
    for child in started:
        if child.is_running():
            child.kill()
        child.end()
