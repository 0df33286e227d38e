"""Python's own logging, warnings and uncaught exceptions as lines of our log.

Loaded by `observe.logging.adopt_stdlib` only: libraries (asyncio, zeroconf) report there, we never do.
"""

import logging as theirs
import sys
import traceback
import warnings
from types import TracebackType

from pydapr.observe import logging as ours

_PREFIX = "dapr.python."


class _Handler(theirs.Handler):
    """Hands each record to our logger of the same name."""

    def emit(self, record: theirs.LogRecord) -> None:
        ours.get(_PREFIX + record.name).log(_level(record.levelno), _message(record))


def adopt() -> None:
    """Replaces the root logger's handlers and the hooks of `sys` and `warnings`."""
    root = theirs.getLogger()
    root.handlers[:] = [_Handler()]
    follow()
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    warnings.showwarning = _warning


def follow() -> None:
    """Goes by our level, which has changed."""
    theirs.getLogger().setLevel(theirs.DEBUG if ours.is_debug() else theirs.WARNING)


def _level(theirs_level: int) -> int:
    # Their "critical" is our error: fatal means that the process leaves.
    return min(max(theirs_level // 10 * 10, ours.DEBUG), ours.ERROR)


def _message(record: theirs.LogRecord) -> str:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        message = f"{record.msg} {record.args}"
    if record.exc_info and record.exc_info[0] is not None:
        message += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return message


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace)).rstrip()
    ours.get(_PREFIX + "uncaught").error(text)


def _unraisable(report: "sys.UnraisableHookArgs") -> None:
    text = "".join(traceback.format_exception(report.exc_type, report.exc_value, report.exc_traceback))
    ours.get(_PREFIX + "uncaught").error(f"{report.err_msg or 'Exception ignored in'}: {report.object!r}\n{text}")


def _warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    ours.get(_PREFIX + "warnings").warning(f"{filename}:{lineno}: {category.__name__}: {message}")
