"""The sidecar's side of placement, against one that says what the test has it say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_server, grpc_stream, lookup, server
from pydapr.net.http2_server import ServerExchange
from pydapr.peers import placement
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2

ME = placement.Me("10.0.0.9:1", "app", "space")
OP = placement_pb2.HostOperation


class Heard:
    """One stream of a sidecar, as placement sees it."""

    def __init__(self, exchange: ServerExchange) -> None:
        self._stream = grpc_stream.Stream(exchange, 1 << 20)

    async def hear(self) -> placement_pb2.Host | None:
        data = await self._stream.next()
        return None if data is None else placement_pb2.Host.FromString(data)

    async def gone(self) -> bool:
        """Waits until the sidecar has given the stream up, whatever it says before."""
        try:
            while await self.hear() is not None:
                pass
            return True
        except (RpcError, asyncio.CancelledError):  # the server ends its handlers so
            return True

    def finish(self) -> None:
        self._stream.finish()

    async def say(self, message: bytes) -> None:
        await self._stream.send(message)

    async def send(self, order: placement_pb2.PlacementOrder) -> None:
        await self.say(order.SerializeToString())

    async def order(
        self,
        operation: str,
        version: int,
        types: Mapping[str, Sequence[str]] | None = None,
        entities: Sequence[str] = (),
    ) -> None:
        order = placement_pb2.PlacementOrder(operation=operation, version=version)
        if types is not None:
            order.tables.replication_factor = 100
            for name, hosts in types.items():
                for host in hosts:
                    order.tables.entries[name].load_map[host].CopyFrom(
                        placement_pb2.Host(name=host, id="app", entities=entities)
                    )
        await self.send(order)

    async def obeyed(
        self,
        operation: str,
        version: int,
        types: Mapping[str, Sequence[str]] | None = None,
        entities: Sequence[str] = (),
    ) -> None:
        """Has an order carried out."""
        await self.order(operation, version, types, entities)
        assert await self.hear() == placement_pb2.Host(
            operation=operation.upper(), version=version, id=ME.app_id, namespace=ME.namespace
        )

    async def round(self, version: int, types: Mapping[str, Sequence[str]], entities: Sequence[str] = ()) -> None:
        await self.obeyed("lock", version)
        await self.obeyed("update", version, types, entities)
        await self.obeyed("unlock", version)


Script = Callable[[Heard], Awaitable[None]]


class Told:
    """Who follows: remembers what it was told."""

    def __init__(self) -> None:
        self.all: list[object] = []
        self.beats = 0
        self.goes_on, self.lets_go = asyncio.Event(), asyncio.Event()
        self.goes_on.set()
        self.lets_go.set()

    async def update(self, members: Mapping[str, Mapping[str, str]], replicas: int) -> None:
        self.all.append((members, replicas))
        await self.goes_on.wait()

    def unlock(self) -> Sequence[str]:
        self.all.append("unlock")
        return ["cat"]

    def alive(self) -> None:
        self.beats += 1

    async def lost(self) -> None:
        self.all.append("lost")
        await self.lets_go.wait()

    def close(self) -> None:
        self.all.append("close")


class World:
    """Placements by script, and a client that follows them."""

    def __init__(self) -> None:
        self.told = Told()
        self.types = ["cat", "ant"]
        self.is_ready = asyncio.Event()
        self.rounds = 0
        self._servers: list[server.Server] = []
        self._ends: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self, *scripts: Script) -> str:
        """A server whose streams go by these scripts, one after the other; its address."""
        left = list(scripts)

        async def handle(exchange: ServerExchange) -> None:
            if not left:
                await asyncio.Event().wait()
            end = asyncio.get_running_loop().create_future()
            self._ends.append(end)
            heard = Heard(exchange)
            try:
                await left.pop(0)(heard)
                heard.finish()
            except BaseException as error:
                end.set_exception(error)
                raise
            end.set_result(None)

        made = server.Server(grpc_server.Methods({placement.METHOD: handle}), server.Options(with_http1=False))
        self._servers.append(made)
        return f"127.0.0.1:{await made.listen('127.0.0.1', 0)}"

    def follow(self, *addresses: str, seconds: float = 30.0) -> placement.Client:
        made = placement.Client(addresses, dial.address, False, ME, self.told, lambda: self.types, seconds)
        made.on_ready = self.is_ready.set
        made.on_round = self._round
        self._tasks.append(asyncio.create_task(made.run()))
        return made

    def _round(self) -> None:
        self.rounds += 1

    async def played(self, scripts: int) -> None:
        """Waits until so many scripts have come to their ends, and fails with the first that failed."""
        await _until(lambda: len(self._ends) >= scripts and self._ends[scripts - 1].done())
        for end in self._ends[:scripts]:
            end.result()

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.leave()
        for made in self._servers:
            await made.stop(0)
        for end in self._ends:
            end.exception() if end.done() else end.cancel()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def _until(is_true: Callable[[], object]) -> None:
    for _ in range(5000):
        if is_true():
            return
        await asyncio.sleep(0.001)
    pytest.fail("not within some seconds")


def _report(*types: str, returns: bool = False) -> placement_pb2.Host:
    return placement_pb2.Host(
        name=ME.name,
        id=ME.app_id,
        namespace=ME.namespace,
        api_level=20,
        operation=OP.REPORT,
        entities=types,
        returns=returns,
    )


TABLE = {"cat": [ME.name]}
TOLD = ({"cat": {ME.name: "app"}}, 100)


async def test_a_round_is_reported_obeyed_and_told(world: World) -> None:
    async def script(heard: Heard) -> None:
        assert await heard.hear() == _report("ant", "cat")
        await heard.round(3, TABLE)

    client = world.follow(await world.serve(script))
    await world.played(1)

    await world.is_ready.wait()
    assert world.told.all[:2] == [TOLD, "unlock"] and world.rounds == 1
    await _until(lambda: not client.is_connected)  # the script has ended, and with it the stream
    await _until(lambda: world.told.all[2:] == ["lost"])


async def test_an_update_is_acknowledged_when_the_follower_has_done_it(world: World) -> None:
    world.told.goes_on.clear()

    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 1)
        await heard.order("update", 1, TABLE)
        world.types = ["dog"]
        client.report()
        assert (await heard.hear()) == _report("dog")
        world.told.goes_on.set()
        assert (answer := await heard.hear()) is not None and answer.operation == OP.UPDATE

    client = world.follow(await world.serve(script))

    await world.played(1)


async def test_types_are_reported_again_when_they_are_others(world: World) -> None:
    async def script(heard: Heard) -> None:
        assert await heard.hear() == _report("ant", "cat")
        client.report()
        await heard.obeyed("lock", 1)
        world.types = []
        client.report()
        assert await heard.hear() == _report()

    client = world.follow(await world.serve(script))

    await world.played(1)


async def test_several_tables_may_come_before_an_unlock(world: World) -> None:
    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 1)
        await heard.obeyed("update", 1, TABLE)
        await heard.round(2, {})

    world.follow(await world.serve(script))
    await world.played(1)

    assert world.told.all[:3] == [TOLD, ({}, 100), "unlock"]


async def test_the_version_may_stand_in_the_tables_alone(world: World) -> None:
    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 7)
        order = placement_pb2.PlacementOrder(operation="update", tables=placement_pb2.PlacementTables(version="7"))
        await heard.send(order)
        assert (answer := await heard.hear()) is not None and answer.version == 7

    world.follow(await world.serve(script))

    await world.played(1)


async def test_an_unlock_without_a_table_is_ignored(world: World) -> None:
    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 1)
        await heard.order("unlock", 1)
        await heard.obeyed("lock", 2)
        await heard.obeyed("update", 2, TABLE)
        await heard.order("unlock", 1)
        await heard.obeyed("unlock", 2)

    world.follow(await world.serve(script))
    await world.played(1)

    assert world.told.all[:2] == [TOLD, "unlock"]


async def _outdated(heard: Heard) -> None:
    await heard.hear()
    await heard.obeyed("lock", 2)
    await heard.order("update", 1, TABLE)
    assert await heard.gone()


async def _unknown(heard: Heard) -> None:
    await heard.hear()
    await heard.order("dance", 1)
    assert await heard.gone()


async def _garbage(heard: Heard) -> None:
    await heard.hear()
    await heard.say(b"\xff")
    assert await heard.gone()


async def _stuck(heard: Heard) -> None:
    await heard.hear()
    await heard.obeyed("lock", 1)
    assert await heard.gone()


@pytest.mark.parametrize("script", [_outdated, _unknown, _garbage, _stuck])
async def test_a_stream_that_makes_no_sense_is_replaced_by_another(world: World, script: Script) -> None:
    async def better(heard: Heard) -> None:
        assert await heard.hear() == _report("ant", "cat", returns=script is not _garbage)
        await heard.round(1, TABLE)

    world.follow(await world.serve(script, better), seconds=0.2)

    await world.played(2)
    assert TOLD in world.told.all


async def test_what_was_here_is_let_go_before_the_next_table_is_taken(world: World) -> None:
    world.told.lets_go.clear()

    async def first(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)

    async def second(heard: Heard) -> None:
        assert await heard.hear() == _report("ant", "cat", returns=True)
        await heard.obeyed("lock", 1)
        await heard.order("update", 1, TABLE)
        await _until(lambda: "lost" in world.told.all)
        assert world.told.all.count(TOLD) == 1
        world.told.lets_go.set()
        assert (answer := await heard.hear()) is not None and answer.operation == OP.UPDATE

    world.follow(await world.serve(first, second))
    await world.played(2)

    assert world.told.all[:4] == [TOLD, "unlock", "lost", TOLD]


async def test_who_was_too_slow_for_placement_lets_go_before_it_comes_again(world: World) -> None:
    world.told.lets_go.clear()
    is_back = asyncio.Event()

    async def first(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)

    async def second(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 1)
        await heard.order("update", 1, TABLE)

    async def third(heard: Heard) -> None:
        await heard.hear()
        is_back.set()
        await heard.round(1, TABLE)

    world.follow(await world.serve(first, second, third))
    await world.played(2)
    await asyncio.sleep(2 * placement.PAUSE_SECONDS[1])  # longer than it waits for anything else
    assert not is_back.is_set() and world.told.all.count("lost") == 1

    world.told.lets_go.set()
    await world.played(3)
    assert world.told.all[:5] == [TOLD, "unlock", "lost", "lost", TOLD]


async def test_a_lost_stream_is_told_before_the_next_begins(world: World) -> None:
    async def first(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)
        raise RpcError(Code.DEADLINE_EXCEEDED, "dissemination timeout after 8s for version 1")

    async def second(heard: Heard) -> None:
        await heard.hear()
        assert world.told.all == [TOLD, "unlock", "lost"]

    world.follow(await world.serve(first, second))

    with pytest.raises(RpcError):
        await world.played(1)
    await _until(lambda: len(world._ends) == 2)
    world._ends[1].result() if world._ends[1].done() else await world._ends[1]


async def test_who_does_not_lead_is_passed_over_at_once(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    async def follower(heard: Heard) -> None:
        await heard.hear()
        raise RpcError(Code.FAILED_PRECONDITION, "node id=x is not a leader. Only the leader can serve requests")

    async def leader(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)

    addresses = [await world.serve(follower) for _ in range(3)]
    world.follow(*addresses, await world.serve(leader))

    await _until(world.is_ready.is_set)
    assert "is not a leader" not in capfd.readouterr().out


async def test_a_placement_that_is_not_there_yet_is_found_when_it_comes(world: World) -> None:
    async def script(heard: Heard) -> None:
        await heard.hear()

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        world.follow("127.0.0.1:1", "no port", f"127.0.0.1:{nobody.getsockname()[1]}", await world.serve(script))

        await world.played(1)


@pytest.mark.plain
async def test_all_that_a_name_stands_for_are_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def places(host: str, port: int) -> list[tuple[str, int]]:
        return [("127.0.0.2", 1), ("127.0.0.1", port)]

    async def script(heard: Heard) -> None:
        await heard.hear()

    monkeypatch.setattr(lookup, "places", places)
    address = await world.serve(script)
    world.follow(address.replace("127.0.0.1", "placement.example"))

    await world.played(1)


async def test_who_leaves_gives_up_its_actors_first(world: World) -> None:
    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)
        assert await heard.hear() == _report()
        await heard.obeyed("lock", 2)
        assert "lost" not in world.told.all
        await heard.obeyed("update", 2, {"cat": ["another:1"]})
        assert await heard.gone()

    world.follow(await world.serve(script))
    await _until(world.is_ready.is_set)
    await world.leave()

    await world.played(1)
    assert world.told.all == [TOLD, "unlock", ({"cat": {"another:1": "app"}}, 100), "close", "lost"]


async def test_who_leaves_within_a_round_ends_it_first(world: World) -> None:
    world.told.goes_on.clear()

    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.obeyed("lock", 1)
        await heard.order("update", 1, TABLE)
        assert await heard.hear() == _report()
        assert (answer := await heard.hear()) is not None and answer.operation == OP.UPDATE
        await heard.obeyed("lock", 2)
        await heard.obeyed("update", 2, {})

    world.follow(await world.serve(script))
    await _until(lambda: world.told.all)
    world.told.goes_on.set()
    await world.leave()

    await world.played(1)
    assert world.told.all == [TOLD, TOLD, ({}, 100), "close", "lost"]


async def test_who_is_told_to_leave_as_the_stream_ends_leaves(world: World) -> None:
    """A task group of Python 3.11 forgets that it was cancelled when one of its tasks fails in the same moment."""

    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)
        is_settled.set()
        await heard.gone()

    def types() -> list[str]:
        if is_settled.is_set():
            task.cancel()
            raise placement._Ended("gone")
        return []

    is_settled = asyncio.Event()
    client = placement.Client([await world.serve(script)], dial.address, False, ME, world.told, types, 30.0)
    task = asyncio.create_task(client.run())
    await is_settled.wait()
    client.report()

    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


@pytest.mark.plain
async def test_who_leaves_does_not_wait_for_a_placement_that_is_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "LEAVE_SECONDS", 0.05)

    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, TABLE)
        assert await heard.hear() == _report()
        assert await heard.gone()

    world.follow(await world.serve(script))
    await _until(world.is_ready.is_set)
    await world.leave()

    await world.played(1)
    assert world.told.all == [TOLD, "unlock", "close", "lost"]


@pytest.mark.plain
async def test_a_process_that_stood_still_asks_before_it_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(placement, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(placement, "STILL_SECONDS", 0.0)

    async def script(heard: Heard) -> None:
        await heard.hear()
        asked.append(world.told.beats)
        await heard.round(1, TABLE)
        await _until(lambda: world.told.beats > asked[0] + 2)
        world.types = []
        client.report()
        assert await heard.hear() == _report()

    asked: list[int] = []
    client = world.follow(await world.serve(script))

    await world.played(1)
    assert "This process stood still" in capfd.readouterr().out


async def test_a_table_may_be_large(world: World) -> None:
    table = {f"type-{number}": [f"10.0.{host}.1:50001" for host in range(100)] for number in range(50)}

    async def script(heard: Heard) -> None:
        await heard.hear()
        await heard.round(1, table, entities=list(table))

    world.follow(await world.serve(script))

    await world.played(1)
    assert world.told.all[0] == ({name: dict.fromkeys(hosts, "app") for name, hosts in table.items()}, 100)
