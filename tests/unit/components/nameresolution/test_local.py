"""The registry: who is found, who is not, and that nothing done to the file harms a sidecar."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pydapr.components.nameresolution import Instance, NotFound, process_started, this_machine
from pydapr.components.nameresolution.local import FILE, Local

if TYPE_CHECKING:
    from tests.unit.components.nameresolution.conftest import Child, Hand, Notes, Start

SHOP = Instance("shop", "default", "10.0.0.1:50002")


class Fleet:
    """Registries of one home, each with the test's clocks."""

    def __init__(self, home: Path, hand: "Hand", notes: "Notes") -> None:
        self.home, self.hand, self.notes = home, hand, notes
        self.opened: list[Local] = []

    async def open(self, instance: Instance | None = None, **options: float) -> Local:
        local = Local(self.home, self.notes, wall=self.hand, clock=self.hand, **options)
        self.opened.append(local)
        await local.open()
        if instance is not None:
            await local.register(instance)
        return local

    def insert(self, address: str, **columns: object) -> None:
        """A row as another sidecar would have written it."""
        row: dict[str, object] = {
            "registration_id": address,
            "address": address,
            "app_id": "shop",
            "namespace": "default",
            "last_update": int(self.hand()),
        }
        row.update(columns)
        statement = f"INSERT INTO hosts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        with closing(sqlite3.connect(self.home / FILE, isolation_level=None)) as db:
            db.execute(statement, tuple(row.values()))

    def addresses(self) -> list[str]:
        with closing(sqlite3.connect(self.home / FILE)) as db:
            return [address for (address,) in db.execute("SELECT address FROM hosts ORDER BY rowid")]


@pytest.fixture
async def fleet(tmp_path: Path, hand: "Hand", notes: "Notes") -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path / "dapr", hand, notes)
    yield fleet
    for local in fleet.opened:
        await local.close()


async def test_a_registered_sidecar_is_found_and_then_known(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    caller = await fleet.open()

    assert caller.known("shop", "default") == ()
    assert await caller.resolve("shop", "default") == (SHOP.address,)
    assert caller.known("shop", "default") == (SHOP.address,)
    assert fleet.notes.lines == []


async def test_a_new_sidecar_is_found_by_the_next_call_after_a_miss(fleet: Fleet) -> None:
    caller = await fleet.open()
    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")

    await fleet.open(SHOP)

    assert await caller.resolve("shop", "default") == (SHOP.address,)


async def test_several_instances_come_in_the_order_of_their_registration(fleet: Fleet) -> None:
    for last in (3, 1, 2):
        await fleet.open(Instance("shop", "default", f"10.0.0.{last}:50002"))

    caller = await fleet.open()

    found = await caller.resolve("shop", "default")
    assert found == ("10.0.0.3:50002", "10.0.0.1:50002", "10.0.0.2:50002")


async def test_an_unchanged_answer_stays_the_same_object(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    caller = await fleet.open()
    await caller.resolve("shop", "default")
    first = caller.known("shop", "default")

    fleet.hand.now += 6
    await caller.resolve("shop", "default")

    assert caller.known("shop", "default") is first


async def test_the_own_namespace_goes_first_and_another_one_will_do(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    caller = await fleet.open()
    assert await caller.resolve("shop", "other") == (SHOP.address,)

    await fleet.open(Instance("shop", "own", "10.0.0.9:50002"))

    assert await caller.resolve("shop", "own") == ("10.0.0.9:50002",)


async def test_what_is_known_is_renewed_behind_the_call(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    caller = await fleet.open()
    await caller.resolve("shop", "default")
    fleet.insert("10.0.0.2:50002")

    fleet.hand.now += 2
    assert caller.known("shop", "default") == (SHOP.address,)
    with pytest.raises(NotFound):  # read after the other
        await caller.resolve("other", "default")

    assert caller.known("shop", "default") == (SHOP.address, "10.0.0.2:50002")


async def test_what_was_not_asked_for_some_seconds_is_read_again(fleet: Fleet) -> None:
    shop = await fleet.open(SHOP)
    caller = await fleet.open()
    await caller.resolve("shop", "default")
    await shop.close()

    fleet.hand.now += 6

    assert caller.known("shop", "default") == ()
    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")


async def test_a_closed_sidecar_leaves_no_row(fleet: Fleet) -> None:
    shop = await fleet.open(SHOP)
    await fleet.open()

    await shop.close()
    await shop.close()

    assert fleet.addresses() == []


async def test_a_sidecar_of_another_machine_is_believed_until_its_heartbeat_is_old(fleet: Fleet) -> None:
    caller = await fleet.open(Instance("caller", "default", "10.0.0.9:50002"))
    fleet.insert("10.0.0.1:50002", machine="elsewhere", pid=1)
    assert await caller.resolve("shop", "default") == ("10.0.0.1:50002",)

    fleet.hand.now += 21

    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")


async def test_loopback_addresses_of_another_machine_are_not_ours_to_call(fleet: Fleet) -> None:
    caller = await fleet.open(Instance("caller", "default", "10.0.0.9:50002"))
    fleet.insert("127.0.0.1:50002", machine="elsewhere", pid=1)

    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")


async def test_a_late_heartbeat_is_good_enough_only_when_nobody_else_is_left(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    caller = await fleet.open()
    fleet.hand.now += 21
    assert await caller.resolve("shop", "default") == (SHOP.address,)

    fleet.insert("10.0.0.2:50002")

    fleet.hand.now += 6
    assert await caller.resolve("shop", "default") == ("10.0.0.2:50002",)


async def test_a_process_number_in_use_again_does_not_bring_the_dead_back(fleet: Fleet) -> None:
    caller = await fleet.open(Instance("caller", "default", "10.0.0.9:50002"))
    pid = os.getpid()
    started = process_started(pid)
    if not started:
        pytest.skip("this system does not tell when a process began")
    fleet.insert("10.0.0.1:50002", machine=this_machine(), pid=pid, started=started - 1)

    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")


async def test_who_takes_over_an_address_takes_the_row(fleet: Fleet) -> None:
    await fleet.open(SHOP)
    await fleet.open(Instance("cart", "default", SHOP.address))
    caller = await fleet.open()

    assert await caller.resolve("cart", "default") == (SHOP.address,)
    with pytest.raises(NotFound):
        await caller.resolve("shop", "default")


async def test_an_address_reported_dead_sits_out_and_comes_back(fleet: Fleet) -> None:
    for last in (1, 2):
        await fleet.open(Instance("shop", "default", f"10.0.0.{last}:50002"))
    caller = await fleet.open()
    await caller.resolve("shop", "default")

    caller.report_dead("shop", "default", "10.0.0.1:50002")

    assert caller.known("shop", "default") == ("10.0.0.2:50002",)
    fleet.hand.now += 6
    assert len(await caller.resolve("shop", "default")) == 2


async def test_the_heartbeat_brings_back_a_row_that_was_lost(fleet: Fleet) -> None:
    await fleet.open(SHOP, heartbeat=0.01)
    caller = await fleet.open()
    for path in fleet.home.iterdir():
        path.unlink()

    async with asyncio.timeout(5):
        while True:
            try:
                assert await caller.resolve("shop", "default") == (SHOP.address,)
                break
            except NotFound:
                continue


async def test_a_damaged_file_is_set_aside_once_and_begun_anew(fleet: Fleet) -> None:
    fleet.home.mkdir()
    (fleet.home / FILE).write_bytes(b"this is not a database " * 500)

    await fleet.open(SHOP)
    caller = await fleet.open()

    assert await caller.resolve("shop", "default") == (SHOP.address,)
    assert (fleet.home / f"{FILE}.corrupt").read_bytes().startswith(b"this is not")
    assert [line for line in fleet.notes.of("warning") if "was damaged" in line] == fleet.notes.of("warning")


async def test_a_home_that_cannot_be_is_warned_of_once_and_named_in_the_error(
    tmp_path: Path, hand: "Hand", notes: "Notes"
) -> None:
    (tmp_path / "file").touch()
    local = Local(tmp_path / "file" / "dapr", notes, wall=hand, clock=hand)
    await local.open()

    await local.register(SHOP)
    with pytest.raises(NotFound, match=r"couldn't find service: shop \(looked in registry .*Not a directory"):
        await local.resolve("shop", "default")

    assert [line.split(":")[0] for line in notes.of("warning")] == [f"no registry of sidecars at {local.path}"]
    await local.close()


async def test_the_error_says_how_many_sidecars_the_registry_has(fleet: Fleet) -> None:
    caller = await fleet.open(SHOP)

    with pytest.raises(NotFound, match=r"registry .*registry\.db \(1 sidecar\)"):
        await caller.resolve("cart", "default")


async def test_names_that_are_remembered_are_bounded(fleet: Fleet) -> None:
    caller = await fleet.open(SHOP)
    for number in range(1100):
        caller.known(f"app-{number}", "default")
        caller._read(f"app-{number}", "default")

    assert len(caller._names) == 1024
    assert await caller.resolve("shop", "default") == (SHOP.address,)


async def test_a_locked_file_delays_neither_the_answer_nor_the_end(fleet: Fleet) -> None:
    caller = await fleet.open(SHOP)
    with closing(sqlite3.connect(fleet.home / FILE, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        begun = asyncio.get_running_loop().time()

        assert await caller.resolve("shop", "default") == (SHOP.address,)
        await caller.close()

        assert asyncio.get_running_loop().time() - begun < 1


def test_a_registry_one_may_only_read_is_a_warning_not_an_end(tmp_path: Path, start: "Start") -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    home = tmp_path / "dapr"
    home.mkdir()
    tmp_path.chmod(0o755)
    child = start("local", home, "shop", "10.0.0.1:50002", 65534)

    assert child.register().startswith(f"no registry of sidecars at {home / FILE}: ")
    assert child.end() == 0


def register_at_once(children: "list[Child]") -> list[str]:
    assert {child.hear() for child in children} == {"loaded"}
    for child in children:
        child.tell()
    return [child.hear() for child in children]


async def test_fifty_processes_register_at_once(fleet: Fleet, start: "Start") -> None:
    fleet.hand.now = time.time()
    children = [start("local", fleet.home, "shop", f"10.0.0.{n}:50002") for n in range(50)]

    assert register_at_once(children) == ["registered"] * 50

    caller = await fleet.open()
    assert len(await caller.resolve("shop", "default")) == 50


async def test_fifty_processes_agree_on_a_damaged_file(fleet: Fleet, start: "Start") -> None:
    fleet.hand.now = time.time()
    fleet.home.mkdir()
    (fleet.home / FILE).write_bytes(b"this is not a database " * 500)
    children = [start("local", fleet.home, "shop", f"10.0.0.{n}:50002") for n in range(50)]

    said = register_at_once(children)

    assert len([line for line in said if line != "registered"]) <= 1
    caller = await fleet.open()
    assert len(await caller.resolve("shop", "default")) == 50


async def test_a_killed_process_is_not_called_again(fleet: Fleet, start: "Start") -> None:
    fleet.hand.now = time.time()
    children = [start("local", fleet.home, "shop", f"10.0.0.{n}:50002") for n in (1, 2)]
    assert [child.register() for child in children] == ["registered"] * 2
    caller = await fleet.open()
    assert len(await caller.resolve("shop", "default")) == 2

    children[0].kill()

    fleet.hand.now += 6
    assert await caller.resolve("shop", "default") == ("10.0.0.2:50002",)
    await fleet.open(Instance("cart", "default", "10.0.0.9:50002"))
    assert fleet.addresses() == ["10.0.0.2:50002", "10.0.0.9:50002"]
