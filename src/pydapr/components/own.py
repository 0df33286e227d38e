"""Components that are no part of pydapr: Python files in a folder of the user's, and packages installed beside it.

Asked by `daprd.finding` and the command line. `DAPR_COMPONENTS_FOLDER` names the folder, or several; the name of a
file is that of its type, `state_my_store.py` for `state.my-store`, and it looks like a file of `pydapr.components`. A
package names its types as entry points of the group `pydapr.components`, with the module for the value.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping

from pydapr import components

VARIABLE = "DAPR_COMPONENTS_FOLDER"
GROUP = "pydapr.components"

_loaded: dict[str, Mapping[str, components.Found]] = {}
"""What files have declared, by path."""


class Unusable(components.Wrong):
    """A file or a package is there, and cannot be used; the message names the file, the line and the fault."""


def place(type_: str, version: str, environ: Mapping[str, str]) -> str:
    """The file of a type, "" when there is none."""
    if not environ.get(VARIABLE):
        return ""
    file = re.sub("[./-]", "_", _full(type_, version)) + ".py"
    paths = [os.path.join(folder, file) for folder in _folders(environ)]
    return next((path for path in paths if os.path.isfile(path)), "")


def in_folder(type_: str, version: str, environ: Mapping[str, str]) -> components.Found | None:
    """The component of a type in one of the folders; None when no file has its name. Raises `Unusable`."""
    path = place(type_, version, environ)
    if not path:
        return None
    wanted = _full(type_, version)
    declared = load(path)
    if wanted not in declared:
        there = ", ".join(found.name for found in declared.values()) or "nothing"
        raise Unusable(f'own component {path}: it has no @component("{wanted}", …), it declares {there}')
    return checked(declared[wanted], f"own component {path}")


def installed(type_: str, version: str) -> components.Found | None:
    """The component of a type in a package; None when none names it. Raises `Unusable`."""
    from importlib import metadata  # only for a type that is nowhere else: it costs 20 ms

    wanted = _full(type_, version)
    for entry in metadata.entry_points(group=GROUP):
        if entry.name.lower() != wanted:
            continue
        where = f"component {wanted} of package {entry.dist.name if entry.dist is not None else entry.value}"
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            raise Unusable(f"{where}: {_reason(error)}") from None
        found = components.find(type_, version)
        if found is None:
            raise Unusable(f'{where}: {entry.value} has no @component("{wanted}", …)')
        return checked(found, where)
    return None


def load(path: str) -> Mapping[str, components.Found]:
    """What a file declares, by type. Raises `Unusable`."""
    if path not in _loaded:
        name = f"{components.OWN}.{os.path.basename(path).removesuffix('.py')}"
        _loaded[path] = components.declared(lambda: _execute(path, name))
    return _loaded[path]


def checked(found: components.Found, where: str) -> components.Found:
    """`found`, whose class keeps the contract of its kind. Raises `Unusable`."""
    kind, made = found.name.lower().partition(".")[0], found.make
    contract = f"{components.__name__}.{kind}"
    assert isinstance(made, type), "what `component` has marked is a class"
    if not any(base.__module__ == contract and issubclass(base, components.Part) for base in made.__mro__):
        raise Unusable(f"{where}: {made.__name__} builds on no contract of {contract}")
    missing = ", ".join(sorted(getattr(made, "__abstractmethods__", ())))
    if missing:
        raise Unusable(f"{where}: {made.__name__} lacks what the contract of {contract} asks for: {missing}")
    return found


def files(environ: Mapping[str, str]) -> list[str]:
    """The files in the folders, those that may be components by their names."""
    found = []
    for folder in _folders(environ):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        found += [os.path.join(folder, name) for name in names if name.endswith(".py") and _is_kind(name)]
    return found


def packages() -> Iterator[tuple[str, str]]:
    """Types and packages of what is installed."""
    from importlib import metadata

    for entry in metadata.entry_points(group=GROUP):
        yield entry.name, entry.dist.name if entry.dist is not None else entry.value


def _is_kind(file: str) -> bool:
    return file.partition("_")[0] in components.KINDS


def _folders(environ: Mapping[str, str]) -> list[str]:
    return [folder for folder in environ.get(VARIABLE, "").split(os.pathsep) if folder]


def _full(type_: str, version: str) -> str:
    version = version.lower()
    return type_.lower() + ("" if version in components.FIRST_VERSIONS else f"/{version}")


def _execute(path: str, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise Unusable(f"own component {path}{_line(error, path)}: {_reason(error)}") from None


def _line(error: BaseException, path: str) -> str:
    """Where in the file it went wrong."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f", line {error.lineno}"
    import traceback  # only for faults: it costs a start 3 ms

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f", line {lines[-1]}" if lines else ""


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}"
    return f"{type(error).__name__}: {error}"
