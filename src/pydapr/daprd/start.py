"""From a command line to a running sidecar and its exit code: flags, logs, event loop, signals.

Called by `daprd.main`; goes on to `daprd.runtime`. Exit codes and log lines are the original's.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from pydapr import DAPR_VERSION, __version__
from pydapr.daprd import flags
from pydapr.lib import pflag
from pydapr.net import files
from pydapr.observe import level, logging

log = logging.get("dapr.runtime")
signals_log = logging.get("dapr.signals")

_SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}


def start(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs daprd with these arguments; the process' exit code."""
    try:
        settings = flags.parse(argv, environ)
    except pflag.UsageError as error:
        sys.stderr.write(error.output)
        return error.status
    except flags.FlagsError as error:
        return _refuse(error)
    if settings.warnings:
        sys.stderr.write(settings.warnings)
    if settings.version or settings.build_info:
        return _print_version(settings)
    if settings.wait:
        from pydapr.daprd import wait

        return wait.until_outbound_ready(settings.http_port)
    try:
        _configure_logs(settings.log)
    except ValueError as error:
        log.fatal(str(error))
        return 1
    _announce(settings.log)
    return _run(settings)


def _refuse(error: flags.FlagsError) -> int:
    if error.warnings:
        sys.stderr.write(error.warnings)
    if error.started:
        _configure_logs(error.log_settings)
        _announce(error.log_settings)
    _let_signals_wait()
    log.fatal(error.message)
    return 1


def _let_signals_wait() -> None:
    """The exit code is certain: a signal that comes while the process leaves is not to change it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNAL_NAMES)
    level.ignore_signals()


def _print_version(settings: flags.Settings) -> int:
    if settings.version:
        sys.stdout.write(DAPR_VERSION + "\n")
    else:
        sys.stdout.write(f"Version: {DAPR_VERSION}\nGit Commit: pydapr\nGit Version: {__version__}\n")
    return 0


def _configure_logs(wanted: flags.LogSettings) -> None:
    logging.configure(wanted.app_id, wanted.level, wanted.as_json, wanted.file, DAPR_VERSION)


def _announce(wanted: flags.LogSettings) -> None:
    log.info(f"Starting Dapr Runtime -- version {DAPR_VERSION} -- commit pydapr-{__version__}")
    log.info(f"Log level set to: {wanted.level}")


def _run(settings: flags.Settings) -> int:
    logging.adopt_stdlib()
    files.allow()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Process(settings).run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed; asyncio's own loop does the same, more slowly."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class _Process:
    """The sidecar's process: its signals, and a runtime that a SIGHUP replaces by a fresh one."""

    def __init__(self, settings: flags.Settings) -> None:
        self._settings = settings
        self._restarts = False
        self._stop = asyncio.Event()
        self._is_stopping = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled, number)
        level.follow_signals(loop, self._settings.log.level)
        from pydapr.daprd import runtime

        while True:
            self._restarts = False
            self._stop.clear()
            current = runtime.Runtime(self._settings, self._stop)
            if gc.isenabled():
                gc.collect()  # what is left of the runtime before
            # What exists now lives as long as the process: the collector need not look at it again.
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            gc.enable()
            code = await current.run()
            if not self._restarts or code != 0:
                break
        if code == 0:
            log.info("Daprd shutdown gracefully")
        _let_signals_wait()
        return code

    def _signalled(self, number: signal.Signals) -> None:
        name = _SIGNAL_NAMES[number]
        if number == signal.SIGHUP:
            if not self._is_stopping and not self._restarts:
                signals_log.info(f"Received signal '{name}'; restarting")
                self._restarts = True
                self._stop.set()
        elif self._is_stopping:
            signals_log.fatal(f"Received signal '{name}' during shutdown; exiting immediately")
            os._exit(1)
        else:
            signals_log.info(f"Received signal '{name}'; beginning shutdown")
            self._is_stopping = True
            self._restarts = False
            self._stop.set()
