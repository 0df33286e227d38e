"""What `wire.http2` and `wire.hpack` cost: a unary gRPC exchange over both sides, and a header block.

Run it: `python tests/benchmarks/bench_wire_http2.py`. It prints and asserts nothing. The last accepted run, on 2
shared cores with CPython 3.11, in microseconds: unary 9.8 one by one and 8.6 in batches, 17 with a new
traceparent each time; blocks 0.1 hit, 1.3 miss with a known beginning, 5.6 miss with an inserted Huffman string.
"""

import time
from collections.abc import Callable

import hpack as oracle

from pydapr.wire import grpc, hpack, http2

REQUEST: http2.Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/dapr.proto.internals.v1.ServiceInvocation/CallLocal"),
    (b":authority", b"127.0.0.1:50002"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"user-agent", b"pydapr/0.1"),
    (b"dapr-app-id", b"orders"),
)
RESPONSE: http2.Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
REQUEST_BLOCK = hpack.encode(REQUEST)
RESPONSE_BLOCK = hpack.encode(RESPONSE)
MESSAGE = grpc.frame(b"x" * 1024)


class Echo:
    """A receiver for both sides: the server answers what it got, the client counts."""

    def __init__(self) -> None:
        self.connection: http2.Connection
        self.finished = 0

    def headers_received(self, stream: http2.Stream, headers: http2.Headers, end_stream: bool) -> None:
        pass

    def body_received(self, stream: http2.Stream, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.connection.send_headers(stream, RESPONSE_BLOCK)
            self.connection.send_data(stream, data)
            self.connection.send_headers(stream, grpc.OK_TRAILERS_BLOCK, True)

    def trailers_received(self, stream: http2.Stream, headers: http2.Headers) -> None:
        self.finished += 1

    def stream_reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        raise AssertionError(code)

    def stream_writable(self, stream: http2.Stream) -> None:
        pass

    def going_away(self, last_stream_id: int, code: http2.ErrorCode, debug: bytes) -> None:
        pass

    def pong_received(self, payload: bytes) -> None:
        pass

    def streams_available(self) -> None:
        pass


def pair() -> tuple[http2.Connection, http2.Connection, Echo]:
    caller, callee = Echo(), Echo()
    caller.connection = http2.Connection(caller, client=True)
    callee.connection = http2.Connection(callee, client=False)
    client, server = caller.connection, callee.connection
    client.start()
    server.start()
    server.receive(client.take_output())
    client.receive(server.take_output())
    server.receive(client.take_output())
    return client, server, caller


def unary(count: int, batch: int, headers: Callable[[int], http2.Headers | bytes]) -> float:
    """Microseconds per exchange, `batch` of them in each turn of the loop."""
    client, server, caller = pair()
    blocks = [headers(number) for number in range(count)]
    began = time.perf_counter()
    for start in range(0, count, batch):
        for block in blocks[start : start + batch]:
            stream = client.open_stream(block, False, None)
            client.send_data(stream, MESSAGE, True)
        server.receive(client.take_output())
        client.receive(server.take_output())
        if server.out or client.out:
            server.receive(client.take_output())
            client.receive(server.take_output())
    elapsed = time.perf_counter() - began
    assert caller.finished == count
    return elapsed / count * 1e6


def traced(number: int) -> http2.Headers:
    """The request with a field whose value is new each time."""
    return (*REQUEST, (b"traceparent", b"00-%032x-%016x-01" % (number, number)))


def upload(frame_size: int, total: int = 64 * 1024 * 1024) -> float:
    """MB/s of one large body, both sides."""
    client, server, _ = pair()
    stream = client.open_stream(REQUEST_BLOCK, False, None)
    server.receive(client.take_output())
    [peer] = server._streams.values()
    piece = bytes(frame_size)
    began = time.perf_counter()
    for _ in range(total // frame_size):
        if not client.send_data(stream, piece):
            while stream.pending:
                server.receive(client.take_output())
                server.consumed(peer, peer.unread)
                client.receive(server.take_output())
    return total / 1e6 / (time.perf_counter() - began)


def each(count: int, call: Callable[[int], object]) -> float:
    began = time.perf_counter()
    for number in range(count):
        call(number)
    return (time.perf_counter() - began) / count * 1e6


def report(name: str, value: float, unit: str = "us") -> None:
    print(f"{name:58} {value:9.2f} {unit}")


def main() -> None:
    """Prints; ratios matter, not the numbers."""
    report("unary, same headers, one by one", unary(50_000, 1, lambda _: REQUEST_BLOCK))
    report("unary, same headers, 16 in a turn", unary(50_000, 16, lambda _: REQUEST_BLOCK))
    report("unary, same fields encoded each time, one by one", unary(50_000, 1, lambda _: REQUEST))
    report("unary, a new traceparent each time, one by one", unary(50_000, 1, traced))
    decoder = hpack.Decoder()
    block = hpack.encode(REQUEST)
    report("block: hit", each(200_000, lambda _: decoder.decode(block)))
    fresh = [hpack.encode(traced(number)) for number in range(20_000)]
    report("block: miss, 9 literal fields", each(20_000, lambda number: decoder.decode(fresh[number])))
    encoder = oracle.Encoder()
    inserting = [encoder.encode(traced(number)) for number in range(20_000)]
    decoder = hpack.Decoder()
    report(
        "block: miss, 8 indexed and 1 inserted",
        each(20_000, lambda number: decoder.decode(inserting[number])),
    )
    report("block: encode, 8 fields met before", each(200_000, lambda _: hpack.encode(REQUEST)))
    report("upload in pieces of 16 KB", upload(16 * 1024), "MB/s")
    report("upload in pieces of 64 KB", upload(64 * 1024), "MB/s")


if __name__ == "__main__":
    main()
