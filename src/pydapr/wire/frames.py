"""The frames of HTTP/2 as bytes (RFC 9113 sections 4 and 6): numbers, error codes, building the small ones.

Called by `wire.sending` and `wire.http2`, which read the nine bytes of a frame's head themselves, in place.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEAD: Final = Struct(">IBI")
"""Length in the upper three bytes and type in the lowest, flags, stream."""
HEAD_SIZE: Final = 9

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

LARGEST: Final = 0x7FFF_FFFF
"""The largest window, stream identifier and increment."""
DEFAULT_WINDOW: Final = 65_535
SMALLEST_FRAME_SIZE: Final = 16_384
LARGEST_FRAME_SIZE: Final = 0xFF_FFFF

SETTINGS_ACK: Final = HEAD.pack(SETTINGS, ACK, 0)

_pair = Struct(">HI")
_number_after_head = Struct(">IBII")
_two_numbers_after_head = Struct(">IBIII")


class ErrorCode(IntEnum):
    """Why a stream or a connection ended (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ProtocolError(Exception):
    """The peer broke the protocol in a way that costs it the connection."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code, self.reason = code, reason


_KNOWN: Final = {int(code): code for code in ErrorCode}


def error_code(number: int) -> ErrorCode:
    """A peer's error code; one that we do not know counts as INTERNAL_ERROR, as section 7 allows."""
    return _KNOWN.get(number, ErrorCode.INTERNAL_ERROR)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join([_pair.pack(name, value) for name, value in values])
    return HEAD.pack(len(payload) << 8 | SETTINGS, 0, 0) + payload


def settings_in(payload: bytes) -> Iterable[tuple[int, int]]:
    """The pairs in a SETTINGS payload, whose length is a multiple of six."""
    return _pair.iter_unpack(payload)


def window_update(stream_id: int, increment: int) -> bytes:
    return _number_after_head.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    return _number_after_head.pack(4 << 8 | RST_STREAM, 0, stream_id, code)


def goaway(last_stream_id: int, code: int, debug: bytes) -> bytes:
    return _two_numbers_after_head.pack(8 + len(debug) << 8 | GOAWAY, 0, 0, last_stream_id, code) + debug


def ping(payload: bytes, flags: int) -> bytes:
    return HEAD.pack(8 << 8 | PING, flags, 0) + payload
