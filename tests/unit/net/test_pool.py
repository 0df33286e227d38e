"""Requests over HTTP/1.1 to servers that behave as they like."""

import asyncio
from typing import Any

import pytest

from pydapr.net import pool
from pydapr.net.body import HIGH_WATER, Body, BodyError, Disconnected
from pydapr.net.dial import to
from pydapr.net.exchange import Exchange, Handler

Net = Any
Raw = Any
HOST = (b"host", b"here")
OK = b"HTTP/1.1 200 OK\r\n"


async def test_a_connection_is_used_again(net: Net) -> None:
    connections = 0

    async def script(client: Raw) -> None:
        nonlocal connections
        connections += 1
        while await client.until(b"\r\n\r\n"):
            await client.send(OK + b"Content-Length: 2\r\n\r\nhi")

    await net.serve_raw(script)
    made = net.pool()
    for _ in range(3):
        response = await made.request(b"GET", b"/", [HOST], Body.of(b""))
        assert await response.body.read_all() == b"hi"
    assert connections == 1


@pytest.mark.parametrize("size", [0, 5, 300_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_still_arrives_is_sent_while_it_does(
    net: Net, echo: Handler, size: int, is_chunked: bool
) -> None:
    await net.serve(echo)
    framing = (b"transfer-encoding", b"chunked") if is_chunked else (b"content-length", b"%d" % size)
    body = Body(length=None if is_chunked else size)
    asking = asyncio.ensure_future(net.pool().request(b"PUT", b"/", [HOST, framing], body))
    for _ in range(5):
        await asyncio.sleep(0)
        body.feed(b"x" * (size // 5))
    body.end()
    assert await (await asking).body.read_all() == b"PUT / " + b"x" * size


async def test_interim_answers_are_passed_over(net: Net) -> None:
    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
        await client.send(OK + b"X: y\r\nContent-Length: 2\r\n\r\nhi")

    await net.serve_raw(script)
    response = await net.get()
    assert (response.status, response.headers[0]) == (200, (b"x", b"y"))
    assert await response.body.read_all() == b"hi"


async def test_a_body_without_length_lasts_until_the_connection_ends(net: Net) -> None:
    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(OK + b"\r\nall of it")
        client.close()

    await net.serve_raw(script)
    assert await (await net.get()).body.read_all() == b"all of it"


async def test_a_short_body_fails(net: Net) -> None:
    await net.serve_raw(_short)
    response = await net.get()
    with pytest.raises(Disconnected):
        await response.body.read_all()


async def test_a_short_body_passes_if_its_lack_is_taken_note_of(net: Net) -> None:
    lacks: list[int] = []
    await net.serve_raw(_short)
    response = await net.get(on_short=lacks.append)
    assert await response.body.read() + await response.body.read_all() == b"x" * 70_000
    assert lacks == [5]


async def _short(client: Raw) -> None:
    await client.until(b"\r\n\r\n")
    await client.send(OK + b"Content-Length: 70005\r\n\r\n" + b"x" * 70_000)
    client.close()


async def test_chunks_that_break_off_fail_even_so(net: Net) -> None:
    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        client.close()

    await net.serve_raw(script)
    response = await net.get(on_short=lambda missing: None)
    with pytest.raises(Disconnected):
        await response.body.read_all()


async def test_what_changes_nothing_is_repeated_when_a_kept_connection_breaks(net: Net) -> None:
    await net.serve_raw(_once)
    made = net.pool()
    for _ in range(3):
        assert (await made.request(b"GET", b"/", [HOST], Body.of(b""))).status == 200


async def test_what_may_change_something_is_not_repeated(net: Net) -> None:
    await net.serve_raw(_once)
    made = net.pool()
    await made.request(b"GET", b"/", [HOST], Body.of(b""))
    with pytest.raises(Disconnected):
        await made.request(b"POST", b"/", [HOST, (b"content-length", b"0")], Body.of(b""))


async def _once(client: Raw) -> None:
    """Answers one request, takes another and closes."""
    await client.until(b"\r\n\r\n")
    await client.send(OK + b"Content-Length: 0\r\n\r\n")
    await client.until(b"\r\n\r\n")
    client.close()


async def test_a_server_that_closes_at_once_leaves_nobody_waiting(net: Net) -> None:
    async def script(client: Raw) -> None:
        client.writer.transport.abort()

    await net.serve_raw(script)
    for _ in range(20):
        with pytest.raises((BodyError, pool.Unreachable)):
            await asyncio.wait_for(net.get(), 5)


async def test_nobody_listening_is_told_in_the_words_of_go(net: Net) -> None:
    async def script(client: Raw) -> None: ...

    await net.serve_raw(script)
    net.raw_servers[0].close()
    with pytest.raises(pool.Unreachable, match=r"^connect: connection refused$"):
        await net.get()
    made = pool.Pool(to("localhost", net.port))
    with pytest.raises(pool.Unreachable, match=r"^connect: connection refused$"):
        await made.request(b"GET", b"/", [HOST], Body.of(b""))


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_answer_fails_the_request(net: Net, answer: bytes) -> None:
    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(answer)
        client.close()

    await net.serve_raw(script)
    with pytest.raises(Disconnected):
        await net.get()


async def test_another_protocol_is_an_answer_without_a_body_and_the_end(net: Net) -> None:
    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nother")
        await client.rest()

    await net.serve_raw(script)
    for _ in range(2):
        response = await net.get()
        assert response.status == 101
        assert await response.body.read_all() == b""


async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one(net: Net) -> None:
    extra = OK + b"Content-Length: 4\r\n\r\nevil"
    closed = asyncio.Event()

    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(OK + b"Content-Length: 4\r\n\r\ngood")
        if not closed.is_set():
            await client.send(extra)
            await client.rest()
            closed.set()

    await net.serve_raw(script)
    made = net.pool()
    response = await made.request(b"GET", b"/", [HOST], Body.of(b""))
    await response.body.read_all()
    await asyncio.wait_for(closed.wait(), 5)
    response = await made.request(b"GET", b"/", [HOST], Body.of(b""))
    assert await response.body.read_all() == b"good"


async def test_head_has_a_length_and_no_body_and_keeps_the_connection(net: Net) -> None:
    async def script(client: Raw) -> None:
        for _ in range(2):
            await client.until(b"\r\n\r\n")
            await client.send(OK + b"Content-Length: 100\r\n\r\n")

    await net.serve_raw(script)
    made = net.pool()
    for _ in range(2):
        response = await made.request(b"HEAD", b"/", [HOST], Body.of(b""))
        assert (b"content-length", b"100") in response.headers
        assert await response.body.read_all() == b""


async def test_an_answer_before_the_end_of_the_request_does_not_wait_for_it(net: Net) -> None:
    gone = asyncio.Event()

    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await client.rest()
        gone.set()

    await net.serve_raw(script)
    body = Body()
    response = await net.pool().request(b"PUT", b"/", [HOST, (b"transfer-encoding", b"chunked")], body)
    assert response.status == 413 and await response.body.read_all() == b""
    await asyncio.wait_for(gone.wait(), 5)


async def test_closing_an_answer_closes_its_connection(net: Net) -> None:
    gone = asyncio.Event()

    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        await client.send(OK + b"Content-Length: 100\r\n\r\nsome")
        await client.rest()
        gone.set()

    await net.serve_raw(script)
    response = await net.get()
    response.close()
    await asyncio.wait_for(gone.wait(), 5)
    with pytest.raises(Disconnected):
        await response.body.read_all()


async def test_giving_a_request_up_closes_its_connection(net: Net) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(client: Raw) -> None:
        await client.until(b"\r\n\r\n")
        asked.set()
        await client.rest()
        gone.set()

    await net.serve_raw(script)
    asking = asyncio.ensure_future(net.get())
    await asked.wait()
    asking.cancel()
    await asyncio.wait_for(gone.wait(), 5)


async def test_a_large_body_passes_through_with_bounded_memory(net: Net) -> None:
    pieces, piece = 512, bytes(128 * 1024)
    most = 0

    async def sink(exchange: Exchange) -> None:
        nonlocal most
        exchange.begin(200, ())
        while data := await exchange.body.read():
            most = max(most, len(data))
            await exchange.write(data)
        exchange.finish()

    await net.serve(sink)
    inner = net.pool()

    async def proxy(exchange: Exchange) -> None:
        framing = [HOST, (b"transfer-encoding", b"chunked")]
        response = await inner.request(b"PUT", b"/", framing, exchange.body)
        exchange.begin(200, ())
        while data := await response.body.read():
            await exchange.write(data)
        exchange.finish()

    await net.serve(proxy)
    made = net.pool()
    body, got = _Producer(pieces, piece), 0
    response = await made.request(b"PUT", b"/", [HOST, (b"transfer-encoding", b"chunked")], body)
    while data := await response.body.read():
        got += len(data)
        most = max(most, len(data))
    assert got == pieces * len(piece) and most <= 3 * HIGH_WATER


class _Producer(Body):
    """A body that is made as it is read."""

    __slots__ = ("_left", "_piece")

    def __init__(self, count: int, piece: bytes) -> None:
        super().__init__()
        self._left, self._piece = count, piece

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        self._left -= 1
        return self._piece if self._left >= 0 else b""
