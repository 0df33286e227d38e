"""Reading TLS into one buffer for all connections of a thread.

Used by `net.server` and `security.tls` around the protocols of connections over TLS. For other protocols asyncio and
uvloop have OpenSSL read into fresh bytes of 256 KB each time, twice for each piece that arrives. As often as not these
come from the kernel and go back to it: 2 page faults and 20 µs a message, three times what TLS costs otherwise.
"""

import asyncio
import contextlib
import threading
from typing import Any

from pydapr.net.connection import Connection

SIZE = 64 * 1024


class _Local(threading.local):
    """What a thread has; in each runs one loop at a time."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(SIZE))


_local = _Local()


class Buffered(asyncio.BufferedProtocol):
    """Stands between TLS and `inner`, which gets bytes of its own."""

    __slots__ = ("_inner", "_received", "_view")

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._received = inner.data_received
        self._view = _local.view

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._received(self._view[:nbytes].tobytes())

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        inner = self._inner
        inner.connection_lost(error)
        if isinstance(inner, Connection):
            # They hold each other, and the 50 KB that OpenSSL has for each connection waited for the garbage collector.
            with contextlib.suppress(AttributeError):  # asyncio's own TLS, closed twice, has let go of all by itself
                inner.transport = _Gone(inner.transport)


class _Gone(asyncio.Transport):
    """What is left of a transport when the connection is lost: who the peer was."""

    def __init__(self, lost: asyncio.BaseTransport) -> None:
        super().__init__({name: lost.get_extra_info(name) for name in ("peername", "peercert")})

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data: Any) -> None:
        pass
