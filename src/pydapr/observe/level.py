"""The level of the log while the process runs: SIGUSR1 switches to debug, and back to the level of the start.

Called by the processes when their event loop runs. The original has nothing like it. A switch changes one number
that every line is compared with anyway, so that it costs nothing to be able to.
"""

import asyncio
import signal
import sys

from pydapr.observe import logging

log = logging.get("dapr.signals")


def follow_signals(loop: asyncio.AbstractEventLoop, configured: str) -> None:
    """Heeds SIGUSR1, also one that came before, where there is such a signal; `configured` is what to return to."""
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGUSR1, _switch, configured)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1,))  # blocked by `main`, until now


def ignore_signals() -> None:
    """The process leaves: its exit code is not to be that of a signal that asks for lines of the log."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))


def _switch(configured: str) -> None:
    wanted = configured.lower() if logging.is_debug() else "debug"
    logging.set_level(wanted)
    log.always(f"Received signal 'user defined signal 1'; log level set to: {wanted}")
