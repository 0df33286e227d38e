"""Status lines: what a command tells its user, with Dapr's glyphs, or as JSON lines.

Every line is written with one system call, because the sidecar and the app write to the same terminal. A
terminal that has gone away is no reason to stop: the processes we look after still need us.
"""

import os
import sys

_GLYPHS = {"success": "✅  ", "failure": "❌  ", "warning": "⚠  ", "info": "ℹ️  "}  # noqa: RUF001

_as_json = False


def use_json() -> None:
    """From now on lines are JSON objects."""
    global _as_json
    _as_json = True


def is_json() -> bool:
    return _as_json


def success(message: str) -> None:
    _write(1, "success", message)


def failure(message: str) -> None:
    _write(2, "failure", message)


def warning(message: str) -> None:
    _write(1, "warning", message)


def info(message: str) -> None:
    _write(1, "info", message)


def plain(message: str) -> None:
    """A line without glyph, on standard output."""
    write(1, f"{message}\n".encode(errors="surrogateescape"))


def say(kind: str, message: str) -> None:
    """A line of a kind that is known at run time only."""
    _write(2 if kind == "failure" else 1, kind, message)


def line(kind: str, message: str) -> bytes:
    """The bytes of a status line, for one that goes elsewhere."""
    if _as_json:
        text = _json(kind, message)
    else:
        text = message if sys.platform == "win32" else f"{_GLYPHS[kind]}{message}"
    return f"{text}\n".encode(errors="surrogateescape")


def _write(fd: int, kind: str, message: str) -> None:
    write(fd, line(kind, message))


def _json(kind: str, message: str) -> str:
    import json
    import time

    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09d}Z"
    entry = {"time": moment, "status": kind, "msg": message}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False)


def write(fd: int, data: bytes) -> bool:
    """Write all of it; false when nobody can read it any more."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        return False
    return True
