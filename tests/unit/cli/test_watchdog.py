"""Ending groups."""

import os
import subprocess
import sys
import time

from pydapr.cli import watchdog

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


def start(program: str) -> "subprocess.Popen[bytes]":
    """A group that has said it is ready."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, process_group=0)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def test_a_group_is_asked_to_end() -> None:
    process = start("import time; print(flush=True); time.sleep(600)")

    watchdog.end([process.pid])

    assert process.wait(10) == -15
    assert not watchdog.is_alive(process.pid)


def test_a_group_that_does_not_listen_is_killed() -> None:
    process = start(STUBBORN)
    assert watchdog.is_alive(process.pid)

    watchdog.end([process.pid], grace=0.1)

    assert process.wait(10) == -9


def test_zombies_do_not_count() -> None:
    process = start("print(flush=True)")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert not watchdog.is_alive(process.pid)
    process.wait()


def test_groups_that_are_left_end_with_the_pipe() -> None:
    left, ended = start("import time; print(flush=True); time.sleep(600)"), start("print(flush=True)")
    ended.wait()
    guard = subprocess.Popen([sys.executable, "-I", "-S", watchdog.__file__], stdin=subprocess.PIPE)
    assert guard.stdin is not None
    guard.stdin.write(b"+%d\n+%d\n-%d\n" % (left.pid, ended.pid, ended.pid))

    guard.stdin.close()

    assert left.wait(10) == -15
    assert guard.wait(10) == 0


def test_a_watchdog_with_nothing_to_guard_ends_at_once() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", watchdog.__file__], stdin=subprocess.DEVNULL, check=True)

    assert time.monotonic() - began < watchdog.GRACE
