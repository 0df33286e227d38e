"""Calls that pass through: from a grpcio client through a server of ours to a grpcio server, and back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_server, http2_pool, relay
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import http2

Net = Any
MAX = 1 << 20


class _App(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """What the server behind does, by the end of the method's name."""

    def __init__(self) -> None:
        self.was_cancelled = threading.Event()

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        if kind in ("Unary", "Fail", "Hang"):
            return grpc.unary_unary_rpc_method_handler(lambda data, call: self._unary(kind, data, call))
        if kind in ("Each", "Early"):
            return grpc.stream_stream_rpc_method_handler(lambda data, call: self._each(kind, data, call))
        return None

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        call.send_initial_metadata((("x-first", "1"), ("x-bin", b"\0\xff")))
        call.set_trailing_metadata((("x-last", "2"),))
        if kind == "Fail":
            call.abort(grpc.StatusCode.NOT_FOUND, "none: ä\n%")
        if kind == "Hang":
            call.add_callback(self.was_cancelled.set)
            self.was_cancelled.wait(20)
        return data

    def _each(self, kind: str, data: Iterator[bytes], call: Any) -> Iterator[bytes]:
        for item in data:
            yield item
            if kind == "Early":
                return


class _Chain:
    """The server behind, ours before it, and a channel to ours."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.app = _App()
        self.server = grpc.server(ThreadPoolExecutor(32))
        self.server.add_generic_rpc_handlers((self.app,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.pool = http2_pool.Pool(dial.address, http2.Limits())

    async def pass_on(self, exchange: ServerExchange) -> None:
        address = f"127.0.0.1:{self.port}"
        heads = relay.Heads(address, frozenset({b"x-dropped"}), ((b"x-added", b"1"),))
        try:
            connection = await self.pool.connection(address)
        except http2_pool.Unreachable as error:
            raise RpcError(Code.UNAVAILABLE, str(error)) from None
        assert await relay.Relay(exchange, MAX).run(connection, heads.block(exchange))

    async def ask(self, what: Callable[[Any], Any]) -> Any:
        """The result of `what(channel)`, which blocks."""
        await self.net.serve(grpc_server.Methods({}, self.pass_on), with_http1=False)

        def run() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{self.net.port}") as channel:
                return what(channel)

        return await asyncio.wait_for(asyncio.to_thread(run), 30)

    def close(self) -> None:
        self.app.was_cancelled.set()
        self.server.stop(0)
        self.pool.close()


@pytest.fixture
async def chain(net: Net) -> AsyncIterator[_Chain]:
    made = _Chain(net)
    yield made
    made.close()


def _failure(call: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value


@pytest.mark.parametrize("size", [0, 5, 70_000, 900_000])
async def test_unary_calls_pass_with_metadata_and_trailers(chain: _Chain, size: int) -> None:
    def call(channel: Any) -> Any:
        return channel.unary_unary("/s/Unary").with_call(b"x" * size, timeout=15)

    answer, told = await chain.ask(call)
    assert answer == b"x" * size
    assert dict(told.initial_metadata()) == {"x-first": "1", "x-bin": b"\0\xff"}
    assert dict(told.trailing_metadata()) == {"x-last": "2"}


async def test_errors_pass_with_their_trailers(chain: _Chain) -> None:
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Fail")(b"", timeout=15)))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "none: ä\n%")
    assert dict(error.trailing_metadata()) == {"x-last": "2"}


async def test_methods_that_the_server_lacks_are_its_own_error(chain: _Chain) -> None:
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Lacking")(b"", timeout=15)))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_streams_pass_both_ways_as_they_come(chain: _Chain) -> None:
    def call(channel: Any) -> list[bytes]:
        seen = threading.Semaphore(1)

        def messages() -> Iterator[bytes]:
            for number in range(50):
                assert seen.acquire(timeout=10)
                yield b"%d" % number

        answers = []
        for answer in channel.stream_stream("/s/Each")(messages(), timeout=20):
            answers.append(answer)
            seen.release()
        return answers

    assert await chain.ask(call) == [b"%d" % number for number in range(50)]


async def test_a_slow_reader_holds_the_sender_back_and_loses_nothing(chain: _Chain) -> None:
    piece, count = b"y" * 500_000, 40

    def call(channel: Any) -> tuple[int, int]:
        sent = 0

        def messages() -> Iterator[bytes]:
            nonlocal sent
            for _ in range(count):
                sent += 1
                yield piece

        answers = channel.stream_stream("/s/Each")(messages(), timeout=25)
        next(answers)
        threading.Event().wait(0.5)
        early = sent
        return early, sum(len(answer) for answer in answers)

    early, rest = await chain.ask(call)
    assert rest == len(piece) * (count - 1)
    assert early < count


async def test_an_answer_that_ends_before_the_request_ends_the_call(chain: _Chain) -> None:
    def call(channel: Any) -> list[bytes]:
        hold = threading.Event()

        def messages() -> Iterator[bytes]:
            yield b"one"
            hold.wait(20)

        answers = list(channel.stream_stream("/s/Early")(messages(), timeout=15))
        hold.set()
        return answers

    assert await chain.ask(call) == [b"one"]


async def test_a_client_that_gives_up_cancels_the_call_behind(chain: _Chain) -> None:
    def call(channel: Any) -> None:
        future = channel.unary_unary("/s/Hang").future(b"")
        threading.Event().wait(0.3)
        future.cancel()

    await chain.ask(call)
    assert await asyncio.to_thread(chain.app.was_cancelled.wait, 10)


async def test_deadlines_end_both_sides(chain: _Chain) -> None:
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Hang")(b"", timeout=0.3)))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert await asyncio.to_thread(chain.app.was_cancelled.wait, 10)


async def test_messages_over_the_limit_are_refused(chain: _Chain) -> None:
    big = b"x" * (MAX + 1)
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Unary")(big, timeout=15)))
    text = f"grpc: received message larger than max ({MAX + 1} vs. {MAX})"
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, text)


async def test_a_server_that_is_gone_is_unavailable(chain: _Chain) -> None:
    chain.server.stop(0).wait()
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Unary")(b"", timeout=15)))
    assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_many_streams_share_a_connection(chain: _Chain) -> None:
    def call(channel: Any) -> list[bytes]:
        futures = [channel.unary_unary("/s/Unary").future(b"%d" % number, timeout=25) for number in range(1000)]
        return [future.result() for future in futures]

    assert await chain.ask(call) == [b"%d" % number for number in range(1000)]
