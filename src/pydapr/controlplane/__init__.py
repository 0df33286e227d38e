"""What the processes of the control plane have in common: how one starts, listens, is known, and ends.

Used by placement, scheduler and sentry.
"""

import signal

_WAITING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def let_signals_wait() -> None:
    """A signal that comes before there is somebody to handle it waits until then (`process.run`). The first thing that
    a process does, before it imports anything."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITING)
