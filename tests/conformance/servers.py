"""Real servers for components that need one: a process each on a free port of this machine, with its files in a folder.

A server runs once for all cases, which take care not to touch each other's keys. `stop_all` ends all of them. Servers
that must not run as root run as the user that their package has made.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from tests.integration import harness

T = TypeVar("T")
SECONDS = 30.0
START_SECONDS = 90.0
"""After which a server hangs: RabbitMQ needs 5 s of a processor, of which a crowded machine gives it an eighth."""

BRING_SECONDS = 240
"""How long it may take to bring programs from elsewhere."""

_running: dict[object, object] = {}
_ends = contextlib.ExitStack()


def shared(make: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
    """What `make` yields, made once and kept until the end."""
    if make not in _running:
        _running[make] = _ends.enter_context(make())
    found = _running[make]
    return found  # type: ignore[return-value]  # it came from the same `make`


def stop_all() -> None:
    _running.clear()
    _ends.close()


def program(name: str, folders: Sequence[str] = ()) -> str:
    """Where a program is. Skips the case when it is nowhere."""
    path = shutil.which(name) or next((f"{one}/{name}" for one in folders if Path(one, name).exists()), None)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def free_ports(count: int) -> list[int]:
    """Ports that no outgoing connection is given either: a server that is restarted finds its own free."""
    return [harness.free_port() for _ in range(count)]


@contextlib.contextmanager
def folder(user: str | None) -> Iterator[Path]:
    """An empty folder that belongs to `user`."""
    made = Path(tempfile.mkdtemp(prefix="pydapr-server-"))
    try:
        give(made, user)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def give(path: Path, user: str | None) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def account(name: str) -> str | None:
    """The user to run a server as: None for whoever runs the tests, unless that is root."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        return None
    return name


class Process:
    """A server's process, which can be ended and started again."""

    def __init__(
        self, command: Sequence[str], place: Path, user: str | None, is_ready: Callable[[], bool], stop: int
    ) -> None:
        self._command, self._place, self._user = command, place, user
        self._is_ready, self._stop = is_ready, stop
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self._place / "output.log"
        group = pwd.getpwnam(self._user).pw_gid if self._user else None
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self._place, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                user=self._user, group=group, extra_groups=() if self._user else None, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self._command[0]} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self._stop)
            try:
                self._process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def run(command: Sequence[str], place: Path, user: str | None) -> None:
    """Runs a program to its end, which must be a good one."""
    group = pwd.getpwnam(user).pw_gid if user else None
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=120, user=user, group=group,
        extra_groups=() if user else None, env={**os.environ, "TMPDIR": str(place)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextlib.contextmanager
def running(
    command: Sequence[str],
    place: Path,
    user: str | None,
    is_ready: Callable[[], bool],
    stop: int = signal.SIGTERM,
) -> Iterator[Process]:
    process = Process(command, place, user, is_ready, stop)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def maven(artifact: str) -> Path:
    """A folder with the jars of an artifact (`group:name:version`) and of what it needs, in the user's cache.

    Skips the case when they are not there and cannot be brought.
    """
    group, name, version = artifact.split(":")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pydapr-tests" / f"{name}-{version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        Path(work, "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId>"
            f"<version>1</version><packaging>pom</packaging><dependencies><dependency><groupId>{group}</groupId>"
            f"<artifactId>{name}</artifactId><version>{version}</version></dependency></dependencies></project>"
        )
        command = [program("mvn"), "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=BRING_SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{artifact} is not here, and could not be brought in time")
        if done.returncode:
            pytest.skip(f"{artifact} is not here, and could not be brought: {done.stdout[-300:]}{done.stderr[-300:]}")
        with contextlib.suppress(OSError):  # another was quicker
            shutil.move(Path(work, "lib"), folder)
    return folder
