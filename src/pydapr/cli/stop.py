"""`dapr stop`: end runs by app id.

The command line that started a run ends it best, so it gets the signal; a sidecar that was started without
one, or whose command line runs several apps, gets it itself. Unlike the original this waits until the sidecar
is gone, so that the next `dapr run` finds its id and ports free.
"""

import os
import signal
import time
from collections import Counter

from pydapr.cli import grammar, processes, sidecars, status, template

FLAGS = (
    grammar.Flag("app-id", "The application id to be stopped", short="a"),
    grammar.Flag(
        "kubernetes",
        "Stop deployments in Kubernetes based on multi-app run file",
        short="k",
        kind="bool",
    ),
    grammar.Flag("run-file", "Path to the run template file for the list of apps to stop", short="f"),
)

EXAMPLE = """\
# Stop one app and its sidecar
dapr stop --app-id myapp

# Stop several
dapr stop orders payments

# Stop the apps of a run file, or of the dapr.yaml in a directory
dapr stop --run-file dapr.yaml
dapr stop --run-file .
"""

_PATIENCE = 15.0
"""Seconds until a run must have ended: its own limits, and some more for a busy machine."""


def run(values: grammar.Values, arguments: list[str]) -> int:
    if values.switch("kubernetes"):
        status.failure("dapr stop --kubernetes is not available. Delete your own manifests with kubectl instead")
        return 1
    if values.text("run-file"):
        return _stop_file(values.text("run-file"))
    app_ids = [*arguments, *([values.text("app-id")] if values.text("app-id") else [])]
    apps = sidecars.describe(sidecars.find()) if app_ids else []
    runs = Counter(app.cli_pid for app in apps)
    for app_id in app_ids:
        error = _stop(app_id, apps, runs)
        if error:
            status.failure(f"failed to stop app id {app_id}: {error}")
        else:
            status.success(f"app stopped successfully: {app_id}")
    # As the original: what could not be stopped was reported, but is no failure of the command.
    return 0


def _stop_file(path: str) -> int:
    try:
        file = os.path.abspath(template.locate(path))
    except template.Wrong as wrong:
        status.failure(f"Failed to get run file path: {wrong}")
        return 1
    apps = [one for one in sidecars.describe(sidecars.find()) if one.extended.get("runTemplatePath") == file]
    owners = {app.cli_pid: app.sidecar for app in apps if _is_owner(app)}
    # The command line that started the apps ends them all; without one only their sidecars are left.
    left = [app.sidecar.pid for app in apps]
    errors = [error for pid in owners or left if (error := _end(pid, [pid, *left]))]
    if not apps:
        errors = [f"couldn't find apps with run file {grammar.quote(file)}"]
    if errors:
        status.failure(f"Failed to stop Dapr and app processes: {errors[0]}")
    else:
        status.success("Dapr and app processes stopped successfully")
    return 0


def _stop(app_id: str, apps: list[sidecars.Described], runs: Counter[int]) -> str:
    """Why it could not be stopped; empty when it ended."""
    app = next((app for app in apps if app.sidecar.app_id == app_id), None)
    if app is None:
        return f"couldn't find app id {app_id}"
    apps.remove(app)
    target = app.cli_pid
    if runs[target] > 1 or not _is_owner(app):
        runs[target] -= 1
        target = app.sidecar.pid
    return _end(target, [target, app.sidecar.pid])


def _end(target: int, awaited: list[int]) -> str:
    """Ask one process to end and wait until all of the awaited have; why that failed, empty if not."""
    try:
        os.kill(target, signal.SIGTERM)
    except ProcessLookupError:
        return ""
    except PermissionError as denied:
        return f"process {target}: {denied.strerror}"
    deadline = time.monotonic() + _PATIENCE
    while any(processes.is_alive(pid) for pid in awaited):
        if time.monotonic() > deadline:
            return f"process {target} has not ended after {_PATIENCE:.0f} seconds"
        time.sleep(0.02)
    return ""


def _is_owner(app: sidecars.Described) -> bool:
    """Whether the command line that the sidecar was told of still runs."""
    return processes.is_alive(app.cli_pid) and not _is_younger(app.cli_pid, app.sidecar)


def _is_younger(pid: int, sidecar: sidecars.Sidecar) -> bool:
    """Whether the id of a command line that has died now belongs to somebody else."""
    moment = processes.started(pid)
    return moment is not None and moment > sidecar.started
