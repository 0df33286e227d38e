"""Ends process groups: politely, and for certain. Also the watchdog that does so when its run has died.

`launch.py` uses the functions, and starts this file as a small process of its own with the read end of a pipe
as standard input. The run writes `+<group>` for each group it starts (the child itself does, before it
becomes the app) and `-<group>` when a group has ended. When the run dies, however it dies, the pipe ends and
the watchdog ends what is left. A session of its own and ignored signals keep it alive through Ctrl-C and a
closed terminal. Imports only os, signal, sys and time: it is paid for by every run.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE = 5.0
"""Seconds between asking a group to end and killing it."""


def signal_group(group: int, number: int) -> None:
    """Send a signal to all processes of a group, if there are any."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers "not permitted" for a group of zombies.
        pass


def terminate(group: int) -> None:
    """Ask a group to end; a stopped one is continued, for it could not hear otherwise."""
    signal_group(group, signal.SIGTERM)
    signal_group(group, signal.SIGCONT)


def is_alive(group: int) -> bool:
    """Whether a process of the group runs; zombies that nobody has collected do not count."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return sys.platform != "linux" or _has_living_member(group)


def _has_living_member(group: int) -> bool:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, _, member_of = file.read().rpartition(b")")[2].split()[:3]
        except OSError:
            continue
        if int(member_of) == group and state not in (b"Z", b"X"):
            return True
    return False


def end(groups: Iterable[int], grace: float = GRACE) -> None:
    """Terminate the groups, and kill what is left after the grace."""
    left = set(groups)
    for group in left:
        terminate(group)
    deadline = time.monotonic() + grace
    while (left := {group for group in left if is_alive(group)}) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in left:
        signal_group(group, signal.SIGKILL)


def watch(fd: int) -> None:
    """Follow the groups of a run until its pipe ends, then end those that are left."""
    groups: set[int] = set()
    pending = b""
    while data := os.read(fd, 4096):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            group = int(line[1:])
            groups.add(group) if line[:1] == b"+" else groups.discard(group)
    end(groups)


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)
    watch(0)
