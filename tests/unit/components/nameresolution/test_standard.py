"""The default combination: who is asked first, what is merged, and what the error says."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pydapr.components.nameresolution import Addresses, Instance, NotFound, Resolver
from pydapr.components.nameresolution.local import Local
from pydapr.components.nameresolution.mdns import Mdns
from pydapr.components.nameresolution.standard import Standard, self_hosted

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Hand, Notes

SHOP = Instance("shop", "default", "10.0.0.1:50002")


class Memory(Resolver):
    """Knows what it is told; without an answer it waits until released, and then gives up."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.told: Addresses = ()
        self.cached: Addresses = ()
        self.calls: list[str] = []
        self.asked, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()

    async def open(self) -> None:
        self.calls.append("open")

    async def register(self, instance: Instance) -> None:
        self.calls.append(f"register {instance.app_id}")

    def known(self, app_id: str, namespace: str) -> Addresses:
        return self.cached

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        self.calls.append("resolve")
        self.asked.set()
        await self.released.wait()
        if not self.told:
            raise NotFound(app_id, (self.place,))
        self.cached = self.told
        return self.told

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self.calls.append(f"dead {address}")

    async def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def first() -> Memory:
    return Memory("registry")


@pytest.fixture
def second() -> Memory:
    return Memory("mDNS")


@pytest.fixture
def standard(first: Memory, second: Memory, hand: "Hand") -> Standard:
    return Standard(first, second, clock=hand)


async def test_both_open_register_and_close(standard: Standard, first: Memory, second: Memory) -> None:
    await standard.open()
    await standard.register(SHOP)
    await standard.close()

    assert first.calls == second.calls == ["open", "register shop", "close"]


async def test_an_answer_of_the_registry_does_not_wait_for_mdns(
    standard: Standard, first: Memory, second: Memory
) -> None:
    first.told = ("a:1",)
    second.released.clear()

    assert await standard.resolve("shop", "default") == ("a:1",)


async def test_mdns_is_asked_when_the_registry_knows_nobody(standard: Standard, second: Memory) -> None:
    second.told = ("b:1",)

    assert await standard.resolve("shop", "default") == ("b:1",)


async def test_what_both_know_is_merged_without_doubles_in_a_stable_order(
    standard: Standard, first: Memory, second: Memory
) -> None:
    first.cached, second.cached = ("a:1", "b:1"), ("b:1", "c:1")

    assert standard.known("shop", "default") == ("a:1", "b:1", "c:1")
    assert standard.known("shop", "default") is standard.known("shop", "default")


async def test_the_error_names_both_places(standard: Standard) -> None:
    with pytest.raises(NotFound) as caught:
        await standard.resolve("shop", "default")

    assert str(caught.value) == "couldn't find service: shop (looked in registry; mDNS)"


async def test_a_dead_address_sits_out_whoever_knows_it(
    standard: Standard, first: Memory, second: Memory, hand: "Hand"
) -> None:
    first.cached, second.cached = ("a:1",), ("b:1",)

    standard.report_dead("shop", "default", "a:1")

    assert standard.known("shop", "default") == ("b:1",)
    assert first.calls == second.calls == ["dead a:1"]
    hand.now += 6
    assert standard.known("shop", "default") == ("a:1", "b:1")


async def test_a_call_that_is_given_up_leaves_nothing_behind(standard: Standard, second: Memory) -> None:
    second.released.clear()
    before = asyncio.all_tasks()
    call = asyncio.ensure_future(standard.resolve("shop", "default"))
    await second.asked.wait()

    call.cancel()
    await asyncio.wait({call})

    assert asyncio.all_tasks() == before


async def test_nobody_is_found_in_less_than_a_second_and_the_error_says_where(tmp_path: Path, notes: "Notes") -> None:
    standard = Standard(Local(tmp_path, notes), Mdns(notes, interfaces=("no-such-interface",)))
    await standard.open()
    await standard.register(SHOP)

    async with asyncio.timeout(1):
        with pytest.raises(NotFound) as caught:
            await standard.resolve("cart", "default")

    place = f"registry {tmp_path}/registry.db (1 sidecar)"
    assert caught.value.looked == (place, "mDNS (no interface with multicast)")
    assert await standard.resolve("shop", "default") == (SHOP.address,)
    await standard.close()


async def test_mdns_can_be_switched_off(tmp_path: Path, notes: "Notes") -> None:
    assert isinstance(self_hosted(tmp_path, notes, mdns=False), Local)
    assert isinstance(self_hosted(tmp_path, notes), Standard)
