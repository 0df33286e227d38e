"""What the fault trials share: apps to kill, load that keeps a record, peers that do not answer, open files."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World

ROOT = Path(__file__).parents[3]

Ask = Callable[[], str]
"""Makes one call: "" when it went well, else its error."""

FORMAT = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: c}}
spec:
  nameResolution: {{component: nameformat, configuration: {{format: "{format}"}}}}
"""
"""A Configuration under which names of apps become addresses by a format, with `{appid}` in it."""


class AppProcess:
    """An app in a process of its own, on a port that stays the same when it is started again."""

    def __init__(self, kind: str) -> None:
        self.kind, self.port = kind, harness.free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Starts it; the moment at which its port took a connection."""
        module = "tests.integration.faults.app_process"
        self.process = subprocess.Popen([sys.executable, "-m", module, self.kind, str(self.port)], cwd=ROOT)
        harness.eventually(self._listens, "the app listens")
        return time.monotonic()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def app_process() -> Iterator[Callable[[str], AppProcess]]:
    made: list[AppProcess] = []

    def make(kind: str) -> AppProcess:
        made.append(AppProcess(kind))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@dataclass
class Load:
    """Threads that call without pause and note for each call when it began and ended, and its error."""

    ask: Ask
    calls: list[tuple[float, float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                error = self.ask()
            except Exception as failed:
                error = f"broken: {failed!r}"
            self.calls.append((began, time.monotonic(), error))
            if error:
                self._stop.wait(0.01)

    def more(self, count: int, limit: float = harness.LIMIT) -> None:
        """Waits for so many further calls."""
        goal = len(self.calls) + count
        harness.eventually(lambda: len(self.calls) >= goal, f"{count} calls", limit)

    def begun_since(self, moment: float) -> list[tuple[float, float, str]]:
        return [call for call in list(self.calls) if call[0] >= moment]

    def stop(self, limit: float = 40.0) -> None:
        """Ends the load; nobody may hang."""
        self._stop.set()
        deadline = time.monotonic() + limit
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a call hangs"

    @property
    def errors(self) -> list[str]:
        return [error for _, _, error in list(self.calls) if error]


@pytest.fixture
def load() -> Iterator[Callable[[Ask], Load]]:
    made: list[Load] = []

    def make(ask: Ask) -> Load:
        made.append(Load(ask))
        return made[-1]

    yield make
    for one in made:
        one._stop.set()


def over_http(caller: Sidecar, app_id: str, verb: str = "POST") -> Ask:
    """Calls of service invocation over HTTP."""

    def ask() -> str:
        reply = caller.call(verb, f"/v1.0/invoke/{app_id}/method/m", body=b"x" if verb == "POST" else None)
        return "" if reply.status == 200 else f"{reply.status} {reply.body.decode()}"

    return ask


def over_grpc(channel: Any, method: str, data: bytes, app_id: str, timeout: float = 20.0) -> Ask:
    """Calls of a method of gRPC, by proxy where it is none of Dapr's."""
    call = channel.unary_unary(method)

    def ask() -> str:
        try:
            call(data, timeout=timeout, metadata=(("dapr-app-id", app_id),))
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
        return ""

    return ask


@pytest.fixture
def channel() -> Iterator[Callable[[Sidecar], Any]]:
    """Makes a channel to a sidecar."""
    made: list[Any] = []

    def make(sidecar: Sidecar) -> Any:
        made.append(grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Mute:
    """Accepts connections and never says a word; `held` are those that are still open."""

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self._listening.getsockname()[1]
        self.held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            self.held.append(taken)

    def count_open(self) -> int:
        """How many of the connections their other side has not closed."""
        count = 0
        for taken in list(self.held):
            taken.setblocking(False)
            try:
                while data := taken.recv(65536):
                    del data
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for taken in self.held:
            taken.close()
        self._thread.join(5)


@pytest.fixture
def mute() -> Iterator[Mute]:
    made = Mute()
    yield made
    made.close()


def open_files(sidecar: Sidecar) -> int:
    return len(os.listdir(f"/proc/{sidecar.pid}/fd"))


def by_format(world: World, form: str) -> tuple[str, ...]:
    """Flags under which a sidecar finds apps by a format."""
    return ("--config", str(world.write("names.yaml", FORMAT.format(format=form))))


def always_at(world: World, port: int) -> tuple[str, ...]:
    """Flags under which a sidecar finds the app `1` at a port of this machine."""
    return by_format(world, f"127.0.0.{{appid}}:{port}")


def cut(wire: http_wire.Wire) -> bool:
    """Whether the answer breaks off, or is an error because nothing of it had gone out."""
    try:
        return wire.message().status >= 500
    except (http_wire.Broken, ConnectionError):
        return True
