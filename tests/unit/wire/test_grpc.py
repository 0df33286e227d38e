"""gRPC's framing, status, timeouts and binary metadata."""

import gzip
import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.errors import Code, RpcError
from pydapr.wire import grpc
from pydapr.wire.frames import ErrorCode
from pydapr.wire.grpc import MessageReader, Status


def _fails(reader: MessageReader, data: bytes) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        reader.feed(data)
    return caught.value.code, caught.value.message


# -- messages --


def test_a_message_has_a_prefix_of_five_bytes() -> None:
    assert grpc.frame(b"abc") == b"\0\0\0\0\3abc"
    assert grpc.frame(b"", compressed=True) == b"\1\0\0\0\0"


def test_a_whole_message_in_one_piece_is_read_at_once() -> None:
    reader = MessageReader(100)
    assert reader.feed(grpc.frame(b"abc")) == [b"abc"]
    assert reader.feed(grpc.frame(b"")) == [b""]
    assert not reader.incomplete


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
def test_messages_arrive_however_they_are_chopped(messages: list[bytes], step: int) -> None:
    reader = MessageReader(40)
    stream = b"".join(map(grpc.frame, messages))
    read = []
    for start in range(0, len(stream), step):
        read += reader.feed(stream[start : start + step])
    assert read == messages
    assert not reader.incomplete


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0\0\1", b"\0\0\0\0\3ab"])
def test_a_message_cut_off_is_incomplete(rest: bytes) -> None:
    reader = MessageReader(100)
    assert reader.feed(grpc.frame(b"abc") + rest) == [b"abc"]
    assert reader.incomplete


def test_a_message_that_is_too_large_is_refused_by_its_prefix() -> None:
    assert _fails(MessageReader(4), b"\0\0\0\0\5") == (
        Code.RESOURCE_EXHAUSTED,
        "grpc: received message larger than max (5 vs. 4)",
    )
    assert _fails(MessageReader(4), grpc.frame(b"12345"))[0] == Code.RESOURCE_EXHAUSTED
    assert MessageReader(4).feed(grpc.frame(b"1234")) == [b"1234"]


def test_an_unknown_payload_format_is_refused() -> None:
    expected = (Code.INTERNAL, "grpc: received unexpected payload format 2")
    assert _fails(MessageReader(4), b"\2\0\0\0\1x") == expected


def test_gzip_is_taken_off() -> None:
    reader = MessageReader(1000, b"gzip")
    zipped = grpc.frame(grpc.compress(b"abc" * 100), compressed=True)
    assert reader.feed(grpc.frame(b"plain") + zipped) == [b"plain", b"abc" * 100]
    parts = gzip.compress(b"one") + gzip.compress(b"two")
    assert reader.feed(grpc.frame(parts, compressed=True)) == [b"onetwo"]
    assert gzip.decompress(grpc.compress(b"back")) == b"back"


def test_gzip_may_fill_the_limit_exactly_and_no_more() -> None:
    assert MessageReader(100, b"gzip").feed(grpc.frame(grpc.compress(bytes(100)), True)) == [bytes(100)]
    bomb = grpc.frame(grpc.compress(bytes(10 << 20)), compressed=True)
    assert _fails(MessageReader(100_000, b"gzip"), bomb) == (
        Code.RESOURCE_EXHAUSTED,
        "grpc: received message after decompression larger than max 100000",
    )


def test_gzip_that_is_broken_or_cut_off_is_an_error() -> None:
    assert _fails(MessageReader(100, b"gzip"), grpc.frame(b"nonsense", True))[0] == Code.INTERNAL
    cut = grpc.compress(b"abc")[:-4]
    assert _fails(MessageReader(100, b"gzip"), grpc.frame(cut, True))[1].endswith("unexpected EOF")
    assert _fails(MessageReader(100, b"gzip"), grpc.frame(zlib.compress(b"x"), True))[0] == Code.INTERNAL


def test_gzip_of_many_parts_is_refused_however_little_they_hold() -> None:
    few, many = gzip.compress(b"") * 200 + gzip.compress(b"end"), gzip.compress(b"") * 257
    assert MessageReader(1 << 20, b"gzip").feed(grpc.frame(few, True)) == [b"end"]
    expected = (Code.INTERNAL, "grpc: failed to decompress the received message: too many parts")
    assert _fails(MessageReader(1 << 20, b"gzip"), grpc.frame(many, True)) == expected


def test_gzip_of_nothing_is_nothing() -> None:
    assert MessageReader(10, b"gzip").feed(grpc.frame(b"", True)) == [b""]


def test_messages_that_grow_are_given_a_few_at_a_time() -> None:
    """They come in one piece, and would be a thousand times as large together."""
    size = 400_000
    pieces = [grpc.frame(grpc.compress(bytes((number,)) * size), True) for number in range(20)]
    reader = MessageReader(1 << 20, b"gzip")

    found = reader.feed(b"".join(pieces) + grpc.frame(b"plain"))
    most = len(found)
    while reader.is_behind:
        assert reader.incomplete
        more = reader.feed(b"")
        most = max(most, len(more))
        found += more

    assert most == 3
    assert [one[:1] for one in found] == [bytes((number,)) for number in range(20)] + [b"p"]
    assert not reader.incomplete


def test_what_comes_meanwhile_stands_behind() -> None:
    half = grpc.frame(grpc.compress(bytes(1 << 20)), True)
    reader = MessageReader(1 << 20, b"gzip")
    assert len(reader.feed(half * 3 + b"\0\0")) == 1
    assert len(reader.feed(b"\0\0\1x")) == 1
    assert [len(one) for one in reader.feed(b"")] == [1 << 20]
    assert reader.feed(b"") == [b"x"]


def test_compression_that_was_not_announced_or_is_not_known_is_an_error() -> None:
    data = grpc.frame(b"x", compressed=True)
    assert _fails(MessageReader(100), data) == (
        Code.INTERNAL,
        "grpc: compressed flag set with identity or empty encoding",
    )
    assert _fails(MessageReader(100, b"snappy"), data) == (
        Code.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    )


# -- status --


def test_ok_is_one_field_and_always_the_same() -> None:
    assert grpc.trailers(Status(0)) == grpc.OK_TRAILERS == ((b"grpc-status", b"0"),)
    assert grpc.status_of(grpc.OK_TRAILERS) is grpc.OK


def test_a_status_travels_with_message_and_details() -> None:
    status = Status(5, "no\nsuch ä 100%", b"\x08\x05")
    trailers = grpc.trailers(status)
    assert trailers == (
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no%0Asuch %C3%A4 100%25"),
        (b"grpc-status-details-bin", b"CAU"),
    )
    assert grpc.status_of(((b"x", b"y"), *trailers)) == status


@given(st.integers(0, 999), st.text(st.characters(codec="utf-8")), st.binary())
def test_every_status_comes_back(code: int, message: str, details: bytes) -> None:
    status = Status(code, message, details)
    assert grpc.status_of(grpc.trailers(status)) == status


def test_without_grpc_status_there_is_none() -> None:
    assert grpc.status_of(((b"grpc-message", b"x"),)) is None


def test_a_malformed_status_is_an_internal_error() -> None:
    status = grpc.status_of(((b"grpc-status", b"five"),))
    assert status == Status(Code.INTERNAL, "transport: malformed grpc-status: five")


def test_a_message_is_read_leniently() -> None:
    status = grpc.status_of(((b"grpc-status", b"2"), (b"grpc-message", b"%zz 5% \xff%C3")))
    assert status is not None and status.message == "%zz 5% \ufffd\ufffd"


def test_details_that_cannot_be_read_are_left_out() -> None:
    assert grpc.status_of(((b"grpc-status", b"2"), (b"grpc-status-details-bin", b"!"))) == Status(2)


def test_a_status_becomes_the_error_that_names_it() -> None:
    error = Status(14, "gone", b"d").error()
    assert str(error) == "rpc error: code = Unavailable desc = gone"
    assert error.details == b"d"


@pytest.mark.parametrize("value", [b"YWI", b"YWI="])
def test_binary_metadata_is_read_with_and_without_padding(value: bytes) -> None:
    assert grpc.decode_binary(value) == b"ab"
    assert grpc.encode_binary(b"ab") == b"YWI"


def test_binary_metadata_that_is_not_base64_is_an_error() -> None:
    with pytest.raises(ValueError, match="base64"):
        grpc.decode_binary(b"a?b=")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14), (200, 2), (500, 2)],
)
def test_an_http_status_has_a_code(status: int, code: int) -> None:
    assert grpc.code_of_http(status) == code


@pytest.mark.parametrize(
    ("reset", "code"),
    [
        (ErrorCode.NO_ERROR, 13),
        (ErrorCode.REFUSED_STREAM, 14),
        (ErrorCode.CANCEL, 1),
        (ErrorCode.ENHANCE_YOUR_CALM, 8),
        (ErrorCode.INADEQUATE_SECURITY, 7),
        (ErrorCode.FLOW_CONTROL_ERROR, 13),
    ],
)
def test_a_reset_has_a_code(reset: ErrorCode, code: int) -> None:
    assert grpc.code_of_reset(reset) == code


# -- timeouts --


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (-1.0, b"0n"),
        (0.0, b"0n"),
        (1e-9, b"1n"),
        (0.05, b"50000000n"),
        (1.0, b"1000000u"),
        (99.5, b"99500000u"),
        (5000.0, b"5000000m"),
        (1e6, b"1000000S"),
        (1e9, b"16666667M"),
        (1e11, b"27777778H"),
        (math.inf, b"99999999H"),
    ],
)
def test_a_timeout_takes_the_finest_unit_that_fits(seconds: float, value: bytes) -> None:
    assert grpc.encode_timeout(seconds) == value


@given(st.floats(0, 1e11))
def test_a_timeout_comes_back_no_shorter_and_hardly_longer(seconds: float) -> None:
    back = grpc.decode_timeout(grpc.encode_timeout(seconds))
    assert back >= seconds * (1 - 1e-12)
    assert back <= seconds * 1.001 + 1e-9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9)],
)
def test_each_unit_of_a_timeout_is_known(value: bytes, seconds: float) -> None:
    assert grpc.decode_timeout(value) == seconds


@pytest.mark.parametrize("value", [b"", b"5", b"S", b"-1S", b"123456789n", b"1s", b"1.5S", b"1S\n"])
def test_a_malformed_timeout_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="malformed grpc-timeout"):
        grpc.decode_timeout(value)
