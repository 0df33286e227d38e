"""What every connection on asyncio has: a transport, waiting for it to drain, pausing the peer.

The base of `net.http1_server`, `net.http1_client` and `net.http2`.
"""

import asyncio
from typing import cast


class Connection:
    """A transport and the two directions of backpressure.

    It is an `asyncio.Protocol` in all but name: a class that is compiled cannot be derived from one.
    """

    __slots__ = ("_paused_peer", "drained", "loop", "transport")

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.drained: asyncio.Future[None] | None = None
        self._paused_peer = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # asyncio's own signature is too wide

    @property
    def protocol(self) -> asyncio.Protocol:
        """Itself, as asyncio's functions want to see it."""
        return cast(asyncio.Protocol, self)

    def pause_writing(self) -> None:
        if self.drained is None:
            self.drained = self.loop.create_future()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    async def drain(self) -> None:
        """Waits until the transport takes more."""
        while self.drained is not None:
            await asyncio.shield(self.drained)

    def pause_peer(self) -> None:
        if not self._paused_peer and not self.transport.is_closing():
            self._paused_peer = True
            self.transport.pause_reading()

    def resume_peer(self) -> None:
        if self._paused_peer and not self.transport.is_closing():
            self._paused_peer = False
            self.transport.resume_reading()
