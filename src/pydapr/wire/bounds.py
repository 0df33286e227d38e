"""What one peer may cost: the limits of an HTTP/2 connection, and errors that end a single stream.

Part of `wire.http2.Connection`. There is no clock in here, so bounds on behaviour are bills: frames that mean
nothing are charged, progress pays, and too high a bill is ENHANCE_YOUR_CALM.
"""

from dataclasses import dataclass

from pydapr.wire import frames
from pydapr.wire.frames import ErrorCode, ProtocolError
from pydapr.wire.sending import Receiver, Sender
from pydapr.wire.streams import Stream


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost us. The first six are announced to it."""

    streams: int = 10_000
    """Requests at a time; gRPC clients open many."""
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    frame_size: int = 65_536
    header_list: int = 65_536
    unread: int = 16 * 1024 * 1024
    """Bytes that all streams' owners may leave unread before the connection's window shrinks."""
    header_frames: int = 64
    """Frames that one header block may come in."""
    replies: int = 4096
    """Answers to PING, SETTINGS and errors that may wait in `out`."""
    resets: int = 10_000
    """Requests given up unanswered, less those completed. All of `streams` may time out at once."""
    debt: int = 10_000
    """Frames without use, less progress made: empty DATA, updates of windows, frames for dead streams."""

    def __post_init__(self) -> None:
        # Below the defaults of the protocol a peer that has not seen our SETTINGS yet would be in the wrong.
        if min(self.stream_window, self.connection_window) < frames.DEFAULT_WINDOW:
            raise ValueError("windows cannot be below 65,535 bytes")
        if not frames.SMALLEST_FRAME_SIZE <= self.frame_size <= frames.LARGEST_FRAME_SIZE:
            raise ValueError("frame size out of range")


class Guard(Sender):
    """Keeps the bills, and knows which streams have been."""

    __slots__ = ("_highest", "_is_skipping", "_limits")

    def __init__(self, receiver: Receiver, client: bool, limits: Limits) -> None:
        super().__init__(receiver, client)
        self._limits = limits
        # The highest stream opened: by the peer on a server, by us on a client.
        self._highest = 0
        # Whether some stream was passed over, which closes it as well (section 5.1.1).
        self._is_skipping = False

    def forgive(self) -> None:
        """To be called about once a second by an owner that has a clock: old sins count half."""
        self._debt //= 2
        self._resets //= 2

    # -- bills --

    def _charge(self, amount: int) -> None:
        self._debt += amount
        if self._debt > self._limits.debt:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without use")

    def _reply(self, frame: bytes) -> None:
        """Queues an answer that the peer asked for; one that asks and does not read is cut off."""
        self.out.append(frame)
        self._replies += 1
        if self._replies > self._limits.replies:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many answers unread")

    def _count_reset(self) -> None:
        """A request was begun for nothing: given up by the peer, or ended for its mistakes."""
        self._resets += 1
        if self._resets > self._limits.resets:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many requests given up")

    # -- errors of one stream --

    def _fail(self, stream: Stream, code: ErrorCode) -> bool:
        """Ends a stream for an error of the peer. Answers False, for checks that end with it."""
        self._queue_reset(stream.id, code)
        self._close(stream)
        self._receiver.stream_reset(stream, code)
        if not self._is_client:
            self._count_reset()
        return False

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Ends a stream that the receiver has not heard of."""
        self._queue_reset(stream_id, code)
        self._count_reset()

    # -- frames for streams that are not live --

    def _check_not_idle(self, stream_id: int) -> None:
        if not stream_id & 1 or stream_id > self._highest:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "frame on an idle stream")

    def _check_dead(self, stream_id: int, is_headers: bool) -> None:
        """DATA or HEADERS on a stream that is not live: passed over if the peer may not know of our reset."""
        self._check_not_idle(stream_id)
        if stream_id in self._was_reset or stream_id <= self._forgotten:
            self._charge(1)
        elif is_headers and self._is_skipping:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "stream opened out of order")
        else:
            raise ProtocolError(ErrorCode.STREAM_CLOSED, "frame on a closed stream")
