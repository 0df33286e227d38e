"""Streams of messages, called by the client of grpcio; cancelled reads and writes lose nothing."""

import asyncio
from typing import Any

import grpc
import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, grpc_server, http2_pool
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import http2

Net = Any
PATH = "/s/Talk"


async def _call(net: Net, talk: Any, messages: list[bytes]) -> tuple[list[bytes], Any]:
    """What comes back from a method that does `talk(stream)`, and the code at the end."""

    async def method(exchange: ServerExchange) -> None:
        await talk(Stream(exchange, 1_000_000))

    await net.serve(grpc_server.Methods({PATH.encode(): method}), with_http1=False)

    def run() -> tuple[list[bytes], Any]:
        with grpc.insecure_channel(f"127.0.0.1:{net.port}") as channel:
            answer = channel.stream_stream(PATH)(iter(messages), timeout=15)
            found = []
            try:
                found.extend(answer)
            except grpc.RpcError:
                pass
            return found, answer.code()

    return await asyncio.wait_for(asyncio.to_thread(run), 20)


async def test_messages_pass_in_both_directions(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        while (message := await stream.next()) is not None:
            await stream.send(message * 2)
        assert await stream.next() is None
        stream.finish()

    sent = [b"a", b"", b"b" * 300_000, *(b"%d" % n for n in range(100))]
    assert await _call(net, talk, sent) == ([one * 2 for one in sent], grpc.StatusCode.OK)


async def test_a_call_without_messages_ends_well(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        stream.finish()

    assert await _call(net, talk, []) == ([], grpc.StatusCode.OK)


async def test_an_error_ends_the_call_after_what_was_sent(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        await stream.send(b"first")
        raise RpcError(Code.ABORTED, "enough")

    assert await _call(net, talk, []) == ([b"first"], grpc.StatusCode.ABORTED)


async def test_a_read_that_is_cancelled_loses_nothing(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        await stream.send(b"ready")
        found = 0
        while True:
            reading = asyncio.create_task(stream.next())
            await asyncio.sleep(0)
            if not reading.done():
                reading.cancel()
            try:
                message = await reading
            except asyncio.CancelledError:
                continue
            if message is None:
                break
            found += 1
        await stream.send(b"%d" % found)
        stream.finish()

    assert (await _call(net, talk, [b"x" * 20_000] * 50))[0] == [b"ready", b"50"]


async def test_a_write_that_is_cancelled_sends_all_or_nothing(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        for number in range(30):
            writing = asyncio.create_task(stream.send(bytes((number,)) * 100_000))
            await asyncio.sleep(0)
            if number % 3 == 0:
                writing.cancel()
            await asyncio.wait((writing,))
        stream.finish()

    found, code = await _call(net, talk, [])
    assert code == grpc.StatusCode.OK
    assert all(one == bytes((one[0],)) * 100_000 for one in found)
    kept = [one[0] for one in found]
    assert kept == sorted(kept) and set(kept) >= {n for n in range(30) if n % 3}


@pytest.mark.parametrize("writers", [1, 5])
async def test_several_may_send(net: Net, writers: int) -> None:
    async def talk(stream: Stream) -> None:
        async def write(number: int) -> None:
            for _ in range(20):
                await stream.send(bytes((number,)) * 50_000)

        await asyncio.gather(*map(write, range(writers)))
        stream.finish()

    found, code = await _call(net, talk, [])
    assert code == grpc.StatusCode.OK
    assert len(found) == 20 * writers and all(len(set(one)) == 1 and len(one) == 50_000 for one in found)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_one_writer_that_is_cancelled_does_not_end_the_others(net: Net, cancelled: int) -> None:
    outcomes: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def method(exchange: ServerExchange) -> None:
        stream = Stream(exchange, 1000)
        writing = [asyncio.create_task(stream.send(bytes((number,)) * 3_000_000)) for number in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
        writing[cancelled].cancel()
        ended = await asyncio.gather(*writing, return_exceptions=True)
        outcomes.set_result([number for number, error in enumerate(ended) if error is not None])
        stream.finish()

    await net.serve(grpc_server.Methods({PATH.encode(): method}), with_http1=False)
    pool = http2_pool.Pool(dial.address, http2.Limits())
    call = grpc_client.Stream(await pool.connection(f"127.0.0.1:{net.port}"), PATH.encode(), "x", False)
    async with asyncio.timeout(20):
        found = []
        while (message := await call.receive()) is not None:
            found.append(message[0])
        assert await outcomes == [cancelled]
    assert set(found) >= {0, 1, 2} - {cancelled}
    pool.close()


async def test_a_message_that_is_too_large_ends_the_call(net: Net) -> None:
    async def talk(stream: Stream) -> None:
        await stream.next()

    assert await _call(net, talk, [b"x" * 1_000_001]) == ([], grpc.StatusCode.RESOURCE_EXHAUSTED)
