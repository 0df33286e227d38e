"""mDNS: what is announced of a sidecar, and sidecars of ours that meet over loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.mdns import Mdns
from pydapr.wire import mdns as packets

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Hand, Notes, Start

SHOP = Instance("shop", "default", "10.0.0.1:50002")


class Link:
    """Resolvers on the loopback interface."""

    def __init__(self, interface: str, hand: "Hand", notes: "Notes") -> None:
        self.interface, self.hand, self.notes = interface, hand, notes
        self.opened: list[Mdns] = []

    async def open(self, instance: Instance | None = None, wait: float = 0.9) -> Mdns:
        mdns = Mdns(self.notes, wait=wait, interfaces=(self.interface,), clock=self.hand)
        self.opened.append(mdns)
        await mdns.open()
        if instance is not None:
            await mdns.register(instance)
        return mdns


@pytest.fixture
async def link(hand: "Hand", notes: "Notes") -> AsyncIterator[Link]:
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")
    link = Link(loopback, hand, notes)
    if reason := await _no_multicast(link):
        pytest.skip(f"multicast does not work on {loopback or 'loopback'}: {reason}")
    yield link
    for mdns in link.opened:
        await mdns.close()


async def _no_multicast(link: Link) -> str:
    probe = await link.open(Instance("probe-of-multicast", "default", "127.0.0.1:9"))
    try:
        async with asyncio.timeout(1):
            await probe.resolve("probe-of-multicast", "default")
    except NotFound as error:
        return str(error)
    except TimeoutError:
        return "nothing comes back"
    finally:
        await probe.close()
        link.notes.lines.clear()
    return ""


def told(host: str, port: int = 50002) -> bytes:
    """What a sidecar of another machine says of itself."""
    return packets.Announcement("shop", "default", socket.inet_aton(host), port, "elsewhere", 7).message


async def heard(mdns: Mdns, app_id: str, count: int) -> tuple[str, ...]:
    """Waits for packets that are under way."""
    async with asyncio.timeout(5):
        while len(mdns.known(app_id, "default")) != count:
            await mdns._browses[app_id].news
    return mdns.known(app_id, "default")


async def test_two_sidecars_find_each_other(link: Link) -> None:
    shop = await link.open(SHOP)
    cart = await link.open(Instance("cart", "default", "10.0.0.2:50002"))

    assert await cart.resolve("shop", "default") == ("10.0.0.1:50002",)
    assert await shop.resolve("cart", "default") == ("10.0.0.2:50002",)
    assert link.notes.lines[0] == (
        "info",
        "local service entry announced: shop -> 10.0.0.1:50002",
        {"component": "nr (mdns/v1)"},
    )


async def test_a_sidecar_finds_itself(link: Link) -> None:
    shop = await link.open(SHOP)

    assert await shop.resolve("shop", "default") == (SHOP.address,)


async def test_all_instances_gather_and_those_that_leave_are_gone(link: Link) -> None:
    caller = await link.open()
    first = await link.open(SHOP)
    assert await caller.resolve("shop", "default") == ("10.0.0.1:50002",)

    await link.open(Instance("shop", "default", "10.0.0.2:50002"))
    assert set(await heard(caller, "shop", 2)) == {"10.0.0.1:50002", "10.0.0.2:50002"}

    await first.close()
    assert await heard(caller, "shop", 1) == ("10.0.0.2:50002",)


async def test_our_sidecars_of_another_namespace_count_when_there_is_no_other(link: Link) -> None:
    await link.open(Instance("shop", "other", "10.0.0.1:50002"))
    caller = await link.open()
    assert await caller.resolve("shop", "default") == ("10.0.0.1:50002",)

    await link.open(Instance("shop", "default", "10.0.0.2:50002"))
    await heard(caller, "shop", 1)

    assert await caller.resolve("shop", "other") == ("10.0.0.1:50002",)


async def test_a_killed_process_of_this_machine_is_forgotten(link: Link, start: "Start") -> None:
    child = start("mdns", link.interface, "shop", "10.0.0.1:50002")
    assert child.register() == "registered"
    caller = await link.open()
    assert await caller.resolve("shop", "default") == ("10.0.0.1:50002",)

    child.kill()

    link.hand.now += 1.5
    assert caller.known("shop", "default") == ()


async def test_who_takes_over_an_address_is_believed(link: Link) -> None:
    caller = await link.open()
    await link.open(SHOP)
    assert await caller.resolve("shop", "default") == (SHOP.address,)

    await link.open(Instance("cart", "default", SHOP.address))

    assert await caller.resolve("cart", "default") == (SHOP.address,)
    assert caller.known("shop", "default") == ()


async def test_an_address_reported_dead_comes_back_when_it_answers(link: Link) -> None:
    await link.open(SHOP)
    caller = await link.open()
    await caller.resolve("shop", "default")

    caller.report_dead("shop", "default", SHOP.address)

    assert caller.known("shop", "default") == ()
    assert await caller.resolve("shop", "default") == (SHOP.address,)


async def test_what_is_not_heard_for_a_minute_is_forgotten(link: Link) -> None:
    caller = await link.open()
    caller.known("shop", "default")
    caller._on_packet(told("10.0.0.1"), ("10.0.0.1", 5353))
    assert caller.known("shop", "default") == (SHOP.address,)

    link.hand.now += 61

    assert caller.known("shop", "default") == ()


async def test_loopback_addresses_count_only_when_said_on_this_machine(link: Link) -> None:
    caller = await link.open()
    caller.known("shop", "default")
    message = told("127.0.0.1", 5)

    caller._on_packet(message, ("192.0.2.77", 5353))
    assert caller.known("shop", "default") == ()
    caller._on_packet(message, ("127.0.0.1", 5353))
    assert caller.known("shop", "default") == ("127.0.0.1:5",)


async def test_app_ids_that_are_watched_are_bounded(link: Link) -> None:
    caller = await link.open()
    for number in range(100):
        link.hand.now += 0.001
        caller.known(f"app-{number}", "default")

    assert len(caller._browses) == 64
    assert "app-99" in caller._browses


async def test_silence_is_named_and_remembered_for_a_moment(hand: "Hand", notes: "Notes") -> None:
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")
    caller = Mdns(notes, wait=0.02, interfaces=(loopback,))
    await caller.open()
    if caller._net is None:
        pytest.skip("no multicast on loopback")
    begun = asyncio.get_running_loop().time()

    with pytest.raises(NotFound, match=rf"mDNS nobody\.local on {loopback} for 0\.02 s"):
        await caller.resolve("nobody", "default")

    assert 0.02 <= asyncio.get_running_loop().time() - begun < 0.5
    asked_at = caller._browses["nobody"].asked_at
    with pytest.raises(NotFound):
        await caller.resolve("nobody", "default")
    assert caller._browses["nobody"].asked_at == asked_at
    await caller.close()


async def test_without_multicast_there_is_a_debug_line_and_no_error(hand: "Hand", notes: "Notes") -> None:
    mdns = Mdns(notes, interfaces=("no-such-interface",), clock=hand)
    await mdns.open()
    await mdns.register(SHOP)

    with pytest.raises(NotFound, match=r"mDNS \(no interface with multicast\)"):
        await mdns.resolve("shop", "default")

    assert notes.of("debug") == ["mDNS is not available: no interface with multicast"]
    assert notes.of("warning") == notes.of("info") == []
    await mdns.close()
    assert mdns.known("shop", "default") == ()


async def test_an_app_id_that_cannot_be_announced_is_a_warning(link: Link) -> None:
    await link.open(Instance("x" * 64, "default", "10.0.0.1:1"))

    assert "cannot announce" in link.notes.of("warning")[0]


async def announced(address: str, notes: "Notes") -> packets.Announcement | None:
    """Without a network: what would be announced is made all the same."""
    mdns = Mdns(notes, interfaces=("no-such-interface",))
    await mdns.open()
    await mdns.register(Instance("shop", "default", address))
    await mdns.close()
    return mdns._announcement


async def test_localhost_is_announced_as_an_address(notes: "Notes") -> None:
    announcement = await announced("localhost:5", notes)

    assert announcement is not None
    assert [found.address for found in packets.sidecars(announcement.message, "shop")] == ["127.0.0.1:5"]


@pytest.mark.parametrize("host", ["elsewhere", "[fe80::1%lo]", "[fe80::g]"])
async def test_what_is_no_ip_address_is_not_announced(host: str, notes: "Notes") -> None:
    assert await announced(f"{host}:1", notes) is None
    assert notes.of("warning") == [f"cannot announce shop by mDNS: {host.strip('[]')!r} is no IP address"]
