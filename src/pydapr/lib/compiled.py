"""The compiled form of `wire` and `net`, where this installation has one (`hatch_build.py`, docs/decisions/007).

Called by these packages when they are imported. The modules are the same source, translated by mypyc; those of
another Python version or machine are not taken, and `PYDAPR_PURE=1` in the environment chooses the plain ones.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from importlib.machinery import EXTENSION_SUFFIXES

_LIBRARY = "pydapr__mypyc"
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_compiled")
"""Where the compiled modules are."""


def paths(own: Iterable[str], package: str) -> list[str]:
    """Where the modules of `package` are looked for: the compiled ones first."""
    folders = list(own)
    if _is_there():
        folders.insert(0, os.path.join(FOLDER, *package.split(".")))
    return folders


def _is_there() -> bool:
    """Loads what all compiled modules share. False when there is none for this Python, or none is wanted."""
    if _LIBRARY in sys.modules:
        return True
    if os.environ.get("PYDAPR_PURE", "") not in ("", "0"):
        return False
    if not os.path.exists(os.path.join(FOLDER, _LIBRARY + EXTENSION_SUFFIXES[0])):
        return False
    sys.path.insert(0, FOLDER)
    try:
        importlib.import_module(_LIBRARY)
    finally:
        sys.path.remove(FOLDER)
    return True
