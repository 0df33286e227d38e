"""The socket in the group of mDNS, on the loopback interface."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from pydapr.net.multicast import PORT, Multicast, is_own

Join = Callable[[], "Member"]


class Member:
    """One socket in the group, and what it hears."""

    def __init__(self, *interfaces: str) -> None:
        self._heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        self.net = Multicast(lambda *packet: self._heard.put_nowait(packet), interfaces, time.monotonic)

    async def hears(self, *wanted: bytes) -> bytes:
        """The first of these to arrive; others on this machine may speak in the group too."""
        async with asyncio.timeout(5):
            while True:
                data, (_, port, *_) = await self._heard.get()
                if data in wanted:
                    assert port == PORT
                    return data


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")
    members: list[Member] = []

    def begin() -> Member:
        members.append(Member(loopback))
        return members[-1]

    try:
        probe = begin()
        probe.net.send(b"does this arrive?")
        await probe.hears(b"does this arrive?")
    except (OSError, TimeoutError) as error:
        pytest.skip(f"multicast does not work on {loopback or 'loopback'}: {error!r}")
    yield begin
    for member in members:
        member.net.close()


async def test_everybody_hears_what_is_sent_to_the_group(join: Join) -> None:
    first, second = join(), join()

    first.net.send(b"hello to the group")

    assert await first.hears(b"hello to the group") == await second.hears(b"hello to the group")


async def test_what_is_not_longer_than_the_head_of_a_message_is_not_heard(join: Join) -> None:
    first, second = join(), join()

    first.net.send(b"twelve bytes")
    first.net.send(b"thirteen bytes")

    assert await second.hears(b"twelve bytes", b"thirteen bytes") == b"thirteen bytes"


async def test_an_answer_to_one_does_not_go_through_the_group(join: Join) -> None:
    member = join()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind(("127.0.0.1", 0))
        asker.settimeout(5)

        member.net.send_to(b"for you alone", asker.getsockname())

        assert await asyncio.to_thread(asker.recv, 100) == b"for you alone"


async def test_the_interfaces_that_joined_are_named(join: Join) -> None:
    (interface,) = join().net.interfaces

    assert interface.startswith("lo")


async def test_without_an_interface_it_does_not_open() -> None:
    with pytest.raises(OSError, match="no interface with multicast"):
        Member("no-such-interface")


def test_own_addresses_are_told_from_others() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.77")
