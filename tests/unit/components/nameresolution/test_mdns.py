"""mDNS: the packets, the original's among them as recorded, and sidecars of ours that meet over loopback."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.mdns import (
    Announcement,
    Malformed,
    Mdns,
    Sidecar,
    decode_name,
    encode_name,
    is_own,
    query,
    record,
    response,
    sidecars,
)

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Hand, Notes, Start

# daprd v1.18.3 --app-id origapp on host "vm" with process id 21820, as recorded
ORIGINAL_ANNOUNCES = bytes.fromhex(
    "00008000000000050000000008766d3a3231383230076f726967617070056c6f63616c000021800100000c8000100000000025f1"
    "02766d056c6f63616c00c00c0010800100000c800008076f726967617070c015000c000100000c800002c00c095f736572766963"
    "6573075f646e732d7364045f756470c01d000c000100000c800002c015c03400018001000000780004c0000202"
)
ORIGINAL_LEAVES = bytes.fromhex(
    "00008000000000050000000008766d3a3231383230076f726967617070056c6f63616c00002180010000000000100000000025f1"
    "02766d056c6f63616c0008766d3a3231383230076f726967617070056c6f63616c0000108001000000000008076f726967617070"
    "076f726967617070056c6f63616c00000c000100000000001808766d3a3231383230076f726967617070056c6f63616c00095f73"
    "65727669636573075f646e732d7364045f756470056c6f63616c00000c000100000000000f076f726967617070056c6f63616c00"
    "02766d056c6f63616c0000018001000000000004c0000202"
)
SHOP = Instance("shop", "default", "10.0.0.1:50002")


def test_the_originals_announcement_is_read() -> None:
    assert sidecars(ORIGINAL_ANNOUNCES, "origapp") == [Sidecar("vm:21820.origapp.local", "192.0.2.2:9713", None)]


def test_the_originals_goodbye_is_read() -> None:
    assert sidecars(ORIGINAL_LEAVES, "origapp") == [Sidecar("vm:21820.origapp.local", None, None)]


def test_an_app_id_that_ends_another_is_not_taken_for_it() -> None:
    assert sidecars(ORIGINAL_ANNOUNCES, "app") == []
    assert sidecars(Announcement(Instance("my.app", "default", "10.0.0.1:1"), "vm", 7).message, "app") == []


@pytest.mark.parametrize("address", ["10.0.0.1:50002", "127.0.0.1:1", "[fd00::2]:65535"])
def test_what_we_announce_we_read(address: str) -> None:
    announcement = Announcement(Instance("shop", "north", address), "vm", 7)

    (here,) = sidecars(announcement.message, "shop")
    assert here == Sidecar(here.name, address, "north")
    assert sidecars(announcement.goodbye, "shop") == [Sidecar(here.name, None, None)]


def test_sidecars_of_one_name_and_process_number_differ_by_their_address() -> None:
    names = {
        sidecars(Announcement(Instance("shop", "default", address), "vm", 1).message, "shop")[0].name
        for address in ("10.0.0.1:50002", "10.0.0.2:50002", "10.0.0.1:50003", "[fd00::2]:50002")
    }

    assert len(names) == 4
    assert all(name.startswith("vm:1:") for name in names)


def test_the_longest_names_fit() -> None:
    longest = Announcement(Instance("x" * 63, "default", "[fd00::2]:65535"), "h" * 40, 4194304)

    assert sidecars(longest.message, "x" * 63)[0].address == "[fd00::2]:65535"


def test_localhost_is_announced_as_an_address() -> None:
    message = Announcement(Instance("shop", "default", "localhost:5"), "vm", 7).message

    assert [found.address for found in sidecars(message, "shop")] == ["127.0.0.1:5"]


@pytest.mark.parametrize("app_id", ["", "a..b", "x" * 64])
def test_an_app_id_that_is_no_dns_name_is_refused(app_id: str) -> None:
    with pytest.raises(ValueError, match="does not fit into a DNS name"):
        Announcement(Instance(app_id, "default", "10.0.0.1:1"), "vm", 7)


def test_a_host_name_instead_of_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="'elsewhere' is no IP address"):
        Announcement(Instance("shop", "default", "elsewhere:1"), "vm", 7)


def test_the_whole_answer_follows_a_question_for_us_and_nothing_one_for_others() -> None:
    shop = Announcement(SHOP, "vm", 7)
    for_one = query("shop.local")[:-2] + struct.pack("!H", 0x8001)

    assert shop.answer(query("shop.local")) == (shop.message, False)
    assert shop.answer(for_one) == (shop.message, True)
    assert shop.answer(query("vm:7:0a000001c352.shop.local")) == (shop.message, False)
    assert shop.answer(query("cart.local")) is None
    assert shop.answer(query("Shop.local")) is None


def test_we_are_in_the_list_of_services() -> None:
    shop = Announcement(SHOP, "vm", 7)

    answer = shop.answer(query("_services._dns-sd._udp.local"))

    assert answer is not None
    assert encode_name("shop.local") in answer[0]


def test_a_message_cut_short_anywhere_is_malformed() -> None:
    for end in range(12, len(ORIGINAL_ANNOUNCES)):
        with pytest.raises(Malformed):
            sidecars(ORIGINAL_ANNOUNCES[:end], "origapp")


@pytest.mark.parametrize("name", [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\x80a"])
def test_a_pointer_that_does_not_lead_backwards_is_malformed(name: bytes) -> None:
    with pytest.raises(Malformed):
        decode_name(bytes(12) + name + b"\0", 12)


def test_texts_without_the_app_id_first_belong_to_something_else() -> None:
    name = "vm:1.shop.local"
    message = response(
        record(name, 33, 1, 9, struct.pack("!3H", 0, 0, 1) + encode_name("vm.local")),
        record(name, 16, 1, 9, b"\x05other\x04shop"),
        record("vm.local", 1, 1, 9, socket.inet_aton("10.0.0.1")),
    )

    assert sidecars(message, "shop") == []


def test_own_addresses_are_told_from_others() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.77")


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


async def test_our_sidecars_of_another_namespace_are_left_out(link: Link) -> None:
    await link.open(Instance("shop", "other", "10.0.0.1:50002"))
    caller = await link.open()

    assert await caller.resolve("shop", "other") == ("10.0.0.1:50002",)
    assert caller.known("shop", "default") == ()


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
    caller._on_packet(Announcement(SHOP, "elsewhere", 7).message, ("10.0.0.1", 5353))
    assert caller.known("shop", "default") == (SHOP.address,)

    link.hand.now += 61

    assert caller.known("shop", "default") == ()


async def test_loopback_addresses_count_only_when_said_on_this_machine(link: Link) -> None:
    caller = await link.open()
    caller.known("shop", "default")
    message = Announcement(Instance("shop", "default", "127.0.0.1:5"), "elsewhere", 7).message

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
