"""HTTP/2 between well-behaved ends: requests, answers, windows, ends of streams and connections."""

import base64

import pytest
from tests.wire import conftest as wire
from tests.wire.conftest import End

from pydapr.wire import frames, hpack, http2
from pydapr.wire.http2 import ErrorCode


def _open(client: End, server: End, end: bool = False) -> tuple[http2.Stream, http2.Stream]:
    stream = client.connection.open_stream(wire.POST, end, None)
    wire.exchange(client, server)
    server.events.clear()
    return stream, server.streams[stream.id]


def test_a_unary_exchange_arrives_in_order_and_leaves_no_stream(pair: tuple[End, End]) -> None:
    client, server = pair
    stream = client.connection.open_stream(wire.POST, False, "mine")
    assert client.connection.send_data(stream, b"question", True)
    wire.exchange(client, server)
    assert server.take_events() == [("headers", 1, wire.POST, False), ("data", 1, b"question", True)]
    answer = server.streams[1]
    server.connection.send_headers(answer, wire.OK)
    server.connection.send_data(answer, b"answer")
    server.connection.send_headers(answer, wire.TRAILERS, True)
    wire.exchange(client, server)
    assert client.take_events() == [
        ("headers", 1, wire.OK, False),
        ("data", 1, b"answer", False),
        ("trailers", 1, wire.TRAILERS),
    ]
    assert client.connection.open_streams == server.connection.open_streams == 0
    assert stream.is_closed and stream.owner == "mine"


def test_headers_alone_are_a_request_and_an_answer(pair: tuple[End, End]) -> None:
    client, server = pair
    client.connection.open_stream(hpack.encode(wire.GET), True, None)
    wire.exchange(client, server)
    assert server.take_events() == [("headers", 1, wire.GET, True)]
    server.connection.send_headers(server.streams[1], hpack.encode(wire.OK), True)
    wire.exchange(client, server)
    assert client.take_events() == [("headers", 1, wire.OK, True)]


def test_a_request_may_end_with_trailers_or_with_empty_data(pair: tuple[End, End]) -> None:
    client, server = pair
    first, _ = _open(client, server)
    second, _ = _open(client, server)
    client.connection.send_headers(first, wire.TRAILERS, True)
    client.connection.send_data(second, b"", True)
    wire.exchange(client, server)
    assert server.take_events() == [("trailers", 1, wire.TRAILERS), ("data", 3, b"", True)]


def test_trailers_of_a_request_do_not_make_its_answer_trailers(client: End) -> None:
    stream = client.connection.open_stream(wire.POST, False, None)
    client.connection.send_headers(stream, wire.TRAILERS, True)
    client.receive(wire.headers(1, wire.OK, end=True))
    assert client.take_events() == [("headers", 1, wire.OK, True)]


def test_empty_data_without_an_end_is_not_sent(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, _ = _open(client, server)
    assert client.connection.send_data(stream, b"")
    assert not client.connection.out


def test_an_answer_may_be_complete_before_the_request_is(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    server.connection.send_headers(answer, wire.OK, True)
    wire.exchange(client, server)
    assert client.take_events() == [("headers", 1, wire.OK, True)]
    assert not stream.is_closed
    client.connection.send_data(stream, b"late", True)
    wire.exchange(client, server)
    assert server.take_events() == [("data", 1, b"late", True)]
    assert stream.is_closed and answer.is_closed


def test_the_beginning_is_preface_settings_and_the_window_of_the_connection() -> None:
    end = End(client=True)
    end.connection.start()
    assert b"".join(end.connection.out).startswith(frames.PREFACE)
    (kind, _, _, payload), update = end.sent()
    values = dict(frames.settings_in(payload))
    assert kind == frames.SETTINGS
    assert values[frames.ENABLE_PUSH] == 0
    assert values[frames.INITIAL_WINDOW_SIZE] == 256 * 1024
    assert update == (frames.WINDOW_UPDATE, 0, 0, (1024 * 1024 - 65535).to_bytes(4, "big"))


def test_a_connection_window_of_the_default_size_needs_no_update() -> None:
    end = End(client=False, limits=http2.Limits(connection_window=65535))
    end.connection.start()
    [(kind, _, _, payload)] = end.sent()
    assert kind == frames.SETTINGS
    assert dict(frames.settings_in(payload))[frames.MAX_CONCURRENT_STREAMS] == 10_000


@pytest.mark.parametrize("wrong", [{"stream_window": 65534}, {"connection_window": 1}, {"frame_size": 16383}])
def test_limits_below_the_defaults_of_the_protocol_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"window|frame"):
        http2.Limits(**wrong)


def test_bytes_one_at_a_time_make_the_same_upcalls(pair: tuple[End, End]) -> None:
    stream = frames.PREFACE + wire.settings() + wire.headers(1, wire.POST) + wire.data(1, b"x" * 300, True)
    whole, chopped = End(client=False), End(client=False)
    whole.receive(stream)
    for byte in stream:
        chopped.receive(bytes((byte,)))
    assert whole.events == chopped.events != []
    assert whole.connection.take_output() == chopped.connection.take_output()


# -- windows --


def test_data_beyond_the_stream_window_waits_and_then_goes_out_in_order(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    body = bytes(range(256)) * 2048
    assert not client.connection.send_data(stream, body)
    assert not client.connection.send_data(stream, b"more")
    client.connection.send_headers(stream, wire.TRAILERS, True)
    wire.exchange(client, server)
    received = b""
    while server.events:
        for event in server.take_events():
            if event[0] == "data":
                assert isinstance(event[2], bytes)
                received += event[2]
                server.connection.consumed(answer, len(event[2]))
            else:
                assert event == ("trailers", 1, wire.TRAILERS)
        wire.exchange(client, server)
    assert received == body + b"more"
    assert client.take_events() == [("writable", 1)]


def test_the_end_of_the_stream_travels_on_the_last_frame_that_waited(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    assert not client.connection.send_data(stream, bytes(256 * 1024 + 10), True)
    wire.exchange(client, server)
    server.events.clear()
    server.connection.consumed(answer, 200 * 1024)
    wire.exchange(client, server)
    assert server.take_events() == [("data", 1, bytes(10), True)]
    assert client.take_events() == [("writable", 1)]


def test_an_end_behind_waiting_data_stays_behind_it(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    assert not client.connection.send_data(stream, bytes(256 * 1024 + 10))
    assert not client.connection.send_data(stream, b"", True)
    wire.exchange(client, server)
    server.events.clear()
    server.connection.consumed(answer, 256 * 1024)
    wire.exchange(client, server)
    assert server.take_events() == [("data", 1, bytes(10), True)]


def test_small_pieces_that_waited_leave_together(client: End) -> None:
    stream = client.connection.open_stream(wire.POST, False, None)
    client.connection.send_data(stream, bytes(65535))
    for piece in (b"a", b"bb", b"ccc"):
        assert not client.connection.send_data(stream, piece)
    client.sent()
    client.receive(frames.window_update(1, 5), frames.window_update(0, 100))
    assert client.sent() == [(frames.DATA, 0, 1, b"abbcc")]
    client.receive(frames.window_update(1, 5))
    assert client.sent() == [(frames.DATA, 0, 1, b"c")]
    assert client.take_events() == [("writable", 1)]


def test_streams_that_share_a_full_connection_window_take_turns(client: End) -> None:
    first, second = (client.connection.open_stream(wire.POST, False, None) for _ in range(2))
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 1 << 20)))
    client.connection.send_data(first, bytes(65535))
    client.connection.send_data(first, bytes(40_000))
    client.connection.send_data(second, bytes(40_000))
    client.sent()
    client.receive(frames.window_update(0, 80_000))
    assert [(stream_id, len(payload)) for _, _, stream_id, payload in client.sent()] == [
        (1, 16384),
        (3, 16384),
        (1, 16384),
        (3, 16384),
        (1, 7232),
        (3, 7232),
    ]


def test_a_receiver_that_sends_whenever_it_may_does_not_deepen_the_stack(client: End) -> None:
    streams = [client.connection.open_stream(wire.POST, False, None) for _ in range(90)]
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 1 << 20)))
    client.connection.send_data(streams[0], bytes(65535))
    for stream in streams:
        assert not client.connection.send_data(stream, b"x")
    again: list[int] = []

    def send_more(stream: http2.Stream) -> None:
        if len(again) < 5000:
            again.append(stream.id)
            client.connection.send_data(stream, b"y" * 20_000)

    client.on_writable = send_more
    client.receive(frames.window_update(0, 1 << 30))
    assert len(again) >= 90 * 50
    assert all(not stream.pending or stream.window == 0 for stream in streams)


def test_a_smaller_initial_window_may_make_windows_negative(client: End) -> None:
    stream = client.connection.open_stream(wire.POST, False, None)
    client.connection.send_data(stream, bytes(1000))
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 100)))
    assert stream.window == -900
    client.sent()
    assert not client.connection.send_data(stream, b"xy", True)
    client.receive(frames.window_update(1, 901))
    assert client.sent() == [(frames.DATA, 0, 1, b"x")]
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 200)))
    acknowledged, sent = client.sent()  # in this order: until then grpc's C core goes by the smaller window
    assert acknowledged == (frames.SETTINGS, frames.ACK, 0, b"")
    assert sent == (frames.DATA, frames.END_STREAM, 1, b"y")
    assert stream.is_closed is False and stream.ended


def test_an_empty_end_needs_no_window(client: End) -> None:
    stream = client.connection.open_stream(wire.POST, False, None)
    client.connection.send_data(stream, bytes(65535))
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 0)))
    client.sent()
    assert client.connection.send_data(stream, b"", True)
    assert client.sent() == [(frames.DATA, frames.END_STREAM, 1, b"")]


def test_trailers_after_exactly_filled_windows_need_none(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, _ = _open(client, server)
    assert client.connection.send_data(stream, bytes(256 * 1024))
    client.connection.send_headers(stream, wire.TRAILERS, True)
    wire.exchange(client, server)
    assert server.take_events()[-1] == ("trailers", 1, wire.TRAILERS)


def test_large_data_is_split_by_the_frame_size_of_the_peer(client: End) -> None:
    stream = client.connection.open_stream(wire.POST, False, None)
    client.receive(wire.settings((frames.MAX_FRAME_SIZE, 20_000)))
    client.sent()
    assert client.connection.send_data(stream, bytes(50_000), True)
    assert [(flags, len(payload)) for _, flags, _, payload in client.sent()] == [(0, 20_000), (0, 20_000), (1, 10_000)]


def test_headers_larger_than_a_frame_continue_in_further_frames(pair: tuple[End, End]) -> None:
    client, server = pair
    fields = (*wire.POST, (b"long", b"x" * 60_000))
    client.connection._frame_size = 16384
    client.connection.open_stream(fields, True, None)
    assert [(kind, flags) for kind, flags, _, _ in wire.split(b"".join(client.connection.out))] == [
        (frames.HEADERS, frames.END_STREAM),
        (frames.CONTINUATION, 0),
        (frames.CONTINUATION, 0),
        (frames.CONTINUATION, frames.END_HEADERS),
    ]
    wire.exchange(client, server)
    assert server.take_events() == [("headers", 1, fields, True)]


def test_stream_credit_is_given_back_in_batches_of_half_a_window(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    client.connection.send_data(stream, bytes(200 * 1024))
    wire.exchange(client, server)
    server.connection.consumed(answer, 100 * 1024)
    assert not server.connection.out
    server.connection.consumed(answer, 60 * 1024)
    [(kind, _, stream_id, payload)] = server.sent()
    assert (kind, stream_id, int.from_bytes(payload, "big")) == (frames.WINDOW_UPDATE, 1, 160 * 1024)


def test_no_stream_credit_is_given_for_a_request_that_has_ended(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    client.connection.send_data(stream, bytes(200 * 1024), True)
    wire.exchange(client, server)
    server.connection.consumed(answer, 1 << 30)
    assert not server.connection.out
    assert server.connection._unread == 0


def test_a_stream_that_is_reset_gives_back_the_window_its_unread_bytes_held() -> None:
    smallest = frames.DEFAULT_WINDOW
    limits = http2.Limits(stream_window=smallest, connection_window=smallest, unread=smallest)
    server = End(client=False, limits=limits)
    server.connection.start()
    server.connection.receive(frames.PREFACE + wire.settings() + wire.headers(1, wire.POST))
    server.connection.receive(wire.data(1, bytes(smallest)))
    server.connection.take_output()

    server.connection.receive(frames.rst_stream(1, ErrorCode.CANCEL))

    assert server.connection.take_output() == frames.window_update(0, smallest)


def test_connection_credit_shrinks_only_while_too_much_is_unread() -> None:
    limits = http2.Limits(connection_window=131072, unread=196608)
    server = wire.greeted(False, limits)
    server.receive(wire.headers(1, wire.POST), wire.headers(3, wire.POST))
    for stream_id in (1, 3, 1, 3):
        server.receive(wire.data(stream_id, bytes(49152)))
    # 192 KiB came and nobody read: 64 KiB were given back on receipt, no more.
    assert [payload for kind, _, _, payload in server.sent()] == [(65536).to_bytes(4, "big")]
    server.connection.consumed(server.streams[1], 98304)
    assert (frames.WINDOW_UPDATE, 0, 0) in [sent[:3] for sent in server.sent()]


def test_closing_a_stream_frees_what_its_owner_has_not_read(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    client.connection.send_data(stream, bytes(1000))
    wire.exchange(client, server)
    server.connection.reset(answer)
    assert server.connection._unread == 0
    server.connection.consumed(answer, 1000)
    assert server.connection._unread == 0


# -- resets --


def test_a_reset_reaches_the_other_side_and_silences_the_stream(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, answer = _open(client, server)
    client.connection.reset(stream)
    client.connection.reset(stream)
    server.connection.send_headers(answer, wire.OK)
    server.connection.send_data(answer, b"crossing")
    wire.exchange(client, server)
    assert server.take_events() == [("reset", 1, ErrorCode.CANCEL)]
    assert client.take_events() == []
    server.connection.send_headers(answer, wire.OK)
    assert server.connection.send_data(answer, b"unheard", True)
    assert not server.connection.out


def test_a_reset_drops_what_waited(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, _ = _open(client, server)
    client.connection.send_data(stream, bytes(2 << 20))
    client.connection.reset(stream, ErrorCode.NO_ERROR)
    wire.exchange(client, server)
    assert server.take_events()[-1] == ("reset", 1, ErrorCode.NO_ERROR)
    assert client.connection.open_streams == 0


def test_a_stream_reset_while_it_stands_in_the_queue_is_passed_over(client: End) -> None:
    first, second = (client.connection.open_stream(wire.POST, False, None) for _ in range(2))
    client.receive(wire.settings((frames.INITIAL_WINDOW_SIZE, 1 << 20)))
    client.connection.send_data(first, bytes(70_000))
    client.connection.send_data(second, b"second")
    client.connection.reset(first)
    client.sent()
    client.receive(frames.window_update(0, 100))
    assert client.sent() == [(frames.DATA, 0, 3, b"second")]


def test_an_unknown_error_code_counts_as_internal(client: End) -> None:
    client.connection.open_stream(wire.POST, False, None)
    client.receive(frames.rst_stream(1, 0xBEEF))
    assert client.take_events() == [("reset", 1, ErrorCode.INTERNAL_ERROR)]


def test_sending_after_the_end_is_our_own_mistake(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, _ = _open(client, server, end=True)
    for send in (
        lambda: client.connection.send_data(stream, b"x"),
        lambda: client.connection.send_headers(stream, wire.TRAILERS, True),
    ):
        with pytest.raises(http2.SendError, match="half-closed"):
            send()


def test_only_trailers_may_follow_waiting_data(pair: tuple[End, End]) -> None:
    client, server = pair
    stream, _ = _open(client, server)
    client.connection.send_data(stream, bytes(1 << 20))
    with pytest.raises(http2.SendError, match="trailers"):
        client.connection.send_headers(stream, wire.TRAILERS)


# -- the connection --


def test_ping_is_answered_with_the_same_bytes(pair: tuple[End, End]) -> None:
    client, server = pair
    client.connection.ping(b"12345678")
    wire.exchange(client, server)
    assert client.take_events() == [("pong", b"12345678")]


def test_a_client_opens_as_many_streams_as_the_server_lets_it() -> None:
    client = wire.greeted(True, None, (frames.MAX_CONCURRENT_STREAMS, 2))
    first = client.connection.open_stream(wire.GET, True, None)
    assert client.connection.can_open
    client.connection.open_stream(wire.GET, True, None)
    assert not client.connection.can_open
    client.receive(wire.headers(1, wire.OK, end=True))
    assert client.take_events() == [("headers", 1, wire.OK, True), ("available",)]
    assert first.is_closed and client.connection.can_open
    third = client.connection.open_stream(wire.GET, True, None)
    client.connection.reset(third)
    assert client.take_events() == [("available",)]
    client.receive(wire.settings((frames.MAX_CONCURRENT_STREAMS, 1)))
    assert client.take_events() == [("available",)]
    assert not client.connection.can_open


def test_before_the_settings_a_client_assumes_a_limit_and_then_none() -> None:
    client = End(client=True)
    for _ in range(100):
        client.connection.open_stream(wire.GET, True, None)
    assert not client.connection.can_open
    client.receive(wire.settings())
    assert client.connection.can_open
    client.receive(wire.settings((frames.MAX_CONCURRENT_STREAMS, 7)), wire.settings())
    assert not client.connection.can_open


def test_a_client_stops_when_identifiers_are_used_up(client: End) -> None:
    client.connection._next_id = 2**31 - 1
    client.connection.open_stream(wire.GET, True, None)
    assert not client.connection.can_open


def test_streams_a_server_will_not_touch_are_refused_when_it_goes_away(client: End) -> None:
    for _ in range(3):
        client.connection.open_stream(wire.GET, True, None)
    client.receive(frames.goaway(1, ErrorCode.NO_ERROR, b"bye"))
    assert client.take_events() == [
        ("reset", 3, ErrorCode.REFUSED_STREAM),
        ("reset", 5, ErrorCode.REFUSED_STREAM),
        ("goaway", 1, ErrorCode.NO_ERROR, b"bye"),
    ]
    assert not client.connection.can_open and client.connection.is_draining
    client.receive(wire.headers(1, wire.OK, end=True))
    assert client.take_events() == [("headers", 1, wire.OK, True)]


def test_a_server_that_goes_away_ends_what_it_has_and_refuses_what_comes(server: End) -> None:
    server.receive(wire.headers(1, wire.GET, end=True))
    server.connection.goaway()
    server.receive(wire.headers(3, wire.GET, end=True))
    server.connection.send_headers(server.streams[1], wire.OK, True)
    assert server.sent() == [
        (frames.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0"),
        (frames.RST_STREAM, 0, 3, b"\0\0\0\7"),
        (frames.HEADERS, 5, 1, hpack.encode(wire.OK)),
    ]


def test_a_server_told_of_the_clients_leave_keeps_its_streams(server: End) -> None:
    server.receive(wire.headers(1, wire.GET, end=True), frames.goaway(0, ErrorCode.NO_ERROR, b""))
    assert server.events[-1] == ("goaway", 0, ErrorCode.NO_ERROR, b"")
    assert server.connection.open_streams == 1


def test_a_lost_connection_resets_its_streams_and_hears_nothing_more(client: End) -> None:
    for _ in range(2):
        client.connection.open_stream(wire.GET, True, None)
    client.connection.lost()
    client.receive(wire.headers(1, wire.OK, end=True))
    assert client.take_events() == [("reset", 1, ErrorCode.INTERNAL_ERROR), ("reset", 3, ErrorCode.INTERNAL_ERROR)]


def test_an_owner_may_reset_its_other_streams_when_told_of_one(client: End) -> None:
    streams = [client.connection.open_stream(wire.POST, False, None) for _ in range(4)]
    client.on_reset = lambda stream: client.connection.reset(streams[stream.id // 2 + 1])
    client.receive(frames.goaway(3, ErrorCode.NO_ERROR, b""))
    assert client.take_events()[0] == ("reset", 5, ErrorCode.REFUSED_STREAM)
    client.connection.lost()
    assert client.take_events() == [("reset", 1, ErrorCode.INTERNAL_ERROR)]
    assert all(stream.is_closed for stream in streams)


def test_a_peer_without_a_header_table_is_told_once_that_we_have_none(client: End) -> None:
    client.receive(wire.settings((frames.HEADER_TABLE_SIZE, 0)))
    client.sent()
    for expected in (hpack.FORGET_TABLE + hpack.encode(wire.GET), hpack.encode(wire.GET)):
        client.connection.open_stream(wire.GET, True, None)
        assert client.sent()[0][3] == expected


# -- answers --


def test_informational_answers_are_passed_over(client: End) -> None:
    client.connection.open_stream(wire.GET, True, None)
    client.receive(wire.headers(1, ((b":status", b"103"),)), wire.headers(1, wire.OK, end=True))
    assert client.take_events() == [("headers", 1, wire.OK, True)]


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"304"), (b"GET", b"204")])
def test_an_answer_that_never_has_a_body_may_state_a_length(client: End, method: bytes, status: bytes) -> None:
    client.connection.open_stream(((b":method", method), *wire.GET[1:]), True, None)
    answer = ((b":status", status), (b"content-length", b"5"))
    client.receive(wire.headers(1, answer, end=True))
    assert client.take_events() == [("headers", 1, answer, True)]


def test_a_body_of_the_stated_length_is_fine(server: End) -> None:
    server.receive(wire.headers(1, (*wire.POST, (b"content-length", b"4"))))
    server.receive(wire.data(1, b"ab"), wire.data(1, b"cd"), wire.headers(1, wire.TRAILERS, end=True))
    assert server.events[-1] == ("trailers", 1, wire.TRAILERS)


def test_padding_and_priority_are_taken_off_and_padding_counts_for_the_windows(server: End) -> None:
    block = hpack.encode(wire.POST)
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITIZED
    server.receive(wire.frame(frames.HEADERS, flags, 1, b"\2" + bytes(5) + block + bytes(2)))
    server.receive(wire.frame(frames.HEADERS, frames.END_HEADERS | frames.PRIORITIZED, 3, bytes(5) + block))
    server.receive(wire.frame(frames.DATA, frames.PADDED, 1, b"\3abc\0\0\0"))
    assert server.take_events() == [
        ("headers", 1, wire.POST, False),
        ("headers", 3, wire.POST, False),
        ("data", 1, b"abc", False),
    ]
    assert server.streams[1].credit == 256 * 1024 - 7
    server.connection.consumed(server.streams[1], 3)
    assert server.streams[1].unread == 0


def test_frames_we_do_not_know_and_priorities_are_passed_over(server: End) -> None:
    server.receive(wire.frame(0x42, 0xFF, 5, b"whatever"), wire.frame(frames.PRIORITY, 0, 9, bytes(5)))
    server.receive(wire.settings((0x4242, 1)), wire.frame(frames.SETTINGS, frames.ACK, 0))
    assert server.take_events() == []
    assert server.sent_kinds() == [frames.SETTINGS]


def test_the_reserved_bit_of_a_stream_identifier_is_ignored(server: End) -> None:
    server.receive(wire.headers(0x8000_0001, wire.GET, end=True))
    assert server.take_events() == [("headers", 1, wire.GET, True)]


# -- upgrades --


def _upgrade(server: End, *values: tuple[int, int]) -> http2.Stream:
    field = base64.urlsafe_b64encode(frames.settings(values)[9:]).rstrip(b"=")
    return server.connection.start_upgraded(field, "request")


def test_an_upgraded_request_is_stream_one_and_answered_within_the_settings_it_came_with() -> None:
    server = End(client=False)
    stream = _upgrade(server, (frames.INITIAL_WINDOW_SIZE, 3))
    assert (stream.id, stream.owner) == (1, "request")
    server.connection.send_headers(stream, wire.OK)
    assert not server.connection.send_data(stream, b"12345", True)
    assert server.sent_kinds() == [frames.SETTINGS, frames.WINDOW_UPDATE, frames.HEADERS, frames.DATA]
    server.receive(frames.PREFACE, wire.settings(), frames.window_update(1, 2))
    assert server.sent()[-1] == (frames.DATA, frames.END_STREAM, 1, b"45")
    server.receive(wire.headers(3, wire.GET, end=True))
    assert server.events[-1] == ("headers", 3, wire.GET, True)


@pytest.mark.parametrize("field", [b"a", b"AAAA", b"\xff\xfe"])
def test_settings_of_an_upgrade_that_are_not_valid_are_refused(field: bytes) -> None:
    server = End(client=False)
    with pytest.raises(http2.ProtocolError):
        server.connection.start_upgraded(field, None)
    assert not server.connection.out
