"""The compiled form of the hot paths, where this installation has one (`hatch_build.py`, docs/decisions/007).

Called once, when the package is imported. The compiled modules are the same source, translated by mypyc; those of
another Python version or machine are not taken, and `PYDAPR_PURE=1` in the environment chooses the plain ones.
"""

import importlib
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec

LIBRARY = "pydapr__mypyc"
"""The extension module that holds all of them; there is a small one for each beside it, which leads there."""

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_compiled")
"""Where they are."""


class Finder:
    """Finds the compiled modules, before Python looks for their source."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self.names:
            return None
        if LIBRARY not in sys.modules:
            sys.path.insert(0, FOLDER)
            try:
                importlib.import_module(LIBRARY)
            finally:
                sys.path.remove(FOLDER)
        file = os.path.join(FOLDER, *name.split(".")) + EXTENSION_SUFFIXES[0]
        spec = ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)
        spec.has_location = True
        return spec


def install() -> None:
    """Has Python take the compiled modules, if there are any for it and they are wanted."""
    if os.environ.get("PYDAPR_PURE", "") not in ("", "0"):
        return
    if os.path.exists(os.path.join(FOLDER, LIBRARY + EXTENSION_SUFFIXES[0])):
        with open(os.path.join(FOLDER, "modules"), encoding="ascii") as file:
            sys.meta_path.insert(0, Finder(frozenset(file.read().split())))
