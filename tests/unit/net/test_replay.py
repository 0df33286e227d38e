"""Calls that are made again: from a grpcio client through a server of ours to a grpcio server that fails at first."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from pydapr.net import dial, grpc_server, http2_pool, relay, replay
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import http2

Net = Any
MAX = 4_000_000
TRIES = 3
WINDOW, SMALL = 65_536, 16_384


class _App(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """What the server behind does, by the end of the method's name; `seen` has the messages of each try."""

    def __init__(self) -> None:
        self.tries = 0
        self.seen: list[bytes] = []

    def service(self, details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        return grpc.stream_stream_rpc_method_handler(lambda data, call: self._answer(kind, data, call))

    def _answer(self, kind: str, data: Iterator[bytes], call: Any) -> Iterator[bytes]:
        self.tries += 1
        is_last = self.tries == TRIES
        call.send_initial_metadata((("x-try", str(self.tries)),))
        call.set_trailing_metadata((("x-last", str(self.tries)),))
        if kind == "Deaf" and not is_last:
            call.abort(grpc.StatusCode.ABORTED, "not listened to")
        for message in data:
            self.seen.append(message)
            if kind == "Flaky" and not is_last:
                call.abort(grpc.StatusCode.ABORTED, "not yet")
            if kind == "Fail":
                call.abort(grpc.StatusCode.NOT_FOUND, "none: ä\n%")
            yield message
            if kind == "Late":
                call.abort(grpc.StatusCode.DATA_LOSS, "too late")


class _Chain:
    """The server behind, ours before it, and a channel to ours."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.app = _App()
        self.server = grpc.server(ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((self.app,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        self.pool = http2_pool.Pool(dial.address, http2.Limits())
        self.kept = MAX
        self.waits_for_full_window = False
        """Whether the next try begins when the client has no more credit for what it still has to send."""

    async def pass_on(self, exchange: ServerExchange) -> None:
        """As often as there are tries, as long as the call can be repeated."""
        heads = relay.Heads(self.address, frozenset(), ())
        call = replay.Replay(exchange, MAX, self.kept)
        for number in range(1, TRIES + 1):
            try:
                assert await call.run(await self.pool.connection(self.address), heads.block(exchange))
                return
            except replay.Failed as failed:
                if number == TRIES or not call.can_repeat:
                    failed.tell(exchange)
                    return
                if self.waits_for_full_window:
                    await self.net.until(lambda: exchange.half.stream.credit < SMALL or exchange.body.is_whole)

    async def ask(self, what: Callable[[Any], Any]) -> Any:
        """The result of `what(channel)`, which blocks."""
        limits = http2.Limits(stream_window=WINDOW)
        await self.net.serve(grpc_server.Methods({}, self.pass_on), with_http1=False, limits=limits)

        def run() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{self.net.port}") as channel:
                return what(channel)

        return await asyncio.wait_for(asyncio.to_thread(run), 30)

    def close(self) -> None:
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


@pytest.mark.parametrize("size", [0, 5, 900_000])
async def test_a_failing_call_is_made_again_with_its_message(chain: _Chain, size: int) -> None:
    def call(channel: Any) -> Any:
        return channel.unary_unary("/s/Flaky").with_call(b"x" * size, timeout=20)

    answer, told = await chain.ask(call)

    assert answer == b"x" * size and chain.app.seen == [answer] * TRIES
    assert dict(told.initial_metadata()) == {"x-try": "3"}
    assert dict(told.trailing_metadata()) == {"x-last": "3"}


async def test_the_last_failure_is_told_with_what_belongs_to_it(chain: _Chain) -> None:
    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Fail")(b"", timeout=15)))

    assert chain.app.tries == TRIES
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "none: ä\n%")
    assert dict(error.initial_metadata()) == {"x-try": "3"}
    assert dict(error.trailing_metadata()) == {"x-last": "3"}


async def test_a_message_that_nobody_took_is_sent_whole_in_the_end(chain: _Chain) -> None:
    def call(channel: Any) -> Any:
        return list(channel.stream_stream("/s/Deaf")(iter([b"y" * 1_000_000]), timeout=20))

    assert await chain.ask(call) == [b"y" * 1_000_000]
    assert chain.app.seen == [b"y" * 1_000_000]


async def test_what_is_sent_between_two_tries_is_given_credit_for(chain: _Chain) -> None:
    chain.waits_for_full_window = True

    def call(channel: Any) -> Any:
        return channel.unary_unary("/s/Deaf")(b"y" * 3_900_000, timeout=20)

    assert await chain.ask(call) == b"y" * 3_900_000


async def test_a_request_that_stays_open_goes_on_in_the_next_try(chain: _Chain) -> None:
    def call(channel: Any) -> list[bytes]:
        has_answer = threading.Event()

        def messages() -> Iterator[bytes]:
            yield b"one"
            assert has_answer.wait(15)

        answers = channel.stream_stream("/s/Flaky")(messages(), timeout=20)
        first = next(answers)
        has_answer.set()
        return [first, *answers]

    assert await chain.ask(call) == [b"one"]
    assert chain.app.seen == [b"one"] * TRIES


async def test_an_answer_that_has_begun_ends_the_tries(chain: _Chain) -> None:
    def call(channel: Any) -> tuple[bytes, Any]:
        answers = channel.unary_stream("/s/Late")(b"one", timeout=15)
        first = next(answers)
        return first, _failure(lambda: next(answers))

    first, error = await chain.ask(call)

    assert (first, chain.app.tries) == (b"one", 1)
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "too late")
    assert dict(error.trailing_metadata()) == {"x-last": "1"}


async def test_a_second_message_is_refused_where_a_message_is_kept(chain: _Chain) -> None:
    def call(channel: Any) -> tuple[bytes, Any]:
        has_answer = threading.Event()

        def messages() -> Iterator[bytes]:
            yield b"one"
            assert has_answer.wait(15)
            yield b"two"

        answers = channel.stream_stream("/s/Each")(messages(), timeout=20)
        first = next(answers)
        has_answer.set()
        return first, _failure(lambda: next(answers))

    first, error = await chain.ask(call)

    assert (first, chain.app.seen) == (b"one", [b"one"])
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, replay.STREAMED)


async def test_messages_pass_freely_where_none_is_kept(chain: _Chain) -> None:
    chain.kept = 0

    answers = await chain.ask(lambda channel: list(channel.stream_stream("/s/Each")(iter([b"a", b"b"]), timeout=15)))

    assert answers == [b"a", b"b"]


async def test_a_message_too_large_to_keep_is_sent_once(chain: _Chain) -> None:
    chain.kept = 100

    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Flaky")(b"x" * 101, timeout=15)))

    assert (error.code(), chain.app.tries) == (grpc.StatusCode.ABORTED, 1)


async def test_messages_over_the_limit_are_refused(chain: _Chain) -> None:
    big = b"x" * (MAX + 1)

    error = await chain.ask(lambda channel: _failure(lambda: channel.unary_unary("/s/Flaky")(big, timeout=15)))

    text = f"grpc: received message larger than max ({MAX + 1} vs. {MAX})"
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, text)


async def test_a_stream_of_nothing_ends_well(chain: _Chain) -> None:
    def call(channel: Any) -> tuple[list[bytes], dict[str, str]]:
        answers = channel.stream_stream("/s/Each")(iter(()), timeout=15)
        return list(answers), dict(answers.initial_metadata())

    assert await chain.ask(call) == ([], {"x-try": "1"})
