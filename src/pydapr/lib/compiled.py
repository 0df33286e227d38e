"""The compiled form of the hot paths, where this installation has one (`hatch_build.py`, docs/decisions/007).

Called once, when the package is imported. The compiled modules are the same source, translated by mypyc; those of
another Python version or machine are not taken, and `PYDAPR_PURE=1` in the environment chooses the plain ones.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # every start pays for what is imported here, `dapr --help` too
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

LIBRARY = "pydapr__mypyc"
"""The extension module that holds all of them; there is a small one for each beside it, which leads there."""

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_compiled")
"""Where they are."""


class Finder:
    """Finds the compiled modules, before Python looks for their source."""

    def __init__(self, names: frozenset[str], suffix: str) -> None:
        self.names = names
        self._suffix = suffix

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self.names:
            return None
        from importlib import import_module
        from importlib.machinery import ExtensionFileLoader, ModuleSpec

        if LIBRARY not in sys.modules:
            sys.path.insert(0, FOLDER)
            try:
                import_module(LIBRARY)
            finally:
                sys.path.remove(FOLDER)
        file = os.path.join(FOLDER, *name.split(".")) + self._suffix
        spec = ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)
        spec.has_location = True
        return spec


def install() -> None:
    """Has Python take the compiled modules, if there are any for it and they are wanted."""
    if os.environ.get("PYDAPR_PURE", "") not in ("", "0"):
        return
    try:
        with open(os.path.join(FOLDER, "modules"), encoding="ascii") as file:
            suffix, *names = file.read().split()
    except FileNotFoundError:
        return
    if suffix.startswith(f".{sys.implementation.cache_tag}-"):
        sys.meta_path.insert(0, Finder(frozenset(names), suffix))
