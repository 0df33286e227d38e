"""Waiting for a signal, or for a child to end, or for a moment to pass: whichever comes first.

The loop of `run.py` is built on it. Handlers only note the signal; the pipe that Python's signal machinery
writes to wakes the wait up, so no signal is missed between looking and waiting.
"""

import os
import select
import signal
from types import FrameType

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


class Signals:
    """Collects the signals that ask a run to stop, from construction until the process ends."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._requests = 0
        for name in _STOPPING:
            number = getattr(signal, name)
            # `nohup dapr run` asks to survive the terminal.
            if name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, self._wake)

    def stop_requests(self) -> int:
        """How often we were asked to stop so far."""
        return self._requests

    def wait(self, seconds: float | None) -> None:
        """Return after a signal, also a child's end, or when the time is over."""
        if select.select([self._reader], [], [], seconds)[0]:
            try:
                os.read(self._reader, 4096)
            except BlockingIOError:
                pass

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._requests += 1

    def _wake(self, _number: int, _frame: FrameType | None) -> None:
        pass
