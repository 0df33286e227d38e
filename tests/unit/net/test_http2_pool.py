"""The pool of HTTP/2 connections: room and turns, servers that are silent, connections that are worn out or idle."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pydapr.net import dial, http2_pool
from pydapr.net.exchange import Exchange, Handler
from pydapr.wire import frames, http2

Net = Any
MakePool = Callable[..., http2_pool.Pool]
HEADERS: http2.Headers = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"here"))
SHORT = http2_pool.Patience(connect=0.2)


@pytest.fixture
async def make_pool() -> AsyncIterator[MakePool]:
    made: list[http2_pool.Pool] = []

    def make(patience: http2_pool.Patience | None = None, connect: Any = dial.address) -> http2_pool.Pool:
        made.append(http2_pool.Pool(connect, http2.Limits(), patience))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def test_streams_beyond_all_connections_wait_and_are_served_in_turn(net: Net, make_pool: MakePool) -> None:
    async def handle(exchange: Exchange) -> None:
        await asyncio.sleep(0)
        exchange.respond(200, ())

    await net.serve(handle, limits=http2.Limits(streams=1))
    pool, order = make_pool(), list[int]()

    async def one(number: int) -> None:
        request = (await pool.connection(f"127.0.0.1:{net.port}")).open(HEADERS, b"", True)
        order.append(number)
        assert (await request.head())[0] == (b":status", b"200")
        request.close()

    count = 3 * http2_pool.MAX_CONNECTIONS
    await asyncio.wait_for(asyncio.gather(*[one(number) for number in range(count)]), 60)

    assert sorted(order) == list(range(count))
    assert max(abs(number - place) for place, number in enumerate(order)) <= http2_pool.MAX_CONNECTIONS
    assert len(pool._open[f"127.0.0.1:{net.port}"]) <= http2_pool.MAX_CONNECTIONS
    assert not pool._waiting


async def test_who_gives_up_waiting_leaves_the_turn_to_the_next(
    net: Net, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_pool, "MAX_CONNECTIONS", 1)
    later = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await later.wait()
        exchange.respond(200, ())

    await net.serve(handle, limits=http2.Limits(streams=1))
    pool, address = make_pool(), f"127.0.0.1:{net.port}"
    busy = (await pool.connection(address)).open(HEADERS, b"", True)
    waiting = [asyncio.ensure_future(pool.connection(address)) for _ in range(3)]
    await asyncio.sleep(0)
    assert pool.ready(address) is None
    waiting[0].cancel()
    later.set()
    await busy.head()
    waiting[1].cancel()

    assert (await asyncio.wait_for(waiting[2], 10)).can_open


async def test_a_server_that_accepts_and_does_not_greet_is_silent_until_it_greets(
    net: Net, make_pool: MakePool
) -> None:
    greets, taken = asyncio.Event(), 0

    async def script(raw: Any) -> None:
        nonlocal taken
        taken += 1
        if greets.is_set():
            await raw.send(frames.settings([]))
        await raw.rest()

    await net.serve_raw(script)
    pool, address = make_pool(SHORT), f"127.0.0.1:{net.port}"

    with pytest.raises(http2_pool.Silent, match="i/o timeout"):
        await asyncio.wait_for(pool.connection(address), 10)
    for _ in range(50):
        with pytest.raises(http2_pool.Unreachable, match="i/o timeout"):
            await pool.connection(address)
    assert taken == 1
    greets.set()
    await _until(lambda: pool.ready(address))

    assert taken == 2 and not pool._silent


async def test_a_silent_server_that_comes_to_refuse_is_not_watched_any_more(net: Net, make_pool: MakePool) -> None:
    async def script(raw: Any) -> None:
        await raw.rest()

    await net.serve_raw(script)
    pool, address = make_pool(SHORT), f"127.0.0.1:{net.port}"
    with pytest.raises(http2_pool.Silent):
        await asyncio.wait_for(pool.connection(address), 10)
    net.raw_servers[-1].close()
    await _until(lambda: not pool._silent)

    with pytest.raises(http2_pool.Unreachable, match="refused"):
        await asyncio.wait_for(pool.connection(address), 10)


async def test_a_connection_without_a_sign_of_life_is_lost_for_all_its_requests(
    net: Net, echo: Handler, make_pool: MakePool
) -> None:
    async def never(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    await net.serve(never)
    pool, address = make_pool(), f"127.0.0.1:{net.port}"
    connection = await pool.connection(address)
    requests = [connection.open(HEADERS, b"", True) for _ in range(3)]
    connection.give_up("no sign of life")

    for request in requests:
        with pytest.raises(Exception, match="no sign of life"):
            await asyncio.wait_for(request.head(), 10)
    assert connection.keepalive is None
    with pytest.raises(http2_pool.Unreachable, match="no sign of life"):
        await pool.connection(address)
    await _until(lambda: pool.ready(address))


async def test_a_connection_without_numbers_left_is_replaced_before_it_fails(
    net: Net, echo: Handler, make_pool: MakePool
) -> None:
    await net.serve(echo)
    pool, address = make_pool(), f"127.0.0.1:{net.port}"
    first = await pool.connection(address)
    first.h2._next_id = (1 << 31) - 3
    used = []
    for _ in range(4):
        request = (await pool.connection(address)).open(HEADERS, b"hi", True)
        assert await request.body.read_all() == b"POST /a hi"
        request.close()
        used.append(request.connection)

    assert [connection is first for connection in used] == [True, True, False, False]
    await _until(lambda: first.is_lost and pool._open[address] == [used[3]])


@pytest.mark.parametrize("keeps", [False, True])
async def test_idle_connections_are_closed_but_for_one_that_is_kept(net: Net, make_pool: MakePool, keeps: bool) -> None:
    later = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await later.wait()
        exchange.respond(200, ())

    await net.serve(handle, limits=http2.Limits(streams=1))
    pool, address = make_pool(http2_pool.Patience(keeps=keeps)), f"127.0.0.1:{net.port}"
    requests = [(await pool.connection(address)).open(HEADERS, b"", True) for _ in range(4)]
    pool._sweep()
    pool._sweep()
    assert len(pool._open[address]) == 4  # they are in use
    later.set()
    for request in requests:
        await asyncio.wait_for(request.head(), 10)
        request.close()
    pool._sweep()
    pool._sweep()

    await _until(lambda: len(pool._open.get(address, ())) == int(keeps))


async def _until(is_true: Callable[[], object]) -> None:
    for _ in range(2000):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")
