"""One run, from its started sidecar to its exit code.

The order of things: sidecar, app, metadata, the first reason to stop, stop both. `run.py` starts the sidecar
and makes the `Session`; the app writes where we write, without us between; `signals.py` is what the loop waits
for.
"""

import os
import signal
import threading

from pydapr.cli import ending, launch, plan, plane, readiness, status
from pydapr.cli.signals import Signals

_LAST_WORDS = 0.5
"""Seconds to let the line appear that says an app has been up, before the one that says how it ended."""


class Session:
    """A run from the moment its sidecar has been started."""

    def __init__(
        self,
        planned: plan.Plan,
        launcher: launch.Launcher,
        sidecar: launch.Group,
        signals: Signals,
        control_plane: plane.Plane,
    ) -> None:
        self._plan, self._launcher, self._sidecar, self._signals = planned, launcher, sidecar, signals
        self._control_plane = control_plane
        self._app: launch.Group | None = None
        self._terminal: int | None = None
        self._is_ending = threading.Event()
        self._telling: threading.Thread | None = None

    def run(self) -> int:
        """Everything until both have ended. Returns the exit code."""
        # With an app port the sidecar waits for the app: waiting for the sidecar first would last for ever.
        if not self._plan.app_port:
            readiness.await_sidecar(self._plan, self._signals, self._has_reason_to_stop, status.say)
        if self._plan.app_command and not self._has_reason_to_stop() and not self._start_app():
            self._terminate()
            self._await_end()
            status.success("Start App failed, try to stop Dapr successfully")
            return 1
        if not self._signals.stop_requests() and self._sidecar.exit_code() is None:
            self._telling = threading.Thread(target=self._tell_sidecar, name="metadata", daemon=True)
            self._telling.start()
        while not self._has_reason_to_stop():
            self._signals.wait(plane.LOOK_SECONDS)
            self._lend_terminal()
            self._control_plane.look()
        return self._end()

    def _has_reason_to_stop(self) -> bool:
        return (
            self._signals.stop_requests() > 0
            or self._sidecar.exit_code() is not None
            or (self._app is not None and self._app.exit_code() is not None)
        )

    def _start_app(self) -> bool:
        try:
            self._app = self._launcher.start(self._plan.app_command, self._plan.app_environment)
        except OSError as wrong:
            status.failure(f"failed to fork/exec app: {(wrong.strerror or str(wrong)).lower()}")
            return False
        return True

    def _tell_sidecar(self) -> None:
        """Note in the sidecar's metadata who runs here, for `dapr list` and `dapr stop`; runs on a thread."""

        def put(key: str, title: str, value: str) -> bool:
            return readiness.note(self._plan, key, value, self._is_ending, status.say, title)

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
            sidecar_failed = ending.sidecar_text(self._sidecar.exit_code())
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
        """An app that ended by itself has been up, however shortly: let that be said."""
        if self._app is None or self._app.exit_code() is None or self._signals.stop_requests():
            return
        if self._telling is not None and self._sidecar.exit_code() is None:
            self._telling.join(_LAST_WORDS)

    def _groups(self) -> list[launch.Group]:
        return [group for group in (self._sidecar, self._app) if group is not None]

    def _terminate(self) -> None:
        for group in self._groups():
            group.terminate()

    def _await_end(self) -> set[launch.Group]:
        graces = {self._sidecar: ending.SIDECAR_GRACE} | ({self._app: ending.APP_GRACE} if self._app else {})
        killed = ending.await_end(graces, self._signals)
        self._take_terminal_back()
        return killed

    def _remove_sockets(self) -> None:
        for protocol in ("http", "grpc"):
            path = self._plan.socket(protocol)
            if path and os.path.exists(path):
                os.unlink(path)


def _report_sidecar(code: int | None) -> str:
    """Say that the sidecar has ended by itself, if it has; the reason when that is an error."""
    if code:
        status.failure(f"The daprd process exited with error code: {ending.sidecar_text(code)}")
        return ending.sidecar_text(code)
    if code == 0:
        status.success("Exited Dapr successfully")
    return ""


def _report_app(code: int | None) -> str:
    """Say that the app has failed, if it has, and how."""
    if not code:
        return ""
    text = ending.app_text(code)
    if code < 0:
        status.failure(f"The App process was {text}")
    else:
        status.failure(f"The App process exited with error code: {code}")
    return text
