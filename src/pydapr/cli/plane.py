"""The control plane of this user: a placement and a scheduler for all runs of a Dapr home, started when one needs them.

`run.py` and `crew.py` ask for their addresses, start what does not run beside their sidecar, and look every now and
then whether it still does; `init.py`, `uninstall.py` and `status_.py` use the same. What runs already at the ports of
the original, such as its containers, is used instead.

Each service has a file below the home that says where it listens. Whoever starts the service locks that file and hands
the lock on to the process, which holds it as long as it lives, however it ends: so there is never a second one, and no
process id has to be believed. The file is removed by who has the lock, so nobody has that of a file that is not there
any more. Without a sidecar that is connected they end by themselves (`controlplane.beside`).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pydapr
from pydapr.cli import embedded, ports, processes, sidecars, status

HOST = "127.0.0.1"
LOOK_SECONDS = 2.0
"""How often a run looks whether they still live."""

_IDLE_SECONDS = "300"
_LONGEST_PAUSE = 30.0
_END_SECONDS = 5.0
_READ_SECONDS = 1.0
_LOG_BYTES = 10 << 20
_KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
_KEPT_BEGINNINGS = ("LC_", "PYTHON", "PYDAPR_")

VERSION = f"{pydapr.DAPR_VERSION} (pydapr {pydapr.__version__})"

_RAFT = "initial-cluster"
"""A flag with more than a port in it."""

_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
_HEAD, _SETTINGS = 9, 4
"""The bytes before each frame of HTTP/2, and the type of the first one, which stands at 3."""


class Service(NamedTuple):
    """One of the two: its name, what it is for, and the flags of its ports with those that the original's containers
    have."""

    name: str
    use: str
    ports: tuple[tuple[str, int], ...]

    @property
    def flag(self) -> str:
        return f"{self.name}-host-address"


SERVICES = (
    Service("placement", "Actors", (("port", 50005), ("healthz-port", 58080), ("metrics-port", 59090), (_RAFT, 8201))),
    Service(
        "scheduler",
        "Jobs and reminders",
        (("port", 50006), ("healthz-port", 58081), ("metrics-port", 59091), ("etcd-client-port", 2379)),
    ),
)


class Noted(NamedTuple):
    """What the file of a service says: `pid` is 0 before it has been started, `version` that of its pydapr."""

    pid: int
    ports: dict[str, int]
    version: str = ""

    @property
    def address(self) -> str:
        return f"{HOST}:{self.ports['port']}"


class Plane:
    """The control plane as one run sees it. `close` leaves what was started alone."""

    def __init__(self, home: Path, services: Sequence[Service] = SERVICES) -> None:
        self._services = services
        self._folder = home / embedded.FOLDER
        self._claimed: dict[Service, int] = {}
        """Files that are locked, until the service is started."""
        self._used: set[Service] = set()
        self._started: dict[Service, subprocess.Popen[bytes]] = {}
        self._pauses: dict[Service, tuple[float, float]] = {}
        """When to start a service again at the earliest, and the pause that led there."""

    # -- for runs --

    def address(self, flag: str) -> str:
        """Where a sidecar finds the service of a flag, which `start` starts; empty when it cannot be had."""
        service = next(one for one in self._services if one.flag == flag)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._find(service)
            if isinstance(found, Noted):
                self._used.add(service)
                return found.address
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, found)
                address = self._choose_address(service, found)
                if service in self._used:
                    stack.pop_all()
                return address
        except OSError as wrong:
            status.warning(f"{service.use} are off: cannot use {self._folder}: {wrong.strerror or wrong}")
            return ""

    def _choose_address(self, service: Service, fd: int) -> str:
        """Where a service that does not run is to be started, or where another one is already. Raises OSError."""
        default = service.ports[0][1]
        # One of another home that has just been started may not listen yet.
        is_other_home = _is_of_other_home(service, default)
        if not is_other_home and _speaks_http2(default):
            return f"{HOST}:{default}"
        before = _read(fd)
        wanted = before.ports.get("port", 0) if before is not None else self._last_port(service)
        chosen = Noted(0, _choose(service, [wanted, 0 if is_other_home else default]))
        _write(fd, chosen)
        self._claimed[service] = fd
        self._used.add(service)
        return chosen.address

    def start(self) -> None:
        """Starts what does not run."""
        for service, fd in list(self._claimed.items()):
            with contextlib.closing(_File(self._claimed.pop(service))):
                self._start(service, fd)

    def look(self) -> None:
        """Starts again what has ended, where it was: sidecars that run look for it there."""
        for service in self._used:
            process = self._started.get(service)
            if process is not None and process.poll() is not None:
                del self._started[service]
            if time.monotonic() < self._pauses.get(service, (0.0, 0.0))[0]:
                continue
            try:
                fd = self._claim(service, os.O_RDWR)
            except OSError:
                continue  # somebody has removed the home, or uninstalled
            if fd is None:
                self._pauses.pop(service, None)
                continue
            with contextlib.closing(_File(fd)):
                self._start_again(service, fd)

    def close(self) -> None:
        """Lets go of what was to be started and has not been."""
        while self._claimed:
            os.close(self._claimed.popitem()[1])

    # -- for commands --

    def running(self) -> dict[Service, Noted]:
        """What runs of this home."""
        found = {}
        for service in self._services:
            with contextlib.suppress(OSError):
                fd = self._claim(service, os.O_RDWR)
                if fd is not None:
                    os.close(fd)
                elif (noted := self._noted(service)) is not None:
                    found[service] = noted
        return found

    def stop(self) -> list[str]:
        """Ends what runs, so that no run starts it again; the names of what has not ended in time. Raises OSError."""
        return [service.name for service in self._services if not self._end(service)]

    def log(self, service: Service) -> Path:
        return self._folder / f"{service.name}.log"

    def await_listening(self, seconds: float) -> list[str]:
        """Waits until all that was asked for takes connections; the names of what does not in time."""
        end = time.monotonic() + seconds
        left = [service.name for service in self._used]
        while left and time.monotonic() < end:
            running = {service.name: noted for service, noted in self.running().items()}
            left = [name for name in left if name not in running or not _answers(running[name].ports["port"])]
            time.sleep(0.02)
        return left

    # -- how --

    def _file(self, service: Service) -> Path:
        return self._folder / f"{service.name}.lock"

    def _claim(self, service: Service, flags: int = os.O_RDWR | os.O_CREAT) -> int | None:
        """The file of a service with its lock, None when somebody has that. Raises OSError."""
        import fcntl

        while True:
            fd = os.open(self._file(service), flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    return fd
            except BlockingIOError:
                os.close(fd)
                return None
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # it has been removed meanwhile

    def _find(self, service: Service) -> int | Noted:
        """The file of a service with its lock, or what it says when the service runs. Raises OSError."""
        end = time.monotonic() + _READ_SECONDS
        while True:
            fd = self._claim(service)
            if fd is not None:
                return fd
            noted = self._noted(service)
            is_late = time.monotonic() > end
            # Otherwise somebody has the lock only to look or to remove the file, or has not written yet.
            if noted is not None and (is_late or not noted.pid or processes.is_alive(noted.pid)):
                return noted
            if is_late:
                raise OSError(f"{self._file(service)} says nothing")
            time.sleep(0.01)

    def _noted(self, service: Service) -> Noted | None:
        """What the file of a service says. Raises OSError."""
        try:
            with open(self._file(service), "rb") as file:
                return _read(file.fileno())
        except FileNotFoundError:
            return None

    def _start_again(self, service: Service, fd: int) -> None:
        noted = _read(fd)
        if noted is None:
            return
        chosen = _choose(service, [noted.ports["port"]])
        if chosen["port"] != noted.ports["port"]:
            return  # the port is somebody else's now; perhaps not for long
        _write(fd, Noted(0, chosen))
        self._start(service, fd)
        pause = min(2 * self._pauses.get(service, (0.0, LOOK_SECONDS / 2))[1], _LONGEST_PAUSE)
        self._pauses[service] = (time.monotonic() + pause, pause)

    def _start(self, service: Service, fd: int) -> None:
        noted = _read(fd)
        assert noted is not None
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}
        try:
            with open(self._log_file(service), "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "pydapr", service.name, *self._flags(service, noted)],
                    env={"PYDAPR_IDLE_SECONDS": _IDLE_SECONDS, **kept},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    start_new_session=True,
                    pass_fds=(fd,),
                )
                self._started[service] = process
                _write(fd, noted._replace(pid=process.pid, version=VERSION))
        except OSError as wrong:
            status.warning(f"The {service.name} service could not be started: {wrong}")

    def _flags(self, service: Service, noted: Noted) -> list[str]:
        given = {name: str(port) for name, port in noted.ports.items()}
        if _RAFT in given:
            given[_RAFT] = f"dapr-placement-0={HOST}:{given[_RAFT]}"
        flags = [word for name, value in given.items() for word in (f"--{name}", value)]
        # Without certificates they are for this machine only.
        flags += ["--listen-address", HOST]
        if service.name == "scheduler":
            flags += ["--override-broadcast-host-port", noted.address]
            flags += ["--etcd-data-dir", str(self._folder / "scheduler")]
        return flags

    def _port_file(self, service: Service) -> Path:
        """Says where a service was that has been ended: sidecars that go on look for it there."""
        return self._folder / f"{service.name}.port"

    def _last_port(self, service: Service) -> int:
        try:
            return int(self._port_file(service).read_text())
        except (OSError, ValueError):
            return 0

    def _log_file(self, service: Service) -> Path:
        path = self.log(service)
        with contextlib.suppress(OSError):
            if path.stat().st_size > _LOG_BYTES:
                path.replace(f"{path}.1")
        return path

    def _end(self, service: Service) -> bool:
        """Ends a service, and removes its file while no run can start it again. Raises OSError."""
        now = time.monotonic()
        kill, end = now + _END_SECONDS, now + 2 * _END_SECONDS
        asked = 0
        while time.monotonic() < end:
            try:
                fd = self._claim(service, os.O_RDWR)
            except FileNotFoundError:
                return True
            if fd is not None:
                with contextlib.closing(_File(fd)):
                    if (last := _read(fd)) is not None:
                        self._port_file(service).write_text(str(last.ports["port"]))
                    self._file(service).unlink()
                return True
            noted = self._noted(service)
            is_late = time.monotonic() > kill
            if noted is not None and noted.pid and (is_late or noted.pid != asked):
                asked = noted.pid
                # The number may be an old one, and somebody else's now.
                if any(process.pid == asked for process in _processes(service)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(asked, signal.SIGKILL if is_late else signal.SIGTERM)
            time.sleep(0.02)
        return False


class _File:
    """A file that is open, to be closed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


def _read(fd: int) -> Noted | None:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        given = {str(name): int(port) for name, port in found["ports"].items()}
        return Noted(int(found["pid"]), given, str(found.get("version", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(fd: int, noted: Noted) -> None:
    text = json.dumps(noted._asdict()).encode()
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))


def _choose(service: Service, preferred: list[int]) -> dict[str, int]:
    """A free port for each purpose: for the API one of those preferred, else the default if it is free, else any."""
    chosen: dict[str, int] = {}
    with contextlib.closing(ports.Reservation()) as reservation:
        for name, default in service.ports:
            wanted = preferred if name == "port" else [default]
            free = (port for port in wanted if port and ports.is_free(port))
            chosen[name] = next(free, 0) or reservation.take()
    return chosen


def _answers(port: int) -> bool:
    """Whether somebody listens at a port; that it is taken may also be by a connection to somewhere."""
    if ports.is_free(port):
        return False
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def _speaks_http2(port: int) -> bool:
    """Whether a server of gRPC listens at a port: others than ours are known by that."""
    if ports.is_free(port):
        return False
    try:
        with socket.create_connection((HOST, port), 1) as connection:
            connection.sendall(_GREETING)
            start = connection.recv(_HEAD, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(start) == _HEAD and start[3] == _SETTINGS


def _processes(service: Service) -> Iterator[processes.Process]:
    """The processes on this machine that are such a service of ours."""
    return (process for process in processes.running(b"pydapr") if service.name in process.arguments)


def _is_of_other_home(service: Service, port: int) -> bool:
    """Whether a service of another home has a port: those are for their own runs."""
    return any(sidecars.read_flags(one.arguments).get("port") == str(port) for one in _processes(service))
