"""What an app is told of an event over HTTP."""

import asyncio
from typing import Any

import pytest

from pydapr.app import bindings
from pydapr.app.channel import Answer, AppChannel, Call
from pydapr.app.grpc import GrpcApp
from pydapr.net.body import Body, BodyError
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2


class Channel(AppChannel):
    def __init__(self, status: int = 200, body: bytes = b"") -> None:
        self.calls: list[Call] = []
        self._status, self._body = status, body

    async def invoke(self, call: Call) -> Answer:
        self.calls.append(call)
        return Answer(self._status, (), Body.of(self._body))

    def close(self) -> None:
        pass

    def retire(self) -> None:
        pass


async def test_metadata_are_header_fields_where_they_can_be() -> None:
    channel = Channel(body=b"done")
    metadata = {
        "readTimeUTC": "now", "Content-Type": "text/plain", "no name": "x", "k": "line\r\nbreak", "ü": "x", "e": " ä ",
    }  # fmt: skip

    reply = await bindings.HttpApp(lambda: channel).give("in", "/on/in?a=b", b"data", metadata, None)

    [call] = channel.calls
    assert reply.data == b"done"
    assert (call.verb, call.method, call.query) == (b"POST", "on/in", b"a=b")
    assert list(call.headers) == [
        (b"readtimeutc", b"now"),
        (b"e", "ä".encode()),
        (b"content-type", b"application/json"),
    ]


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_measure_is_none(status: int) -> None:
    app = bindings.HttpApp(lambda: Channel(status, b"12345"), 4)

    with pytest.raises((BodyError, bindings.Failed), match="stream too large"):
        try:
            await app.give("in", "in", b"", {}, None)
        except bindings.Declined as declined:
            await declined.reply()


@pytest.mark.parametrize(("status", "taken"), [(200, True), (204, True), (405, True), (404, False), (500, False)])
async def test_what_an_answer_to_options_means(status: int, taken: bool) -> None:
    assert await bindings.HttpApp(lambda: Channel(status)).takes("in", "in", 1.0) is taken


async def test_without_an_app_nothing_is_taken() -> None:
    with pytest.raises(bindings.Failed, match='endpoint "in": app channel not initialized'):
        await bindings.HttpApp(lambda: None).takes("in", "in", 1.0)


@pytest.mark.plain
async def test_an_app_that_was_not_asked_to_the_end_is_asked_again() -> None:
    class Rpc(GrpcApp):
        def __init__(self) -> None:
            self.asked = asyncio.Event()
            self.answers = asyncio.Event()

        async def callback(self, name: bytes, message: bytes, *_: Any) -> bytes:
            self.asked.set()
            await self.answers.wait()
            return appcallback_pb2.ListInputBindingsResponse(bindings=["in"]).SerializeToString()

    rpc = Rpc()
    app = bindings.RpcApp(rpc)
    first = asyncio.ensure_future(app.takes("in", "in", 10.0))
    await rpc.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    rpc.answers.set()

    assert await app.takes("in", "in", 10.0)
