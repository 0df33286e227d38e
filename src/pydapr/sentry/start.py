"""From a command line to a running authority and its exit code: flags, logs, event loop, signals.

Called by `sentry.main`; goes on to `sentry.runtime`. Exit codes and log lines are the original's.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from pydapr import DAPR_VERSION, __version__
from pydapr.lib import pflag
from pydapr.observe import level, logging
from pydapr.sentry import flags

log = logging.get("dapr.sentry")
signals_log = logging.get("dapr.signals")

_SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated"}


def start(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs sentry with these arguments; the process' exit code."""
    try:
        settings = flags.parse(argv, environ)
    except pflag.UsageError as error:
        sys.stderr.write(error.output)
        return error.status
    except flags.Invalid as error:
        log.fatal(str(error))
        return 1
    try:
        logging.configure("", settings.log_level, settings.log_as_json, settings.log_file, DAPR_VERSION)
    except ValueError as error:
        log.fatal(str(error))
        return 1
    log.info(f"Starting Dapr Sentry certificate authority -- version {DAPR_VERSION} -- commit pydapr-{__version__}")
    log.info(f"Log level set to: {settings.log_level}")
    logging.adopt_stdlib()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(settings, environ))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed; asyncio's own loop does the same, more slowly."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _run(settings: flags.Settings, environ: Mapping[str, str]) -> int:
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
    try:
        reason = await _serve(settings, environ, stop)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("pydapr"):
            raise
        reason = f"the library {error.name} is missing: pip install pydapr[jwt] brings all that sentry uses"
    if reason:
        log.fatal(reason)
    level.ignore_signals()
    if reason:
        return 1
    log.info("Sentry shut down gracefully")
    return 0


async def _serve(settings: flags.Settings, environ: Mapping[str, str], stop: asyncio.Event) -> str:
    """Runs until `stop` is set; why it could not, if that is so."""
    from pydapr.sentry import loading, runtime

    try:
        await runtime.Sentry(settings, environ).run(stop)
    except loading.Fatal as error:
        return str(error)
    return ""
