"""Where things of a Dapr installation are: home directory, resources, configuration, the sidecar's program.

Used by the commands `run`, `version` and others; nothing here needs to exist, because our sidecar runs
without any.
"""

import os
import sys
from pathlib import Path

from pydapr.cli import grammar


def directory(values: grammar.Values) -> Path:
    """`<runtime path>/.dapr`, by flag, else by environment, else in the user's home."""
    base = values.text("runtime-path").strip() or os.environ.get("DAPR_RUNTIME_PATH", "").strip()
    return (Path(base) if base else _user_home()) / ".dapr"


def _user_home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without a name, as in containers, and no HOME: they mean this
        return Path("/")


def default_config(home: Path) -> str:
    """The configuration used when none is named; empty when there is none."""
    path = home / "config.yaml"
    return str(path) if path.is_file() else ""


def default_resources(home: Path) -> list[str]:
    """The resources used when none are named; empty when there are none."""
    path = home / "components"
    return [str(path)] if path.is_dir() else []


def daprd(values: grammar.Values) -> list[str]:
    """How to start the sidecar: ours, unless `--runtime-path` names an installation that has its own.

    `-P` keeps the user's working directory off the module path: an app's own `types.py` must not become ours.
    """
    if values.text("runtime-path").strip():
        program = directory(values) / "bin" / "daprd"
        if program.is_file():
            return [str(program)]
    return [sys.executable, "-P", "-m", "pydapr", "daprd"]
