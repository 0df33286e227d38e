"""Passes a process's output on to files and to the terminal, each line marked for where it comes from.

For runs of several apps (`crew.py`). `Lines` is the pure part: bytes in, bytes out, nothing lost and nothing
decoded. A `Pump` moves them from a pipe to its targets on a thread, so that a terminal that does not take them
stops the app, as it would without us, but never the loop that listens for Ctrl-C.
"""

import os
import re
import threading
from collections.abc import Sequence

from pydapr.cli import status

_LONGEST = 1 << 20
"""A line longer than this is passed on in pieces."""

_COLOURS = re.compile(rb"\x1b\[[\d;]*m")


class Lines:
    """Marks the beginning of each line; holds back the last one until its end is known."""

    def __init__(self, prefix: bytes = b"", *, is_plain: bool = False) -> None:
        """`is_plain` leaves colours out, as a file wants it."""
        self._prefix = prefix
        self._after_break = b"\n" + prefix
        self._is_plain = is_plain
        self._pending = bytearray()
        self._is_within = False

    def feed(self, data: bytes) -> bytes:
        """What can be written now."""
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._pending += data
            return self._flush() if len(self._pending) >= _LONGEST else b""
        whole = self._clean(bytes(self._pending) + data[: cut - 1])
        self._pending = bytearray(data[cut:])
        out = self._start() + whole.replace(b"\n", self._after_break) + b"\n"
        self._is_within = False
        return out

    def end(self) -> bytes:
        """The last line, ended if the app did not end it."""
        out = self._flush()
        is_open, self._is_within = self._is_within, False
        return out + b"\n" if is_open else out

    def _flush(self) -> bytes:
        if not self._pending:
            return b""
        out = self._start() + self._clean(bytes(self._pending))
        self._pending, self._is_within = bytearray(), True
        return out

    def _start(self) -> bytes:
        return b"" if self._is_within else self._prefix

    def _clean(self, text: bytes) -> bytes:
        return _COLOURS.sub(b"", text) if self._is_plain else text


class Pump:
    """A pipe whose lines go to several targets until it ends.

    Give `writer` to the process as its output, then call `start`.
    """

    def __init__(self, targets: Sequence[int], prefix: str = "") -> None:
        """The targets are file descriptors; they stay the caller's."""
        self._targets = [(target, _lines_for(target, prefix.encode(errors="surrogateescape"))) for target in targets]
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._move, name="output", daemon=True)

    def start(self) -> None:
        """The process has its end of the pipe: close ours, so that the pipe ends with it."""
        os.close(self.writer)
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Wait for the rest; bounded, because a daemon that the app left behind may hold the pipe open."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _move(self) -> None:
        while data := os.read(self._reader, 65536):
            for target, lines in self._targets:
                _write(target, lines.feed(data))
        for target, lines in self._targets:
            _write(target, lines.end())
        os.close(self._reader)


def _lines_for(target: int, prefix: bytes) -> Lines:
    if not os.isatty(target):
        # What goes on to another program goes as it is; only our own files are cleaned.
        return Lines(prefix, is_plain=target > 2)
    if not prefix or "NO_COLOR" in os.environ:
        return Lines(prefix)
    return Lines(b"\x1b[94;1m" + prefix.rstrip() + b"\x1b[0m ")


def _write(target: int, data: bytes) -> None:
    # A reader that has gone away must not stop the app: its output is read on, and dropped.
    if data:
        status.write(target, data)
