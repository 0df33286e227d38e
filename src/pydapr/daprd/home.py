"""The Dapr home: the folder that all sidecars of a user share. Called by `daprd.runtime`."""

import os
from collections.abc import Mapping


def folder(environ: Mapping[str, str]) -> str:
    """`.dapr` below DAPR_RUNTIME_PATH, or below the user's home."""
    base = environ.get("DAPR_RUNTIME_PATH") or os.path.expanduser("~")
    return os.path.join(base, ".dapr")
