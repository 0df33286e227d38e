"""HTTP/2 against another implementation (h2): random exchanges in both roles, in chops, within the windows."""

from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire import conftest as wire
from tests.wire.conftest import End

from pydapr.wire import frames, http2

_extra = st.lists(
    st.tuples(st.sampled_from([b"x-a", b"x-b", b"grpc-timeout"]), st.text("abc 1%", max_size=9).map(str.encode)),
    max_size=4,
)
_bodies = st.lists(st.sampled_from([0, 1, 100, 20_000, 90_000]), max_size=4)


@dataclass
class Message:
    """One side of an exchange; the body is given by the sizes of its pieces."""

    headers: http2.Headers
    sizes: list[int]
    trailers: http2.Headers | None

    @property
    def body(self) -> bytes:
        return b"".join(map(_piece, self.sizes))


def _piece(size: int) -> bytes:
    return bytes(range(1, 252)) * (size // 251) + bytes(size % 251)


def _messages(start: http2.Headers) -> st.SearchStrategy[Message]:
    def build(extra: Any, sizes: list[int], trailers: Any) -> Message:
        clean = tuple((name, value.strip()) for name, value in extra)
        return Message(start + clean, sizes, None if trailers is None else tuple(trailers))

    return st.builds(build, _extra, _bodies, st.one_of(st.none(), st.just([(b"grpc-status", b"0")])))


@dataclass
class Heard:
    """What an end has heard of one stream."""

    headers: Any = None
    body: bytes = b""
    trailers: Any = None
    ended: bool = False


@dataclass
class Oracle:
    """h2 as one end; it keeps to the windows by asking, and acknowledges all it gets."""

    client: bool
    heard: dict[int, Heard] = field(default_factory=dict)
    waiting: list[tuple[int, bytes, bool, http2.Headers | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = h2.config.H2Configuration(client_side=self.client, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
                self.heard[event.stream_id] = Heard(tuple(map(tuple, event.headers)))
            elif isinstance(event, h2.events.DataReceived):
                self.heard[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.heard[event.stream_id].trailers = tuple(map(tuple, event.headers))
            elif isinstance(event, h2.events.StreamEnded):
                self.heard[event.stream_id].ended = True
            assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated))

    def send(self, stream_id: int, message: Message) -> None:
        body = message.body
        plain = not body and message.trailers is None
        self.h2.send_headers(stream_id, list(message.headers), end_stream=plain)
        if not plain:
            self.waiting.append((stream_id, body, message.trailers is None, message.trailers))

    def send_waiting(self) -> None:
        waiting, self.waiting = self.waiting, []
        for stream_id, body, end, trailers in waiting:
            while body:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if not room:
                    self.waiting.append((stream_id, body, end, trailers))
                    break
                self.h2.send_data(stream_id, body[:room], end_stream=end and room >= len(body))
                body = body[room:]
            else:
                if trailers is not None:
                    self.h2.send_headers(stream_id, list(trailers), end_stream=True)


def _send(end: End, stream: http2.Stream, message: Message) -> None:
    for position, size in enumerate(message.sizes):
        is_last = position == len(message.sizes) - 1 and message.trailers is None
        end.connection.send_data(stream, _piece(size), is_last)
    if message.trailers is not None:
        end.connection.send_headers(stream, message.trailers, True)


def _run(ours: End, theirs: Oracle, step: int) -> None:
    """Moves bytes in chops of `step` until both are quiet; our owner reads everything at once."""
    while True:
        theirs.send_waiting()
        output = theirs.h2.data_to_send()
        for start in range(0, len(output), step):
            ours.receive(output[start : start + step])
        for stream in list(ours.connection._streams.values()):
            ours.connection.consumed(stream, stream.unread)
        if not output and not ours.connection.out:
            return
        theirs.receive(ours.connection.take_output())


def _gathered(end: End) -> dict[int, Heard]:
    heard: dict[int, Heard] = {}
    for kind, *rest in end.events:
        if kind == "available":
            continue
        stream_id = rest[0]
        assert kind != "reset"
        if kind == "headers" and isinstance(stream_id, int):
            heard[stream_id] = Heard(rest[1], ended=bool(rest[2]))
        elif kind == "data" and isinstance(stream_id, int) and isinstance(rest[1], bytes):
            heard[stream_id].body += rest[1]
            heard[stream_id].ended = bool(rest[2])
        elif kind == "trailers" and isinstance(stream_id, int):
            heard[stream_id].trailers = rest[1]
            heard[stream_id].ended = True
    return heard


def _expected(message: Message) -> Heard:
    return Heard(message.headers, message.body, message.trailers, True)


_exchanges = st.lists(st.tuples(_messages(wire.POST), _messages(wire.OK)), min_size=1, max_size=4)
_steps = st.sampled_from([61, 1000, 1 << 20])
_windows = st.sampled_from([65535, 1, 5000, 1 << 20])


@settings(max_examples=40, deadline=None)
@given(_exchanges, _steps, _windows)
def test_as_a_server_we_understand_it_and_it_understands_us(
    exchanges: list[tuple[Message, Message]], step: int, window: int
) -> None:
    ours, theirs = End(client=False), Oracle(client=True)
    ours.connection.start()
    if window > 1:
        theirs.h2.update_settings({frames.INITIAL_WINDOW_SIZE: window})
    _run(ours, theirs, 1000)
    requests = {}
    for request, answer in exchanges:
        stream_id = theirs.h2.get_next_available_stream_id()
        theirs.send(stream_id, request)
        requests[stream_id] = (request, answer)
    _run(ours, theirs, step)
    assert _gathered(ours) == {stream_id: _expected(request) for stream_id, (request, _) in requests.items()}
    for stream_id, (_, answer) in requests.items():
        plain = not answer.sizes and answer.trailers is None
        ours.connection.send_headers(ours.streams[stream_id], answer.headers, plain)
        _send(ours, ours.streams[stream_id], answer)
    _run(ours, theirs, step)
    assert theirs.heard == {stream_id: _expected(answer) for stream_id, (_, answer) in requests.items()}
    assert ours.connection.open_streams == 0 and ours.connection._unread == 0


@settings(max_examples=40, deadline=None)
@given(_exchanges, _steps)
def test_as_a_client_we_understand_it_and_it_understands_us(
    exchanges: list[tuple[Message, Message]], step: int
) -> None:
    ours, theirs = End(client=True), Oracle(client=False)
    ours.connection.start()
    _run(ours, theirs, 1000)
    answers = {}
    for request, answer in exchanges:
        plain = not request.sizes and request.trailers is None
        stream = ours.connection.open_stream(request.headers, plain, None)
        _send(ours, stream, request)
        answers[stream.id] = (request, answer)
    _run(ours, theirs, step)
    assert theirs.heard == {stream_id: _expected(request) for stream_id, (request, _) in answers.items()}
    for stream_id, (_, answer) in answers.items():
        theirs.send(stream_id, answer)
    _run(ours, theirs, step)
    assert _gathered(ours) == {stream_id: _expected(answer) for stream_id, (_, answer) in answers.items()}
    assert ours.connection.open_streams == 0 and ours.connection._unread == 0


def test_it_survives_our_reset_our_ping_and_our_goodbye() -> None:
    ours, theirs = End(client=False), Oracle(client=True)
    ours.connection.start()
    theirs.h2.send_headers(1, list(wire.POST))
    theirs.h2.ping(b"12345678")
    _run(ours, theirs, 1000)
    ours.connection.reset(ours.streams[1])
    ours.connection.ping()
    ours.connection.goaway()
    seen = [type(event).__name__ for event in theirs.h2.receive_data(ours.connection.take_output())]
    assert seen == ["StreamReset", "PingReceived", "ConnectionTerminated"]
