"""One run, from its started sidecar to its exit code.

The order of things: sidecar, app, metadata, the first reason to stop, stop both. `run.py` starts the sidecar
and makes the `Session`; `pump.py` passes the app's output on; `signals.py` is what the loop waits for.
"""

import os
import signal
import socket
import threading
import time

from pydapr.cli import launch, plan, pump, status, watchdog
from pydapr.cli.signals import Signals

_PATIENCE = 60.0
"""Seconds a sidecar may take to listen, as in the original."""

_SIDECAR_GRACE = 7.0
"""Seconds for the sidecar to end: its own limit is five by default, and it should be the one to say so."""

_LAST_WORDS = 0.5
"""Seconds to let an app's last lines appear before the line that says how it ended."""


class Session:
    """A run from the moment its sidecar has been started."""

    def __init__(self, planned: plan.Plan, launcher: launch.Launcher, sidecar: launch.Group, signals: Signals) -> None:
        self._plan, self._launcher, self._sidecar, self._signals = planned, launcher, sidecar, signals
        self._app: launch.Group | None = None
        self._output: pump.Output | None = None
        self._terminal: int | None = None
        self._is_ending = threading.Event()
        self._telling: threading.Thread | None = None

    def run(self) -> int:
        """Everything until both have ended. Returns the exit code."""
        # With an app port the sidecar waits for the app: waiting for the sidecar first would last for ever.
        if not self._plan.app_port:
            self._await_sidecar()
        if self._plan.app_command and not self._has_reason_to_stop() and not self._start_app():
            self._terminate()
            self._await_end()
            status.success("Start App failed, try to stop Dapr successfully")
            return 1
        if not self._signals.stop_requests() and self._sidecar.exit_code() is None:
            self._telling = threading.Thread(target=self._tell_sidecar, name="metadata", daemon=True)
            self._telling.start()
        while not self._has_reason_to_stop():
            self._signals.wait(None)
            self._lend_terminal()
        return self._end()

    def _has_reason_to_stop(self) -> bool:
        return (
            self._signals.stop_requests() > 0
            or self._sidecar.exit_code() is not None
            or (self._app is not None and self._app.exit_code() is not None)
        )

    def _await_sidecar(self) -> None:
        is_up = True
        kind = "socket" if self._plan.socket_directory else "port"
        for title, port in (("HTTP", self._plan.http_port), ("GRPC", self._plan.grpc_port)):
            path = self._plan.socket(title.lower())
            status.info(f"Checking if Dapr sidecar is listening on {title} {kind} {path or port}")
            reason = self._await_listening(port, path)
            if self._has_reason_to_stop():
                return
            if reason:
                is_up = False
                status.warning(f"Dapr sidecar is not listening on {title} {kind}: {reason}")
        if is_up:
            status.info("Dapr sidecar is up and running.")
        else:
            status.warning("Dapr sidecar might not be responding.")

    def _await_listening(self, port: int, path: str) -> str:
        deadline = time.monotonic() + _PATIENCE
        while not self._has_reason_to_stop():
            try:
                _connect(port, path)
                return ""
            except OSError as wrong:
                if time.monotonic() > deadline:
                    return str(wrong)
            self._signals.wait(0.02)
        return ""

    def _start_app(self) -> bool:
        self._output = pump.Output()
        try:
            self._app = self._launcher.start(
                self._plan.app_command,
                self._plan.app_environment,
                self._output.stdout,
                self._output.stderr,
            )
        except OSError as wrong:
            status.failure(f"failed to fork/exec app: {(wrong.strerror or str(wrong)).lower()}")
            return False
        finally:
            self._output.start()
        return True

    def _tell_sidecar(self) -> None:
        """Note in the sidecar's metadata who runs here, for `dapr list` and `dapr stop`; runs on a thread."""
        from pydapr.cli import sidecar_api

        address = self._plan.http_address()

        def put(key: str, title: str, value: str) -> bool:
            deadline = time.monotonic() + _PATIENCE
            while True:
                try:
                    sidecar_api.request(address, "PUT", f"/v1.0/metadata/{key}", value.encode(), timeout=5)
                    return True
                except OSError as wrong:
                    if self._is_ending.wait(0.05):
                        return False
                    if time.monotonic() > deadline:
                        status.warning(f"Could not update sidecar metadata for {title}: {wrong}")
                        return False

        is_known = put("cliPID", "cliPID", str(os.getpid()))
        if self._app is None:
            if is_known:
                status.success("You're up and running! Dapr logs will appear here.\n")
            return
        command = " ".join(self._plan.app_command)
        status.info(f"Updating metadata for appPID: {self._app.pid}")
        put("appPID", "appPID", str(self._app.pid))
        status.info(f"Updating metadata for app command: {command}")
        if put("appCommand", "appCommand", command):
            status.success("You're up and running! Both Dapr and your app logs will appear here.\n")

    def _lend_terminal(self) -> None:
        """An app that reads from the terminal gets it; then Ctrl-C goes to the app, and its end ends us."""
        if self._app is None or self._terminal is not None or not self._app.is_waiting_for_terminal():
            return
        try:
            os.tcsetpgrp(0, self._app.pid)
        except OSError:
            return
        self._terminal = 0
        self._app.resume()

    def _take_terminal_back(self) -> None:
        if self._terminal is None:
            return
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(self._terminal, os.getpgrp())
        except OSError:
            pass

    def _end(self) -> int:
        self._await_last_words()
        self._is_ending.set()
        sidecar_code, app_code = self._sidecar.exit_code(), self._app.exit_code() if self._app else None
        # Before any line is written: a terminal that takes none must not keep them alive.
        self._terminate()
        sidecar_failed = _report_sidecar(sidecar_code)
        app_failed = _report_app(None if self._was_interrupted(app_code) else app_code)
        status.info("\nterminated signal received: shutting down")
        killed = self._await_end()
        if sidecar_code is None and self._sidecar.exit_code() and self._sidecar not in killed:
            sidecar_failed = _exit_text(self._sidecar.exit_code())
        if sidecar_failed:
            status.failure(f"Error exiting Dapr: {sidecar_failed}")
        elif sidecar_code is None:
            status.success("Exited Dapr successfully")
        if app_failed:
            status.failure(f"Error exiting App: app {app_failed}")
        elif self._app is not None:
            status.success("Exited App successfully")
        self._remove_sockets()
        return 1 if sidecar_failed or app_failed else 0

    def _was_interrupted(self, app_code: int | None) -> bool:
        """Whether the app has got the Ctrl-C that was meant for us, because it has the terminal: no error."""
        return self._terminal is not None and app_code in (-signal.SIGINT, 128 + signal.SIGINT)

    def _await_last_words(self) -> None:
        """An app that ended by itself has been up, however shortly: let that be said, and its last lines shown."""
        if self._app is None or self._app.exit_code() is None or self._signals.stop_requests():
            return
        if self._telling is not None and self._sidecar.exit_code() is None:
            self._telling.join(_LAST_WORDS)
        if self._output is not None:
            self._output.finish(_LAST_WORDS)

    def _groups(self) -> list[launch.Group]:
        return [group for group in (self._sidecar, self._app) if group is not None]

    def _terminate(self) -> None:
        for group in self._groups():
            group.terminate()

    def _await_end(self) -> set[launch.Group]:
        """Wait for what was told to end; kill it after its grace, or at once when asked to stop again."""
        began = time.monotonic()
        seen = min(self._signals.stop_requests(), 1)
        killed: set[launch.Group] = set()
        while left := [group for group in self._groups() if group.is_alive()]:
            is_urgent = self._signals.stop_requests() > seen
            for group in left:
                grace = _SIDECAR_GRACE if group is self._sidecar else watchdog.GRACE
                if is_urgent or time.monotonic() > began + grace:
                    group.kill()
                    killed.add(group)
            self._signals.wait(0.02)
        self._take_terminal_back()
        if self._output is not None:
            self._output.finish(2)
        return killed

    def _remove_sockets(self) -> None:
        for protocol in ("http", "grpc"):
            path = self._plan.socket(protocol)
            if path and os.path.exists(path):
                os.unlink(path)


def _connect(port: int, path: str) -> None:
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
    else:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def _report_sidecar(code: int | None) -> str:
    """Say that the sidecar has ended by itself, if it has; the reason when that is an error."""
    if code:
        status.failure(f"The daprd process exited with error code: {_exit_text(code)}")
        return _exit_text(code)
    if code == 0:
        status.success("Exited Dapr successfully")
    return ""


def _report_app(code: int | None) -> str:
    """Say that the app has failed, if it has, and how."""
    if not code:
        return ""
    if code < 0:
        status.failure(f"The App process was terminated by signal: {_signal_name(-code)}")
        return f"terminated by signal: {_signal_name(-code)}"
    status.failure(f"The App process exited with error code: {code}")
    return f"exited with status {code}"


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal: {_signal_name(-code)}"
    return f"exit status {code}"


def _signal_name(number: int) -> str:
    return (signal.strsignal(number) or str(number)).lower()
