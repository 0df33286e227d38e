"""The processes of this machine: their arguments and when they started.

Linux tells through /proc; elsewhere `ps` does, where words within one argument can no longer be told apart.
`sidecars.py` picks the sidecars out of them.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple


class Process(NamedTuple):
    """A running process; `started` in seconds since 1970."""

    pid: int
    arguments: list[str]
    started: float


def running(word: bytes = b"daprd") -> Iterator[Process]:
    """Processes with the word in their first arguments; those that end meanwhile are left out."""
    return _from_proc(word) if sys.platform == "linux" else _from_ps()


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended, ours or another user's."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return not os.path.exists("/proc/self/stat")


def started(pid: int) -> float | None:
    """When a process started, in seconds since 1970; None when it has ended or only `ps` could tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return _started(file.read())
    except OSError:
        return None


def _started(stat: bytes) -> float:
    return _boot_time() + int(stat.rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def sidecar_arguments(arguments: list[str]) -> list[str] | None:
    """The flags of a sidecar's command line, None for any other program.

    A sidecar is a program `daprd`, or a Python that runs the script `daprd` or `-m pydapr daprd`.
    """
    if not arguments:
        return None
    program = _base(arguments[0])
    if program in ("daprd", "daprd.exe"):
        return arguments[1:]
    if not program.startswith(("python", "pypy")):
        return None
    for at, argument in enumerate(arguments[1:], 1):
        if argument == "-m":
            is_ours = arguments[at + 1 : at + 3] == ["pydapr", "daprd"]
            return arguments[at + 3 :] if is_ours else None
        if argument == "-c":
            return None
        if not argument.startswith("-"):
            return arguments[at + 1 :] if _base(argument) == "daprd" else None
    return None


def _base(path: str) -> str:
    return os.path.basename(path).lower()


def _from_proc(wanted: bytes) -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")[:-1]
            # A cheap first look: of a few hundred processes only sidecars need their start time.
            if not any(wanted in word for word in words[:8]):
                continue
            with open(f"/proc/{name}/stat", "rb") as file:
                moment = _started(file.read())
        except OSError:
            continue
        yield Process(int(name), [os.fsdecode(word) for word in words], moment)


def _boot_time() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)


def _from_ps() -> Iterator[Process]:
    import subprocess

    answer = subprocess.run(
        ["ps", "-axww", "-o", "pid=,lstart=,command="],
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    for line in answer.stdout.decode(errors="replace").splitlines():
        process = from_ps_line(line)
        if process is not None:
            yield process


def from_ps_line(line: str) -> Process | None:
    """`  123 Mon Jan  2 15:04:05 2006 /path/daprd --app-id x` → a process."""
    words = line.split()
    if len(words) < 7 or not words[0].isdigit():
        return None
    try:
        started = time.mktime(time.strptime(" ".join(words[1:6]), "%a %b %d %H:%M:%S %Y"))
    except ValueError:
        return None
    return Process(int(words[0]), words[6:], started)
