"""`dapr components` and `dapr component`: what there is, what a type may be told, and how either refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pydapr import components

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "components"


def dapr(folder: Path, *arguments: str, own: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAPR_")}
    environment |= {"HOME": str(folder), "DAPR_COMPONENTS_SOCKETS_FOLDER": str(folder), "DAPR_COMPONENTS_FOLDER": own}
    command = [sys.executable, "-m", "pydapr", "dapr", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def listed(folder: Path, *arguments: str, own: str = "") -> Any:
    answer = dapr(folder, "components", *arguments, "-o", "json", own=own)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_everything_built_in_is_listed(tmp_path: Path) -> None:
    names = {f"{one['type']}/{one['version']}" for one in listed(tmp_path)}

    for kind in components.KINDS:
        for found in components.available(kind):
            name, _, version = found.name.partition("/")
            assert f"{name}/{version or 'v1'}" in names


def test_own_ones_are_listed_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "state_broken.py").write_text("oops(")
    own = f"{EXAMPLE}{os.pathsep}{tmp_path}"

    found = {one["type"]: one for one in listed(tmp_path, "--kind", "state", own=own)}

    assert found["state.files"]["origin"] == str(EXAMPLE / "state_files.py")
    assert "state_broken.py, line 1: SyntaxError" in found["state.broken"]["description"]
    assert all(type_.startswith("state.") for type_ in found)


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_the_options_of_one(tmp_path: Path, output: str) -> None:
    answer = dapr(tmp_path, "components", "state.sqlite", "-o", output)

    about = json.loads(answer.stdout) if output == "json" else yaml.safe_load(answer.stdout)
    options = {one["name"]: one for one in about["metadata"]}
    assert options["connectionString"]["required"] is True
    assert options["busyTimeout"]["type"] == "duration" and "default" in options["busyTimeout"]


def test_the_options_as_a_table(tmp_path: Path) -> None:
    answer = dapr(tmp_path, "components", "STATE.FILES", own=str(EXAMPLE))

    lines = answer.stdout.splitlines()
    assert lines[0].startswith("state.files/v1 (/")
    assert any(line.split()[:3] == ["folder", "string", "(required)"] for line in lines)
    assert any(line.split()[:3] == ["suffix", "string", ".value"] for line in lines)


def test_other_names_of_a_type_lead_to_it(tmp_path: Path) -> None:
    assert listed(tmp_path, "state.postgres")["type"] == "state.postgresql"


def test_versions_have_options_of_their_own(tmp_path: Path) -> None:
    assert listed(tmp_path, "state.postgresql/v2")["version"] == "v2"
    assert [one["version"] for one in listed(tmp_path, "state.postgresql")] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["components", "state.none"], "There is no component state.none"),
        (["components", "-o", "xml"], "An invalid output format was specified."),
        (["components", "-k"], "kubectl get components.dapr.io"),
        (["components", "a", "b"], "One component at a time"),
        (["component"], "dapr component serve --type"),
        (["component", "serve", "--type", "state.none"], "There is no component state.none"),
        (["component", "serve", "--type", "lock.redis"], "cannot be served: pluggable components are bindings"),
        (["component", "serve", "--type", "state.redis", "--name", "a/b"], "is no name of a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    if arguments == ["component"]:
        arguments = ["component", "--type", "state.redis"]
    answer = dapr(tmp_path, *arguments)

    assert answer.returncode == 1
    assert says in answer.stderr


def test_a_socket_that_is_taken_is_not_taken_away(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pydapr", "dapr", "component", "serve", "--type", "state.in-memory"]
    environment = {**os.environ, "DAPR_COMPONENTS_SOCKETS_FOLDER": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and "is served at" in first.stdout.readline()

        second = dapr(tmp_path, "component", "serve", "--type", "state.in-memory")
        found = [one for one in listed(tmp_path, "--kind", "state") if one["origin"].endswith("in-memory.sock")]
        first.terminate()

    assert second.returncode == 1 and "in use" in second.stderr.lower()
    assert found[0]["type"] == "state.in-memory" and "StateStore" in found[0]["description"]
