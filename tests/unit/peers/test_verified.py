"""Pools by app: a server is only ever taken for the app that it has shown to be."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.security import issuing

from pydapr.net import http2_client, http2_pool, server
from pydapr.net.exchange import Exchange
from pydapr.peers import verified
from pydapr.security import svid, tls


class World:
    """A server of the app `callee`, and the pools of one that calls it."""

    async def open(self) -> None:
        issuer = issuing.Issuer()
        self.callee, self.caller = await issuer.source("callee"), await issuer.source("caller")
        context = self.callee.server_context(with_client=True)
        options = server.Options(with_http1=False, tls=context, welcomes=tls.is_somebody)
        self.server = server.Server(self.handle, options)
        self.address = f"localhost:{await self.server.listen('127.0.0.1', 0)}"
        self.pools = verified.Pools(lambda app_id, namespace: way(self.caller, f"/ns/{namespace}/{app_id}"))

    async def handle(self, exchange: Exchange) -> None:
        data = await exchange.body.read_all()
        exchange.respond(200, (), data)

    async def close(self) -> None:
        self.pools.close()
        await self.server.stop(0.0)

    async def connection(self, app_id: str = "callee", namespace: str = "default") -> http2_client.ClientConnection:
        return await self.pools.of(app_id, namespace).connection(self.address)


def way(source: svid.Source, path: str) -> http2_pool.Connector:
    return tls.connector(source.client_context, lambda found: found.path == path)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.open()
    yield made
    await made.close()


HEAD = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"x")]


@pytest.mark.parametrize("other", [("victim", "default"), ("callee", "elsewhere"), ("allee", "default/c")])
async def test_another_app_at_the_same_address_is_not_talked_to(world: World, other: tuple[str, str]) -> None:
    first = await world.connection()
    assert await world.connection() is first
    with pytest.raises(http2_pool.Distrusted, match='unexpected SPIFFE ID: "spiffe://public/ns/default/callee"'):
        await world.connection(*other)


async def test_after_a_change_new_calls_go_on_a_new_connection_and_old_ones_end_on_theirs(world: World) -> None:
    first = await world.connection()
    under_way = first.open(HEAD, b"first ", False)
    world.pools.retire()
    second = await world.connection()
    assert second is not first
    await under_way.write(b"half", end=True)
    assert await under_way.body.read_all() == b"first half"


async def test_an_idle_connection_is_closed_by_a_change(world: World) -> None:
    first = await world.connection()
    world.pools.retire()
    assert first.transport.is_closing()
    assert await world.connection() is not first


@pytest.mark.plain
async def test_pools_that_nobody_uses_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "KNOWN", 2)
    used = world.pools.of("callee", "default")
    await world.connection()
    unused = world.pools.of("a", "default")
    world.pools.of("b", "default")
    assert world.pools.of("callee", "default") is used
    assert world.pools.of("a", "default") is not unused
