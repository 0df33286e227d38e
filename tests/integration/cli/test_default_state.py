"""`dapr run` with nothing configured: a state store is there, the same for all apps, and never over the user's own."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr

APP = """
import os, urllib.request
base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"
def call(target, body=None):
    with urllib.request.urlopen(base + target, body, timeout=20) as reply:
        return reply.read().decode()
TODO
"""

KEEP = """
call("/state/statestore", b'[{"key":"kept","value":"between runs"}]')
print("saved")
"""
READ = 'print("read", call("/state/statestore/kept"))'
LIST = 'import json; print("there", [one["name"] for one in json.loads(call("/metadata"))["components"]])'


@pytest.fixture
def run(dapr: "Dapr", script: Callable[[str], list[str]]) -> Callable[..., str]:
    def run(todo: str, *flags: str) -> str:
        made = dapr.call("run", "--app-id", dapr.app_id("a"), *flags, "--", *script(APP.replace("TODO", todo)))
        assert made.exit_code() == 0, made.output() + made.errors()
        return made.output()

    return run


def test_state_is_kept_between_runs(run: Callable[..., str]) -> None:
    assert "saved" in run(KEEP)
    assert 'read "between runs"' in run(READ)


def test_resources_of_the_user_are_all_there_is(run: Callable[..., str], dapr: "Dapr", tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "mine"},
        "spec": {"type": "state.in-memory", "version": "v1", "metadata": []},
    }
    (own / "mine.yaml").write_text(json.dumps(document))

    assert "there ['mine']" in run(LIST, "--resources-path", str(own))
    assert "there ['statestore']" in run(LIST)

    os.rename(own, dapr.directory / ".dapr" / "components")
    assert "there ['mine']" in run(LIST)
