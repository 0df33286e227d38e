"""Peers that break the rules, or keep them and mean harm: each ends its own stream or connection, with its code."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire import conftest as wire
from tests.wire.conftest import End

from pydapr.wire import frames, hpack, http2
from pydapr.wire.http2 import ErrorCode

_BLOCK = hpack.encode(wire.GET)
_NUMBER = (1).to_bytes(4, "big")


# -- mistakes that cost the connection --


@pytest.mark.parametrize(
    ("bytes_sent", "code"),
    {
        "DATA on stream 0": (wire.data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
        "DATA on an idle stream": (wire.data(5, b"x"), ErrorCode.PROTOCOL_ERROR),
        "DATA with too much padding": (
            wire.headers(1, wire.POST) + wire.frame(frames.DATA, frames.PADDED, 1, b"\3ab"),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "DATA padded and empty": (
            wire.headers(1, wire.POST) + wire.frame(frames.DATA, frames.PADDED, 1),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "HEADERS on stream 0": (wire.headers(0, wire.GET), ErrorCode.PROTOCOL_ERROR),
        "HEADERS on stream 0 without end": (wire.frame(frames.HEADERS, 0, 0, _BLOCK), ErrorCode.PROTOCOL_ERROR),
        "HEADERS on an even stream": (wire.headers(2, wire.GET), ErrorCode.PROTOCOL_ERROR),
        "HEADERS too short for a priority": (
            wire.frame(frames.HEADERS, frames.END_HEADERS | frames.PRIORITIZED, 1, b"abc"),
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "HEADERS that do not decode": (
            wire.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x80"),
            ErrorCode.COMPRESSION_ERROR,
        ),
        "HEADERS of a stream that was passed over": (
            wire.headers(5, wire.GET) + wire.headers(3, wire.GET),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "PRIORITY of the wrong size": (wire.frame(frames.PRIORITY, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
        "PRIORITY on stream 0": (wire.frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
        "RST_STREAM of the wrong size": (wire.frame(frames.RST_STREAM, 0, 1, b"x"), ErrorCode.FRAME_SIZE_ERROR),
        "RST_STREAM on stream 0": (frames.rst_stream(0, 0), ErrorCode.PROTOCOL_ERROR),
        "RST_STREAM on an idle stream": (frames.rst_stream(1, 0), ErrorCode.PROTOCOL_ERROR),
        "SETTINGS on a stream": (wire.frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        "SETTINGS of the wrong size": (wire.frame(frames.SETTINGS, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
        "SETTINGS acknowledged with content": (
            wire.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)),
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "SETTINGS with an impossible push": (wire.settings((2, 2)), ErrorCode.PROTOCOL_ERROR),
        "SETTINGS with an impossible window": (wire.settings((4, 1 << 31)), ErrorCode.FLOW_CONTROL_ERROR),
        "SETTINGS with too small a frame": (wire.settings((5, 16383)), ErrorCode.PROTOCOL_ERROR),
        "SETTINGS with too large a frame": (wire.settings((5, 1 << 24)), ErrorCode.PROTOCOL_ERROR),
        "SETTINGS that overflow a window": (
            wire.headers(1, wire.POST) + frames.window_update(1, 1000) + wire.settings((4, (1 << 31) - 1)),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        "PUSH_PROMISE": (wire.frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        "PING on a stream": (wire.frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        "PING of the wrong size": (wire.frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        "GOAWAY on a stream": (wire.frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        "GOAWAY too short": (wire.frame(frames.GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        "WINDOW_UPDATE of the wrong size": (
            wire.frame(frames.WINDOW_UPDATE, 0, 0, b"x"),
            ErrorCode.FRAME_SIZE_ERROR,
        ),
        "WINDOW_UPDATE on an idle stream": (frames.window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
        "WINDOW_UPDATE of nothing": (frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
        "WINDOW_UPDATE beyond the largest window": (
            frames.window_update(0, (1 << 31) - 1),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        "CONTINUATION of nothing": (wire.frame(frames.CONTINUATION, 4, 1, _BLOCK), ErrorCode.PROTOCOL_ERROR),
        "CONTINUATION of another stream": (
            wire.frame(frames.HEADERS, 0, 1, _BLOCK) + wire.frame(frames.CONTINUATION, 4, 3),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "CONTINUATION that is interrupted": (
            wire.frame(frames.HEADERS, 0, 1, _BLOCK) + wire.frame(frames.PING, 0, 0, bytes(8)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a frame larger than announced": (wire.frame(frames.DATA, 0, 1, bytes(65537))[:9], ErrorCode.FRAME_SIZE_ERROR),
    }.values(),
)
def test_breaking_a_rule_of_the_connection_ends_it(server: End, bytes_sent: bytes, code: ErrorCode) -> None:
    assert wire.dies(server, bytes_sent) == code


def test_a_server_may_not_push_nor_switch_it_on_nor_open_streams(client: End) -> None:
    assert wire.dies(client, wire.settings((2, 1))) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("stream_id", [1, 2])
def test_an_answer_without_a_request_ends_the_connection(client: End, stream_id: int) -> None:
    assert wire.dies(client, wire.headers(stream_id, wire.OK)) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "beginning", [b"GET / HTTP/1.1\r\n", b"P0", frames.PREFACE[:-1] + b"\r", frames.PREFACE + frames.ping(bytes(8), 0)]
)
def test_a_client_that_begins_with_something_else_is_sent_away(beginning: bytes) -> None:
    assert wire.dies(End(client=False), beginning) == ErrorCode.PROTOCOL_ERROR


def test_a_server_whose_first_frame_is_an_acknowledgement_is_left() -> None:
    assert wire.dies(End(client=True), frames.SETTINGS_ACK) == ErrorCode.PROTOCOL_ERROR


def test_the_death_of_a_connection_resets_its_streams(server: End) -> None:
    server.receive(wire.headers(1, wire.POST))
    wire.dies(server, wire.data(0, b"x"))
    assert server.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)
    server.receive(wire.headers(3, wire.POST))
    assert server.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)


# -- mistakes that cost the stream --


def _fails(end: End, code: ErrorCode, *pieces: bytes) -> None:
    """The last piece ends stream 1 and nothing else."""
    end.receive(*pieces)
    assert (frames.RST_STREAM, 0, 1, int(code).to_bytes(4, "big")) in end.sent()
    assert end.connection.open_streams == 0


@pytest.mark.parametrize(
    ("pieces", "code"),
    {
        "DATA after the end": ((wire.headers(1, wire.GET, True), wire.data(1, b"x")), ErrorCode.STREAM_CLOSED),
        "HEADERS after the end": (
            (wire.headers(1, wire.GET, True), wire.headers(1, wire.TRAILERS, True)),
            ErrorCode.STREAM_CLOSED,
        ),
        "trailers that do not end": (
            (wire.headers(1, wire.POST), wire.headers(1, wire.TRAILERS)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "trailers with pseudo header fields": (
            (wire.headers(1, wire.POST), wire.headers(1, wire.GET, True)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "trailers that are too large": (
            (wire.headers(1, wire.POST), wire.headers(1, ((b"n", b"v" * 65_510),), True)),
            ErrorCode.ENHANCE_YOUR_CALM,
        ),
        "more body than stated": (
            (wire.headers(1, (*wire.POST, (b"content-length", b"1"))), wire.data(1, b"xy")),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "less body than stated": (
            (wire.headers(1, (*wire.POST, (b"content-length", b"3"))), wire.data(1, b"xy", True)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "trailers before all of the body": (
            (wire.headers(1, (*wire.POST, (b"content-length", b"3"))), wire.headers(1, wire.TRAILERS, True)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a window update of nothing": (
            (wire.headers(1, wire.POST), frames.window_update(1, 0)),
            ErrorCode.PROTOCOL_ERROR,
        ),
        "a window beyond the largest": (
            (wire.headers(1, wire.POST), frames.window_update(1, (1 << 31) - 1)),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        "DATA beyond the window": (
            (wire.headers(1, wire.POST), *[wire.data(1, bytes(65536))] * 5),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
    }.values(),
)
def test_breaking_a_rule_of_a_stream_ends_the_stream(server: End, pieces: tuple[bytes, ...], code: ErrorCode) -> None:
    _fails(server, code, *pieces)
    assert server.events[-1] == ("reset", 1, code)


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        (wire.GET[1:], True),
        (wire.TRAILERS, True),
        ((*wire.POST, (b"content-length", b"5")), True),
    ],
)
def test_a_malformed_request_is_refused_before_anyone_hears_of_it(
    server: End, headers: http2.Headers, end: bool
) -> None:
    _fails(server, ErrorCode.PROTOCOL_ERROR, wire.headers(1, headers, end))
    assert not server.events


def test_a_request_with_too_large_headers_is_refused_and_the_tables_stay_in_step(server: End) -> None:
    block = b"\x40\x01a\x01b" + hpack.encode(((b"n", b"v" * 65_400), (b"m", b"w" * 500)))
    first = wire.frame(frames.HEADERS, 0, 1, block[:60_000])
    _fails(server, ErrorCode.ENHANCE_YOUR_CALM, first, wire.frame(frames.CONTINUATION, 4, 1, block[60_000:]))
    server.receive(wire.frame(frames.HEADERS, 5, 3, _BLOCK + b"\xbe"))
    assert server.events == [("headers", 3, (*wire.GET, (b"a", b"b")), True)]


@pytest.mark.parametrize(
    "pieces",
    [
        (wire.data(1, b"x"),),
        (wire.headers(1, ((b":status", b"100"),), True),),
        (wire.headers(1, ((b":status", b"101"),)),),
        (wire.headers(1, wire.TRAILERS, True),),
        (wire.headers(1, (*wire.OK, (b"content-length", b"5")), True),),
        (wire.headers(1, wire.OK), wire.headers(1, wire.OK, True)),
    ],
)
def test_a_malformed_answer_ends_its_stream(client: End, pieces: tuple[bytes, ...]) -> None:
    client.connection.open_stream(wire.GET, True, None)
    _fails(client, ErrorCode.PROTOCOL_ERROR, *pieces)
    assert client.events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR)


def test_more_streams_than_announced_are_refused() -> None:
    server = wire.greeted(False, http2.Limits(streams=1))
    server.receive(wire.headers(1, wire.GET, True), wire.headers(3, wire.GET, True))
    assert server.sent() == [(frames.RST_STREAM, 0, 3, b"\0\0\0\7")]
    assert server.events == [("headers", 1, wire.GET, True)]


def test_data_beyond_the_connection_window_ends_the_connection() -> None:
    server = wire.greeted(False, http2.Limits(connection_window=65535, unread=65535))
    server.receive(wire.headers(1, wire.POST), wire.headers(3, wire.POST), wire.data(1, bytes(65535)))
    assert wire.dies(server, wire.data(3, b"x")) == ErrorCode.FLOW_CONTROL_ERROR


# -- frames for streams that are gone --


def test_frames_on_a_stream_that_we_reset_are_passed_over_and_credited(server: End) -> None:
    server.receive(wire.headers(1, wire.POST))
    server.connection.reset(server.streams[1])
    server.take_events()
    server.receive(*[wire.data(1, bytes(65536))] * 9)
    server.receive(wire.headers(1, wire.TRAILERS, True), frames.window_update(1, 1), frames.rst_stream(1, 8))
    assert server.take_events() == []
    assert server.sent_kinds() == [frames.RST_STREAM, frames.WINDOW_UPDATE]


def test_the_record_of_resets_is_bounded_and_forgetting_is_kind(server: End) -> None:
    for stream_id in range(1, 4001, 2):
        server.receive(wire.headers(stream_id, wire.POST))
        server.connection.reset(server.streams[stream_id])
    assert len(server.connection._was_reset) == 1000
    server.receive(wire.data(1, b"x"), wire.data(3999, b"x"))


@pytest.mark.parametrize("late", [wire.data(1, b"x"), wire.headers(1, wire.TRAILERS, True)])
def test_frames_on_a_stream_that_the_peer_ended_end_the_connection(server: End, late: bytes) -> None:
    server.receive(wire.headers(1, wire.GET, True))
    server.connection.send_headers(server.streams[1], wire.OK, True)
    server.receive(frames.window_update(1, 1), frames.rst_stream(1, 0))
    assert wire.dies(server, late) == ErrorCode.STREAM_CLOSED


# -- floods --


def _flood(end: End, frame: bytes, count: int) -> ErrorCode:
    """Sends `frame` until the connection dies; answers as `dies`. Output is taken all the time."""
    for _ in range(count):
        try:
            end.connection.receive(frame)
        except http2.ProtocolError as error:
            return error.code
        end.connection.take_output()
    raise AssertionError("survived")


def test_rapid_reset_ends_the_connection(server: End) -> None:
    with pytest.raises(http2.ProtocolError) as caught:
        for stream_id in range(1, 40_000, 2):
            server.receive(wire.headers(stream_id, wire.GET, True), frames.rst_stream(stream_id, 8))
            server.connection.take_output()
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_making_us_reset_ends_the_connection_as_well() -> None:
    server = wire.greeted(False, http2.Limits(resets=100))
    with pytest.raises(http2.ProtocolError) as caught:
        for stream_id in range(1, 400, 2):
            server.receive(wire.headers(stream_id, wire.POST), frames.window_update(stream_id, 0))
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_requests_given_up_among_many_completed_are_fine() -> None:
    server = wire.greeted(False, http2.Limits(resets=10))
    for stream_id in range(1, 4000, 4):
        server.receive(wire.headers(stream_id, wire.GET, True), frames.rst_stream(stream_id, 8))
        server.receive(wire.headers(stream_id + 2, wire.GET, True))
        server.connection.send_headers(server.streams[stream_id + 2], wire.OK, True)


def test_giving_up_an_answer_that_has_begun_is_not_held_against_the_client() -> None:
    server = wire.greeted(False, http2.Limits(resets=10))
    for stream_id in range(1, 400, 2):
        server.receive(wire.headers(stream_id, wire.GET, True))
        server.connection.send_headers(server.streams[stream_id], wire.OK)
        server.receive(frames.rst_stream(stream_id, 8))


def test_time_forgives() -> None:
    server = wire.greeted(False, http2.Limits(resets=10, debt=10))
    for stream_id in range(1, 400, 2):
        server.receive(wire.headers(stream_id, wire.GET, True), frames.rst_stream(stream_id, 8))
        server.receive(wire.frame(frames.PRIORITY, 0, 1, bytes(5)))
        server.connection.forgive()


@pytest.mark.parametrize("payload", [b"", b"x" * 4000])
def test_a_header_block_without_end_ends_the_connection(server: End, payload: bytes) -> None:
    server.receive(wire.frame(frames.HEADERS, 0, 1, _BLOCK))
    assert _flood(server, wire.frame(frames.CONTINUATION, 0, 1, payload), 70) == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("frame", [frames.ping(bytes(8), 0), wire.settings()])
def test_asking_for_answers_and_not_reading_them_ends_the_connection(server: End, frame: bytes) -> None:
    assert wire.dies(server, frame * 5000) == ErrorCode.ENHANCE_YOUR_CALM


def test_asking_for_answers_and_reading_them_is_fine(server: End) -> None:
    for _ in range(20):
        server.receive(frames.ping(bytes(8), 0) * 4000)
        server.connection.take_output()


@pytest.mark.parametrize(
    "frame",
    [
        wire.data(1, b""),
        wire.frame(frames.DATA, frames.PADDED, 1, b"\1\0"),
        wire.data(3, b"x"),
        wire.headers(3, wire.TRAILERS, True),
        frames.rst_stream(3, 8),
        frames.window_update(0, 1),
        frames.window_update(1, 1),
        frames.SETTINGS_ACK,
        frames.ping(bytes(8), frames.ACK),
        frames.goaway(0, 0, b""),
        wire.frame(frames.PRIORITY, 0, 1, bytes(5)),
        wire.frame(0x77, 0, 1, b""),
        wire.settings((frames.INITIAL_WINDOW_SIZE, 1)) + wire.settings((frames.INITIAL_WINDOW_SIZE, 2)),
    ],
)
def test_frames_without_use_end_the_connection_in_the_end(server: End, frame: bytes) -> None:
    server.receive(wire.headers(1, wire.POST), wire.headers(3, wire.POST))
    server.connection.reset(server.streams[3])
    assert _flood(server, frame, 10_001) == ErrorCode.ENHANCE_YOUR_CALM


def test_informational_answers_without_end_end_the_connection(client: End) -> None:
    client.connection.open_stream(wire.GET, True, None)
    assert _flood(client, wire.headers(1, ((b":status", b"103"),)), 10_001) == ErrorCode.ENHANCE_YOUR_CALM


def test_updates_of_windows_for_what_is_sent_are_fine(server: End) -> None:
    server.receive(wire.headers(1, wire.POST))
    for _ in range(20_000):
        server.connection.send_data(server.streams[1], b"x" * 1000)
        server.receive(frames.window_update(0, 1000), frames.window_update(1, 1000))
        server.connection.take_output()


def test_a_window_opened_byte_by_byte_costs_a_frame_each_and_no_copies_of_the_rest(server: End) -> None:
    server.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 0)), wire.headers(1, wire.GET, True))
    stream = server.streams[1]
    body = random.Random(1).randbytes(1 << 20)
    assert not server.connection.send_data(stream, body)
    server.sent()
    for position in range(1000):
        server.receive(frames.window_update(1, 1))
        assert server.sent() == [(frames.DATA, 0, 1, body[position : position + 1])]
    assert stream.pending is not None and stream.pending[0] is body


def test_a_connection_window_opened_byte_by_byte_wakes_only_whom_it_feeds(server: End) -> None:
    server.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 0)))
    for stream_id in range(1, 2000, 2):
        server.receive(wire.headers(stream_id, wire.GET, True))
        server.connection.send_data(server.streams[stream_id], b"x" * 100)
    assert not server.connection._ready
    server.connection.take_output()
    server.receive(frames.window_update(0, 1), frames.window_update(5, 1))
    assert server.sent() == [(frames.DATA, 0, 5, b"x")]


# -- anything at all --

_frame_like = st.builds(
    wire.frame,
    st.integers(0, 10),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 5, 2, 0x8000_0001]),
    st.one_of(
        st.binary(max_size=20),
        st.just(_BLOCK),
        st.sampled_from([bytes(4), _NUMBER, bytes(8), b"\0\4\0\0\0\1", hpack.encode(wire.OK)]),
    ),
)


@given(st.booleans(), st.lists(st.one_of(_frame_like, st.binary(max_size=30)), max_size=12))
def test_garbage_raises_nothing_but_a_protocol_error(is_client: bool, pieces: list[bytes]) -> None:
    end = wire.greeted(is_client)
    if is_client:
        for _ in range(2):
            end.connection.open_stream(wire.POST, False, None)
    try:
        for piece in pieces:
            end.receive(piece)
            for stream in list(end.connection._streams.values()):
                end.connection.consumed(stream, stream.unread)
    except http2.ProtocolError:
        assert end.connection.open_streams == 0
    assert end.connection._unread == 0


@given(st.lists(_frame_like, max_size=10), st.data())
def test_chopping_changes_nothing(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    whole, chopped = wire.greeted(False), wire.greeted(False)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    deaths: list[ErrorCode | None] = []
    for end, edges in ((whole, []), (chopped, cuts)):
        try:
            for start, stop in zip([0, *edges], [*edges, len(stream)], strict=True):
                end.receive(stream[start:stop])
            deaths.append(None)
        except http2.ProtocolError as error:
            deaths.append(error.code)
    assert deaths[0] == deaths[1]
    assert whole.events == chopped.events
    assert whole.connection.take_output() == chopped.connection.take_output()
