"""Waiting until a sidecar listens, and noting in its metadata who runs beside it.

`session.py` does this for one app, `crew.py` for each of several.
"""

import socket
import threading
import time
from collections.abc import Callable

from pydapr.cli import plan
from pydapr.cli.signals import Signals

_PATIENCE = 60.0
"""Seconds a sidecar may take to listen, as in the original."""

Say = Callable[[str, str], None]
"""Kind and text of a status line."""


def await_sidecar(planned: plan.Plan, signals: Signals, is_over: Callable[[], bool], say: Say) -> None:
    """Return when both APIs listen, when they have had their time, or when it is over."""
    is_up = True
    kind = "socket" if planned.socket_directory else "port"
    for title, port in (("HTTP", planned.http_port), ("GRPC", planned.grpc_port)):
        path = planned.socket(title.lower())
        say("info", f"Checking if Dapr sidecar is listening on {title} {kind} {path or port}")
        reason = _await_listening(port, path, signals, is_over)
        if is_over():
            return
        if reason:
            is_up = False
            say("warning", f"Dapr sidecar is not listening on {title} {kind}: {reason}")
    if is_up:
        say("info", "Dapr sidecar is up and running.")
    else:
        say("warning", "Dapr sidecar might not be responding.")


def _await_listening(port: int, path: str, signals: Signals, is_over: Callable[[], bool]) -> str:
    deadline = time.monotonic() + _PATIENCE
    while not is_over():
        try:
            _connect(port, path)
            return ""
        except OSError as wrong:
            if time.monotonic() > deadline:
                return str(wrong)
        signals.wait(0.02)
    return ""


def _connect(port: int, path: str) -> None:
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
    else:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def note(planned: plan.Plan, key: str, value: str, is_ending: threading.Event, say: Say, title: str = "") -> bool:
    """Put one entry into the sidecar's metadata, for `dapr list` and `dapr stop`; false when it was not possible."""
    from pydapr.cli import sidecar_api

    address = planned.http_address()
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            sidecar_api.request(address, "PUT", f"/v1.0/metadata/{key}", value.encode(), timeout=5)
            return True
        except OSError as wrong:
            if is_ending.wait(0.05):
                return False
            if time.monotonic() > deadline:
                say("warning", f"Could not update sidecar metadata for {title or key}: {wrong}")
                return False
