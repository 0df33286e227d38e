"""Real `dapr` processes with real sidecars, and waiting for what they do.

The sidecar is ours once `pydapr.daprd` exists; `DAPR_TEST_DAPRD=/path/to/daprd` puts another in its place.
"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.harness import free_port

LIMIT = 30.0


def eventually(is_true: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait until it is true; fail after the limit."""
    deadline = time.monotonic() + limit
    while not is_true():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.02)


def processes_marked(mark: str) -> list[int]:
    """Living processes, zombies aside, whose environment or arguments hold the mark of this test."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            own = b"\0" + Path(f"/proc/{name}/environ").read_bytes() + Path(f"/proc/{name}/cmdline").read_bytes()
            state = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in own and state != b"Z":
            found.append(int(name))
    return found


@pytest.fixture(scope="session", autouse=True)
def _hang_up_is_heard() -> None:
    """What is started here is to hear SIGHUP, also when the tests run under nohup, which it would inherit."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Run:
    """A `dapr` command that runs, and its output so far."""

    def __init__(self, arguments: list[str], environment: dict[str, str], directory: Path, typed: bytes) -> None:
        self._stdout = tempfile.TemporaryFile()
        self._stderr = tempfile.TemporaryFile()
        stdin = tempfile.TemporaryFile()
        stdin.write(typed)
        stdin.seek(0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pydapr", "dapr", *arguments],
            env=environment,
            cwd=directory,
            stdin=stdin,
            stdout=self._stdout,
            stderr=self._stderr,
            process_group=0,
        )
        stdin.close()

    def output(self) -> str:
        return _content(self._stdout.fileno())

    def errors(self) -> str:
        return _content(self._stderr.fileno())

    def await_output(self, text: str) -> None:
        eventually(
            lambda: text in self.output() or self.process.poll() is not None,
            f"{text!r} in\n{self.output()}\n{self.errors()}",
        )
        assert text in self.output(), self.output() + self.errors()

    def await_up(self) -> None:
        self.await_output("You're up and running!")

    def interrupt(self) -> None:
        """What Ctrl-C at a terminal does: a signal for the group in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def exit_code(self) -> int:
        return self.process.wait(LIMIT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stdout.close()
        self._stderr.close()


def _content(fd: int) -> str:
    return os.pread(fd, 10_000_000, 0).decode(errors="replace")


class Dapr:
    """Starts `dapr` commands in an empty home, all marked as belonging to this test."""

    def __init__(self, directory: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.directory = directory
        self.flags = _sidecar_flags(directory)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DAPR_")},
            "HOME": str(directory),
            "DAPR_TEST_MARK": self.mark,
            # Started for no test but those that are about it: `with_control_plane`.
            "DAPR_PLACEMENT_HOST_ADDRESS": "",
            "DAPR_SCHEDULER_HOST_ADDRESS": "",
        }
        self._runs: list[Run] = []

    def app_id(self, name: str) -> str:
        return f"{name}-{self.mark[:8]}"

    def start(self, *arguments: str, typed: bytes = b"") -> Run:
        run = Run([*self.flags, *arguments], self.environment, self.directory, typed)
        self._runs.append(run)
        return run

    def call(self, *arguments: str, typed: bytes = b"") -> Run:
        """Run a command to its end."""
        run = self.start(*arguments, typed=typed)
        run.exit_code()
        return run

    def start_sidecar(self, app_id: str) -> "subprocess.Popen[bytes]":
        """A sidecar that no command line looks after."""
        program = [sys.executable, "-m", "pydapr", "daprd"]
        if self.flags:
            program = [f"{self.flags[1]}/.dapr/bin/daprd"]
        ports = [argument for name in _PORTS for argument in (f"--{name}", str(free_port()))]
        return subprocess.Popen(
            [*program, "--app-id", app_id, *ports],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def with_control_plane(self, idle_seconds: float = 60.0) -> None:
        """Runs from now on have what they have by default: a placement and a scheduler, which outlive them."""
        for name in ("PLACEMENT", "SCHEDULER"):
            del self.environment[f"DAPR_{name}_HOST_ADDRESS"]
        self.environment["PYDAPR_IDLE_SECONDS"] = str(idle_seconds)

    def control_plane(self) -> dict[str, int]:
        """The processes of the control plane that run, by their names."""
        found = {}
        for name in ("placement", "scheduler"):
            mark = f"\0HOME={self.directory}\0"
            for pid in processes_marked(mark):
                with contextlib.suppress(OSError):
                    if f"\0{name}\0" in Path(f"/proc/{pid}/cmdline").read_text():
                        found[name] = pid
        return found

    def processes(self) -> list[int]:
        return processes_marked(self.mark)

    def await_nothing_left(self) -> None:
        eventually(lambda: not processes_marked(self.mark), f"{processes_marked(self.mark)} end")

    def close(self) -> None:
        for run in self._runs:
            run.close()
        for pid in (*processes_marked(self.mark), *self.control_plane().values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


_PORTS = ("dapr-http-port", "dapr-grpc-port", "metrics-port", "dapr-internal-grpc-port")


def _sidecar_flags(directory: Path) -> list[str]:
    other = os.environ.get("DAPR_TEST_DAPRD", "")
    if not other and importlib.util.find_spec("pydapr.daprd") is not None:
        return []
    if not other:
        pytest.skip("no sidecar to run: neither pydapr.daprd nor DAPR_TEST_DAPRD")
    programs = directory / "installed" / ".dapr" / "bin"
    programs.mkdir(parents=True)
    (programs / "daprd").symlink_to(other)
    return ["--runtime-path", str(directory / "installed")]


@pytest.fixture
def dapr(tmp_path: Path) -> Iterator[Dapr]:
    made = Dapr(tmp_path)
    yield made
    made.close()


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], list[str]]:
    """Turns the text of a Python program into a command."""

    def write(text: str) -> list[str]:
        path = tmp_path / f"{uuid.uuid4().hex}.py"
        path.write_text(text)
        return [sys.executable, str(path)]

    return write
