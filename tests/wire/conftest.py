"""An end of a connection that writes down what it is told, and frames made by hand."""

from collections.abc import Callable
from struct import pack

import pytest

from pydapr.wire import frames, hpack, http2

GET: http2.Headers = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"here"))
POST: http2.Headers = ((b":method", b"POST"), *GET[1:])
OK: http2.Headers = ((b":status", b"200"),)
TRAILERS: http2.Headers = ((b"grpc-status", b"0"),)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return pack(">I", len(payload))[1:] + bytes((kind, flags)) + pack(">I", stream_id) + payload


def headers(stream_id: int, fields: http2.Headers, end: bool = False) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | end, stream_id, hpack.encode(fields))


def data(stream_id: int, payload: bytes, end: bool = False) -> bytes:
    return frame(frames.DATA, int(end), stream_id, payload)


def settings(*values: tuple[int, int]) -> bytes:
    return frames.settings(values)


class End:
    """A connection together with the receiver that records its upcalls."""

    def __init__(self, client: bool, limits: http2.Limits | None = None) -> None:
        self.events: list[tuple[object, ...]] = []
        self.streams: dict[int, http2.Stream] = {}
        self.on_writable: Callable[[http2.Stream], None] = lambda stream: None
        self.on_reset: Callable[[http2.Stream], None] = lambda stream: None
        self.connection = http2.Connection(self, client=client, limits=limits or http2.Limits())

    def headers_received(self, stream: http2.Stream, headers: http2.Headers, end_stream: bool) -> None:
        self.streams[stream.id] = stream
        self.events.append(("headers", stream.id, headers, end_stream))

    def body_received(self, stream: http2.Stream, data: bytes, end_stream: bool) -> None:
        self.events.append(("data", stream.id, data, end_stream))

    def trailers_received(self, stream: http2.Stream, headers: http2.Headers) -> None:
        self.events.append(("trailers", stream.id, headers))

    def stream_reset(self, stream: http2.Stream, code: http2.ErrorCode) -> None:
        self.events.append(("reset", stream.id, code))
        self.on_reset(stream)

    def stream_writable(self, stream: http2.Stream) -> None:
        self.events.append(("writable", stream.id))
        self.on_writable(stream)

    def going_away(self, last_stream_id: int, code: http2.ErrorCode, debug: bytes) -> None:
        self.events.append(("goaway", last_stream_id, code, debug))

    def pong_received(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def streams_available(self) -> None:
        self.events.append(("available",))

    def receive(self, *pieces: bytes) -> None:
        self.connection.receive(b"".join(pieces))

    def take_events(self) -> list[tuple[object, ...]]:
        events, self.events = self.events, []
        return events

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Takes the output, as (type, flags, stream, payload)."""
        return split(self.connection.take_output())

    def sent_kinds(self) -> list[int]:
        return [kind for kind, _, _, _ in self.sent()]


def split(output: bytes) -> list[tuple[int, int, int, bytes]]:
    output = output.removeprefix(frames.PREFACE)
    found = []
    while output:
        size = int.from_bytes(output[:3], "big")
        stream_id = int.from_bytes(output[5:9], "big")
        found.append((output[3], output[4], stream_id, output[9 : 9 + size]))
        output = output[9 + size :]
    return found


def greeted(client: bool, limits: http2.Limits | None = None, *values: tuple[int, int]) -> End:
    """An end whose peer has said hello with these settings; its own hello has been taken."""
    end = End(client, limits)
    end.connection.start()
    end.receive(b"" if client else frames.PREFACE, settings(*values))
    end.connection.take_output()
    end.events.clear()
    return end


def dies(end: End, *pieces: bytes) -> http2.ErrorCode:
    """Feeds what must end the connection; answers the code in the exception, which GOAWAY must carry too."""
    with pytest.raises(http2.ProtocolError) as caught:
        end.receive(*pieces)
    kind, _, stream_id, payload = end.sent()[-1]
    assert (kind, stream_id) == (frames.GOAWAY, 0)
    assert int.from_bytes(payload[4:8], "big") == caught.value.code
    assert end.connection.open_streams == 0
    return caught.value.code


@pytest.fixture
def server() -> End:
    return greeted(client=False)


@pytest.fixture
def client() -> End:
    return greeted(client=True)


@pytest.fixture
def pair() -> tuple[End, End]:
    """A client and a server that have said hello to each other."""
    client, server = End(True), End(False)
    client.connection.start()
    server.connection.start()
    exchange(client, server)
    client.events.clear()
    server.events.clear()
    return client, server


def exchange(client: End, server: End) -> None:
    """Moves bytes until both are quiet."""
    while client.connection.out or server.connection.out:
        server.connection.receive(client.connection.take_output())
        client.connection.receive(server.connection.take_output())
