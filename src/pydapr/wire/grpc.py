"""gRPC over HTTP/2, the parts that are bytes: message frames, status, timeouts, binary metadata.

Called by the gRPC faces, proxies and clients above `wire.http2`. Follows grpc/doc/PROTOCOL-HTTP2.md; texts of
errors are grpc-go's, because apps and tests know those. A failed call is `errors.RpcError`.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from struct import Struct
from typing import Final

from pydapr.errors import Code, RpcError
from pydapr.wire import hpack
from pydapr.wire.frames import ErrorCode
from pydapr.wire.hpack import Header, Headers

__all__ = [
    "OK",
    "OK_TRAILERS",
    "OK_TRAILERS_BLOCK",
    "Code",
    "MessageReader",
    "RpcError",
    "Status",
    "code_of_http",
    "code_of_reset",
    "decode_binary",
    "decode_timeout",
    "encode_binary",
    "encode_timeout",
    "frame",
    "status_of",
    "trailers",
]  # fmt: skip

_prefix: Final = Struct(">BI")
_PREFIX_SIZE: Final = 5

_GZIP_MEMBERS: Final = 256
"""Parts that one message in gzip may be made of. Senders make one; each may be without content, and costs something."""
_GZIP_PIECE: Final = 16 * 1024
"""Bytes that are decompressed at a time: what follows a part is copied."""
_GZIP_AT_ONCE: Final = 1 << 20
"""Bytes of decompressed messages that `feed` gives together, give or take a message: they may be tiny as they come."""


# -- messages --


def frame(message: bytes, compressed: bool = False) -> bytes:
    """A message with its prefix."""
    return _prefix.pack(compressed, len(message)) + message


class MessageReader:
    """Finds the messages in the data of one stream; `encoding` is what the peer's grpc-encoding says."""

    __slots__ = ("_encoding", "_have", "_max", "_need", "_parts", "is_behind")

    def __init__(self, max_message: int, encoding: bytes = b"identity") -> None:
        self._max = max_message
        self._encoding = encoding
        self._parts: list[bytes] = []
        self._have = 0
        self._need = _PREFIX_SIZE
        self.is_behind = False
        """Whether there may be more messages in what was fed: to be asked for with `feed(b"")` before there is more
        data. Whoever wants one message does not care."""

    @property
    def incomplete(self) -> bool:
        """Whether a message has begun and not ended: at the end of a stream that is an error."""
        return self._have > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises `RpcError`; the stream has no use after that."""
        size = len(data)
        if not self._have and size >= _PREFIX_SIZE:
            flag, length = _prefix.unpack_from(data)
            if not flag and length + _PREFIX_SIZE == size and length <= self._max:
                return [data[_PREFIX_SIZE:]]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        self._have += len(data)
        self._parts.append(data)
        if self._have < self._need:
            return []
        data = b"".join(self._parts)
        self._parts.clear()
        messages = []
        position, end = 0, len(data)
        self._need = _PREFIX_SIZE
        self.is_behind = False
        unzipped = 0
        while end - position >= _PREFIX_SIZE:
            flag, length = _prefix.unpack_from(data, position)
            self._check(flag, length)
            start = position + _PREFIX_SIZE
            if end - start < length:
                self._need = _PREFIX_SIZE + length
                break
            position = start + length
            message = data[start:position]
            if flag:
                message = self._unzipped(message)
                unzipped += len(message)
            messages.append(message)
            if unzipped >= _GZIP_AT_ONCE and position < end:
                self.is_behind = True
                break
        self._have = end - position
        if self._have:
            self._parts.append(data[position:])
        return messages

    def _check(self, flag: int, length: int) -> None:
        if flag > 1:
            raise RpcError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if length > self._max:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {self._max})"
            )
        if flag:
            self._check_encoding()

    def _check_encoding(self) -> None:
        if self._encoding in (b"", b"identity"):
            raise RpcError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if self._encoding != b"gzip":
            name = self._encoding.decode("ascii", "backslashreplace")
            raise RpcError(Code.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{name}"')

    def _unzipped(self, data: bytes) -> bytes:
        """Takes gzip off, with no more than the limit in memory, however small `data` is."""
        if not data:
            return b""
        pieces: list[bytes] = []
        room = self._max
        at, end = 0, len(data)
        try:
            for _ in range(_GZIP_MEMBERS):
                unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
                while at < end and not unzip.eof:
                    piece = data[at : at + _GZIP_PIECE]
                    at += len(piece)
                    pieces.append(unzip.decompress(piece, room + 1))
                    room -= len(pieces[-1])
                    if room < 0:
                        raise RpcError(
                            Code.RESOURCE_EXHAUSTED,
                            f"grpc: received message after decompression larger than max {self._max}",
                        )
                if not unzip.eof:
                    raise RpcError(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
                at -= len(unzip.unused_data)
                if at == end:
                    return b"".join(pieces)
        except zlib.error as error:
            raise RpcError(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from None
        raise RpcError(Code.INTERNAL, "grpc: failed to decompress the received message: too many parts")


def compress(message: bytes) -> bytes:
    """`message` in gzip, for `frame(…, compressed=True)`; level 1, since it is for networks that are near."""
    zipper = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    return zipper.compress(message) + zipper.flush()


# -- status --


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended. `details` is a serialized google.rpc.Status; `wire.details` reads and writes it."""

    code: int
    message: str = ""
    details: bytes = b""

    def error(self) -> RpcError:
        return RpcError(self.code, self.message, self.details)


OK: Final = Status(Code.OK)
OK_TRAILERS: Final[Headers] = ((b"grpc-status", b"0"),)
OK_TRAILERS_BLOCK: Final = hpack.encode(OK_TRAILERS)
"""For `send_headers`, ready to be sent."""

_to_escape = re.compile(rb"[^ -$&-~]")
_escaped = re.compile(rb"%([0-9A-Fa-f]{2})")
_is_code = re.compile(rb"[0-9]{1,9}").fullmatch


def trailers(status: Status) -> Headers:
    """The fields that end a call; for an answer without messages they follow `:status` and content-type."""
    if status == OK:
        return OK_TRAILERS
    fields = [(b"grpc-status", b"%d" % status.code)]
    if status.message:
        fields.append((b"grpc-message", _percent_encode(status.message)))
    if status.details:
        fields.append((b"grpc-status-details-bin", encode_binary(status.details)))
    return tuple(fields)


def status_of(headers: Iterable[Header]) -> Status | None:
    """The status in trailers, or None when there is no grpc-status."""
    code = None
    message = ""
    details = b""
    for name, value in headers:
        if name == b"grpc-status":
            code = value
        elif name == b"grpc-message":
            message = _percent_decode(value)
        elif name == b"grpc-status-details-bin":
            details = _details(value)
    if code == b"0" and not message and not details:
        return OK
    if code is None:
        return None
    if not _is_code(code):
        text = code.decode("ascii", "backslashreplace")
        return Status(Code.INTERNAL, f"transport: malformed grpc-status: {text}")
    return Status(int(code), message, details)


def _details(value: bytes) -> bytes:
    """Details that cannot be read are left out: the status counts more than they do."""
    try:
        return decode_binary(value)
    except ValueError:
        return b""


def _percent_encode(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return _to_escape.sub(lambda match: b"%%%02X" % match[0][0], data)


def _percent_decode(value: bytes) -> str:
    """Reads leniently, as the specification asks: what is no escape stands for itself."""
    if b"%" in value:
        value = _escaped.sub(lambda match: bytes((int(match[1], 16),)), value)
    return value.decode("utf-8", "replace")


def encode_binary(value: bytes) -> bytes:
    """The value of a `-bin` field; without padding, like grpc-go."""
    return base64.b64encode(value).rstrip(b"=")


def decode_binary(value: bytes) -> bytes:
    """The bytes in a `-bin` field, with or without padding. Raises `ValueError`."""
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"invalid base64 in binary metadata: {error}") from None


# -- other ways to fail --

_BY_HTTP_STATUS: Final = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_BY_RESET: Final = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


def code_of_http(status: int) -> Code:
    """What an answer that is not gRPC means (grpc/doc/http-grpc-status-mapping.md)."""
    return _BY_HTTP_STATUS.get(status, Code.UNKNOWN)


def code_of_reset(code: ErrorCode) -> Code:
    """What the reset of a stream means (PROTOCOL-HTTP2, "Errors")."""
    return _BY_RESET.get(code, Code.INTERNAL)


# -- timeouts --

_UNITS: Final = (
    (b"n", 1),
    (b"u", 1_000),
    (b"m", 1_000_000),
    (b"S", 1_000_000_000),
    (b"M", 60_000_000_000),
    (b"H", 3_600_000_000_000),
)
_NANOSECONDS: Final = dict(_UNITS)
_LONGEST: Final = 99_999_999
_is_timeout = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch


def encode_timeout(seconds: float) -> bytes:
    """The value of grpc-timeout: the finest unit whose eight digits suffice, rounded up."""
    nanoseconds = max(0.0, seconds * 1e9)
    for unit, size in _UNITS:
        if nanoseconds <= _LONGEST * size:
            return b"%d%b" % (ceil(nanoseconds / size), unit)
    return b"%dH" % _LONGEST


def decode_timeout(value: bytes) -> float:
    """The seconds that grpc-timeout gives. Raises `ValueError`."""
    match = _is_timeout(value)
    if match is None:
        raise ValueError(f"transport: malformed grpc-timeout: {value!r}")
    return int(match[1]) * _NANOSECONDS[match[2]] / 1e9
