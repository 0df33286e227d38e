"""Starts processes in groups of their own that cannot outlive us, and ends them as groups.

A run starts its sidecar and its app with a `Launcher`. Three things make sure that nothing stays behind: the
run ends the groups itself; the kernel (Linux) tells the direct children when we die; and a watchdog process
ends whole groups when our end of its pipe closes. All processes must be started from the main thread: the
kernel watches the thread that forked. Python code runs in the child before it becomes the program, so other
threads may at that moment only wait in system calls, as those of `pump.py` do, and hold no lock.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from pydapr.cli import watchdog
from pydapr.lib import tied

NO_INPUT = subprocess.DEVNULL


class Group:
    """A process we started, with all it starts: alive until the last one has ended."""

    def __init__(self, process: "subprocess.Popen[bytes]", ended: Callable[[int], None]) -> None:
        self._process = process
        self._ended = ended
        self._is_gone = False
        self.pid = process.pid

    def exit_code(self) -> int | None:
        """The exit code of the process itself, negative for a signal; None while it runs."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether any process of the group still runs."""
        if not self._is_gone and self._process.poll() is not None and not watchdog.is_alive(self.pid):
            self._is_gone = True
            self._ended(self.pid)
        return not self._is_gone

    def terminate(self) -> None:
        if not self._is_gone:
            watchdog.terminate(self.pid)

    def kill(self) -> None:
        if not self._is_gone:
            watchdog.signal_group(self.pid, signal.SIGKILL)

    def resume(self) -> None:
        watchdog.signal_group(self.pid, signal.SIGCONT)

    def is_waiting_for_terminal(self) -> bool:
        """Whether the process was stopped because it reads from a terminal that belongs to another group."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return False
        try:
            stopped = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return False
        return stopped is not None and stopped.si_status == signal.SIGTTIN


class Launcher:
    """Starts groups and the watchdog that guards them."""

    def __init__(self) -> None:
        self._tie = tied.dying_with_us(signal.SIGTERM)
        reader, self._pipe = os.pipe()
        try:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(reader)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        stdin: int | None = None,
        directory: str | None = None,
    ) -> Group:
        """Start a program in its own group. Raises OSError when it cannot be started."""
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            process_group=0,
            preexec_fn=self._in_child,
        )
        return Group(process, self._forget)

    def close(self) -> None:
        """Nothing is left to guard."""
        os.close(self._pipe)
        try:
            self._watchdog.wait(2)
        except subprocess.TimeoutExpired:
            self._watchdog.kill()
            self._watchdog.wait()

    def _in_child(self) -> None:
        self._tie()
        # The child announces its group itself: no moment is left in which it runs unguarded. A watchdog that
        # somebody has killed must not take the child with it.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._tell(b"+%d\n" % os.getpid())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def _forget(self, group: int) -> None:
        self._tell(b"-%d\n" % group)

    def _tell(self, line: bytes) -> None:
        try:
            os.write(self._pipe, line)
        except BrokenPipeError:
            pass
