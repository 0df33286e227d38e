"""Which address a host announces."""

import pytest

from pydapr.net import hostaddress


def test_the_environment_decides() -> None:
    assert hostaddress.host_address({"DAPR_HOST_IP": "10.9.8.7"}) == "10.9.8.7"


def test_loopback_and_translator_addresses_are_never_chosen() -> None:
    assert hostaddress.preferred(["127.0.0.1", "::1", "192.0.0.4"]) == ""


@pytest.mark.parametrize(
    "ranking", [["8.8.8.8", "2606:4700::1", "192.168.1.2", "fd00::1", "fe80::1"], ["8.8.4.4", "100.64.0.9"]]
)
def test_public_addresses_come_before_private_and_local_ones(ranking: list[str]) -> None:
    while ranking:
        assert hostaddress.preferred(reversed(ranking)) == ranking.pop(0)
