"""Several apps of one file, each with its sidecar: started one after the other, ended together (`dapr run -f`).

`run.py` reads the file (`template.py`) and makes the `Crew`. For each app: `plan.py` decides, the sidecar starts,
then the app, then the sidecar's metadata is told, and only then the next app's turn comes, so that an app finds
those before it. A `Member` is one app with its sidecar and log files. Unlike a single run, a crew goes on when
one of its processes ends; a signal ends it, or that nothing runs any more.
"""

import os
import threading
import time
from contextlib import closing

from pydapr.cli import (
    ending,
    grammar,
    home,
    launch,
    plan,
    plane,
    ports,
    pump,
    readiness,
    sidecars,
    startlock,
    status,
    template,
)
from pydapr.cli.signals import Signals

_LAST_LINES = 2.0
"""Seconds to wait for output that is still in a pipe after its process has ended."""


_LAST_WORDS = 2.0
"""Seconds to tell a sidecar of an app that has ended already."""


class Log:
    """Where the lines of an app or of a sidecar go: to a file, to our standard output, or both."""

    def __init__(self, app: template.App, kind: str, destination: str) -> None:
        self.path = ""
        self._file: int | None = None
        if destination != "console":
            moment = time.strftime("%Y%m%d%H%M%S")
            self.path = os.path.join(logs_directory(app), f"{app.app_id}_{kind}_{moment}.log")
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        shown = [1] if destination != "file" else []
        self.targets = shown if self._file is None else [*shown, self._file]

    def say(self, kind: str, message: str) -> None:
        for target in self.targets:
            status.write(target, status.line(kind, message))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


def logs_directory(app: template.App) -> str:
    return os.path.join(app.directory, ".dapr", "logs")


class Member:
    """One app of the file with its sidecar."""

    def __init__(self, app: template.App, reservation: ports.Reservation) -> None:
        """Raises OSError when its log files cannot be made."""
        os.makedirs(logs_directory(app), exist_ok=True)
        self.given, self.reservation = app, reservation
        self.sidecar_log = Log(app, "daprd", app.sidecar_log)
        self.app_log = Log(app, "app", app.app_log) if app.command else self.sidecar_log
        self.sidecar: launch.Group | None = None
        self.app: launch.Group | None = None
        self._pumps: list[pump.Pump] = []
        self._told: set[launch.Group] = set()

    def start_sidecar(self, planned: plan.Plan, launcher: launch.Launcher) -> None:
        log = self.sidecar_log
        log.say("info", f"Starting Dapr with id {planned.app_id}. {planned.where()}")
        environment = {"DAPR_HOST_IP": "127.0.0.1", **os.environ}
        if len(log.targets) == 1:
            self.sidecar = self._launch(planned.sidecar_command, environment, launcher, log.targets[0])
        else:
            self.sidecar = self._launch_piped(planned.sidecar_command, environment, launcher, pump.Pump(log.targets))

    def start_app(self, planned: plan.Plan, launcher: launch.Launcher) -> None:
        prefix = f"== APP - {planned.app_id} == "
        environment = planned.app_environment | self.given.environment
        passed_on = pump.Pump(self.app_log.targets, prefix)
        self.app = self._launch_piped(planned.app_command, environment, launcher, passed_on)

    def _launch_piped(
        self, command: list[str], environment: dict[str, str], launcher: launch.Launcher, passed_on: pump.Pump
    ) -> launch.Group:
        self._pumps.append(passed_on)
        try:
            return self._launch(command, environment, launcher, passed_on.writer)
        finally:
            passed_on.start()

    def _launch(
        self, command: list[str], environment: dict[str, str], launcher: launch.Launcher, output: int
    ) -> launch.Group:
        return launcher.start(command, environment, output, output, launch.NO_INPUT, self.given.directory)

    def note(self, planned: plan.Plan, file: str, name: str, is_ending: threading.Event) -> None:
        """Tell the sidecar who runs here; on a thread."""
        log = self.sidecar_log
        entries = {
            "cliPID": str(os.getpid()),
            "runTemplatePath": os.path.abspath(file),
            "runTemplateName": name,
            "appLogPath": self.app_log.path if self.given.command else "",
            "daprdLogPath": log.path,
            "appCommand": " ".join(planned.app_command),
            "appPID": str(self.app.pid) if self.app else "",
        }
        for key, value in entries.items():
            if value and not readiness.note(planned, key, value, is_ending, log.say):
                return
        log.say("success", "You're up and running! Dapr logs will appear here.\n")

    def is_served(self) -> bool:
        """Whether the sidecar has been started and runs."""
        return self.sidecar is not None and self.sidecar.exit_code() is None

    def groups(self) -> dict[launch.Group, float]:
        """What was started, and the seconds that each may take to end."""
        graces = {self.sidecar: ending.SIDECAR_GRACE, self.app: ending.APP_GRACE}
        return {group: grace for group, grace in graces.items() if group is not None}

    def report(self) -> None:
        """Say once of each process that has ended how it did."""
        for group in self.groups():
            code = group.exit_code()
            if code is None or group in self._told:
                continue
            self._told.add(group)
            if group is self.sidecar:
                self._report_one(self.sidecar_log, "Dapr", "daprd", code, ending.sidecar_text(code))
            else:
                self._report_one(self.app_log, "App", "App", code, ending.app_text(code) if code else "")

    def report_end(self) -> None:
        """Say of each process that we have ended that it is gone; a signal of ours is no error."""
        for group in self.groups():
            if group not in self._told:
                title = "Dapr" if group is self.sidecar else "App"
                self.sidecar_log.say("success", f"Exited {title} successfully")

    def _report_one(self, log: Log, title: str, process: str, code: int, text: str) -> None:
        if not code:
            log.say("success", f"Exited {title} successfully")
            return
        message = f"The {process} process exited with error code: {text}"
        log.say("failure", message)
        # The terminal's reader is to know even when lines go to files only; the original says it there alone.
        if 1 not in log.targets:
            status.failure(f"{self.given.app_id}: {message}")

    def close(self) -> None:
        if all([passed_on.finish(_LAST_LINES) for passed_on in self._pumps]):
            for log in {self.sidecar_log, self.app_log}:
                log.close()
        self.reservation.close()


class Crew:
    """All apps of a file."""

    def __init__(self, file: str, read: template.Template, signals: Signals) -> None:
        self._file, self._template, self._signals = file, read, signals
        self._launcher = launch.Launcher()
        self._members: list[Member] = []
        self._control_planes: dict[str, plane.Plane] = {}
        """By the home of apps."""
        self._sockets: list[str] = []

    def run(self) -> int:
        """Everything until all have ended. Returns the exit code: 1 when not all could be started."""
        with closing(self._launcher):
            has_failed = False
            for app in self._template.apps:
                has_failed = not self._start(app)
                if has_failed or self._signals.stop_requests():
                    break
            if not has_failed:
                self._await_reason_to_stop()
            self._end()
        return 1 if has_failed else 0

    def _start(self, app: template.App) -> bool:
        status.info(f"Validating config and starting app {grammar.quote(app.app_id)}")
        reservation = ports.Reservation()
        try:
            member = Member(app, reservation)
        except OSError as wrong:
            reservation.close()
            place = f"{grammar.quote(app.app_id)} present in {self._file}"
            status.failure(f"Error getting log file for app {place}: {wrong}")
            return False
        self._members.append(member)
        if not app.command:
            status.warning(f"No application command found for app {grammar.quote(app.app_id)} present in {self._file}")
        control_plane = self._control_plane(app.values)
        try:
            with startlock.held():
                planned = plan.make(app.values, app.command, sidecars.find(), reservation, control_plane.address)
                reservation.make_way()
                member.start_sidecar(planned, self._launcher)
                control_plane.start()
        except (plan.Refused, OSError) as wrong:
            place = f"{grammar.quote(app.app_id)} present in {self._file}"
            status.failure(f"Error validating run config for app {place}: {wrong}")
            return False
        self._sockets += [path for path in (planned.socket("http"), planned.socket("grpc")) if path]
        return self._start_beside(member, planned)

    def _control_plane(self, values: grammar.Values) -> plane.Plane:
        where = home.directory(values)
        return self._control_planes.setdefault(str(where), plane.Plane(where))

    def _start_beside(self, member: Member, planned: plan.Plan) -> bool:
        """The app of a sidecar that has been started, and what is to be done before the next one's turn."""

        def is_over() -> bool:
            return self._signals.stop_requests() > 0 or any(group.exit_code() is not None for group in member.groups())

        # With an app port the sidecar waits for the app: waiting for the sidecar first would last for ever.
        if not planned.app_port:
            readiness.await_sidecar(planned, self._signals, is_over, member.sidecar_log.say)
        if planned.app_command and not self._signals.stop_requests():
            try:
                member.start_app(planned, self._launcher)
            except OSError as wrong:
                reason = f"{planned.app_command[0]}: {(wrong.strerror or str(wrong)).lower()}"
                member.app_log.say("failure", f"Error starting app process: {reason}")
                status.failure(f"Error starting Dapr and app ({grammar.quote(planned.app_id)}): {reason}")
                return False
        is_ending = threading.Event()
        arguments = (planned, self._file, self._template.name, is_ending)
        telling = threading.Thread(target=member.note, args=arguments, name="metadata", daemon=True)
        telling.start()
        ended: float | None = None
        while telling.is_alive():
            if is_over() and ended is None:
                ended = time.monotonic()
            # An app that has done its work may end at once: its sidecar, if it answers, is still to hear who ran.
            has_waited = ended is not None and time.monotonic() > ended + _LAST_WORDS
            if has_waited or not member.is_served() or self._signals.stop_requests():
                is_ending.set()
            self._signals.wait(0.02)
        member.report()
        if not member.is_served():
            return True
        status.info(f"Started Dapr with app id {grammar.quote(planned.app_id)}. {planned.where()}")
        status.info(f"Writing log files to directory : {logs_directory(member.given)}")
        return True

    def _await_reason_to_stop(self) -> None:
        while not self._signals.stop_requests():
            for member in self._members:
                member.report()
            if not any(group.is_alive() for member in self._members for group in member.groups()):
                status.plain("")
                status.info("All Dapr and app processes have ended.")
                return
            self._signals.wait(plane.LOOK_SECONDS)
            for control_plane in self._control_planes.values():
                control_plane.look()
        status.plain("")
        status.info("Received signal to stop Dapr and app processes. Shutting down Dapr and app processes.")

    def _end(self) -> None:
        graces: dict[launch.Group, float] = {}
        for member in self._members:
            member.report()
            graces |= member.groups()
        for group in graces:
            group.terminate()
        for member in self._members:
            for log in {member.sidecar_log, member.app_log}:
                log.say("info", "\ntermination signal received: shutting down")
        ending.await_end(graces, self._signals)
        for control_plane in self._control_planes.values():
            control_plane.close()
        for member in self._members:
            member.report_end()
            member.close()
        for path in self._sockets:
            if os.path.exists(path):
                os.unlink(path)
