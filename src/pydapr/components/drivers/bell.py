"""Waking other processes of this machine: a Unix datagram socket for each that wants to be woken.

Used by `pubsub.sqlite`. A ring costs some microseconds and carries a short text; a bell that is full has been rung
already. When a process is killed, ringing its bell fails at once, which tells that it is gone.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable

_LONGEST = 100
"""Bytes of a path that all systems take for a socket."""

_READ = 64
"""Rings read in one turn of the loop."""


class Bell:
    """This process's own bell, and the means to ring others. `on_ring` gets the text of each ring."""

    def __init__(self, beside: str, on_ring: Callable[[str], None]) -> None:
        self._beside, self._on_ring = beside, on_ring
        self._own: socket.socket | None = None
        self._out: socket.socket | None = None
        self.path = ""
        """Where others ring; empty if there is none, and one has to look by oneself."""

    def open(self, name: str) -> None:
        """Raises nothing: without sockets there is no bell."""
        for folder, is_private in _folders(self._beside):
            path = os.path.join(folder, name)
            if len(os.fsencode(path)) > _LONGEST:
                continue
            try:
                if is_private:
                    _own_folder(folder)
                else:
                    os.makedirs(folder, exist_ok=True)
                self._own = _bound(path)
            except (OSError, AttributeError):  # no such sockets here
                continue
            self.path = path
            asyncio.get_running_loop().add_reader(self._own.fileno(), self._read)
            return

    @property
    def is_gone(self) -> bool:
        """Whether somebody has taken the bell away, such as who tidies up temporary files: all others think then that
        this process has ended."""
        return bool(self.path) and not os.path.exists(self.path)

    def _read(self) -> None:
        if self._own is None:
            return
        with contextlib.suppress(OSError):
            for _ in range(_READ):
                self._on_ring(self._own.recv(65536).decode("utf-8", "replace"))

    def ring(self, path: str, text: str) -> bool:
        """Whether somebody is there to hear it."""
        try:
            if self._out is None:
                self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._out.setblocking(False)
            self._out.sendto(text.encode("utf-8", "surrogateescape"), path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (OSError, AttributeError):
            pass  # full, or not for us: it looks by itself before long
        return True

    def close(self) -> None:
        if self._own is not None:
            asyncio.get_running_loop().remove_reader(self._own.fileno())
            self._own.close()
            remove(self.path)
        if self._out is not None:
            self._out.close()
        self._own = self._out = None
        self.path = ""


def answers(path: str) -> bool:
    """Whether the process that made this bell lives, as far as one can tell."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except (OSError, AttributeError):
        return True
    return True


def remove(path: str) -> None:
    """Takes away what is left of a bell."""
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))  # goes only with the last one


def _folders(beside: str) -> list[tuple[str, bool]]:
    """Where bells may hang: beside the file, or where paths are shorter, which everybody can write to: that one has to
    be this user's own. Who rings is told the path."""
    short = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"pydapr-bells-{os.getuid()}")
    return [(f"{os.path.abspath(beside)}-bells", False), (short, True)]


def _own_folder(folder: str) -> None:
    """Makes a folder that nobody else can change. Raises `OSError` when another has been there first."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not this user's own")


def _bound(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.bind(path)
    except BaseException:
        made.close()
        raise
    return made
