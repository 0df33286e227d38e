"""What both sides of an HTTP/2 connection on asyncio share: bytes in, bytes out once per loop turn.

The base of `net.http2_server` and `net.http2_client`; the protocol itself is `wire.http2`. Each stream's
owner is a `Half`: the body that arrives on it and the wait until what was sent on it has gone out.
"""

import asyncio

from pydapr.net.body import Body, BodyError, Disconnected
from pydapr.net.connection import Connection
from pydapr.net.keepalive import Keepalive
from pydapr.wire import http2

PART_SECONDS = 1.0
"""How long a peer that broke the protocol has to take in why the connection ends."""

REPLY_SECONDS = 0.01
"""How long an answer to PING may wait for something that is to be sent anyway; at most twice as long."""


class Half:
    """Our end of one stream: what arrives is in `body`, what is sent goes through `write`."""

    __slots__ = ("_room", "body", "connection", "stream")

    relays = False
    """Whether what arrives goes to `arrived` instead of into the body."""

    def __init__(self, connection: "Http2Connection", stream: http2.Stream, length: int | None = None) -> None:
        self.connection = connection
        self.stream = stream
        self.body = Body(self, length)
        self._room: asyncio.Future[None] | None = None

    def body_consumed(self, body: Body, size: int) -> None:
        """Gives the peer credit for what was read."""
        connection = self.connection
        if not connection.is_lost:
            connection.h2.consumed(self.stream, size)
            if connection.h2.out:
                connection.flush()

    def body_wanted(self, body: Body) -> None:
        pass

    def arrived(self, data: bytes, end: bool) -> None:
        """Takes a piece of what the peer sends, with its end or without; gives credit for it (`net.relay`)."""
        raise NotImplementedError

    async def write(self, data: bytes, end: bool = False) -> None:
        """Sends `data`; waits while the peer's windows or the transport are full. Raises `Disconnected`."""
        connection = self.connection
        if connection.is_lost or self.stream.is_closed:
            raise Disconnected("the stream is closed")
        while (room := self._room) is not None:
            # A write was cancelled while its data waited, as they still do: more of them would pile up.
            if room.done():
                self._room = room = connection.loop.create_future()
            await room
        gone = connection.h2.send_data(self.stream, data, end)
        connection.flush()
        if not gone:
            self._room = connection.loop.create_future()
            await self._room
        if connection.drained is not None:
            await connection.drain()

    @property
    def has_sent_all(self) -> bool:
        """Whether our side has ended and nobody waits for it."""
        return self.stream.ended and self._room is None

    def writable(self) -> None:
        """What was given has gone out."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def fail(self, error: BodyError) -> None:
        """The stream is dead."""
        self.body.fail(error)
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_exception(error)

    def reset(self, code: http2.ErrorCode) -> None:
        """Tells the peer that this stream is given up."""
        connection = self.connection
        if not connection.is_lost and not self.stream.is_closed:
            connection.h2.reset(self.stream, code)
            connection.flush()
        self.fail(Disconnected("the stream was given up"))


class Http2Connection(Connection):
    """Moves the bytes of a `wire.http2.Connection`."""

    __slots__ = (
        "_flush_is_due", "_forgive_at", "_is_receiving", "_reply_is_due", "_written", "h2", "is_lost", "keepalive",
        "lost_because", "pong",
    )  # fmt: skip

    h2: http2.Connection

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._flush_is_due = False
        self._forgive_at = 0.0
        self._is_receiving = False
        self._reply_is_due = False
        self._written = 0
        self.is_lost = False
        self.lost_because = ""
        """Why we gave the peer up, if we did."""
        self.keepalive: Keepalive | None = None
        self.pong = b""
        """What the peer has answered last to `ask`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.h2.start()
        self._write()

    def data_received(self, data: bytes) -> None:
        self._is_receiving = True
        now = self.loop.time()
        if now >= self._forgive_at:
            self._forgive_at = now + 1.0
            self.h2.forgive()
        try:
            self.h2.receive(data)
        except http2.ProtocolError:
            # GOAWAY with the reason is in the output.
            self.part()
            self.loop.call_later(PART_SECONDS, self.transport.abort)
        finally:
            self._is_receiving = False
        if self.h2.out:
            if self.h2.has_only_replies and self.h2.open_streams:
                self._reply_soon()
            else:
                self._write()

    def _reply_soon(self) -> None:
        """Lets answers to PING travel with the next answer to a request: grpc-go asks with every other message."""
        if not self._reply_is_due:
            self._reply_is_due = True
            self.loop.call_later(REPLY_SECONDS, self._reply, self._written)

    def _reply(self, written: int) -> None:
        self._reply_is_due = False
        if not self.h2.out or self.is_lost:
            return
        if self._written == written:
            self._write()
        else:  # what waits now is younger: on a busy connection there is always something to travel with
            self._reply_soon()

    def flush(self) -> None:
        """Sends what is due at the end of this loop turn, together with what still comes in it."""
        if not self._flush_is_due and not self._is_receiving:
            self._flush_is_due = True
            self.loop.call_soon(self.write_out)

    def write_out(self) -> None:
        """Sends what is due now."""
        self._flush_is_due = False
        if self.h2.out:
            self._write()

    def _write(self) -> None:
        if self.drained is None:
            data = self.h2.take_output()
            self._written += 1
            if not self.transport.is_closing():
                self.transport.write(data)
        # Else it waits in `out`, where the protocol bounds what a peer that does not read can pile up.

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_out()

    def part(self) -> None:
        """Sends what is due, though it may have to wait in the transport, and closes."""
        if not self.transport.is_closing():
            self.transport.write(self.h2.take_output())
            self.transport.close()

    # -- signs of life (`net.keepalive`) --

    @property
    def heard_at(self) -> float:
        """When the peer was last heard, or up to a second before: `data_received` notes no more than that."""
        return self._forgive_at - 1.0

    def ask(self, payload: bytes = b"pydapr\0\0") -> None:
        """Asks the peer for an answer with the same eight bytes, whatever it is busy with."""
        if not self.is_lost:
            self.h2.ping(payload)
            self.flush()

    def give_up(self, reason: str) -> None:
        """Ends the connection without a word to a peer that would not hear it."""
        self.lost_because = reason
        self.transport.abort()

    # -- what both sides do with what the peer says --

    def data_arrived(self, stream: http2.Stream, data: bytes, end: bool) -> None:
        half: Half | None = stream.owner
        if half is None or half.body.ended:
            self.h2.consumed(stream, len(data))
            return
        if half.relays:
            half.arrived(data, end)
            return
        if data:
            half.body.feed(data)
        if end:
            half.body.end()

    def stream_writable(self, stream: http2.Stream) -> None:
        half: Half | None = stream.owner
        if half is not None:
            half.writable()

    def ended(self, half: Half) -> None:
        """`half` is over, well or not."""

    def pong_received(self, payload: bytes) -> None:
        self.pong = payload

    def streams_available(self) -> None:
        pass
