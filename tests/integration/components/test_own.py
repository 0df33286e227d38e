"""Components of one's own: a file in a folder works like a component that is built in, or says why it does not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.harness import Sidecar, World

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "components"
VARIABLE = "DAPR_COMPONENTS_FOLDER"

RESOURCE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: own}}
spec:
  type: {type}
  version: v1
  metadata: [{metadata}]
"""


HEAD = """
from pydapr.components import component, option, options
from pydapr.components.state import StateStore


@options
class Options:
    password: str = option("A secret.", default="")


@component("state.mine", Options)
"""

FAULTY = """
class Mine(StateStore):
    def __init__(self, options):
        self.password = options.password

    async def open(self):
        if self.password:
            raise RuntimeError(f"no {self.password}")

    async def close(self):
        raise RuntimeError("it does not want to")

    async def get(self, key, *, consistency="", metadata=None): ...
    async def set(self, request): ...
    async def delete(self, request): ...
"""


def daprd(world: World, type_: str, folder: Path, metadata: str = "", **variables: str) -> Sidecar:
    world.write("resources/own.yaml", RESOURCE.format(type=type_, metadata=metadata))
    flags = ("--resources-path", str(world.folder / "resources"))
    return world.daprd("own", None, *flags, environment={VARIABLE: str(folder), **variables})


def fatal(sidecar: Sidecar) -> str:
    assert sidecar.exit_code() == 1
    return next(line for line in sidecar.messages() if "Fatal error" in line)


def test_the_example_is_a_state_store(world: World) -> None:
    flags = ("--resources-path", str(EXAMPLE / "resources"))
    sidecar = world.daprd("own", None, *flags, environment={VARIABLE: str(EXAMPLE)}).await_ready()
    body = json.dumps([{"key": "a", "value": {"n": 1}}, {"key": "b", "value": 2}]).encode()

    assert sidecar.call("POST", "/v1.0/state/files", body=body).status == 204

    got = sidecar.call("GET", "/v1.0/state/files/a")
    assert json.loads(got.body) == {"n": 1}
    assert sidecar.call("DELETE", "/v1.0/state/files/a", "if-match: other").status == 409
    assert sidecar.call("DELETE", "/v1.0/state/files/a", f"if-match: {got.get('etag')}").status == 204
    assert [one["key"] for one in sidecar.document("GET", "/v1.0-alpha1/state/files")["items"]] == ["b"]
    assert sidecar.document("GET", "/v1.0/metadata")["components"][0]["capabilities"] == ["ETAG", "KEYS_LIKE"]
    assert len(list((world.folder / "state-of-the-example").iterdir())) == 1
    assert sidecar.stop() == 0


def test_its_options_are_checked(world: World) -> None:
    assert "metadata property folder is required" in fatal(daprd(world, "state.files", EXAMPLE))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("from pydapr.components import option\n\nunknown()\n", ", line 3: NameError: name 'unknown' is not defined"),
        ("def broken(:\n", ", line 1: SyntaxError:"),
        ("import no_such_library\n", ", line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("VALUE = 1\n", 'it has no @component("state.mine", …), it declares nothing'),
        ("import sys\n\nsys.exit(0)\n", ", line 3: SystemExit: 0"),
        (HEAD + "class Mine: ...\n", "Mine builds on no contract of pydapr.components.state"),
        (
            HEAD + "class Mine(StateStore): ...\n",
            "Mine lacks what the contract of pydapr.components.state asks for: delete",
        ),
    ],
    ids=["fault", "syntax", "library", "nothing", "exit", "no-contract", "unfinished"],
)
def test_a_file_that_does_not_load_is_named_with_the_line(world: World, content: str, says: str) -> None:
    path = world.write("components/state_mine.py", content)

    text = fatal(daprd(world, "state.mine", path.parent))

    assert f"own component {path}{says}" in text or (f"own component {path}" in text and says in text)


def test_a_fault_of_opening_is_named_with_the_line_and_without_secrets(world: World) -> None:
    path = world.write("components/state_mine.py", HEAD + FAULTY)
    metadata = "{name: password, envRef: OWN_PASSWORD}"

    text = fatal(daprd(world, "state.mine", path.parent, metadata, OWN_PASSWORD="correct-horse"))

    line = (HEAD + FAULTY).splitlines().index('            raise RuntimeError(f"no {self.password}")') + 1
    assert f"unexpected RuntimeError('no ***') ({path}, line {line})" in text


def test_a_fault_of_closing_does_not_spoil_the_end(world: World) -> None:
    path = world.write("components/state_mine.py", HEAD + FAULTY)
    sidecar = daprd(world, "state.mine", path.parent).await_ready()

    assert sidecar.stop() == 0
    assert any(
        "own (state.mine/v1) could not be closed: RuntimeError('it does not" in one for one in sidecar.messages()
    )


def test_a_file_comes_before_what_is_built_in(world: World) -> None:
    text = (EXAMPLE / "state_files.py").read_text().replace('"state.files"', '"state.in-memory"')
    folder = world.write("components/state_in_memory.py", text).parent

    daprd(world, "state.in-memory", folder, f"{{name: folder, value: {str(world.folder / 'kept')!r}}}").await_ready()

    assert (world.folder / "kept").is_dir()


def test_a_close_that_hangs_does_not_hold_a_start_that_has_failed(world: World) -> None:
    folder = world.write(
        "components/state_stuck.py",
        """
import asyncio

from pydapr.components import component, options
from pydapr.components.state import StateStore


@options
class Options:
    pass


@component("state.stuck", Options)
class Stuck(StateStore):
    def __init__(self, options):
        pass

    async def open(self):
        raise OSError("nobody is there")

    async def close(self):
        await asyncio.Event().wait()

    async def get(self, key, *, consistency="", metadata={}):
        return None

    async def set(self, request):
        pass

    async def delete(self, request):
        pass
""",
    ).parent
    began = time.monotonic()

    text = fatal(daprd(world, "state.stuck", folder))

    assert "nobody is there" in text
    assert time.monotonic() - began < 15


def test_it_can_be_served_to_others(world: World) -> None:
    sockets = Path("/tmp", f"pydapr-own-{world.mark}")
    command = [sys.executable, "-m", "pydapr", "dapr", "component", "serve", "--type", "state.files"]
    environment = {**os.environ, **world.environment, VARIABLE: str(EXAMPLE)}
    process = subprocess.Popen(
        [*command, "--socket-folder", str(sockets)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "state.files is served at" in process.stdout.readline()
        metadata = f"{{name: folder, value: {str(world.folder / 'kept')!r}}}"
        world.write("resources/own.yaml", RESOURCE.format(type="state.files", metadata=metadata))
        flags = ("--resources-path", str(world.folder / "resources"))
        sidecar = world.daprd("own", None, *flags, environment={"DAPR_COMPONENTS_SOCKETS_FOLDER": str(sockets)})
        sidecar.await_ready()

        assert sidecar.call("POST", "/v1.0/state/own", body=b'[{"key": "k", "value": 1}]').status == 204
        assert sidecar.call("GET", "/v1.0/state/own/k").body == b"1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        sockets.rmdir()
