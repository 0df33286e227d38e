"""The contract: wording, the bench, and telling the living from the dead."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pydapr.components.nameresolution import Bench, NotFound, host_port, is_loopback, process_started

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Hand


def test_not_found_begins_with_daprs_words_and_tells_where_we_looked() -> None:
    error = NotFound("shop", ("registry /x/registry.db (3 sidecars)", "mDNS shop.local on eth0 for 0.9 s"))

    assert str(error) == (
        "couldn't find service: shop "
        "(looked in registry /x/registry.db (3 sidecars); mDNS shop.local on eth0 for 0.9 s)"
    )


def test_not_found_without_places_is_daprs_text_alone() -> None:
    assert str(NotFound("shop")) == "couldn't find service: shop"


def test_an_address_on_the_bench_sits_out_and_comes_back(hand: "Hand") -> None:
    bench = Bench(hand, seconds=5)
    bench.add("a:1")

    assert bench.without(("a:1", "b:1")) == ("b:1",)
    hand.now += 6
    assert bench.without(("a:1", "b:1")) == ("a:1", "b:1")
    assert not bench


def test_the_only_address_plays_even_from_the_bench(hand: "Hand") -> None:
    bench = Bench(hand)
    bench.add("a:1")

    assert bench.without(("a:1",)) == ("a:1",)


@pytest.mark.parametrize(
    ("address", "parts"), [("10.0.0.1:50002", ("10.0.0.1", 50002)), ("[fd00::2]:50002", ("fd00::2", 50002))]
)
def test_an_address_comes_apart_into_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert host_port(address) == parts


def test_loopback_hosts_are_recognised() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("10.0.0.1", "fd00::2")))


def test_a_process_keeps_its_start_and_a_killed_one_is_gone_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_started(child.pid)
    assert started is not None
    assert process_started(child.pid) == started

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now

    assert process_started(child.pid) is None or sys.platform != "linux"
    child.communicate()
    assert process_started(child.pid) is None
