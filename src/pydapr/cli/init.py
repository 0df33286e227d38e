"""`dapr init`: the files of a Dapr home, and the control plane of this user.

Nothing needs it, because `dapr run` does without; but guides and scripts begin with it. What it makes, `uninstall.py`
removes. Nothing is downloaded: all programs came with the installation of pydapr.
"""

import sys
from pathlib import Path

import pydapr
from pydapr.cli import embedded, grammar, home, plane, status

_NO_CONTAINERS = "has no effect: there are no containers"

FLAGS = (
    grammar.Flag("slim", "Only files: no components, and nothing is started", "s", "bool"),
    grammar.Flag("runtime-version", "The version of the runtime: the one of this installation", default="latest"),
    grammar.Flag("kubernetes", "Not available", "k", "bool"),
    grammar.Flag("container-runtime", _NO_CONTAINERS.capitalize(), default="docker"),
    grammar.Flag("image-registry", _NO_CONTAINERS.capitalize()),
    grammar.Flag("image-variant", _NO_CONTAINERS.capitalize()),
    grammar.Flag("network", _NO_CONTAINERS.capitalize()),
    grammar.Flag("scheduler-volume", _NO_CONTAINERS.capitalize(), default="dapr_scheduler"),
    grammar.Flag("scheduler-override-broadcast-host-port", _NO_CONTAINERS.capitalize()),
    grammar.Flag("redis-stack", _NO_CONTAINERS.capitalize(), kind="bool"),
    grammar.Flag("from-dir", "Not available: nothing is downloaded that could be taken from a directory"),
)

EXAMPLE = """\
# Make the files of ~/.dapr and start placement and the scheduler
dapr init

# Make the files only
dapr init --slim
"""

PROGRAMS = {"daprd": "daprd", "placement": "dapr-placement", "scheduler": "dapr-scheduler"}
"""What the original calls its programs, and what they are called here."""

_IDLE_FLAGS = frozenset(flag.name for flag in FLAGS if flag.usage == _NO_CONTAINERS.capitalize())
_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: daprConfig
spec: {}
"""
_PATIENCE = 10.0


def run(values: grammar.Values, _: list[str]) -> int:
    if values.switch("kubernetes"):
        status.failure("dapr init --kubernetes is not available: pydapr runs on this machine only")
        return 1
    if values.text("from-dir"):
        status.failure("dapr init --from-dir is not available: all programs came with the installation of pydapr")
        return 1
    version = values.text("runtime-version").removeprefix("v")
    if version not in ("latest", pydapr.DAPR_VERSION):
        status.failure(f"Runtime version {version} is not available: this installation is {pydapr.DAPR_VERSION}")
        return 1
    if idle := [f"--{name}" for name in values.given() if name in _IDLE_FLAGS]:
        status.warning(f"{', '.join(idle)} {_NO_CONTAINERS}")
    where = home.directory(values)
    status.info("Making the jump to hyperspace...")
    status.info(f"Installing runtime version {pydapr.DAPR_VERSION}")
    try:
        _make_files(where, with_components=not values.switch("slim"))
    except FileExistsError as there:
        status.failure(f"{there} is not of pydapr, please run `dapr uninstall` first before running `dapr init`")
        return 1
    except OSError as wrong:
        status.failure(str(wrong))
        return 1
    if not values.switch("slim") and not _start(where):
        return 1
    status.success(
        "Success! Dapr is up and running. To get started, go here: https://docs.dapr.io/getting-started"
        if not values.switch("slim")
        else "Success! Dapr is installed. To get started, go here: https://docs.dapr.io/getting-started"
    )
    return 0


def _make_files(where: Path, with_components: bool) -> None:
    """Files that are there stay as they are. Raises OSError, `FileExistsError` for programs of the original."""
    programs = where / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, ours in PROGRAMS.items():
        installed, link = Path(sys.executable).parent / ours, programs / name
        if link.exists() and not is_ours(link, ours):
            raise FileExistsError(str(link))
        link.unlink(missing_ok=True)
        link.symlink_to(installed)
    status.info(f"{', '.join(PROGRAMS)} have been installed to {programs}.")
    components = where / "components"
    if not components.is_dir():
        components.mkdir()
        if with_components:
            embedded.write_into(components, where)
    configuration = where / "config.yaml"
    if not configuration.exists():
        configuration.write_text(_CONFIGURATION, encoding="utf-8")


def is_ours(link: Path, program: str) -> bool:
    """Whether it leads to a program of this installation, or to one that is no longer there."""
    if not link.is_symlink():
        return False
    return not link.exists() or link.readlink() == Path(sys.executable).parent / program


def _start(where: Path) -> bool:
    """Starts the control plane, and tells where it is."""
    control_plane = plane.Plane(where)
    if any(noted.version != plane.VERSION for noted in control_plane.running().values() if noted.pid):
        control_plane.stop()  # runs that are there find the new ones
    addresses = {service.name: control_plane.address(service.flag) for service in plane.SERVICES}
    control_plane.start()
    late = control_plane.await_listening(_PATIENCE)
    for service in plane.SERVICES:
        if not addresses[service.name] or service.name in late:
            status.failure(f"dapr_{service.name} does not run; its log is {control_plane.log(service)}")
        else:
            status.info(f"dapr_{service.name} is running at {addresses[service.name]}.")
    return not late and all(addresses.values())
