"""Where the control plane of a user is, before any process has been started."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pydapr.cli import plane, ports

FLAG = "scheduler-host-address"


@pytest.fixture
def service() -> plane.Service:
    """With a port that nobody has, whatever runs on this machine."""
    with contextlib.closing(ports.Reservation()) as reservation:
        return plane.Service("scheduler", "Jobs", (("port", reservation.take()),))


def port_of(address: str) -> int:
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    return int(port)


def test_what_is_claimed_by_one_run_is_where_the_next_one_looks(tmp_path: Path, service: plane.Service) -> None:
    first, second = plane.Plane(tmp_path, (service,)), plane.Plane(tmp_path, (service,))

    address = first.address(FLAG)

    assert second.address(FLAG) == address
    assert port_of(address) > 0
    assert set(second.running()) == {service}
    first.close()
    assert not second.running()


def test_homes_have_control_planes_of_their_own(tmp_path: Path, service: plane.Service) -> None:
    one, other = plane.Plane(tmp_path / "one", (service,)), plane.Plane(tmp_path / "other", (service,))

    one.address(FLAG)

    assert not other.running()
    one.close()


def test_a_port_is_kept_for_the_next_time(tmp_path: Path, service: plane.Service) -> None:
    first = plane.Plane(tmp_path, (service,))
    address = first.address(FLAG)
    first.close()

    second = plane.Plane(tmp_path, (service,))
    assert second.address(FLAG) == address
    second.close()


@contextlib.contextmanager
def listening(port: int, answer: bytes) -> Iterator[None]:
    """Somebody at a port, who says the same to everybody."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(100)

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def test_what_answers_at_the_port_already_is_used(tmp_path: Path, service: plane.Service) -> None:
    port = service.ports[0][1]
    control_plane = plane.Plane(tmp_path, (service,))

    with listening(port, b"\0\0\0\x04\0\0\0\0\0"):
        assert control_plane.address(FLAG) == f"127.0.0.1:{port}"

    assert not control_plane.running()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_has_the_port_and_is_no_such_service_is_not_used(
    tmp_path: Path, service: plane.Service, answer: bytes
) -> None:
    port = service.ports[0][1]
    control_plane = plane.Plane(tmp_path, (service,))

    with listening(port, answer):
        address = control_plane.address(FLAG)
    control_plane.close()

    assert port_of(address) not in (0, port)


def note(home: Path, pid: int, port: int = 50006) -> Path:
    """What a service has left behind that ended long ago."""
    path = home / "embedded" / "scheduler.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": pid, "ports": {"port": port}}))
    return path


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_look_at_the_file_is_not_taken_for_a_service(tmp_path: Path, service: plane.Service) -> None:
    path = note(tmp_path, ended_process(), service.ports[0][1])
    looking = path.open("rb+")
    fcntl.flock(looking, fcntl.LOCK_EX)
    threading.Timer(0.1, looking.close).start()

    control_plane = plane.Plane(tmp_path, (service,))
    control_plane.address(FLAG)
    text = path.read_text()
    control_plane.close()

    assert '"pid": 0' in text, "it does not run: it is to be started"


def test_a_file_that_was_removed_is_not_locked(tmp_path: Path, service: plane.Service) -> None:
    """Who has opened the file before another removes it must not believe to be the only one with its lock."""
    path, flock = note(tmp_path, 0), fcntl.flock
    removed: list[int] = []

    def remove_first(fd: int, operation: int) -> None:
        if not removed:
            path.unlink()
            removed.append(fd)
        flock(fd, operation)

    first, second = plane.Plane(tmp_path, (service,)), plane.Plane(tmp_path, (service,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_first)
        first.address(FLAG)

    assert set(second.running()) == {service}
    first.close()


def test_the_end_of_what_is_just_being_started_ends_nobody_else(tmp_path: Path, service: plane.Service) -> None:
    starting = plane.Plane(tmp_path, (service,))
    starting.address(FLAG)
    code = f"""
import os, sys
from pathlib import Path
from pydapr.cli import plane
plane._END_SECONDS = 0.1
service = plane.Service("scheduler", "Jobs", (("port", {service.ports[0][1]}),))
sys.exit(plane.Plane(Path({str(tmp_path)!r}), (service,)).stop() != ["scheduler"])
"""
    ending = subprocess.run([sys.executable, "-c", code], timeout=60, start_new_session=True)
    starting.close()

    assert ending.returncode == 0, "it has ended itself, or says that it has ended the service"


def test_a_process_that_has_the_number_now_is_not_ended(
    tmp_path: Path, service: plane.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "_END_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with note(tmp_path, other.pid).open("rb+") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)

            assert plane.Plane(tmp_path, (service,)).stop() == ["scheduler"]
        assert other.poll() is None
        other.communicate(b"\n")


def test_nothing_runs_where_nothing_was_asked_for(tmp_path: Path, service: plane.Service) -> None:
    control_plane = plane.Plane(tmp_path / "none", (service,))

    assert control_plane.running() == {}
    assert control_plane.stop() == []
    assert control_plane.await_listening(1.0) == []
    control_plane.look()
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_told(
    tmp_path: Path, service: plane.Service, capfd: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)

    assert plane.Plane(tmp_path / "home", (service,)).address(FLAG) == ""
    assert "Jobs are off" in capfd.readouterr().out


def test_a_home_that_is_a_file_is_told(
    tmp_path: Path, service: plane.Service, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").touch()

    assert plane.Plane(tmp_path / "home", (service,)).address(FLAG) == ""
    assert "Jobs are off" in capfd.readouterr().out
