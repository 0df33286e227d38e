"""The state store of an app that nothing is configured for: what is written, and when it is left alone."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from pydapr.cli import embedded


def test_component_stands_beside_the_file_it_names(tmp_path: Path) -> None:
    home = tmp_path / "a home: #1" / ".dapr"

    [folder] = embedded.resources(home)

    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert os.listdir(folder) == ["statestore.yaml"]
    document = yaml.safe_load((home / "embedded" / "resources" / "statestore.yaml").read_text())
    assert (document["metadata"]["name"], document["spec"]["type"]) == ("statestore", "state.sqlite")
    metadata = {pair["name"]: pair["value"] for pair in document["spec"]["metadata"]}
    assert metadata["connectionString"] == str(home / "embedded" / "state.db")


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    [folder] = embedded.resources(tmp_path)
    before = os.stat(Path(folder) / "statestore.yaml")

    embedded.resources(tmp_path)

    after = os.stat(Path(folder) / "statestore.yaml")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_older_text_is_replaced(tmp_path: Path) -> None:
    [folder] = embedded.resources(tmp_path)
    path = Path(folder) / "statestore.yaml"
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
