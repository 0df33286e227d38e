"""Taking connections over TLS: who has connected and has not shown itself yet is counted.

Used by `net.server`. A connection costs 50 KB before its handshake is over, and servers of asyncio and uvloop take as
many as there are files. Here the oldest goes when there are too many: a handshake takes milliseconds, whoever has been
here for long has something else in mind.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydapr.net import dial

if TYPE_CHECKING:
    import ssl

MOST = 1000
"""Handshakes at a time."""

PAUSE_SECONDS = 0.1
"""How long nobody is let in when the system has no files or memory for connections."""


class Listener:
    """Takes connections of `listening`, a bound socket, until `close`; each that is over TLS goes to a protocol of
    `factory`. A handshake may take `seconds`."""

    def __init__(
        self,
        listening: socket.socket,
        tls: "ssl.SSLContext",
        seconds: float,
        factory: Callable[[], asyncio.Protocol],
        most: int = MOST,
    ) -> None:
        self._listening, self._tls, self._seconds = listening, tls, seconds
        self._factory, self._most = factory, most
        self._greeted: dict[socket.socket, asyncio.Task[None]] = {}
        """Those whose handshakes are under way, the oldest first."""
        listening.listen(1024)
        self._task = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Takes no more, and gives up those that have not shown themselves."""
        self._task.cancel()
        self._listening.close()
        for connected in list(self._greeted):
            self._part(connected)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(self._listening)
            except OSError:  # also of a client that has gone already
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._greeted) >= self._most:
                self._part(next(iter(self._greeted)))
            self._greeted[connected] = loop.create_task(self._greet(connected))
            await asyncio.sleep(0)  # there may be another one at once, and always

    async def _greet(self, connected: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        patience = {**dial.TLS_PATIENCE, "ssl_handshake_timeout": self._seconds}
        try:
            await loop.connect_accepted_socket(self._factory, connected, ssl=self._tls, **patience)
        except OSError:  # TLS' own errors are, too; the loop has closed the connection, or does so when all is written
            pass
        finally:
            self._greeted.pop(connected, None)

    def _part(self, connected: socket.socket) -> None:
        """Has a handshake fail: it ends as if the client had gone."""
        self._greeted.pop(connected, None)
        try:
            connected.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has gone
