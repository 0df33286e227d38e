"""With the original `daprd`: PYDAPR_ORIGINAL names the folder of its executables. Real multicast."""

import asyncio
import http.server
import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration import harness

from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.mdns import Mdns

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Notes

ORIGINAL = os.environ.get("PYDAPR_ORIGINAL", "")
pytestmark = pytest.mark.skipif(not ORIGINAL, reason="PYDAPR_ORIGINAL names no folder of original executables")


class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, format: str, *values: object) -> None: ...


class Original:
    """One original sidecar in front of `app_port`; `internal` is host:port as it announces itself."""

    def __init__(self, app_id: str, app_port: int, folder: Path) -> None:
        ports = {f"--dapr-{name}-port": str(harness.free_port()) for name in ("http", "grpc", "internal-grpc")}
        self.app_id, self.http = app_id, ports["--dapr-http-port"]
        self.port = int(ports["--dapr-internal-grpc-port"])
        flags = [text for pair in ports.items() for text in pair]
        command = [f"{ORIGINAL}/daprd", "--app-id", app_id, "--app-port", str(app_port), *flags]
        command += ["--enable-metrics=false", "--resources-path", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.internal = self._announced()

    def _announced(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "local service entry announced" in line:
                address = line.partition(" -> ")[2].partition('"')[0]
            if "dapr initialized. Status: Running" in line:
                return address
        raise AssertionError("the original did not start")

    def invoke(self, app_id: str) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.http}/v1.0/invoke/{app_id}/method/x"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Original]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    sidecar = Original(f"orig-{os.getpid()}", server.server_port, tmp_path)
    yield sidecar
    sidecar.process.kill()
    sidecar.process.communicate()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def ours(notes: "Notes") -> AsyncIterator[Mdns]:
    mdns = Mdns(notes)
    await mdns.open()
    if mdns._net is None:
        pytest.skip(f"no multicast here: {notes.of('debug')}")
    yield mdns
    await mdns.close()


async def test_we_find_the_original_and_forget_it_when_it_is_killed(original: Original, ours: Mdns) -> None:
    assert await ours.resolve(original.app_id, "default") == (original.internal,)

    original.process.kill()
    await asyncio.to_thread(original.process.wait)
    ours._browses[original.app_id].check_at = 0

    assert ours.known(original.app_id, "default") == ()


async def test_we_hear_the_original_leave(original: Original, ours: Mdns) -> None:
    await ours.resolve(original.app_id, "default")
    left = ours._browses[original.app_id].news

    original.process.terminate()
    async with asyncio.timeout(5):
        await left

    with pytest.raises(NotFound):
        await ours.resolve(original.app_id, "default")


async def test_the_original_finds_us_at_once(original: Original, ours: Mdns) -> None:
    alias = f"{original.app_id}-alias"  # our announcement leads to the original's own internal server
    await ours.register(Instance(alias, "default", original.internal))

    assert await asyncio.to_thread(original.invoke, alias) == (200, b"hi")


async def test_the_original_finds_several_of_ours(original: Original, ours: Mdns, notes: "Notes") -> None:
    alias = f"{original.app_id}-alias"
    host = original.internal.rpartition(":")[0]
    await ours.register(Instance(alias, "default", original.internal))
    assert (await asyncio.to_thread(original.invoke, alias))[0] == 200

    second = Mdns(notes)
    await second.open()
    with socket.socket() as dead_end:
        dead_end.bind((host, 0))
        dead_end.listen()
        dead_end.settimeout(5)
        await second.register(Instance(alias, "default", f"{host}:{dead_end.getsockname()[1]}"))
        calls = [asyncio.create_task(asyncio.to_thread(original.invoke, alias)) for _ in range(4)]
        reached = await asyncio.to_thread(dead_end.accept)
        reached[0].close()
    await asyncio.wait(calls)
    assert any(call.exception() is None for call in calls)
    await second.close()
