"""What an app that nothing is configured for can use nevertheless: a state store, `statestore`, in a SQLite file.

Called by `plan` when no resources are named and the Dapr home has none. The component stands in a folder of its own
below the home, and its file beside that folder: whoever has, or makes, a `components` folder there gets what stands
in that, and nothing of this.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path

FOLDER, RESOURCES, STATE = "embedded", "resources", "state.db"

_COMPONENT = """\
# Written by `dapr run` for apps that name no resources, while there is no {components}.
# Make that folder, or name one with --resources-path, to use components of your own instead.
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.sqlite
  version: v1
  metadata:
  - name: connectionString
    value: {state}
  - name: cleanupInterval
    value: 1h
  - name: actorStateStore
    value: "true"
"""


def resources(home: Path) -> list[str]:
    """The folder with the component, which is written if it is not there; empty where it cannot be."""
    folder = home / FOLDER / RESOURCES  # apart from the data, which are no resources
    path = folder / "statestore.yaml"
    text = _COMPONENT.format(components=home / "components", state=json.dumps(str(home / FOLDER / STATE)))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            if path.read_text(encoding="utf-8") == text:
                return [str(folder)]
        # Sidecars that start at this moment read the old or the new, never half.
        number, made = tempfile.mkstemp(dir=folder, suffix=".new")
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(made, path)
    except OSError:
        return []
    return [str(folder)]
