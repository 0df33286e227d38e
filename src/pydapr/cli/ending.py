"""How what a run has started ends: together, in bounded time; and the words for how something ended.

Used by `session.py` and `crew.py`.
"""

import signal
import time
from collections.abc import Mapping

from pydapr.cli import launch, watchdog
from pydapr.cli.signals import Signals

SIDECAR_GRACE = 7.0
"""Seconds for a sidecar to end: its own limit is five by default, and it should be the one to say so."""

APP_GRACE = watchdog.GRACE


def await_end(graces: Mapping[launch.Group, float], signals: Signals) -> set[launch.Group]:
    """Wait for groups that were told to end; kill each after its grace, or at once when asked to stop again."""
    began = time.monotonic()
    seen = min(signals.stop_requests(), 1)
    killed: set[launch.Group] = set()
    while left := [group for group in graces if group.is_alive()]:
        is_urgent = signals.stop_requests() > seen
        for group in left:
            if is_urgent or time.monotonic() > began + graces[group]:
                group.kill()
                killed.add(group)
        signals.wait(0.02)
    return killed


def sidecar_text(code: int | None) -> str:
    """How a sidecar ended."""
    if code is not None and code < 0:
        return f"signal: {_signal_name(-code)}"
    return f"exit status {code}"


def app_text(code: int) -> str:
    """How an app that failed ended."""
    if code < 0:
        return f"terminated by signal: {_signal_name(-code)}"
    return f"exited with status {code}"


def _signal_name(number: int) -> str:
    return (signal.strsignal(number) or str(number)).lower()
