"""The components of an app that nothing is configured for: what is written, and when it is left alone."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from pydapr import components
from pydapr.cli import embedded
from pydapr.components.drivers import sqlite

WANTED = {
    "statestore": ("state.sqlite", "state.db"),
    "pubsub": ("pubsub.sqlite", "pubsub.db"),
    "lockstore": ("lock.sqlite", "locks.db"),
    "configstore": ("configuration.sqlite", "configuration.db"),
}


def test_components_stand_beside_the_files_they_name(tmp_path: Path) -> None:
    home = tmp_path / "a home: 1" / ".dapr"

    [folder] = embedded.resources(home)

    for private in (home / "embedded", folder):
        assert stat.S_IMODE(os.stat(private).st_mode) == 0o700
    assert set(os.listdir(folder)) == {f"{name}.yaml" for name in WANTED}
    for name, (type_, file) in WANTED.items():
        document = yaml.safe_load((home / "embedded" / "resources" / f"{name}.yaml").read_text())
        assert (document["metadata"]["name"], document["spec"]["type"]) == (name, type_)
        metadata = {pair["name"]: pair["value"] for pair in document["spec"]["metadata"]}
        assert metadata["connectionString"] == str(home / "embedded" / file)


def test_files_are_found_whatever_the_home_is_called(tmp_path: Path) -> None:
    home = tmp_path / "what? #1 100%25"

    [folder] = embedded.resources(home)

    for name, (_, file) in WANTED.items():
        spec = yaml.safe_load(Path(folder, f"{name}.yaml").read_text())["spec"]
        [text] = [pair["value"] for pair in spec["metadata"] if pair["name"] == "connectionString"]
        place = sqlite.place(text, disable_wal=False)
        sqlite.connect(place, 1.0).close()
        assert place.file == str(home / "embedded" / file)
        assert Path(place.file).exists()


@pytest.mark.parametrize("name", WANTED)
def test_components_know_what_is_written(tmp_path: Path, name: str) -> None:
    [folder] = embedded.resources(tmp_path)
    spec = yaml.safe_load((Path(folder) / f"{name}.yaml").read_text())["spec"]
    given = {pair["name"].lower() for pair in spec["metadata"]}

    found = components.find(spec["type"])
    assert found is not None
    known = {option["name"].lower() for option in found.entry()["metadata"]}

    assert given - known <= {"actorstatestore"}


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    [folder] = embedded.resources(tmp_path)
    before = os.stat(Path(folder) / "statestore.yaml")

    embedded.resources(tmp_path)

    after = os.stat(Path(folder) / "statestore.yaml")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_older_text_is_replaced(tmp_path: Path) -> None:
    [folder] = embedded.resources(tmp_path)
    path = Path(folder) / "pubsub.yaml"
    now = path.read_text()
    path.write_text("older")

    embedded.resources(tmp_path)

    assert path.read_text() == now


def test_home_that_cannot_be_written_has_none(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    assert embedded.resources(tmp_path / "home") == []


@pytest.mark.parametrize("text", [b"", b"\xff\xfe"])
def test_file_that_is_no_text_is_replaced(tmp_path: Path, text: bytes) -> None:
    [folder] = embedded.resources(tmp_path)
    path = Path(folder) / "statestore.yaml"
    path.write_bytes(text)

    embedded.resources(tmp_path)

    assert yaml.safe_load(path.read_text())["kind"] == "Component"
