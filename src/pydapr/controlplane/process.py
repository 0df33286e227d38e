"""From a command line to a running process of the control plane and its exit code: logs, event loop, signals.

Called by the `start` modules of placement, scheduler and sentry. Exit codes and log lines are the original's.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

from pydapr import DAPR_VERSION
from pydapr.lib import pflag
from pydapr.net import files
from pydapr.observe import level, logging

signals_log = logging.get("dapr.signals")

_SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated"}


class Fatal(Exception):
    """The process cannot run; the message is the reason."""


class LogSettings(Protocol):
    """How a process logs, as flags say it."""

    @property
    def log_level(self) -> str: ...
    @property
    def log_as_json(self) -> bool: ...
    @property
    def log_file(self) -> str: ...


Work = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event is set. Raises `Fatal`."""


def refuse(error: Exception, log: logging.Logger) -> int:
    """The exit code where flags are wrong, which is told on stderr or in the log."""
    if isinstance(error, pflag.UsageError):
        sys.stderr.write(error.output)
        return error.status
    log.fatal(str(error))
    return 1


def run(settings: LogSettings, log: logging.Logger, begins: str, ends: str, work: Work) -> int:
    """Runs `work` in an event loop until a signal ends it; the exit code. `begins` and `ends` are lines of the log."""
    try:
        logging.configure("", settings.log_level, settings.log_as_json, settings.log_file, DAPR_VERSION)
    except ValueError as error:
        log.fatal(str(error))
        return 1
    log.info(begins)
    log.info(f"Log level set to: {settings.log_level}")
    logging.adopt_stdlib()
    files.allow()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(settings, log, ends, work))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed; asyncio's own loop does the same, more slowly."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _run(settings: LogSettings, log: logging.Logger, ends: str, work: Work) -> int:
    stop = asyncio.Event()

    def signalled(number: signal.Signals) -> None:
        name = _SIGNAL_NAMES[number]
        if stop.is_set():
            signals_log.fatal(f"Received signal '{name}' during shutdown; exiting immediately")
            os._exit(1)
        signals_log.info(f"Received signal '{name}'; beginning shutdown")
        stop.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNAL_NAMES:
        loop.add_signal_handler(number, signalled, number)
    level.follow_signals(loop, settings.log_level)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNAL_NAMES)
    reason = ""
    try:
        await work(stop)
    except Fatal as error:
        reason = str(error)
        log.fatal(reason)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNAL_NAMES)  # the exit code is certain
    level.ignore_signals()
    if reason:
        return 1
    log.info(ends)
    return 0
