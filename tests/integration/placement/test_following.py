"""Sidecars' knowledge of where actors live, with placements that come and go: clients of placement in this process.

With ours, and with the original where PYDAPR_ORIGINAL names a folder with its executables. Whatever happens, no actor
may be active in two of them, and nobody waits without an end.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from tests.integration import harness

from pydapr.blocks import actors
from pydapr.blocks.actors import placed
from pydapr.errors import ActorRuntimeClosed, NoAddress, RpcError
from pydapr.lib.actors import Actor, Host
from pydapr.net import dial, grpc_client, http2_pool
from pydapr.peers import placement
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire import http2

PROGRAMS = {
    "ours": [sys.executable, "-m", "pydapr", "placement"],
    "original": [os.path.join(harness.ORIGINAL, "placement")],
}
IDS = [str(number) for number in range(60)]
LIMIT = 30.0
"""Seconds that anything may take, an election of the original included."""


class Placements:
    """Some placements that elect a leader."""

    def __init__(self, program: list[str], folder: Path, count: int) -> None:
        self._program, self._folder = program, folder
        self._ports = [harness.free_port() for _ in range(count)]
        rafts = [harness.free_port() for _ in range(count)]
        self._cluster = ",".join(f"p{number}=127.0.0.1:{port}" for number, port in enumerate(rafts))
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count
        for number in range(count):
            self.start(number)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._ports]

    def start(self, number: int) -> None:
        ports = {"--healthz-port": harness.free_port(), "--metrics-port": harness.free_port()}
        with (self._folder / f"placement-{number}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [
                    *[*self._program, "--id", f"p{number}", "--port", str(self._ports[number])],
                    *["--initial-cluster", self._cluster, "--disseminate-timeout", "2s"],
                    *itertools.chain(*[(flag, str(port)) for flag, port in ports.items()]),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

    def send(self, number: int, what: signal.Signals) -> None:
        process = self.processes[number]
        assert process is not None
        process.send_signal(what)
        if what == signal.SIGKILL:
            process.wait(LIMIT)
            self.processes[number] = None

    def close(self) -> None:
        for process in self.processes:
            if process is not None:
                process.kill()
                process.wait(LIMIT)


class Member(actors.Hosted):
    """A sidecar as far as placement is concerned: it hosts the types, and knows which of its actors are active."""

    def __init__(self, world: "World", number: int, addresses: Sequence[str], types: Sequence[str]) -> None:
        self.address = f"127.0.0.1:{number}"
        self._world = world
        self._types = types
        self.placed = placed.Placed(Host(self.address, "app"), self)
        me = placement.Me(self.address, "app", "default")
        self.client = placement.Client(addresses, dial.address, False, me, self.placed, self.types, 30.0)
        self.client.on_ready = self._ready
        self.beginnings = 0
        self.on_types = self.client.report
        self._task = asyncio.create_task(self.client.run())

    def _ready(self) -> None:
        self.beginnings += 1

    def types(self) -> Sequence[str]:
        return self._types

    async def halt(self, stays: Callable[[Actor], bool]) -> None:
        active = self._world.active
        for actor in [actor for actor, where in active.items() if where is self and not stays(actor)]:
            await asyncio.sleep(0)
            del active[actor]

    def drain(self, actor_type: str) -> float:
        return 1.0

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=LIMIT)
        assert self._task.cancelled()


class World:
    """Sidecars, and calls that go on all the time."""

    def __init__(self, placements: Placements) -> None:
        self.placements = placements
        self.active: dict[Actor, Member] = {}
        self.members: dict[str, Member] = {}
        self.calls = 0
        self.longest = 0.0
        self.is_strict = True
        """Off where placement cannot promise it: one that is stopped is missed by each sidecar at another moment."""
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []

    def join(self, *types: str) -> Member:
        made = Member(self, next(self._numbers), self.placements.addresses, types)
        self.members[made.address] = made
        return made

    async def leave(self, member: Member) -> None:
        await member.leave()
        del self.members[member.address]
        assert member not in self.active.values()

    def call(self) -> None:
        """Calls actors from every sidecar from now on."""
        self._tasks += [asyncio.create_task(self._calls(seed)) for seed in range(4)]

    async def _calls(self, seed: int) -> None:
        chance = random.Random(seed)
        while True:
            member = chance.choice([*self.members.values()])
            actor = Actor("t", chance.choice(IDS))
            begun = time.monotonic()
            async with asyncio.timeout(LIMIT):
                with contextlib.suppress(NoAddress, ActorRuntimeClosed):
                    claim = await member.placed.claim(actor)
                    if not claim.is_here:
                        claim = self._forward(claim, actor)
                    await self._turn(claim, actor)
            self.longest = max(self.longest, time.monotonic() - begun)
            await asyncio.sleep(0.001)

    def _forward(self, claim: actors.Claim, actor: Actor) -> actors.Claim:
        """What the sidecar says that a call goes to: one that has not the actor now refuses."""
        there = self.members.get(claim.host.address)
        found = there.placed.claim_now(actor) if there is not None else None
        if found is None or not found.is_here:
            raise ActorRuntimeClosed
        return found

    async def _turn(self, claim: actors.Claim, actor: Actor) -> None:
        try:
            member = self.members[claim.host.address]
            where = self.active.setdefault(actor, member)
            self.calls += 1
            await asyncio.sleep(0.001)
            if self.is_strict:
                assert where is member, f"{actor} is in two places"
                assert self.active.get(actor) is member, f"{actor} has been taken away within a call"
        finally:
            claim.release()

    async def until(self, is_true: Callable[[], object]) -> None:
        """Waits, while calls go on and none of them fails."""
        deadline = time.monotonic() + LIMIT
        while not is_true():
            assert time.monotonic() < deadline
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)

    async def agreed(self) -> None:
        """Waits until all sidecars know all others, and calls are answered."""
        await self.until(lambda: all(member.client.is_connected for member in self.members.values()))
        names = {address for address, member in self.members.items() if "t" in member.types()}
        await self.until(lambda: all(self._knows(member, names) for member in self.members.values()))
        calls = self.calls
        await self.until(lambda: self.calls > calls + 200 or not self._tasks)

    @staticmethod
    def _knows(member: Member, names: set[str]) -> bool:
        try:
            claims = [member.placed.claim_now(Actor("t", name)) for name in IDS]
        except NoAddress:
            return False
        hosts = {claim.host.address for claim in claims if claim is not None}
        for claim in claims:
            if claim is not None:
                claim.release()
        return hosts == names and None not in claims

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*[member.leave() for member in self.members.values()])
        self.placements.close()


@contextlib.asynccontextmanager
async def _silent(address: str, namespace: str, *types: str) -> AsyncIterator[grpc_client.Stream]:
    """A sidecar that takes part in rounds until they have a table."""
    pool = http2_pool.Pool(dial.address, http2.Limits())
    try:
        stream = grpc_client.Stream(await pool.connection(address), placement.METHOD, address, with_tls=False)
        host = placement_pb2.Host(name="127.0.0.1:9", id="silent", namespace=namespace, entities=types)
        await stream.send(host.SerializeToString())
        yield stream
    finally:
        pool.close()


async def _order(stream: grpc_client.Stream) -> placement_pb2.PlacementOrder:
    data = await stream.receive()
    assert data is not None
    order = placement_pb2.PlacementOrder.FromString(data)
    if order.operation == "lock":
        host = placement_pb2.Host(operation="LOCK", version=order.version, id="silent", namespace="default")
        await stream.send(host.SerializeToString())
    return order


async def _leader(addresses: Sequence[str]) -> int:
    """Which placement takes sidecars."""
    for number, address in enumerate(addresses):
        async with _silent(address, "another") as stream:
            try:
                await stream.receive()
            except RpcError:
                continue
            return number
    pytest.fail("nobody leads")


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "original" and not harness.ORIGINAL:
        pytest.skip("PYDAPR_ORIGINAL names no original executables")
    return PROGRAMS[request.param]


@pytest.fixture
def count() -> int:
    return 1


@pytest.fixture
async def world(program: list[str], tmp_path: Path, count: int) -> AsyncIterator[World]:
    made = World(Placements(program, tmp_path, count))
    yield made
    await made.close()


async def test_sidecars_come_and_go_and_no_actor_is_in_two_of_them(world: World) -> None:
    first = world.join("t")
    await world.agreed()
    world.call()
    second, third = world.join("t", "u"), world.join()
    await world.agreed()
    await world.leave(first)
    await world.agreed()
    world.join("t")
    await world.leave(third)
    await world.leave(second)
    await world.agreed()

    assert world.longest < 10


async def test_types_that_come_later_are_found_and_those_that_go_are_not(world: World) -> None:
    member, other = world.join(), world.join("t")
    await world.agreed()

    member._types = ["u"]
    member.on_types()
    async with asyncio.timeout(LIMIT):
        while True:
            with contextlib.suppress(NoAddress):
                assert (await other.placed.claim(Actor("u", "1"))).host.address == member.address
                break
            await asyncio.sleep(0.01)
    member._types = []
    member.on_types()

    async with asyncio.timeout(LIMIT):
        with pytest.raises(NoAddress):
            while True:
                await other.placed.claim(Actor("u", "1"))
                await asyncio.sleep(0.01)


async def test_a_placement_that_is_killed_and_comes_back_is_found_again(world: World) -> None:
    for _ in range(3):
        world.join("t")
    await world.agreed()
    world.call()
    for _ in range(2):
        world.placements.send(0, signal.SIGKILL)
        await world.until(lambda: not any(member.client.is_connected for member in world.members.values()))
        await world.until(lambda: not world.active)
        world.placements.start(0)
        await world.agreed()


async def test_a_sidecar_that_stands_still_holds_up_none_but_the_actors_that_move(world: World) -> None:
    members = [world.join("t") for _ in range(2)]
    await world.agreed()
    world.call()
    async with _silent(world.placements.addresses[0], "default", "t") as stream:
        while (await _order(stream)).operation != "update":
            pass
        calls = world.calls
        await world.until(lambda: world.calls > calls + 200)  # within the round that it holds up
        found = [member.placed.claim_now(Actor("t", name)) for member in members for name in IDS]
        assert any(found)
        await world.agreed()


@pytest.mark.parametrize("count", [3])
@pytest.mark.parametrize("what", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.plain
async def test_another_leader_is_found(
    program: list[str], tmp_path: Path, count: int, what: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "PATIENCE", http2_pool.Patience(quiet=4.0, answer=1.0))
    world = World(Placements(program, tmp_path, count))
    world.is_strict = what == signal.SIGKILL
    try:
        world.join("t")
        world.join("t")
        await world.agreed()
        world.call()
        world.placements.send(await _leader(world.placements.addresses), what)
        await world.until(lambda: all(member.beginnings == 2 for member in world.members.values()))
        await world.agreed()
    finally:
        await world.close()
