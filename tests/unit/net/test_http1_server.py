"""The server's side of HTTP/1.1, asked by clients that send what they like."""

import asyncio
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.net import http1_server
from pydapr.net.body import HIGH_WATER, Body, BodyError
from pydapr.net.exchange import Exchange, Handler

Net = Any
HEAD = b" HTTP/1.1\r\nHost: here\r\n"
LAST = HEAD + b"Connection: close\r\n\r\n"


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_a_request_is_answered_with_length_and_date(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    answer = await net.ask(b"GET /a?b" + LAST)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\nDate: ")
    assert answer.endswith(b" GMT\r\n\r\nGET /a?b ")


@given(st.floats(0, 253_402_300_799))
def test_a_date_is_that_of_the_rfc(moment: float) -> None:
    assert http1_server.date(moment).decode() == formatdate(moment, usegmt=True)


async def test_pipelined_requests_are_answered_in_order(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    client = await net.connect()
    await client.send(b"".join(b"GET /%d" % n + HEAD + b"\r\n" for n in range(50)))
    assert [(await client.answer())[1] for _ in range(50)] == [b"GET /%d " % n for n in range(50)]


async def test_pipelined_requests_in_single_bytes_are_answered_in_order(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    client = await net.connect()
    request = b"POST /x" + HEAD + b"Content-Length: 3\r\n\r\nabc"
    for byte in request + b"GET /y" + LAST:
        await client.send(bytes((byte,)))
    assert (await client.answer())[1] == b"POST /x abc"
    assert body_of(await client.rest()) == b"GET /y "


async def test_nothing_behind_connection_close_is_carried_out(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    answer = await net.ask(b"GET /a" + LAST + b"GET /b" + LAST + b"\0garbage")
    assert answer.count(b"HTTP/1.1") == 1 and answer.endswith(b"GET /a ")


async def test_what_is_no_http_is_refused_after_the_answers_before_it(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    answer = await net.ask(b"GET /a" + HEAD + b"\r\nGET /b" + HEAD + b"\r\nno http\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2 and b"HTTP/1.1 400 Bad Request" in answer


@pytest.mark.parametrize("fault", [b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"Expect: tea\r\n\r\n"])
async def test_what_comes_behind_what_is_no_http_harms_nobody(net: Net, fault: bytes) -> None:
    """The parser is of no use any more; the request before it is under way."""
    going_on = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await going_on.wait()
        exchange.respond(200, (), b"well")

    await net.serve(handle)
    client = await net.connect()
    await client.send(b"GET /a" + HEAD + b"\r\nPOST /b" + HEAD + fault)
    for _ in range(5):
        await client.send(b"GET /c" + HEAD + b"\r\n")
        await asyncio.sleep(0.01)
    going_on.set()

    answers = await client.rest()
    assert answers.startswith(b"HTTP/1.1 200 OK") and answers.count(b"HTTP/1.1 ") == 2


async def test_http10_closes_unless_asked_to_keep_alive(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    assert b"Connection: close" in await net.ask(b"GET / HTTP/1.0\r\n\r\n")
    client = await net.connect()
    await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _ = await client.answer()
    assert b"Connection: keep-alive" in head
    assert b"200 OK" in await client.ask(b"GET / HTTP/1.0\r\n\r\n")


async def test_http10_gets_a_body_without_length_until_the_connection_ends(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ())
        await exchange.write(b"one")
        await exchange.write(b"two")
        exchange.finish()

    await net.serve(handle)
    answer = await net.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Transfer-Encoding" not in answer and b"Connection: close" in answer and answer.endswith(b"\r\n\r\nonetwo")
    assert (await net.ask(b"GET /" + LAST)).endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_no_body_follows_where_none_may(net: Net, method: bytes, status: int, is_streamed: bool) -> None:
    async def handle(exchange: Exchange) -> None:
        if is_streamed:
            exchange.begin(status, ())
            await exchange.write(b"body")
            exchange.finish()
        else:
            exchange.respond(status, (), b"body")

    await net.serve(handle)
    answer = await net.ask((method + b" /" + HEAD + b"\r\n") + (method + b" /" + LAST))
    assert answer.count(b"HTTP/1.1 %d" % status) == 2 and b"body" not in answer
    assert (b"Content-Length: 4" in answer) == (status == 200 and not is_streamed)


async def test_continue_is_said_when_the_body_is_wanted(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    client = await net.connect()
    await client.send(b"POST /" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hi")
    assert (await client.answer())[1] == b"POST / hi"


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_an_answer_instead_of_continue_ends_the_connection(net: Net, is_streamed: bool) -> None:
    async def handle(exchange: Exchange) -> None:
        if is_streamed:
            exchange.begin(401, ())
            exchange.finish()
        else:
            exchange.respond(401, ())

    await net.serve(handle)
    answer = await net.ask(b"POST /" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized") and b"Connection: close" in answer
    assert b"100 Continue" not in answer


async def test_an_unknown_expectation_fails(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    answer = await net.ask(b"POST /" + HEAD + b"Expect: more\r\nContent-Length: 2\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 417 ")


async def test_a_body_nobody_reads_does_not_reach_the_next_request(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, (), exchange.target)

    await net.serve(handle)
    client = await net.connect()
    await client.send(b"POST /a" + HEAD + b"Content-Length: 100000\r\n\r\n")
    assert (await client.answer())[1] == b"/a"
    await client.send(b"GET /no".ljust(100000) + b"GET /b" + HEAD + b"\r\n")
    assert (await client.answer())[1] == b"/b"


async def test_a_large_body_nobody_reads_ends_the_connection_after_the_answer(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(403, (), b"no")

    await net.serve(handle)
    client = await net.connect()
    await client.send(b"POST /a" + HEAD + b"Content-Length: 100000000\r\n\r\n")
    assert (await client.answer())[1] == b"no"
    client.writer.write(bytes(http1_server.LINGER_BYTES + 100_000))
    assert await client.rest() == b""


async def test_a_large_whole_body_does_not_leave_the_connection_paused(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        body = exchange.body
        await net.until(lambda: body.ended or body.buffered > HIGH_WATER)
        exchange.respond(200, (), exchange.target)

    await net.serve(handle)
    client = await net.connect()
    for n in range(5):
        client.writer.write(b"POST /%d" % n + HEAD + b"Content-Length: 262200\r\n\r\n" + bytes(262200))
        assert (await client.answer())[1] == b"/%d" % n


async def test_a_body_over_the_limit_is_refused_and_the_connection_goes_on(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        try:
            await exchange.body.read_all(limit=10)
            exchange.respond(200, (), b"fits")
        except BodyError:
            exchange.respond(413, (), b"large")

    await net.serve(handle)
    client = await net.connect()
    await client.send(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n")
    assert (await client.answer())[1] == b"large"
    await client.send(b"0\r\n\r\nPOST /" + HEAD + b"Content-Length: 3\r\n\r\nabc")
    assert (await client.answer())[1] == b"fits"


async def test_a_head_too_large_is_answered_431(net: Net, echo: Handler) -> None:
    await net.serve(echo, max_head=1000)
    for field in (b"X: " + b"x" * 2000, b"X: y\r\n" * 300):
        answer = await net.ask(b"GET /" + HEAD + field + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert body_of(answer) == b"431 Request Header Fields Too Large"
    assert b" 431 " in await net.ask(b"GET /" + b"x" * 2000 + LAST)


async def test_a_head_without_end_is_cut_off(net: Net, echo: Handler) -> None:
    await net.serve(echo, max_head=1000)
    client = await net.connect()
    await client.send(b"GET /" + HEAD + b"X: ")
    for _ in range(20):
        client.writer.write(b"x" * 1000)
        await asyncio.sleep(0)
    assert body_of(await client.rest()) == b"431 Request Header Fields Too Large"


async def test_trailers_without_end_are_cut_off(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    client = await net.connect()
    await client.send(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ")
    client.writer.write(b"x" * (http1_server.SILENT_BYTES + 300_000))
    assert b"200" not in await client.rest()


async def test_a_slow_head_ends_the_connection(net: Net, echo: Handler) -> None:
    await net.serve(echo, head_seconds=0.01)
    assert await net.ask(b"") == b""
    assert await net.ask(b"P") == b""
    assert await net.ask(b"GET / HTTP/1.1\r\nHost") == b""


async def test_a_head_in_pieces_is_not_slow_because_the_one_before_it_was(net: Net) -> None:
    later = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await later.wait()
        exchange.respond(200, (), exchange.target)

    await net.serve(handle, head_seconds=0.02)
    client = await net.connect()
    await client.send(b"GET /a HTTP/1.1\r\n")
    await client.send(b"\r\n")
    asyncio.get_running_loop().call_later(0.06, later.set)
    assert (await client.answer())[1] == b"/a"


async def test_chunks_with_extensions_and_trailers_are_put_together(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    chunks = b'3;a=b\r\nabc\r\n2;c="d"\r\nde\r\n0\r\nX-Trailer: y\r\n\r\n'
    answer = await net.ask(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks)
    assert body_of(answer) == b"POST / abcde"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\nX: a\n\n",
        b"GET / HTTP/1.1\r\nX: a\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX y: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /a\0b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET a HTTP/1.1\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_two_readers_may_read_differently_is_refused(net: Net, echo: Handler, request_: bytes) -> None:
    await net.serve(echo)
    answer = await net.ask(request_)
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5") and answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


@pytest.mark.parametrize("chunks", [b"x\r\n", b"3\nabc\n", b"3\r\nabcd\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
async def test_a_malformed_chunk_fails_the_body(net: Net, chunks: bytes) -> None:
    failed: list[BodyError] = []

    async def handle(exchange: Exchange) -> None:
        try:
            await exchange.body.read_all()
        except BodyError as error:
            failed.append(error)
            exchange.respond(400, (), b"broken")

    await net.serve(handle)
    answer = await net.ask(b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert failed and (not answer or answer.endswith(b"broken"))


@pytest.mark.parametrize("method", [b"FOO", b"GETX", b"get", b"PLAY", b"X-1"])
async def test_a_method_of_ones_own_is_as_good_as_any(net: Net, echo: Handler, method: bytes) -> None:
    await net.serve(echo)
    client = await net.connect()
    for _ in range(2):
        await client.send(method + b" /a" + HEAD + b"Content-Length: 2\r\n\r\nhi")
        assert (await client.answer())[1] == method + b" /a hi"
    await client.send(b"GET /" + HEAD + b"\r\n")
    assert (await client.answer())[1] == b"GET / "


async def test_a_method_of_ones_own_inside_a_pipeline_runs_nothing_twice(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    answer = await net.ask(b"GET /a" + HEAD + b"\r\nFOO /b" + HEAD + b"\r\n")
    assert answer.count(b"GET /a ") == 1 and b"HTTP/1.1 400" in answer


async def test_absolute_form_names_the_host(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, (), exchange.target + b" " + exchange.fields[b"host"])

    await net.serve(handle)
    assert body_of(await net.ask(b"GET http://u@there:80/p?q" + LAST)) == b"/p?q there:80"
    assert body_of(await net.ask(b"GET http://there?q" + LAST)) == b"/?q there"
    assert body_of(await net.ask(b"OPTIONS *" + LAST)) == b"* here"


async def test_values_pass_as_bytes_without_blanks_around_them(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, ((b"x", exchange.fields[b"x"]),), exchange.fields[b"x"])

    await net.serve(handle)
    answer = await net.ask(b"GET / HTTP/1.1\r\nX:  \t\xff\xfe a \t \r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n\xff\xfe a") and b"\r\nX: \xff\xfe a\r\n" in answer


async def test_line_ends_in_values_stay_off_the_wire(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, ((b"x", b"a\r\nSet-Cookie: b\0"), (b"y\r\nz", b"c"), (b"", b"d")))

    await net.serve(handle)
    answer = await net.ask(b"GET /" + LAST)
    assert b"\r\nX: a  Set-Cookie: b \r\nContent-Length" in answer


async def test_a_client_that_leaves_cancels_the_handler(net: Net) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await net.serve(handle)
    client = await net.connect()
    await client.send(b"GET /" + HEAD + b"\r\n")
    await begun.wait()
    assert server.busy == 1
    client.close()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_client_that_leaves_in_the_body_ends_it_with_an_error(net: Net) -> None:
    error: asyncio.Future[BodyError] = asyncio.get_running_loop().create_future()

    async def read(body: Body) -> None:
        try:
            await body.read_all()
        except BodyError as failed:
            error.set_result(failed)

    async def handle(exchange: Exchange) -> None:
        await asyncio.shield(asyncio.ensure_future(read(exchange.body)))

    await net.serve(handle)
    client = await net.connect()
    await client.send(b"POST /" + HEAD + b"Content-Length: 5\r\n\r\nab")
    client.close()
    assert "closed the connection" in str(await asyncio.wait_for(error, 5))


@pytest.mark.parametrize("does", ["raises", "returns", "breaks off"])
async def test_an_answer_that_is_not_finished_is_not_complete_for_the_client(net: Net, does: str) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ())
        await exchange.write(b"some")
        if does == "raises":
            raise asyncio.CancelledError
        if does == "breaks off":
            exchange.abort()

    await net.serve(handle)
    answer = await net.ask(b"GET /" + HEAD + b"\r\n")
    assert answer.endswith(b"4\r\nsome\r\n")


async def test_a_body_shorter_than_promised_ends_the_connection(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ((b"content-length", b"10"),))
        await exchange.write(b"short")
        exchange.finish()

    await net.serve(handle)
    assert (await net.ask((b"GET /" + HEAD + b"\r\n") * 2)).count(b"HTTP/1.1") == 1


async def test_a_body_longer_than_promised_is_cut(net: Net) -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.begin(200, ((b"content-length", b"3"),))
        await exchange.write(b"long")
        await exchange.write(b"er")
        exchange.finish()

    await net.serve(handle)
    assert body_of(await net.ask(b"GET /" + LAST)) == b"lon"


@pytest.mark.parametrize("body", [b"", b"0123456789" * 3])
async def test_a_websocket_request_is_an_ordinary_one(net: Net, echo: Handler, body: bytes) -> None:
    await net.serve(echo)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await net.ask(b"POST /a" + HEAD + upgrade + body + b"GET /b" + LAST)
    assert b"POST /a " + body in answer and answer.endswith(b"GET /b ") and answer.count(b" 200 ") == 2


async def test_chunks_behind_an_upgrade_are_read_as_a_body(net: Net, echo: Handler) -> None:
    await net.serve(echo)
    upgrade = b"Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await net.ask(b"POST /a" + HEAD + upgrade + b"3\r\nabc\r\n0\r\n\r\nGET /b" + LAST)
    assert b"POST /a abc" in answer and answer.endswith(b"GET /b ")
    for target in (b"a:1", b"/a"):
        connect = b"CONNECT " + target + HEAD + b"Content-Length: 2\r\n\r\nhi"
        assert b"CONNECT " + target + b" hi" in await net.ask(connect + b"GET /b" + LAST)


async def test_a_client_that_does_not_read_makes_the_writer_wait(net: Net) -> None:
    written = 0
    waiting = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        nonlocal written
        exchange.begin(200, ())
        while True:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(0.2, waiting.set)
            await exchange.write(bytes(65536))
            timer.cancel()
            written += 65536

    await net.serve(handle)
    client = await net.connect()
    client.writer.transport.pause_reading()
    await client.send(b"GET /" + HEAD + b"\r\n")
    await asyncio.wait_for(waiting.wait(), 10)
    before = written
    client.writer.transport.resume_reading()
    await client.exactly(before)
    assert written >= before
