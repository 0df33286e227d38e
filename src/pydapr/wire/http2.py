"""HTTP/2 (RFC 9113) without I/O: bytes in, calls to a `Receiver` out; what is to be sent collects in `out`.

A `Connection` is one end of one connection, server or client. The protocols in `net` own it: they feed
`receive`, implement `Receiver`, and write `take_output()` once per turn of their loop. It is one object in
layers: `wire.sending` sends, `wire.bounds` keeps hostile peers in bounds, `wire.control` handles the frames
about the connection, and here are headers, data, and what owners call. `wire.streams` has the table of states,
`wire.fields` the rules for headers, `wire.frames` the numbers.

Errors (section 5.4): a `ProtocolError` ends the connection, after GOAWAY has been queued; what concerns one
stream ends that stream with RST_STREAM. Nothing that a peer sends leads to another exception, or to memory or
work without bound.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Final

from pydapr.wire import fields, frames, hpack, streams, tracecontext
from pydapr.wire.bounds import Limits
from pydapr.wire.control import Control
from pydapr.wire.frames import ErrorCode, ProtocolError
from pydapr.wire.hpack import Header, Headers
from pydapr.wire.sending import UPDATES_PER_FRAME, Receiver, SendError
from pydapr.wire.streams import Stream

__all__ = [
    "Connection", "ErrorCode", "Header", "Headers", "Limits", "ProtocolError", "Receiver", "SendError",
    "Stream",
]  # fmt: skip

_AFTER: Final = streams.AFTER
_CLOSED: Final = streams.CLOSED
_RECEIVE: Final = streams.RECEIVE
_RECEIVE_END: Final = streams.RECEIVE_END
_FORBIDDEN: Final = streams.FORBIDDEN
_LARGEST: Final = frames.LARGEST
_unpack: Final = frames.HEAD.unpack_from


_TRACE_FIELD: Final = tracecontext.PARENT_FIELD
_TRACE_SIZE: Final = tracecontext.PARENT_SIZE

_DEFAULTS: Final = Limits()


class Connection(Control):
    """One end of a connection: the receiving half, and what concerns both."""

    __slots__ = (
        "_block", "_block_end", "_block_frames", "_block_size", "_block_stream", "_credit", "_decoder",
        "_half_credit", "_have", "_is_closed", "_is_greeted", "_need",
        "_next_id", "_parts", "_preface", "apart", "keeps_traces_apart",
    )  # fmt: skip

    def __init__(self, receiver: Receiver, *, client: bool, limits: Limits = _DEFAULTS) -> None:
        super().__init__(receiver, client, limits)
        self._decoder = hpack.Decoder(max_header_list=limits.header_list)
        # Bytes that are not a whole frame yet, and how many it takes.
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._preface = b"" if client else frames.PREFACE
        self._is_greeted = False
        # What the peer may still send on the connection.
        self._credit = limits.connection_window
        self._half_credit = limits.connection_window // 2
        # The stream whose header block is not complete, or 0.
        self._block_stream = 0
        self._block: list[bytes] = []
        self._block_size = self._block_frames = self._block_end = 0
        self._next_id = 1
        self._is_closed = False
        # Whether a header block that ends with a trace, as pydapr writes it, is taken without it, and that end.
        self.keeps_traces_apart = False
        self.apart = b""

    # -- beginning and end --

    def start(self) -> None:
        """Queues what a connection begins with."""
        limits = self._limits
        settings = [
            (frames.INITIAL_WINDOW_SIZE, limits.stream_window),
            (frames.MAX_FRAME_SIZE, limits.frame_size),
            (frames.MAX_HEADER_LIST_SIZE, limits.header_list),
        ]
        if self._is_client:
            self.out.append(frames.PREFACE)
            settings.append((frames.ENABLE_PUSH, 0))
        else:
            settings.append((frames.MAX_CONCURRENT_STREAMS, limits.streams))
        self.out.append(frames.settings(settings))
        extra = limits.connection_window - frames.DEFAULT_WINDOW
        if extra:
            self.out.append(frames.window_update(0, extra))

    def start_upgraded(self, settings_header: bytes, owner: Any) -> Stream:
        """On a server, begins after `Upgrade: h2c` (RFC 7540 section 3.2), with that request as stream 1.

        Takes the HTTP2-Settings field. Raises `ProtocolError` if it is not valid; nothing is queued then.
        """
        try:
            payload = base64.b64decode(settings_header + b"=" * (-len(settings_header) % 4), b"-_", True)
        except binascii.Error:
            payload = b"?"
        if len(payload) % 6:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "invalid HTTP2-Settings")
        self._apply_settings(payload)
        self.start()
        self._highest = 1
        return self._add_stream(1, streams.HALF_REMOTE, owner)

    def warn(self) -> None:
        """Asks the peer for no new streams; those that are on their way are taken (RFC 9113 section 6.8)."""
        self.out.append(frames.goaway(_LARGEST, ErrorCode.NO_ERROR, b""))

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"") -> None:
        """Asks for no new streams; a server refuses those that come. The others go on."""
        self._is_draining = True
        self.out.append(frames.goaway(0 if self._is_client else self._highest, code, debug))

    def ping(self, payload: bytes = b"pydapr\0\0") -> None:
        """Asks for a `pong_received` with the same eight bytes."""
        self.out.append(frames.ping(payload, 0))

    def lost(self, code: ErrorCode = ErrorCode.INTERNAL_ERROR) -> None:
        """The transport is gone, or given up: all streams are reset with `code`, nothing more is received."""
        self._is_closed = self._is_draining = True
        for stream in list(self._streams.values()):
            if stream.state != _CLOSED:
                self._close(stream)
                self._receiver.stream_reset(stream, code)

    # -- what owners ask and say --

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def is_draining(self) -> bool:
        """Whether either side has said goodbye."""
        return self._is_draining

    @property
    def room(self) -> int:
        """How many streams a client may open now."""
        return self._peer_streams - len(self._streams) if self.can_open else 0

    @property
    def can_open(self) -> bool:
        """Whether a client may open a stream now; `streams_available` tells when that may have changed."""
        return len(self._streams) < self._peer_streams and not self._is_draining and self._next_id <= _LARGEST

    @property
    def opened(self) -> int:
        """On a client, a number that grows with every stream."""
        return self._next_id

    @property
    def is_used_up(self) -> bool:
        """Whether a client has no number left for another stream (section 5.1.1)."""
        return self._next_id > _LARGEST

    def open_stream(self, headers: Iterable[Header] | bytes, end_stream: bool, owner: Any) -> Stream:
        """On a client, sends a request's headers, as fields or a block of `hpack.encode`; needs `can_open`.

        Give the fields themselves for HEAD, whose response has a length and no body.
        """
        stream_id = self._next_id
        self._next_id = stream_id + 2
        self._highest = stream_id
        stream = self._add_stream(stream_id, streams.OPEN, owner)
        self._is_full = len(self._streams) >= self._peer_streams
        if isinstance(headers, bytes):
            block = headers
        else:
            fields_sent = tuple(headers)
            stream.is_head = (b":method", b"HEAD") in fields_sent[:4]
            block = hpack.encode(fields_sent)
        self._queue_headers(stream_id, block, end_stream)
        if end_stream:
            stream.ended = True
            stream.state = streams.HALF_LOCAL
        return stream

    def consumed(self, stream: Stream, size: int) -> None:
        """The owner has used up `size` bytes of the stream's data, so the peer may send as many more.

        Not needed for a stream that is closed: then it does nothing.
        """
        if size > stream.unread:
            size = stream.unread
        stream.unread -= size
        self._unread -= size
        if _AFTER[stream.state][_RECEIVE] != _FORBIDDEN:
            window = self._limits.stream_window
            owed = window - stream.credit - stream.unread
            if 2 * owed >= window:
                stream.credit += owed
                self.out.append(frames.window_update(stream.id, owed))
        self._unread_fell()

    def _unread_fell(self) -> None:
        if self._credit < self._half_credit and not self._is_closed:
            self._give_credit()

    def _give_credit(self) -> None:
        """Opens the connection's window again, as far as unread bytes allow (RFC 9113 section 5.2.2)."""
        limits = self._limits
        increment = min(limits.connection_window, limits.unread - self._unread) - self._credit
        if increment >= self._half_credit:
            self._credit += increment
            self.out.append(frames.window_update(0, increment))

    def _add_stream(self, stream_id: int, state: int, owner: Any) -> Stream:
        stream = Stream(stream_id, state, self._initial_window, self._limits.stream_window, owner)
        self._streams[stream_id] = stream
        return stream

    # -- receiving: bytes to frames --

    def receive(self, data: bytes) -> None:
        """Takes bytes from the peer. Raises `ProtocolError`: all streams are over, flush `out` and close."""
        if self._is_closed:
            return
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        try:
            position = self._read_frames(data)
        except ProtocolError as error:
            self.goaway(error.code, error.reason.encode())
            self.lost(error.code)
            raise
        if position < len(data):
            self._keep(data, position)
        self._tell_available()

    def _keep(self, data: bytes, position: int) -> None:
        """Puts the rest aside until the frame, or at least its head, is complete."""
        self._parts.append(data[position:] if position else data)
        self._have = len(data) - position
        if self._preface:
            self._need = len(self._preface)
        elif self._have < frames.HEAD_SIZE:
            self._need = frames.HEAD_SIZE
        else:
            self._need = frames.HEAD_SIZE + (_unpack(data, position)[0] >> 8)

    def _read_frames(self, data: bytes) -> int:
        """Handles all whole frames; answers where the rest begins."""
        position, end = 0, len(data)
        if not self._is_greeted:
            position = self._greet(data)
            if position < 0:
                return 0
        largest = self._limits.frame_size
        while end - position >= 9:
            word, flags, stream_id = _unpack(data, position)
            size = word >> 8
            if size > largest:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "frame larger than we announced")
            start = position + 9
            position = start + size
            if position > end:
                return start - 9
            if stream_id > _LARGEST:
                stream_id &= _LARGEST
            kind = word & 0xFF
            if self._block_stream and kind != frames.CONTINUATION:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
            if kind == frames.DATA:
                self._read_data(data, start, position, flags, stream_id)
            elif kind == frames.HEADERS:
                if flags & 0x2C == frames.END_HEADERS:
                    self._read_block(stream_id, data[start:position], flags & 1)
                else:
                    self._read_headers(data[start:position], flags, stream_id)
            elif kind == frames.CONTINUATION:
                self._read_continuation(data[start:position], flags, stream_id)
            else:
                self._read_control(kind, data[start:position], flags, stream_id)
        return position

    def _greet(self, data: bytes) -> int:
        """Checks what the peer begins with (section 3.4). Answers where its frames begin, or -1."""
        preface = self._preface
        if data[: len(preface)] != preface[: len(data)]:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client")
        if len(data) < len(preface):
            return -1
        self._preface = b""
        position = len(preface)
        if len(data) - position >= frames.HEAD_SIZE:
            word, flags, _ = _unpack(data, position)
            if word & 0xFF != frames.SETTINGS or flags & frames.ACK:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._is_greeted = True
        return position

    # -- receiving: DATA --

    def _read_data(self, data: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        size = stop - start
        self._credit = credit = self._credit - size
        if credit < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        if flags & frames.PADDED:
            start, stop = self._unpadded(data, start, stop)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_dead(stream_id, False)
        elif self._accepts_data(stream, size, stop - start, flags & 1):
            self._deliver(stream, data[start:stop], flags & 1)
        if self._credit < self._half_credit:
            self._give_credit()

    def _accepts_data(self, stream: Stream, flow: int, size: int, end: int) -> bool:
        """Checks and books a DATA frame of a live stream; `flow` counts padding too. False: it has failed."""
        if _AFTER[stream.state][_RECEIVE] == _FORBIDDEN:
            return self._fail(stream, ErrorCode.STREAM_CLOSED)
        stream.credit -= flow
        if stream.credit < 0:
            return self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
        if self._is_client and not stream.answered:
            return self._fail(stream, ErrorCode.PROTOCOL_ERROR)
        if stream.body_left >= 0:
            stream.body_left -= size
            if stream.body_left < 0 or (end and stream.body_left):
                return self._fail(stream, ErrorCode.PROTOCOL_ERROR)
        return True

    def _deliver(self, stream: Stream, data: bytes, end: int) -> None:
        size = len(data)
        if size:
            stream.unread += size
            self._unread += size
            if self._debt:
                self._pay(UPDATES_PER_FRAME)
        elif not end:
            self._charge(1)
            return
        if end:
            self._end_remote(stream)
        self._receiver.body_received(stream, data, end == 1)

    def _end_remote(self, stream: Stream) -> None:
        """The peer's side of the stream is over. The upcall that says so is made after this."""
        stream.state = state = _AFTER[stream.state][_RECEIVE_END]
        if state == _CLOSED:
            self._close(stream)

    @staticmethod
    def _unpadded(data: bytes, start: int, stop: int) -> tuple[int, int]:
        """Where the content of a padded frame begins and ends."""
        if start == stop or data[start] >= stop - start:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
        return start + 1, stop - data[start]

    # -- receiving: header blocks --

    def _read_headers(self, payload: bytes, flags: int, stream_id: int) -> None:
        """HEADERS with padding, with a priority, or without the end of the block."""
        start, stop = 0, len(payload)
        if flags & frames.PADDED:
            start, stop = self._unpadded(payload, start, stop)
        if flags & frames.PRIORITIZED:
            start += 5
            if start > stop:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        block = payload[start:stop]
        if flags & frames.END_HEADERS:
            self._read_block(stream_id, block, flags & 1)
        elif not stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        else:
            self._block_stream, self._block_end = stream_id, flags & 1
            self._block_size, self._block_frames = len(block), 1
            self._block.append(block)

    def _read_continuation(self, payload: bytes, flags: int, stream_id: int) -> None:
        if not stream_id or stream_id != self._block_stream:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION out of place")
        self._block.append(payload)
        self._block_frames += 1
        self._block_size += len(payload)
        limits = self._limits
        # No list within the limit has a block this large, unless it is padded with table size updates.
        if self._block_frames > limits.header_frames or self._block_size > 2 * limits.header_list:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "header block without end")
        if flags & frames.END_HEADERS:
            block = b"".join(self._block)
            self._block.clear()
            self._block_stream = 0
            self._read_block(stream_id, block, self._block_end)

    def _read_block(self, stream_id: int, block: bytes, end: int) -> None:
        """A whole header block. It is decoded whatever becomes of it: the tables have to stay in step."""
        if self.keeps_traces_apart:
            self.apart = b""
            if block.startswith(_TRACE_FIELD, len(block) - _TRACE_SIZE):
                block, self.apart = tracecontext.split(block)
        try:
            headers = self._decoder.decode(block)
        except hpack.HpackError as error:
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        except hpack.HeaderListTooLarge:
            headers = None
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._read_answer(stream, headers, end)
        elif self._is_client or stream_id <= self._highest:
            self._check_dead(stream_id, True)
        else:
            self._read_request(stream_id, headers, end)

    def _read_request(self, stream_id: int, headers: Headers | None, end: int) -> None:
        if not stream_id & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a client opens odd streams")
        if stream_id != self._highest + 2 and stream_id != 1:
            self._is_skipping = True
        self._highest = stream_id
        if self._is_draining or len(self._streams) >= self._limits.streams:
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        if headers is None:
            self._refuse(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        try:
            length = fields.request_length(headers, self._decoder.remembered)
        except fields.Malformed:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        if end and length > 0:
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        stream = self._add_stream(stream_id, streams.HALF_REMOTE if end else streams.OPEN, None)
        stream.body_left = length
        self._receiver.headers_received(stream, headers, end == 1)

    def _read_answer(self, stream: Stream, headers: Headers | None, end: int) -> None:
        """Headers on a live stream: a response, or trailers."""
        if _AFTER[stream.state][_RECEIVE] == _FORBIDDEN:
            self._fail(stream, ErrorCode.STREAM_CLOSED)
        elif headers is None:
            self._fail(stream, ErrorCode.ENHANCE_YOUR_CALM)
        elif self._is_client and not stream.answered:
            self._read_response(stream, headers, end)
        elif not end or stream.body_left > 0:
            self._fail(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self._read_trailers(stream, headers)

    def _read_response(self, stream: Stream, headers: Headers, end: int) -> None:
        try:
            status, length = fields.response_status(headers, self._decoder.remembered)
        except fields.Malformed:
            self._fail(stream, ErrorCode.PROTOCOL_ERROR)
            return
        if status < 200:
            # 101 does not exist in HTTP/2 (section 8.6).
            if end or status == 101:
                self._fail(stream, ErrorCode.PROTOCOL_ERROR)
            else:
                self._charge(1)
            return
        if stream.is_head or status == 304 or status == 204:
            length = 0
        elif end and length > 0:
            self._fail(stream, ErrorCode.PROTOCOL_ERROR)
            return
        stream.answered = True
        stream.body_left = length
        if end:
            self._end_remote(stream)
        self._receiver.headers_received(stream, headers, end == 1)

    def _read_trailers(self, stream: Stream, headers: Headers) -> None:
        try:
            fields.check_trailers(headers)
        except fields.Malformed:
            self._fail(stream, ErrorCode.PROTOCOL_ERROR)
            return
        self._end_remote(stream)
        self._receiver.trailers_received(stream, headers)
