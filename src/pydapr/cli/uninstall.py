"""`dapr uninstall`: ends the control plane of this user and removes what `dapr init` has made."""

import shutil
from pathlib import Path

from pydapr.cli import grammar, home, init, plane, processes, sidecars, status

FLAGS = (
    grammar.Flag("all", "Remove the .dapr directory with all that apps have kept in it", kind="bool"),
    grammar.Flag("kubernetes", "Not available", "k", "bool"),
    grammar.Flag("container-runtime", "Has no effect: there are no containers", default="docker"),
    grammar.Flag("network", "Has no effect: there are no containers"),
)

EXAMPLE = """\
# End placement and the scheduler, and remove the programs of ~/.dapr
dapr uninstall

# Remove ~/.dapr as a whole
dapr uninstall --all
"""


def run(values: grammar.Values, _: list[str]) -> int:
    if values.switch("kubernetes"):
        status.failure("dapr uninstall --kubernetes is not available: pydapr runs on this machine only")
        return 1
    status.info("Removing Dapr from your machine...")
    where = home.directory(values)
    control_plane = plane.Plane(where)
    if apps := _users({noted.address for noted in control_plane.running().values()}):
        status.warning(f"These apps go on, without actors, reminders and jobs: {', '.join(apps)}")
    try:
        left = control_plane.stop()
        _remove(where, everything=values.switch("all"))
    except OSError as wrong:
        status.failure(f"Error removing Dapr: {wrong}")
        return 1
    if left:
        status.failure(f"Error removing Dapr: {' and '.join(left)} could not be ended")
        return 1
    status.success("Dapr has been removed successfully")
    return 0


def _users(addresses: set[str]) -> list[str]:
    """The apps whose sidecars were given one of the addresses."""
    found = set()
    for process in processes.running():
        flags = sidecars.read_flags(processes.sidecar_arguments(process.arguments) or ())
        if addresses & {flags.get(service.flag, "") for service in plane.SERVICES}:
            found.add(flags.get("app-id", ""))
    return sorted(found)


def _remove(where: Path, everything: bool) -> None:
    if not where.is_dir():
        status.warning(f"{where} does not exist")
        return
    programs = where / "bin"
    for name, ours in init.PROGRAMS.items():
        if init.is_ours(programs / name, ours):
            (programs / name).unlink()
    if programs.is_dir() and not any(programs.iterdir()):
        status.info(f"Removing directory: {programs}")
        programs.rmdir()
    if everything:
        status.info(f"Removing directory: {where}")
        shutil.rmtree(where)
