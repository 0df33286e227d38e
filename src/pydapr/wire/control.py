"""The frames of HTTP/2 without headers or data (RFC 9113 section 6): settings, windows, ends, pings.

Part of `wire.http2.Connection`, which reads the heads of all frames and hands over those.
"""

from typing import Final

from pydapr.wire import frames, hpack, streams
from pydapr.wire.bounds import Guard, Limits
from pydapr.wire.frames import ErrorCode, ProtocolError
from pydapr.wire.sending import LARGEST_SENT, Receiver

_CLOSED: Final = streams.CLOSED
_LARGEST: Final = frames.LARGEST


class Control(Guard):
    """Carries out what such frames ask for."""

    __slots__ = ("_has_settings", "_is_draining")

    def __init__(self, receiver: Receiver, client: bool, limits: Limits) -> None:
        super().__init__(receiver, client, limits)
        self._has_settings = False
        self._is_draining = False

    def _read_control(self, kind: int, payload: bytes, flags: int, stream_id: int) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._read_window_update(payload, stream_id)
        elif kind == frames.RST_STREAM:
            self._read_reset(payload, stream_id)
        elif kind == frames.SETTINGS:
            self._read_settings(payload, flags, stream_id)
        elif kind == frames.PING:
            self._read_ping(payload, flags, stream_id)
        elif kind == frames.GOAWAY:
            self._read_goaway(payload, stream_id)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is switched off")
        else:
            if kind == frames.PRIORITY:
                self._check_size(payload, 5)
                self._check_on_stream(stream_id)
            self._charge(1)

    @staticmethod
    def _check_size(payload: bytes, size: int) -> None:
        if len(payload) != size:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "frame of the wrong size")

    @staticmethod
    def _check_on_stream(stream_id: int) -> None:
        if not stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "frame needs a stream")

    @staticmethod
    def _check_on_connection(stream_id: int) -> None:
        if stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "frame belongs on stream 0")

    def _read_window_update(self, payload: bytes, stream_id: int) -> None:
        self._check_size(payload, 4)
        self._charge(1)
        increment = int.from_bytes(payload, "big") & _LARGEST
        if not stream_id:
            self._widen(increment)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
        elif not increment:
            self._fail(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.window + increment > _LARGEST:
            self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            stream.window += increment
            if stream.pending:
                self._make_ready(stream)
                self._pump()

    def _widen(self, increment: int) -> None:
        if not increment:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        self._window += increment
        if self._window > _LARGEST:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "connection window too large")
        if self._ready:
            self._pump()

    def _read_reset(self, payload: bytes, stream_id: int) -> None:
        self._check_size(payload, 4)
        self._check_on_stream(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            self._charge(1)
            return
        if not self._is_client and not stream.answered:
            self._count_reset()
        self._close(stream)
        self._receiver.stream_reset(stream, frames.error_code(int.from_bytes(payload, "big")))

    def _read_settings(self, payload: bytes, flags: int, stream_id: int) -> None:
        self._check_on_connection(stream_id)
        if flags & frames.ACK:
            self._check_size(payload, 0)
            self._charge(1)
            return
        if len(payload) % 6:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of the wrong size")
        self._apply_settings(payload)
        self._reply(frames.SETTINGS_ACK)
        self._pump()  # behind that: grpc's C core goes by the windows from before until it has been acknowledged
        if self._is_client:
            self._is_full = len(self._streams) >= self._peer_streams
            self._receiver.streams_available()

    def _apply_settings(self, payload: bytes) -> None:
        # A dict, so that a setting repeated a thousand times in one frame is carried out once.
        values = dict(frames.settings_in(payload))
        self._check_settings(values)
        self._frame_size = min(values.get(frames.MAX_FRAME_SIZE, self._frame_size), LARGEST_SENT)
        if values.get(frames.HEADER_TABLE_SIZE, hpack.DEFAULT_TABLE_SIZE) < hpack.DEFAULT_TABLE_SIZE:
            self._block_prefix = hpack.FORGET_TABLE
        # Before the first SETTINGS we assume a limit; from then on there is one only if the peer says so.
        assumed = self._peer_streams if self._has_settings else _LARGEST
        self._peer_streams = values.get(frames.MAX_CONCURRENT_STREAMS, assumed)
        self._has_settings = True
        window = values.get(frames.INITIAL_WINDOW_SIZE, self._initial_window)
        if window != self._initial_window:
            self._change_windows(window)

    def _check_settings(self, values: dict[int, int]) -> None:
        push = values.get(frames.ENABLE_PUSH, 0)
        if push > 1 or (push and self._is_client):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "invalid ENABLE_PUSH")
        if values.get(frames.INITIAL_WINDOW_SIZE, 0) > _LARGEST:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large")
        size = values.get(frames.MAX_FRAME_SIZE, frames.SMALLEST_FRAME_SIZE)
        if not frames.SMALLEST_FRAME_SIZE <= size <= frames.LARGEST_FRAME_SIZE:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "invalid MAX_FRAME_SIZE")

    def _change_windows(self, window: int) -> None:
        """A new initial window changes those of all streams, below zero perhaps (section 6.9.2)."""
        change = window - self._initial_window
        self._initial_window = window
        self._charge(1 + len(self._streams) // 64)
        for stream in self._streams.values():
            stream.window += change
            if stream.window > _LARGEST:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "stream window too large")
            if stream.pending:
                self._make_ready(stream)

    def _read_ping(self, payload: bytes, flags: int, stream_id: int) -> None:
        self._check_on_connection(stream_id)
        self._check_size(payload, 8)
        if flags & frames.ACK:
            self._charge(1)
            self._receiver.pong_received(payload)
        else:
            self._reply(frames.ping(payload, frames.ACK))

    def _read_goaway(self, payload: bytes, stream_id: int) -> None:
        self._check_on_connection(stream_id)
        if len(payload) < 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY too short")
        self._charge(1)
        self._is_draining = True
        last = int.from_bytes(payload[:4], "big") & _LARGEST
        code = frames.error_code(int.from_bytes(payload[4:8], "big"))
        if self._is_client:
            for stream in [stream for stream in self._streams.values() if stream.id > last]:
                if stream.state != _CLOSED:
                    self._close(stream)
                    self._receiver.stream_reset(stream, ErrorCode.REFUSED_STREAM)
        self._receiver.going_away(last, code, payload[8:])
