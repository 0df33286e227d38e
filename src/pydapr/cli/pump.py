"""Passes an app's output on, line by line, each marked with `== APP == `.

`Lines` is the pure part: bytes in, bytes out, nothing lost and nothing decoded. A `Pump` moves them from a
pipe to our own output on a thread, so that a terminal that does not take them stops the app, as it would
without us, but never the loop that listens for Ctrl-C.
"""

import os
import select
import threading

from pydapr.cli import status

PREFIX = b"== APP == "

_LONGEST = 1 << 20
"""A line longer than this is passed on in pieces."""

_PROMPT_DELAY = 0.1


class Lines:
    """Marks the beginning of each line; holds back the last one until its end is known."""

    def __init__(self, prefix: bytes = PREFIX) -> None:
        self._prefix = prefix
        self._after_break = b"\n" + prefix
        self._pending = bytearray()
        self._is_within = False

    def feed(self, data: bytes) -> bytes:
        """What can be written now."""
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._pending += data
            return self.flush() if len(self._pending) >= _LONGEST else b""
        whole = bytes(self._pending) + data[: cut - 1]
        self._pending = bytearray(data[cut:])
        out = self._start() + whole.replace(b"\n", self._after_break) + b"\n"
        self._is_within = False
        return out

    def flush(self) -> bytes:
        """The beginning of a line that may go on later."""
        if not self._pending:
            return b""
        out = self._start() + bytes(self._pending)
        self._pending, self._is_within = bytearray(), True
        return out

    def end(self) -> bytes:
        """The last line, ended if the app did not end it."""
        out = self.flush()
        is_open, self._is_within = self._is_within, False
        return out + b"\n" if is_open else out

    def _start(self) -> bytes:
        return b"" if self._is_within else self._prefix


class Pump:
    """Moves one pipe's lines to one of our outputs until the pipe ends."""

    def __init__(self, source: int, target: int) -> None:
        is_terminal = os.isatty(target) and "NO_COLOR" not in os.environ
        self._lines = Lines(b"\x1b[94;1m" + PREFIX.rstrip() + b"\x1b[0m " if is_terminal else PREFIX)
        self._source, self._target = source, target
        # Somebody at the terminal may be asked for something: show a line's beginning after a moment.
        self._shows_prompts = os.isatty(0) and os.isatty(target)
        self._thread = threading.Thread(target=self._move, name="app output", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the rest; bounded, because a daemon that the app left behind may hold the pipe open."""
        self._thread.join(seconds)

    def _move(self) -> None:
        while True:
            if self._shows_prompts and not select.select([self._source], [], [], _PROMPT_DELAY)[0]:
                self._write(self._lines.flush())
            data = os.read(self._source, 65536)
            if not data:
                break
            self._write(self._lines.feed(data))
        self._write(self._lines.end())
        os.close(self._source)

    def _write(self, data: bytes) -> None:
        # A reader that has gone away must not stop the app: its output is read on, and dropped.
        if data:
            status.write(self._target, data)


class Output:
    """The pipes an app writes to, and their pumps.

    One pipe serves both of the app's outputs when ours are the same file, so that their order is kept.
    """

    def __init__(self) -> None:
        self._pumps: list[Pump] = []
        self.stdout = self._pipe(1)
        self.stderr = self.stdout if _is_same(1, 2) else self._pipe(2)

    def _pipe(self, target: int) -> int:
        reader, writer = os.pipe()
        self._pumps.append(Pump(reader, target))
        return writer

    def start(self) -> None:
        """The app has its ends of the pipes: close ours, so that the pipes end with it."""
        for writer in {self.stdout, self.stderr}:
            os.close(writer)
        for pump in self._pumps:
            pump.start()

    def finish(self, seconds: float) -> None:
        for pump in self._pumps:
            pump.finish(seconds)


def _is_same(one: int, other: int) -> bool:
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False
