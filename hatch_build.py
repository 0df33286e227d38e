"""Compiles the core of pydapr with mypyc when a wheel is built or the checkout is installed (docs/decisions/007).

hatchling runs this; pyproject.toml names the modules. Without a C compiler, or with `PYDAPR_PURE=1`, the package
is plain Python and does the same, slower. The result goes to src/pydapr/_compiled, which git ignores;
`pydapr.lib.compiled` finds it there.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "src/pydapr/_compiled"
ASIDE = ".compiling-"
"""What folders beside the package begin with in which it is compiled, or what was compiled before is thrown away."""

LIBRARY = "pydapr__mypyc"
TOOLS = ["mypy>=1.17", "setuptools>=75", "types-PyYAML", "types-protobuf"]
"""What compiles. The package's own dependencies come with it: mypy reads their types."""

_COMPILE = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext

config, work, out, *modules = sys.argv[1:]

class Build(build_ext):
    def build_extensions(self):
        compile_all = self.compiler.compile

        def compile_side_by_side(sources, **given):
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                made = list(threads.map(lambda source: compile_all([source], **given), sources))
            return [file for files in made for file in files]

        self.compiler.compile = compile_side_by_side
        super().build_extensions()

options = ["--config-file", config, "--cache-dir", work + "/m", *modules]
# A file for each module: all in one take a compiler three times as long, and no two can share it.
extensions = mypycify(
    options, opt_level="1", debug_level="0", multi_file=True, group_name="pydapr", target_dir=work + "/c"
)
if os.name == "posix":
    for extension in extensions:
        # Their functions call each other directly, and not by way of the table for what others might replace.
        extension.extra_compile_args = [*extension.extra_compile_args, "-fvisibility=hidden"]
setup(
    name="pydapr", packages=[], ext_modules=extensions, cmdclass={"build_ext": Build},
    script_args=["--quiet", "build_ext", "--build-lib", out, "--build-temp", work + "/o"],
)
"""


class Compiled(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [*TOOLS, *self.metadata.core.dependencies] if _is_possible() and not _is_unwanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        folder = root / FOLDER
        sources = sorted({path for pattern in self.config["modules"] for path in (root / "src").glob(pattern)})
        if not _is_current(folder, sources):
            # Before anything else: modules of other sources beside the present ones may not fit together.
            remove(folder)
            if _is_unwanted() or not _is_possible():
                return
            try:
                error = _make(root, folder, sources)
            except OSError as failure:
                error = str(failure)
            if error:
                self.app.display_warning(f"pydapr is installed as plain Python, because it cannot be compiled: {error}")
                return
        elif _is_unwanted() or not _is_possible():
            return
        build_data["artifacts"].append(f"/{FOLDER}/")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def digest(sources: list[Path]) -> str:
    """What tells whether the compiled modules are those of `sources`."""
    total = hashlib.sha256()
    for path in sources:
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def remove(folder: Path) -> None:
    """Has `folder` be gone at once: who imports pydapr meanwhile, or after an interruption, finds all of it or none."""
    if not folder.exists():
        return
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.parent.parent, ignore_cleanup_errors=True) as aside:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(Path(aside, folder.name))


def put(made: Path, folder: Path) -> None:
    """Has `folder` be what was `made`, at once. Raises `OSError` when another installation is faster."""
    remove(folder)
    made.rename(folder)


def _make(root: Path, folder: Path, sources: list[Path]) -> str:
    """Compiles `sources` into `folder`; the reason if that fails. Raises `OSError`."""
    files = [path.relative_to(root / "src") for path in sources]
    known_by = digest(sources)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=folder.parent.parent, ignore_cleanup_errors=True) as aside:
        made = Path(aside, folder.name)
        made.mkdir()
        error = _compile(root, made, [str(path) for path in files])
        if error:
            return error
        if known_by != digest(sources):
            return "the sources have changed meanwhile"
        (made / "sources").write_text(known_by)
        names = [".".join(path.with_suffix("").parts) for path in files]
        (made / "modules").write_text("\n".join([_suffix(), *names]))
        put(made, folder)
    return ""


def _is_current(folder: Path, sources: list[Path]) -> bool:
    """Whether `folder` has these sources compiled, for this Python."""
    if not (folder / "modules").exists() or not (folder / (LIBRARY + _suffix())).exists():
        return False
    return (folder / "sources").read_text() == digest(sources)


def _suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX"))


def _is_unwanted() -> bool:
    return os.environ.get("PYDAPR_PURE", "") not in ("", "0")


def _is_possible() -> bool:
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def _compile(root: Path, folder: Path, modules: list[str]) -> str:
    """Compiles into `folder`; the reason if that fails."""
    with tempfile.TemporaryDirectory() as work:
        arguments = [str(root / "pyproject.toml"), work, str(folder), *modules]
        command = [sys.executable, "-c", _COMPILE, *arguments]
        done = subprocess.run(command, cwd=root / "src", capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "; ".join([line for line in lines if "error" in line.lower()][:3] or lines[-1:])
