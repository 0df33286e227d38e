"""The sending half of an HTTP/2 connection: frames out, within the peer's windows (RFC 9113 section 5.2).

`wire.http2.Connection` is built on it and feeds it what the peer allows; owners call its public methods. All
that leaves is collected in `out`, and the owner takes it once per turn of its loop. Data beyond a window
waits in its stream. A stream that only the connection's window holds back stands in one queue, where each gets
a frame in turn; one that its own window holds back stands nowhere, so an update costs only what it sends.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from pydapr.wire import frames, hpack, streams
from pydapr.wire.frames import ErrorCode
from pydapr.wire.hpack import Header, Headers
from pydapr.wire.streams import Stream

_AFTER: Final = streams.AFTER
_CLOSED: Final = streams.CLOSED
_SEND_END: Final = streams.SEND_END
_pack: Final = frames.HEAD.pack

LARGEST_SENT: Final = 65_536
"""Frames we send are no larger, whatever the peer allows: others want their turn."""

_RESETS_KEPT: Final = 1000
UPDATES_PER_FRAME: Final = 4
"""Frames without use that a DATA frame makes up for. A peer may update two windows for each it receives."""
_BYTES_PER_UPDATE: Final = 1024
"""And this many bytes make up for one more: some peers update windows for each piece that is read."""


class Receiver(Protocol):
    """What `net` implements. Calls come from inside `receive` and the sending methods; none may raise.

    It may send, reset and open streams in answer, but not call `receive`.
    """

    def headers_received(self, stream: Stream, headers: Headers, end_stream: bool) -> None:
        """A request on a server; the final response on a client. 1xx responses are passed over."""

    def body_received(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        """Part of the body; b"" only together with the end."""

    def trailers_received(self, stream: Stream, headers: Headers) -> None:
        """The peer's side ends with these."""

    def stream_reset(self, stream: Stream, code: ErrorCode) -> None:
        """The stream is over before its time. REFUSED_STREAM: the peer has not touched it, so try again."""

    def stream_writable(self, stream: Stream) -> None:
        """What `send_data` kept back has gone out."""

    def going_away(self, last_stream_id: int, code: ErrorCode, debug: bytes) -> None:
        """The peer wants no new streams. Those it will not answer have been reset before this."""

    def pong_received(self, payload: bytes) -> None:
        """The peer answered a `ping`."""

    def streams_available(self) -> None:
        """On a client: `can_open` may have changed."""


class SendError(Exception):
    """Our own mistake: something was sent on a stream after its end."""


class Sender:
    """Queues frames. Made only as part of a `http2.Connection`."""

    __slots__ = (
        "_block_prefix", "_debt", "_forgotten", "_frame_size", "_initial_window", "_is_client", "_is_full",
        "_is_pumping", "_peer_streams", "_ready", "_receiver", "_replies", "_resets", "_streams", "_unread",
        "_was_reset", "_window", "out",
    )  # fmt: skip

    def __init__(self, receiver: Receiver, client: bool) -> None:
        self._receiver = receiver
        self._is_client = client
        self._streams: dict[int, Stream] = {}
        self.out: list[bytes] = []
        # What the peer allows: for a connection, a stream to come, a frame, and streams at a time.
        self._window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._frame_size = frames.SMALLEST_FRAME_SIZE
        self._peer_streams = 100
        self._block_prefix = b""
        self._ready: deque[Stream] = deque()
        self._is_pumping = False
        # Streams that we reset: the peer may have sent more before it heard of that. When a record is
        # dropped, every stream up to the highest dropped is given the same benefit.
        self._was_reset: dict[int, None] = {}
        self._forgotten = 0
        # Bytes that all owners together have not used up.
        self._unread = 0
        # Counters against hostile peers; see `bounds.Limits`.
        self._replies = 0
        self._resets = 0
        self._debt = 0
        self._is_full = False

    def take_output(self) -> bytes:
        """All that waits to be sent. Leave it while the transport is full: `Limits.replies` rests on that."""
        out = self.out
        self._replies = 0
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def has_only_replies(self) -> bool:
        """Whether all that waits are answers to PING and SETTINGS, which can wait for something to go with."""
        return len(self.out) == self._replies

    # -- what owners send --

    def send_headers(self, stream: Stream, headers: Iterable[Header] | bytes, end_stream: bool = False) -> None:
        """Sends a header section, given as fields or as a block of `hpack.encode`: a response, or trailers.

        On a stream that is closed already this does nothing, since a reset may be on its way to the owner.
        """
        if not self._may_send(stream):
            return
        block = headers if isinstance(headers, bytes) else hpack.encode(headers)
        if not self._is_client:
            stream.answered = True
        if stream.pending:
            if not end_stream:
                raise SendError("only trailers may follow data")
            stream.tail = block
            stream.ended = True
            return
        self._queue_headers(stream.id, block, end_stream)
        if end_stream:
            self._end(stream)

    def send_data(self, stream: Stream, data: bytes, end_stream: bool = False) -> bool:
        """Sends part of a body. False when some of it has to wait: hold back until `stream_writable`."""
        size = len(data)
        if (
            not stream.ended
            and size <= stream.window
            and size <= self._window
            and size <= self._frame_size
            and not stream.pending
            and stream.state != _CLOSED
        ):
            stream.window -= size
            self._window -= size
            if size or end_stream:
                self.out.append(_pack(size << 8, end_stream, stream.id))
                self.out.append(data)
                if self._debt:
                    self._pay(UPDATES_PER_FRAME + size // _BYTES_PER_UPDATE)
            if end_stream:
                self._end(stream)
            return True
        return self._send_later(stream, data, end_stream)

    def reset(self, stream: Stream, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """Ends a stream at once in both directions; what waits on it is dropped. No upcall follows."""
        if stream.state != _CLOSED:
            self._queue_reset(stream.id, code)
            self._close(stream)
            self._tell_available()

    # -- ends of streams --

    def _may_send(self, stream: Stream) -> bool:
        if stream.state == _CLOSED and not stream.ended:
            return False
        if stream.ended:
            raise SendError(f"{stream!r} has been ended already")
        return True

    def _end(self, stream: Stream) -> None:
        """END_STREAM has gone out."""
        stream.ended = True
        stream.state = state = _AFTER[stream.state][_SEND_END]
        if state == _CLOSED:
            if self._resets:
                self._resets -= 1
            self._close(stream)
            self._tell_available()

    def _close(self, stream: Stream) -> None:
        """Takes the stream out of the books; bytes that its owner still holds count no longer."""
        stream.state = _CLOSED
        stream.pending = stream.tail = None
        del self._streams[stream.id]
        if stream.unread:
            self._unread -= stream.unread
            stream.unread = 0
            self._unread_fell()

    def _unread_fell(self) -> None:
        """Bytes that held the connection's window back are gone. The receiving half acts on it."""

    def _tell_available(self) -> None:
        """To be called when the books are right again after `_close`, since the receiver may open streams."""
        if self._is_full and len(self._streams) < self._peer_streams:
            self._is_full = False
            self._receiver.streams_available()

    def _queue_reset(self, stream_id: int, code: ErrorCode) -> None:
        self.out.append(frames.rst_stream(stream_id, code))
        kept = self._was_reset
        kept[stream_id] = None
        if len(kept) > _RESETS_KEPT:
            oldest = next(iter(kept))
            del kept[oldest]
            self._forgotten = max(self._forgotten, oldest)

    def _pay(self, amount: int) -> None:
        """Progress was made, which makes up for frames that meant nothing."""
        self._debt = max(0, self._debt - amount)

    # -- headers --

    def _queue_headers(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        if self._block_prefix:
            block, self._block_prefix = self._block_prefix + block, b""
        size = len(block)
        if size <= self._frame_size:
            self.out.append(_pack(size << 8 | frames.HEADERS, frames.END_HEADERS | end_stream, stream_id))
            self.out.append(block)
        else:
            self._queue_split_headers(stream_id, block, end_stream)

    def _queue_split_headers(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        kind, flags = frames.HEADERS, int(end_stream)
        step = self._frame_size
        for start in range(0, len(block), step):
            piece = block[start : start + step]
            if start + step >= len(block):
                flags |= frames.END_HEADERS
            self.out.append(_pack(len(piece) << 8 | kind, flags, stream_id))
            self.out.append(piece)
            kind, flags = frames.CONTINUATION, 0

    # -- data that waits --

    def _send_later(self, stream: Stream, data: bytes, end_stream: bool) -> bool:
        if not self._may_send(stream):
            return True
        if stream.pending is None:
            stream.pending = deque()
        if data or (end_stream and not stream.pending):
            stream.pending.append(data)
        stream.ended = end_stream
        self._make_ready(stream)
        self._pump()
        stream.is_waiting = bool(stream.pending)
        return not stream.is_waiting

    def _make_ready(self, stream: Stream) -> None:
        if not stream.is_queued and (stream.window > 0 or not stream.pending or not stream.pending[0]):
            stream.is_queued = True
            self._ready.append(stream)

    def _pump(self) -> None:
        """Sends what the windows allow, a frame of each stream in turn.

        Receivers send more when told that they may; the outermost call does it all, so the stack stays flat.
        """
        if self._is_pumping:
            return
        self._is_pumping = True
        ready = self._ready
        try:
            while ready and (self._window > 0 or self._is_only_end(ready[0])):
                stream = ready.popleft()
                stream.is_queued = False
                if stream.pending:
                    self._send_piece(stream)
        finally:
            self._is_pumping = False

    @staticmethod
    def _is_only_end(stream: Stream) -> bool:
        """Whether no data waits, so that no window is needed."""
        return not stream.pending or not stream.pending[0]

    def _send_piece(self, stream: Stream) -> None:
        pending = stream.pending
        assert pending
        data = stream.take(max(0, min(stream.window, self._window, self._frame_size)))
        size = len(data)
        stream.window -= size
        self._window -= size
        is_last = not pending and stream.ended and stream.tail is None
        self.out.append(_pack(size << 8, is_last, stream.id))
        self.out.append(data)
        self._pay(UPDATES_PER_FRAME + size // _BYTES_PER_UPDATE)
        if pending:
            self._make_ready(stream)
        else:
            self._sent_all(stream, is_last)

    def _sent_all(self, stream: Stream, is_last: bool) -> None:
        if stream.tail is not None:
            self._queue_headers(stream.id, stream.tail, True)
            stream.tail = None
            is_last = True
        if is_last:
            self._end(stream)
        if stream.is_waiting:
            stream.is_waiting = False
            self._receiver.stream_writable(stream)
