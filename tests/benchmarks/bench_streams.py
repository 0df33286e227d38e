"""Many proxied gRPC streams at a time on one connection of a client, through two sidecars to an app that echoes.

    python -m tests.benchmarks.bench_streams [streams] [streams that the app takes on one connection]

Opens all streams, passes a message each way on each, ends them all, and does it once more. Prints the seconds of each
step and the memory of both sidecars before, at the height and after. Ends with an error when a stream does not.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from tests.integration import harness

from pydapr.net import dial, grpc_server, http2_client, http2_pool, server
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc, http2

SECONDS = 120.0
MESSAGE = grpc.frame(b"x" * 100)


async def _echo(exchange: ServerExchange) -> None:
    exchange.begin_block(grpc_server.HEAD_BLOCK)
    while data := await exchange.body.read():
        await exchange.write(data)
    exchange.finish(grpc.OK_TRAILERS)


class _Client:
    """Streams to the app through a sidecar."""

    def __init__(self, connection: http2_client.ClientConnection, app_id: str) -> None:
        self.connection = connection
        self._head = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/my.Service/Each"),
            (b":authority", b"here"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"dapr-app-id", app_id.encode()),
        )

    async def open(self) -> http2_client.Request:
        request = self.connection.open(self._head, MESSAGE, False)
        got = b""
        while len(got) < len(MESSAGE):
            data = await request.body.read()
            assert data, f"ended: {request.headers} {request.trailers}"
            got += data
        return request

    @staticmethod
    async def end(request: http2_client.Request) -> None:
        await request.write(b"", end=True)
        assert not await request.body.read()
        assert request.trailers == grpc.OK_TRAILERS, request.trailers
        request.close()


async def _round(client: _Client, count: int, sidecars: list[harness.Sidecar]) -> None:
    before, began = _memory(sidecars), time.perf_counter()
    async with asyncio.timeout(SECONDS):
        requests = await asyncio.gather(*[client.open() for _ in range(count)])
    opened, height = time.perf_counter(), _memory(sidecars)
    assert client.connection.h2.open_streams == count
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*[client.end(request) for request in requests])
    ended = time.perf_counter()
    print(f"{count} streams: all open after {opened - began:.2f} s, ended after {ended - opened:.2f} s more")
    print(f"  memory of caller and callee in MB: {before} before, {height} with all open, {_memory(sidecars)} after")


def _memory(sidecars: list[harness.Sidecar]) -> list[int]:
    return [one.resident() // 1_000_000 for one in sidecars]


async def main(count: int, on_one: int) -> None:
    app = server.Server(
        grpc_server.Methods({b"/my.Service/Each": _echo}),
        server.Options(with_http1=False, limits=http2.Limits(streams=on_one)),
    )
    port = await app.listen("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        world = harness.World(Path(folder))
        try:
            callee = await asyncio.to_thread(world.sidecar, "callee", port, "--app-protocol", "grpc")
            caller = await asyncio.to_thread(world.sidecar, "caller")
            pool = http2_pool.Pool(dial.address, http2.Limits())
            client = _Client(await pool.connection(f"127.0.0.1:{caller.grpc}"), callee.app_id)
            for _ in range(2):
                await _round(client, count, [caller, callee])
            pool.close()
        finally:
            world.close()
            await app.stop(0)


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    uvloop.run(main(*given, *(10_000, 100_000)[len(given) :]))
