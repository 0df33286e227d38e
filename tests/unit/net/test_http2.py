"""HTTP/2 between our own client and our own server: bodies, resets, farewells, room."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pydapr.net import dial, http2_client, http2_pool, http2_server
from pydapr.net.body import BodyError, Disconnected
from pydapr.net.exchange import Exchange, Handler
from pydapr.net.server import Server
from pydapr.wire import frames, http2

Net = Any
HEADERS: http2.Headers = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"here"))
SMALL = http2.Limits(stream_window=65535, connection_window=65535)


class Client:
    """A pool and where its server is."""

    def __init__(self, net: Net) -> None:
        self.pool = http2_pool.Pool(dial.address, http2.Limits())
        self.net = net

    async def connection(self) -> http2_client.ClientConnection:
        return await self.pool.connection(f"127.0.0.1:{self.net.port}")

    async def ask(self, data: bytes = b"", headers: http2.Headers = HEADERS) -> http2_client.Request:
        return (await self.connection()).open(headers, data, True)


@pytest.fixture
async def client(net: Net) -> AsyncIterator[Client]:
    made = Client(net)
    yield made
    made.pool.close()


async def test_a_request_is_answered_and_leaves_nothing_behind(net: Net, echo: Handler, client: Client) -> None:
    await net.serve(echo)
    request = await client.ask(b"hi")
    assert (await request.head())[0] == (b":status", b"200")
    assert await request.body.read_all() == b"POST /a hi"
    request.close()
    connection = request.connection
    assert isinstance(connection, http2_client.ClientConnection)
    assert not connection._requests and not request.connection.h2.open_streams


async def test_head_has_a_length_and_no_body(net: Net, echo: Handler, client: Client) -> None:
    await net.serve(echo)
    request = await client.ask(b"", ((b":method", b"HEAD"), *HEADERS[1:]))
    assert (b"content-length", b"8") in await request.head()
    assert await request.body.read_all() == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_no_body_follows_where_none_may(net: Net, client: Client, status: int) -> None:
    async def handle(exchange: Exchange) -> None:
        if exchange.fields.get(b"streamed"):
            exchange.begin(status, ())
            await exchange.write(b"body")
            exchange.finish()
        else:
            exchange.respond(status, (), b"body")

    await net.serve(handle)
    for extra in ((), ((b"streamed", b"1"),)):
        request = await client.ask(b"", (*HEADERS, *extra))
        assert (await request.head())[0] == (b":status", b"%d" % status)
        assert await request.body.read_all() == b""


async def test_trailers_come_after_the_body_even_if_it_had_to_wait(net: Net, client: Client) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ())
        await exchange.write(bytes(600_000))
        exchange.finish(((b"x", b"y"),))

    await net.serve(handle)
    request = await client.ask()
    assert len(await request.body.read_all()) == 600_000
    assert request.trailers == ((b"x", b"y"),)


async def test_a_body_passes_both_ways_with_bounded_memory(net: Net, client: Client) -> None:
    most, count, piece = 0, 512, bytes(131072)

    async def handle(exchange: Exchange) -> None:
        nonlocal most
        exchange.begin(200, ())
        while data := await exchange.body.read():
            most = max(most, len(data))
            await exchange.write(data)
        exchange.finish()

    async def send(request: http2_client.Request) -> None:
        for _ in range(count):
            await request.write(piece)
        await request.write(b"", end=True)

    await net.serve(handle)
    request = (await client.connection()).open(HEADERS, b"", False)
    sending, got = asyncio.ensure_future(send(request)), 0
    while data := await request.body.read():
        got += len(data)
        most = max(most, len(data))
    await sending
    assert got == count * len(piece) and most <= http2.Limits().stream_window


async def test_a_large_answer_is_complete_though_the_request_was_not_read(net: Net, client: Client) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, (), bytes(1_000_000))

    await net.serve(handle)
    request = (await client.connection()).open(HEADERS, b"some", False)
    assert len(await request.body.read_all()) == 1_000_000


async def test_a_body_nobody_reads_gives_its_credit_back(net: Net, client: Client) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, (), b"")

    await net.serve(handle, limits=SMALL)
    for _ in range(40):
        request = (await client.connection()).open(HEADERS, bytes(60_000), True)
        await asyncio.wait_for(request.head(), 5)
        request.close()


async def test_bodies_that_were_read_hold_no_credit_while_their_handlers_work(net: Net, client: Client) -> None:
    count, later = 0, asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        nonlocal count
        await exchange.body.read_all()
        count += 1
        if count == 30:
            later.set()
        await later.wait()
        exchange.respond(200, ())

    limits = http2.Limits(stream_window=65535, connection_window=65535, unread=100_000)
    await net.serve(handle, limits=limits)
    requests = [(await client.connection()).open(HEADERS, bytes(30_000), True) for _ in range(30)]
    for request in requests:
        await asyncio.wait_for(request.head(), 5)


async def test_a_client_that_gives_up_cancels_the_handler(net: Net, client: Client) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server: Server = await net.serve(handle)
    request = await client.ask()
    await begun.wait()
    request.close()
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(Disconnected):
        await request.head()
    assert server.busy == 0


async def test_requests_given_up_before_their_handlers_began_are_forgotten(
    net: Net, echo: Handler, client: Client
) -> None:
    server: Server = await net.serve(echo)
    connection = await client.connection()
    for _ in range(50):
        connection.open(HEADERS, b"", True).close()
    request = await client.ask(b"last")
    await request.body.read_all()
    assert server.busy == 0
    await asyncio.wait_for(server.stop(10), 5)


async def test_a_client_that_gives_up_wakes_the_writer(net: Net, client: Client) -> None:
    full: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def write(exchange: Exchange) -> None:
        exchange.begin(200, ())
        try:
            while True:
                await exchange.write(bytes(100_000))
        except BodyError as error:
            full.set_result(error)

    async def handle(exchange: Exchange) -> None:
        await asyncio.shield(asyncio.ensure_future(write(exchange)))

    await net.serve(handle)
    request = await client.ask()
    await request.head()
    await net.until(lambda: request.body.buffered == http2.Limits().stream_window)
    request.close()
    assert isinstance(await asyncio.wait_for(full, 5), Disconnected)


async def test_a_handler_that_fails_resets_the_stream(net: Net, client: Client) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ())
        await exchange.write(b"some")
        exchange.abort()

    await net.serve(handle)
    request = await client.ask()
    await request.head()
    assert await request.body.read() == b"some"
    with pytest.raises(Disconnected, match="INTERNAL_ERROR"):
        await request.body.read()
    assert request.reset_code == http2.ErrorCode.INTERNAL_ERROR


async def test_a_connection_that_breaks_fails_all_that_is_under_way(net: Net, client: Client) -> None:
    async def handle(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    await net.serve(handle)
    connection = await client.connection()
    waiting = connection.open(HEADERS, b"", True)
    sending = connection.open(HEADERS, b"", False)
    stuck = asyncio.ensure_future(sending.write(bytes(1_000_000)))
    await asyncio.sleep(0)
    connection.transport.abort()
    for failing in (waiting.head(), stuck):
        with pytest.raises(Disconnected):
            await asyncio.wait_for(failing, 5)
    assert not connection._requests and not connection.can_open


async def test_a_stop_lets_streams_finish_and_refuses_new_ones(net: Net, client: Client) -> None:
    begun, later = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        begun.set()
        await later.wait()
        exchange.respond(200, (), bytes(1_000_000))

    server: Server = await net.serve(handle)
    request = await client.ask()
    await begun.wait()
    stopping = asyncio.ensure_future(server.stop(10))
    await asyncio.sleep(0)
    connection = request.connection
    assert isinstance(connection, http2_client.ClientConnection)
    late = connection.open(HEADERS, b"", True)
    with pytest.raises(http2_client.Refused):
        await asyncio.wait_for(late.head(), 5)
    later.set()
    assert len(await request.body.read_all()) == 1_000_000
    await asyncio.wait_for(stopping, 5)
    assert client.pool.ready(f"127.0.0.1:{net.port}") is None


@pytest.mark.plain
async def test_a_retiring_server_takes_what_was_on_its_way_and_new_calls_on_new_connections(
    net: Net, echo: Handler, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_server, "RETIRE_SECONDS", 0.05)
    server: Server = await net.serve(echo)
    first = await client.connection()
    server.retire()
    await asyncio.sleep(0)
    on_its_way = first.open(HEADERS, b"late", True)
    assert await asyncio.wait_for(on_its_way.body.read_all(), 5) == b"POST /a late"
    request = await client.ask(b"new")
    assert request.connection is not first
    assert await asyncio.wait_for(request.body.read_all(), 5) == b"POST /a new"
    await asyncio.wait_for(net.until(lambda: first.is_lost), 5)


async def test_what_does_not_fit_on_one_connection_goes_to_another_or_waits(net: Net, client: Client) -> None:
    running = most = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        exchange.respond(200, ())

    await net.serve(handle, limits=http2.Limits(streams=2))

    async def one() -> int:
        while True:
            request = await client.ask()
            try:
                return int((await request.head())[0][1])
            except http2_client.Refused:
                continue
            finally:
                request.close()

    answers = await asyncio.wait_for(asyncio.gather(*[one() for _ in range(200)]), 20)
    assert answers == [200] * 200


async def test_one_caller_who_gives_up_does_not_break_the_opening_for_others(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    later, attempts = asyncio.Event(), 0

    async def connect(address: str, factory: Any) -> object:
        nonlocal attempts
        attempts += 1
        await later.wait()
        return await dial.address(address, factory)

    pool = http2_pool.Pool(connect, http2.Limits())
    address = f"127.0.0.1:{net.port}"
    first, second = [asyncio.ensure_future(pool.connection(address)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    later.set()
    assert (await asyncio.wait_for(second, 5)).can_open and attempts == 1
    pool.close()


async def test_a_pool_that_closes_while_opening_tells_those_who_wait(net: Net) -> None:
    async def connect(address: str, factory: Any) -> object:
        return await asyncio.Event().wait()

    pool = http2_pool.Pool(connect, http2.Limits())
    waiting = asyncio.ensure_future(pool.connection("127.0.0.1:1"))
    for _ in range(3):
        await asyncio.sleep(0)
    pool.close()
    with pytest.raises(http2_pool.Unreachable):
        await asyncio.wait_for(waiting, 5)


async def test_a_server_that_closes_at_once_is_unreachable_or_breaks_the_request(net: Net, client: Client) -> None:
    async def script(raw: Any) -> None:
        raw.writer.transport.abort()

    await net.serve_raw(script)
    for _ in range(10):
        with pytest.raises((http2_pool.Unreachable, Disconnected)):
            await asyncio.wait_for((await client.ask()).head(), 5)


async def test_a_goaway_makes_later_streams_refused(net: Net, client: Client) -> None:
    async def script(raw: Any) -> None:
        await raw.send(frames.settings([]))
        await raw.exactly(24)
        await raw.send(frames.goaway(1, http2.ErrorCode.NO_ERROR, b""))
        await raw.rest()

    await net.serve_raw(script)
    connection = await client.connection()
    first, second = connection.open(HEADERS, b"", True), connection.open(HEADERS, b"", True)
    with pytest.raises(http2_client.Refused):
        await asyncio.wait_for(second.head(), 5)
    assert connection.is_draining and first.body.error is None


async def test_what_is_no_http2_breaks_the_connection(net: Net, client: Client) -> None:
    async def script(raw: Any) -> None:
        await raw.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await raw.rest()

    await net.serve_raw(script)
    with pytest.raises((http2_pool.Unreachable, Disconnected)):
        await asyncio.wait_for((await client.ask()).head(), 5)


async def test_connections_are_gone_once_they_are_lost(net: Net, echo: Handler, client: Client) -> None:
    await net.serve(echo)
    request = await client.ask(b"hi")
    await request.body.read_all()
    request.connection.transport.abort()
    del request
    await net.until(lambda: not client.pool._open)
    for _ in range(5):
        await asyncio.sleep(0)
        gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, http2_client.ClientConnection)]


async def test_what_was_given_up_while_it_waited_does_not_pile_up(net: Net) -> None:
    """A client that does not read, and writes that nobody waits for any longer: one has its data wait, no more."""
    waiting: list[int] = []
    done = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        assert isinstance(exchange, http2_server.ServerExchange)
        exchange.begin(200, ())
        for _ in range(5):
            try:
                async with asyncio.timeout(0.05):
                    await exchange.write(b"x" * 100_000)
            except TimeoutError:
                waiting.append(sum(map(len, exchange.half.stream.pending or ())))
        done.set()
        await exchange.write(b"end")
        exchange.finish()

    await net.serve(handle)
    pool = http2_pool.Pool(dial.address, SMALL)
    request = (await pool.connection(f"127.0.0.1:{net.port}")).open(HEADERS, b"", True)
    await request.head()
    async with asyncio.timeout(20):
        await done.wait()
        body = await request.body.read_all()
    assert len(waiting) == 5 and len(set(waiting)) == 1
    assert body == b"x" * 100_000 + b"end"
    pool.close()
