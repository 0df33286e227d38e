"""What an invocation costs two sidecars besides their sockets: both run here, joined by memory.

    python tests/benchmarks/bench_invoke.py [requests]

Prints microseconds of CPU per request for caller and callee together, with the same headers each time and
with a header that is new each time, at 16 requests in flight, and what metrics add: the same in turns without and
with them, the median of each and the difference. Compare before and after in one sitting.
"""

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable

import uvloop

from pydapr.api import internal
from pydapr.api.grpc import traced as grpc_traced
from pydapr.api.http import invoke, router
from pydapr.api.http import traced as http_traced
from pydapr.app import http as app_http
from pydapr.blocks.invoke import Invoker
from pydapr.components.nameresolution import Addresses, Instance, Resolver
from pydapr.daprd.measures import Measures
from pydapr.net import http1_server, http2_pool, http2_server
from pydapr.observe import metrics
from pydapr.observe.tracing import Tracer
from pydapr.peers import sidecar
from pydapr.resources import configuration
from pydapr.wire import http2

BODY = b"x" * 1024
IN_FLIGHT = 16


class Wire(asyncio.Transport):
    """One direction of a connection in memory: what is written arrives at `receive` in the next loop turn."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._receive = receive

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._receive, bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Fixed(Resolver):
    async def open(self) -> None: ...
    async def register(self, instance: Instance) -> None: ...

    def known(self, app_id: str, namespace: str) -> Addresses:
        return ("callee:1",)

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        return ("callee:1",)

    def report_dead(self, app_id: str, namespace: str, address: str) -> None: ...
    async def close(self) -> None: ...


ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 07:00:00 GMT\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


async def connect_app(factory: Callable[[], asyncio.Protocol]) -> object:
    protocol = factory()
    protocol.connection_made(Wire(lambda _: protocol.data_received(ANSWER)))
    return protocol


def no_url(url: str) -> app_http.HttpChannel:
    raise ValueError(url)


def measures(app_id: str) -> Measures:
    return Measures(metrics.Registry({"app_id": app_id}), configuration.Metrics())


async def build(
    measured: bool, tracer: Tracer | None = None
) -> tuple[list[http1_server.ServerConnection], "asyncio.Queue[int]"]:
    loop = asyncio.get_running_loop()
    never = Fixed()
    of_caller, of_callee = measures("caller"), measures("callee")
    unused = http2_pool.Pool(lambda address, factory: connect_app(factory), http2.Limits())
    callee = Invoker("callee", "", never, sidecar.Sidecars(unused, "callee", "", "192.0.2.1"), no_url)
    callee.app = app_http.HttpChannel(connect_app, "http://127.0.0.1:1", "127.0.0.1:1")
    if measured:
        callee.app = of_callee.channel(callee.app, "")
    around = None if tracer is None else lambda method: grpc_traced.internal(method, tracer, "callee")
    methods = internal.InternalApi(callee, 4 << 20, of_callee.services if measured else None).methods(None, around)

    async def connect_callee(address: str, factory: Callable[[], asyncio.Protocol]) -> object:
        client = factory()
        server = http2_server.ServerConnection(loop, methods, http2.Limits(), lambda _: None)
        server.h2.keeps_traces_apart = True
        server.connection_made(Wire(client.data_received))
        client.connection_made(Wire(server.data_received))
        return client

    pool = http2_pool.Pool(connect_callee, http2.Limits())
    sidecars = sidecar.Sidecars(pool, "caller", "", "192.0.2.1")
    if measured:
        sidecars.metrics = of_caller.services
    caller = Invoker("caller", "", never, sidecars, no_url)
    handler = router.Router({}, invoke.InvokeApi(caller, 4 << 20).handle)
    if measured:
        handler.metrics = of_caller.http
    answered: asyncio.Queue[int] = asyncio.Queue()
    entry = handler if tracer is None else http_traced.traced(handler, tracer)
    connections = []
    for number in range(IN_FLIGHT):
        connection = http1_server.ServerConnection(loop, entry, 8192, lambda _: None)

        def got(data: bytes, number: int = number) -> None:
            if not data.startswith(b"HTTP/1.1 200 OK") or len(data) < 1024:
                sys.exit(f"wrong answer: {data[:300]!r}")
            answered.put_nowait(number)

        connection.connection_made(Wire(got))
        connections.append(connection)
    return connections, answered


def request(extra: bytes) -> bytes:
    return (
        b"POST /v1.0/invoke/callee/method/echo HTTP/1.1\r\nHost: 127.0.0.1:3500\r\n%b"
        b"Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n%b" % (extra, BODY)
    )


async def run(count: int, make: Callable[[int], bytes], measured: bool = False, tracer: Tracer | None = None) -> float:
    connections, answered = await build(measured, tracer)
    for number in range(IN_FLIGHT):
        connections[number].data_received(make(number))
    began = time.process_time()
    for number in range(IN_FLIGHT, count):
        free = await answered.get()
        connections[free].data_received(make(number))
    spent = time.process_time() - began
    for _ in range(IN_FLIGHT):
        await answered.get()
    return spent / count * 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    same = request(b"")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(3):
            print(f"same headers      {runner.run(run(count, lambda _: same)):6.1f} us")
        new = [request(b"Traceparent: 00-%032x-%016x-01\r\n" % (n, n)) for n in range(count)]
        for _ in range(2):
            print(f"one header is new {runner.run(run(count, new.__getitem__)):6.1f} us")
        pairs = [
            (runner.run(run(count // 4, lambda _: same)), runner.run(run(count // 4, lambda _: same, measured=True)))
            for _ in range(16)
        ]
        without, with_metrics = (statistics.median(side) for side in zip(*pairs, strict=True))
        added = statistics.median(after - before for before, after in pairs)
        print(f"without metrics {without:.1f} us, with {with_metrics:.1f} us: {added:+.2f} us")


if __name__ == "__main__":
    main()
