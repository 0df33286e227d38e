"""A stream of HTTP/2: its state, its windows, and what waits to be sent on it (RFC 9113 section 5).

Made by `wire.sending` and `wire.http2`, held by their owners in `net`. The rules:

- HEADERS open an idle stream. There is no server push, so the two reserved states do not exist.
- While a side has not ended, it may send HEADERS and DATA; the END_STREAM flag of either ends that side.
- When both sides have ended, or either sent RST_STREAM, the stream is closed and nothing may be sent on it.

The table below says the same; a place that is not in it is an error, STREAM_CLOSED.
"""

from collections import deque
from typing import Any, Final

IDLE: Final = 0
OPEN: Final = 1
HALF_LOCAL: Final = 2
"""Half-closed (local): we have ended."""
HALF_REMOTE: Final = 3
"""Half-closed (remote): the peer has ended."""
CLOSED: Final = 4

SEND: Final = 0
"""HEADERS or DATA leave; ends of a side are events of their own."""
SEND_END: Final = 1
RECEIVE: Final = 2
RECEIVE_END: Final = 3

FORBIDDEN: Final = -1

_TRANSITIONS = {
    (IDLE, SEND): OPEN,
    (IDLE, RECEIVE): OPEN,
    (OPEN, SEND): OPEN,
    (OPEN, SEND_END): HALF_LOCAL,
    (OPEN, RECEIVE): OPEN,
    (OPEN, RECEIVE_END): HALF_REMOTE,
    (HALF_LOCAL, RECEIVE): HALF_LOCAL,
    (HALF_LOCAL, RECEIVE_END): CLOSED,
    (HALF_REMOTE, SEND): HALF_REMOTE,
    (HALF_REMOTE, SEND_END): CLOSED,
}

AFTER: Final = tuple(tuple(_TRANSITIONS.get((state, event), FORBIDDEN) for event in range(4)) for state in range(5))
"""AFTER[state][event] is the next state, or FORBIDDEN."""

NAMES: Final = ("idle", "open", "half-closed (local)", "half-closed (remote)", "closed")


class Stream:
    """One request and its answer. Owners read `id`, `owner` and `is_closed`, and may replace `owner`."""

    __slots__ = (
        "answered", "body_left", "credit", "ended", "id", "is_head", "is_queued", "is_waiting", "offset",
        "owner", "pending", "state", "tail", "unread", "window",
    )  # fmt: skip

    def __init__(self, stream_id: int, state: int, window: int, credit: int, owner: Any) -> None:
        self.id = stream_id
        # Whatever the layer above keeps for this stream; nothing here looks into it.
        self.owner = owner
        self.state = state
        # What we may still send, and what the peer may still send.
        self.window = window
        self.credit = credit
        # Bytes handed to the owner that it has not used up.
        self.unread = 0
        # Bytes of body that content-length still promises; -1 when it promised nothing.
        self.body_left = -1
        # On a client: final response headers came. On a server: we sent some.
        self.answered = False
        self.is_head = False
        # END_STREAM has been handed to us, though it may still wait behind data.
        self.ended = False
        self.pending: deque[bytes] | None = None
        self.offset = 0
        # The header block that follows the pending data, with END_STREAM.
        self.tail: bytes | None = None
        self.is_queued = False
        self.is_waiting = False

    def __repr__(self) -> str:
        return f"<Stream {self.id} {NAMES[self.state]}>"

    @property
    def is_closed(self) -> bool:
        return self.state == CLOSED

    def take(self, room: int) -> bytes:
        """Removes up to `room` pending bytes and returns them; copies no byte that stays."""
        pending = self.pending
        pieces = []
        while pending and (room or not pending[0]):
            piece, start = pending[0], self.offset
            if len(piece) - start > room:
                pieces.append(piece[start : start + room])
                self.offset = start + room
                break
            pending.popleft()
            self.offset = 0
            room -= len(piece) - start
            pieces.append(piece[start:] if start else piece)
        return b"".join(pieces)
