"""The log: one line per event, as logrus writes it for Dapr, in text or JSON, to stdout or a file.

Every module that reports something takes a logger by scope at import, `log = logging.get("dapr.runtime")`,
and calls `log.info("message", code=204)`. The process configures all loggers once (`configure`), before that
they write text at level info. `adopt_stdlib` brings in what asyncio and libraries tell Python's own logging.

    time="2026-01-02T03:04:05.123456789Z" level=info msg="..." app_id=myapp instance=host scope=... type=log

A line is one write to the descriptor, without a buffer, so nothing is lost when the process dies; a closed
pipe or a full disk never raises into the caller. `fatal` only writes: leaving is its caller's decision.
"""

from __future__ import annotations

import os
import time

from pydapr.lib import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Sink = Callable[[int, str, Mapping[str, object]], None]

DEBUG, INFO, WARNING, ERROR, FATAL = 10, 20, 30, 40, 50

_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", FATAL: "fatal"}
_LEVELS = {"debug": DEBUG, "info": INFO, "warn": WARNING, "error": ERROR, "fatal": FATAL}
_BARE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+"
_CLASHES = ("time", "level", "msg", "logrus_error")
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *map(ord, "<>&"), 0x2028, 0x2029)}
_JSON_ESCAPES |= {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_JSON_ESCAPES |= dict.fromkeys(range(0xD800, 0xE000), "\\ufffd")
_WAIT_FOR_READER = 1.0


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


class _Output:
    """Where lines go, what stands in each of them, and from which level on. One for the process."""

    def __init__(self) -> None:
        self.level = INFO
        self.descriptor = 1
        self.as_json = False
        self.fields: dict[str, object] = {"instance": _host(), "ver": "unknown"}
        self.also: Sink | None = None
        self.on_level: Callable[[], None] | None = None
        self._second = -1
        self._date, self._zone = "", ""

    def timestamp(self) -> str:
        """Now in RFC 3339, local time, with as many digits of the nanoseconds as are not zero."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            local = time.localtime(second)
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            minutes = local.tm_gmtoff // 60
            sign = "-" if minutes < 0 else "+"
            self._zone = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "Z"
            self._second = second
        if not rest:
            return self._date + self._zone
        return f"{self._date}.{f'{rest:09d}'.rstrip('0')}{self._zone}"

    def write(self, line: str) -> None:
        """The whole line, or nothing when nobody can read it any more."""
        left = memoryview(line.encode("utf-8", "replace"))
        try:
            while left:
                try:
                    left = left[os.write(self.descriptor, left) :]
                except BlockingIOError:
                    if not self._writable():
                        return
        except OSError:
            return  # the reader is gone or the disk is full: there is no place left to say so

    def _writable(self) -> bool:
        import select

        return bool(select.select((), (self.descriptor,), (), _WAIT_FOR_READER)[1])


_output = _Output()
_loggers: dict[str, Logger] = {}


class Logger:
    """Writes the lines of one scope. Further fields are keywords: `log.info("done", duration=3)`."""

    __slots__ = ("_fields", "_text_tail", "scope")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._prepare()

    def _prepare(self) -> None:
        # What is the same in all lines of this scope is rendered once.
        self._fields: dict[str, object] = {**_output.fields, "scope": self.scope, "type": "log"}
        self._text_tail = _text_fields(self._fields)

    def is_enabled(self, level: int) -> bool:
        """Whether a line of `level` would be written; ask before building an expensive message."""
        return level >= _output.level

    def debug(self, message: str, /, **fields: object) -> None:
        if _output.level <= DEBUG:
            self._write(DEBUG, message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        if _output.level <= INFO:
            self._write(INFO, message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        if _output.level <= WARNING:
            self._write(WARNING, message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        if _output.level <= ERROR:
            self._write(ERROR, message, fields)

    def fatal(self, message: str, /, **fields: object) -> None:
        """The last line before the process leaves with status 1; the caller leaves."""
        self._write(FATAL, message, fields)

    def log(self, level: int, message: str, /, **fields: object) -> None:
        """A line of a level that is known only at run time."""
        if _output.level <= level:
            self._write(level, message, fields)

    def always(self, message: str, /, **fields: object) -> None:
        """A line of level info even when the level in force is higher: it was asked for by a switch of its own."""
        self._write(INFO, message, fields)

    def _write(self, level: int, message: str, fields: dict[str, object]) -> None:
        if _output.as_json:
            line = self._as_json(level, message, fields)
        else:
            line = self._as_text(level, message, fields)
        _output.write(line)
        if _output.also is not None:
            _output.also(level, message, {**self._fields, **fields})

    def _as_text(self, level: int, message: str, fields: dict[str, object]) -> str:
        tail = self._text_tail if not fields else _text_fields({**self._fields, **_renamed(fields)})
        said = f" msg={_text_value(message)}" if message else ""
        return f'time="{_output.timestamp()}" level={_NAMES[level]}{said}{tail}\n'

    def _as_json(self, level: int, message: str, fields: dict[str, object]) -> str:
        values = {**self._fields, **_renamed(fields)} if fields else dict(self._fields)
        values["time"] = _output.timestamp()
        values["level"], values["msg"] = _NAMES[level], message
        return "{" + ",".join(f'"{key}":{_json_value(values[key])}' for key in sorted(values)) + "}\n"


def get(scope: str) -> Logger:
    """The logger of `scope`, always the same one."""
    logger = _loggers.get(scope)
    if logger is None:
        logger = _loggers[scope] = Logger(scope)
    return logger


def configure(
    app_id: str = "",
    level: str = "info",
    as_json: bool = False,
    file: str = "",
    version: str = "unknown",
    instance: str = "",
) -> None:
    """Settles level, form and destination for all loggers, those of the future too.

    Raises ValueError with Dapr's words when the level is unknown or the file cannot be opened; form and app
    id are in force then, as in the original.
    """
    _output.as_json = as_json
    _output.fields = {"instance": instance or _host(), "ver": version}
    if app_id:
        _output.fields["app_id"] = app_id
    for logger in _loggers.values():
        logger._prepare()
    set_level(level)
    _redirect(file)


def also(sink: Sink | None) -> None:
    """Has `sink` hear each line that is written, with its level, message and fields; None for nobody."""
    _output.also = sink


def set_level(level: str) -> None:
    """Changes the level while running; raises ValueError for a name that is none."""
    number = _LEVELS.get(level.lower())
    if number is None:
        raise ValueError(f"invalid value for --log-level: {level}")
    _output.level = number
    if _output.on_level is not None:
        _output.on_level()


def is_debug() -> bool:
    """Whether all lines are written."""
    return _output.level <= DEBUG


def _redirect(file: str) -> None:
    before = _output.descriptor
    if file:
        try:
            _output.descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            reason = f"{(error.strerror or '').lower()}"
            raise ValueError(f"failed to open log file {quote.go(file)}: open {file}: {reason}") from error
    else:
        _output.descriptor = 1
    if before not in (1, _output.descriptor):
        os.close(before)


def _renamed(fields: dict[str, object]) -> dict[str, object]:
    """Fields that would hide one of logrus' own get its prefix."""
    if any(key in fields for key in _CLASHES):
        return {f"fields.{key}" if key in _CLASHES else key: value for key, value in fields.items()}
    return fields


def _text_fields(fields: dict[str, object]) -> str:
    return "".join(f" {key}={_text_value(fields[key])}" for key in sorted(fields))


def _text_value(value: object) -> str:
    text = value if isinstance(value, str) else _plain(value)
    return quote.go(text) if text.strip(_BARE) else text


def _plain(value: object) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _json_value(value: object) -> str:
    if isinstance(value, str):
        return f'"{value.translate(_JSON_ESCAPES)}"'
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return _plain(value)
    return f'"{str(value).translate(_JSON_ESCAPES)}"'


def adopt_stdlib() -> None:
    """Lets what is told to Python's own logging, warnings and uncaught tracebacks appear as our lines.

    Call it once, after `configure`. Scopes are `dapr.python.<name>`: asyncio's complaints come from
    `dapr.python.asyncio`. Lines below warning stay away unless our level is debug.
    """
    from pydapr.observe import stdlib

    stdlib.adopt()
    _output.on_level = stdlib.follow
