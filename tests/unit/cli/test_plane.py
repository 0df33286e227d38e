"""Where the control plane of a user is, before any process has been started."""

import contextlib
import os
import socket
from pathlib import Path

import pytest

from pydapr.cli import plane, ports

FLAG = "scheduler-host-address"


@pytest.fixture
def service() -> plane.Service:
    """With a port that nobody has, whatever runs on this machine."""
    with contextlib.closing(ports.Reservation()) as reservation:
        return plane.Service("scheduler", (("port", reservation.take()),))


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


def test_what_answers_at_the_port_already_is_used(tmp_path: Path, service: plane.Service) -> None:
    port = service.ports[0][1]
    control_plane = plane.Plane(tmp_path, (service,))

    with socket.create_server(("127.0.0.1", port)):
        assert control_plane.address(FLAG) == f"127.0.0.1:{port}"

    assert not control_plane.running()


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
    assert "Actors, reminders or jobs are off" in capfd.readouterr().out


def test_a_home_that_is_a_file_is_told(
    tmp_path: Path, service: plane.Service, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").touch()

    assert plane.Plane(tmp_path / "home", (service,)).address(FLAG) == ""
    assert "Actors, reminders or jobs are off" in capfd.readouterr().out
