"""Installations that are interrupted, fail, or meet: pydapr can be imported afterwards, and at any moment between."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

T = TypeVar("T")

SCRIPT = Path(__file__).resolve().parent.parent.parent / "hatch_build.py"


class _Hook(Generic[T]):
    """hatchling's side: what it gives to a hook."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = str(root), {"modules": ["pkg/*.py"]}
        self.warnings: list[str] = []
        self.app = types.SimpleNamespace(display_warning=self.warnings.append)


def load() -> Any:
    """`hatch_build.py`, which hatchling runs in an environment of its own."""
    plugin = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    plugin.BuildHookInterface = _Hook  # type: ignore[attr-defined]
    names = plugin.__name__.split(".")
    played = {".".join(names[:end]): types.ModuleType(names[end - 1]) for end in range(1, len(names))}
    spec = importlib.util.spec_from_file_location("hatch_build", SCRIPT)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as meanwhile:
        for name, module in {**played, plugin.__name__: plugin}.items():
            meanwhile.setitem(sys.modules, name, module)
        spec.loader.exec_module(made)
    return made


@pytest.fixture
def build() -> Any:
    return load()


@pytest.fixture
def checkout(tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a module that mypyc does not take, and with what was compiled of another source."""
    monkeypatch.delenv("PYDAPR_PURE", raising=False)
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\n")
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    (tmp_path / "src" / "pkg" / "a.py").write_text("def broken(:\n")
    folder = tmp_path / build.FOLDER
    folder.mkdir(parents=True)
    for name in ("modules", "sources", build.LIBRARY + build._suffix()):
        (folder / name).write_text("old")
    return tmp_path


def install(build: Any, checkout: Path) -> tuple[Any, dict[str, Any]]:
    hook = build.Compiled(checkout)
    data: dict[str, Any] = {"artifacts": []}
    hook.initialize("editable", data)
    return hook, data


def left(checkout: Path) -> list[str]:
    return sorted(str(path.relative_to(checkout / "src")) for path in (checkout / "src").rglob("*") if path.is_file())


def test_what_cannot_be_compiled_is_plain_and_leaves_nothing(build: Any, checkout: Path) -> None:
    if not build._is_possible():
        pytest.skip("there is no compiler")

    hook, data = install(build, checkout)

    assert left(checkout) == ["pkg/a.py"]
    assert data == {"artifacts": []}
    assert "installed as plain Python, because it cannot be compiled: " in hook.warnings[0]


def test_plain_installation_removes_what_was_compiled_of_other_sources(
    build: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYDAPR_PURE", "1")

    _, data = install(build, checkout)

    assert (left(checkout), data) == (["pkg/a.py"], {"artifacts": []})


def test_plain_installation_leaves_what_was_compiled_of_these_sources(
    build: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYDAPR_PURE", "1")
    sources = [checkout / "src" / "pkg" / "a.py"]
    (checkout / build.FOLDER / "sources").write_text(build.digest(sources))
    before = left(checkout)

    _, data = install(build, checkout)

    assert (left(checkout), data) == (before, {"artifacts": []})


def test_what_is_made_takes_the_place_of_all_that_was_there(build: Any, checkout: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "modules").write_text("new")

    build.put(made, checkout / build.FOLDER)

    assert [(path.name, path.read_text()) for path in (checkout / build.FOLDER).iterdir()] == [("modules", "new")]
    assert not list((checkout / "src").glob(build.ASIDE + "*"))


_KILLED = """
import os, shutil, sys
shutil.rmtree = lambda *given, **named: os._exit(9)
sys.path.insert(0, {tests!r})
import test_hatch_build
test_hatch_build.load().remove(test_hatch_build.Path({folder!r}))
"""


def test_removal_that_is_interrupted_leaves_no_half_of_it(build: Any, checkout: Path) -> None:
    folder = checkout / build.FOLDER
    script = _KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))

    ended = subprocess.run([sys.executable, "-c", script], timeout=60)

    assert ended.returncode == 9
    assert not folder.exists()
