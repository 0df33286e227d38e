"""What an app that nothing is configured for can use nevertheless: components on SQLite files below the Dapr home.

Called by `plan` when no resources are named and the Dapr home has none. The components stand in a folder of their own,
and their files beside that folder: whoever has, or makes, a `components` folder in the home gets what stands in that,
and nothing of this. `statestore` and `pubsub` have the names that the original's `dapr init` gives, `lockstore` and
`configstore` those that its guides use.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

FOLDER, RESOURCES = "embedded", "resources"

_OF_RUNS = """\
# Written by `dapr run` for apps that name no resources, while there is no {components}.
# Make that folder, or name one with --resources-path, to use components of your own instead.
"""

_OF_INIT = """\
# Written by `dapr init`; yours to change.
"""

_COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {type}
  version: v1
  metadata:
  - name: connectionString
    value: {file}
"""

# What is not needed by every app is not opened at its start.
_COMPONENTS = {
    "statestore": ("state.sqlite", "state.db", {"cleanupInterval": "1h", "actorStateStore": "true"}),
    "pubsub": ("pubsub.sqlite", "pubsub.db", {"openOnUse": "true"}),
    "lockstore": ("lock.sqlite", "locks.db", {"openOnUse": "true"}),
    "configstore": ("configuration.sqlite", "configuration.db", {"openOnUse": "true"}),
}
"""Name → type, file, and further metadata."""


def resources(home: Path) -> list[str]:
    """The folder with the components, which are written if they are not there; empty where they cannot be."""
    folder = home / FOLDER / RESOURCES  # apart from the data, which are no resources
    try:
        (home / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)  # what apps keep is not for other users
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, text in _documents(home):
            _write(folder / f"{name}.yaml", text)
    except OSError:
        return []
    return [str(folder)]


def write_into(folder: Path, home: Path) -> None:
    """The same components, with the same files, as the user's own. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        (home / FOLDER).mkdir(mode=0o700)
    for name, text in _documents(home, _OF_INIT):
        _write(folder / f"{name}.yaml", text)


def _documents(home: Path, heading: str = _OF_RUNS) -> Iterator[tuple[str, str]]:
    for name, (type_, file, metadata) in _COMPONENTS.items():
        place = json.dumps(_connection(str(home / FOLDER / file)))
        text = heading.format(components=home / "components")
        text += _COMPONENT.format(name=name, type=type_, file=place)
        pairs = (f"  - name: {key}\n    value: {json.dumps(value)}\n" for key, value in metadata.items())
        yield name, text + "".join(pairs)


def _connection(path: str) -> str:
    """A path as a connection string, in which some characters mean something."""
    return f"file:{quote(path)}" if any(char in path for char in "?#%") else path


def _write(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    # Sidecars that start at this moment read the old or the new, never half.
    number, made = tempfile.mkstemp(dir=path.parent, suffix=".new")
    with open(number, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(made, path)
