"""Where components of one's own are looked for, and what their files are called."""

from pathlib import Path

import pytest

from pydapr import components
from pydapr.components import own

FILE = """
from pydapr.components import component, options
from pydapr.components.state.in_memory import InMemory, Options


@component("{type}", Options)
class Mine(InMemory):
    '''One of my own.'''
"""


def write(folder: Path, name: str, type_: str) -> Path:
    path = folder / name
    path.write_text(FILE.format(type=type_))
    return path


def environ(*folders: Path) -> dict[str, str]:
    return {own.VARIABLE: ":".join(map(str, folders))}


def test_nothing_is_looked_for_without_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "state_x.py", "state.x")

    assert own.in_folder("state.x", "v1", {}) is None


@pytest.mark.parametrize(
    ("type_", "version", "file"),
    [
        ("state.my-store", "v1", "state_my_store.py"),
        ("State.My.Store", "", "state_my_store.py"),
        ("state.mine", "v2", "state_mine_v2.py"),
        ("middleware.http.mine", "v1", "middleware_http_mine.py"),
    ],
)
def test_the_file_is_called_as_the_type(tmp_path: Path, type_: str, version: str, file: str) -> None:
    path = write(tmp_path, file, "state.any")

    assert own.place(type_, version, environ(tmp_path)) == str(path)


def test_the_first_folder_that_has_it_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    path = write(second, "state_x.py", "state.x")
    assert own.place("state.x", "v1", environ(first, second)) == str(path)

    path = write(first, "state_x.py", "state.x")

    assert own.place("state.x", "v1", environ(first, second)) == str(path)


def test_what_is_built_in_is_still_found_beside_one_of_its_type(tmp_path: Path) -> None:
    write(tmp_path, "state_in_memory.py", "state.in-memory")

    found = own.in_folder("state.in-memory", "v1", environ(tmp_path))

    assert found is not None and found.make.__name__ == "Mine"
    built_in = components.find("state.in-memory")
    assert built_in is not None and built_in.make.__name__ == "InMemory"
    assert found.entry()["name"] == "in-memory"


def test_a_file_for_another_type_says_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, "state_x.py", "state.y")

    with pytest.raises(own.Unusable, match=r'no @component\("state.x", …\), it declares state.y'):
        own.in_folder("state.x", "v1", environ(tmp_path))


def test_only_files_that_may_be_components_are_listed(tmp_path: Path) -> None:
    paths = [write(tmp_path, name, "x.y") for name in ("pubsub_mine.py", "state_x.py", "helper.py", "state_x.txt")]

    assert own.files(environ(tmp_path, tmp_path / "none")) == [str(path) for path in paths[:2]]


class Entry:
    """An entry point as importlib gives it."""

    dist = None

    def __init__(self, name: str, value: str, load: object) -> None:
        self.name, self.value, self._load = name, value, load

    def load(self) -> object:
        assert callable(self._load)
        return self._load()


def test_a_package_names_its_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def declare() -> None:
        exec(compile(FILE.format(type="state.packaged"), "packaged", "exec"), {"__name__": "packaged"})

    entries = [Entry("state.packaged", "packaged", declare), Entry("state.empty", "empty", lambda: None)]
    entries.append(Entry("state.broken", "broken", lambda: 1 / 0))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)

    found = own.installed("state.packaged", "v1")

    assert found is not None and found.name == "state.packaged"
    assert own.installed("state.other", "v1") is None
    with pytest.raises(own.Unusable, match=r"component state.empty of package empty: empty has no @component"):
        own.installed("state.empty", "v1")
    with pytest.raises(own.Unusable, match=r"component state.broken of package broken: ZeroDivisionError"):
        own.installed("state.broken", "v1")
    del components._found["state.packaged"]
