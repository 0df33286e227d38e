"""Free ports, and keeping them."""

import socket
import sys

import pytest

from pydapr.cli import ports


def test_ports_differ() -> None:
    reservation = ports.Reservation()

    assert len({reservation.take() for _ in range(50)}) == 50
    reservation.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow one holder only")
def test_the_sidecar_can_listen_on_a_port_that_is_held() -> None:
    reservation = ports.Reservation()
    port = reservation.take()

    with socket.create_server(("", port)):
        assert not ports.is_free(port)
    reservation.close()


def test_impossible_ports_are_not_free() -> None:
    assert not ports.is_free(99999)
