"""A message body that arrives in pieces: one side feeds it, the other reads it, memory stays bounded.

Fed by the connections in `net.http1` and `net.http2`, read by faces, peers and the app channel. A body that
has already arrived as a whole is taken without any waiting: that is the usual case and the fast one.
"""

import asyncio
from typing import Protocol

from mypy_extensions import mypyc_attr

HIGH_WATER = 256 * 1024
"""Bytes that may wait unread in one body before its connection is told to stop."""

LOW_WATER = HIGH_WATER // 4
"""Bytes unread below which it is told to go on."""


SMALL = 4096
"""Bytes at the end of a body that are not worth a word to its source once they are read."""


class BodyError(Exception):
    """The body cannot be read to its end."""


class Disconnected(BodyError):
    """The connection ended, or the peer gave the message up, before the body was complete."""


class TooLarge(BodyError):
    """The body is larger than the limit given for it."""

    def __init__(self) -> None:
        super().__init__("stream too large")


class Source(Protocol):
    """Where a body comes from: it is told what has been read, to let more come."""

    def body_consumed(self, body: "Body", size: int) -> None: ...

    def body_wanted(self, body: "Body") -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Body:
    """Bytes in order, an end, or an error instead of the end. One reader at a time."""

    __slots__ = ("_chunks", "_room", "_source", "_waiter", "buffered", "ended", "error", "length")

    def __init__(self, source: Source | None = None, length: int | None = None) -> None:
        self._chunks: list[bytes] = []
        self.error: BodyError | None = None
        """Why the body is not complete, once that is certain."""
        self._room: int | None = None
        self._source = source
        self._waiter: asyncio.Future[None] | None = None
        self.buffered = 0
        self.ended = False
        self.length = length
        """The size announced beforehand, None when it is not known."""

    @staticmethod
    def of(data: bytes) -> "Body":
        """A body that is complete already."""
        return Whole(data)

    # -- the feeding side --

    def feed(self, data: bytes) -> None:
        """Adds `data`. The caller looks at `buffered` and pauses its connection past `HIGH_WATER`."""
        if self.ended:
            return
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                self.fail(TooLarge())
                return
        self._chunks.append(data)
        self.buffered += len(data)
        if self._waiter is not None:
            self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        if not self._chunks:
            self._source = None
        if self._waiter is not None:
            self._wake()

    def fail(self, error: BodyError) -> None:
        """The rest will not come; the reader gets `error` after what is here."""
        if not self.ended:
            self.error = error
            self.ended = True
            if self._waiter is not None:
                self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the reading side --

    def limit(self, size: int) -> None:
        """Refuses more than `size` bytes from here on. Raises `TooLarge` if that is known already."""
        if (self.length is not None and self.length > size) or self.buffered > size:
            raise TooLarge
        if not self.ended:
            self._room = size - self.buffered

    @property
    def is_whole(self) -> bool:
        """Whether `take` answers at once with everything there is."""
        return self.ended and self.error is None

    def whole(self) -> bytes:
        """Everything, left where it is; needs `is_whole`."""
        chunks = self._chunks
        if len(chunks) > 1:
            chunks[:] = [b"".join(chunks)]
        return chunks[0] if chunks else b""

    def take(self) -> bytes:
        """All that is here, without waiting; with `is_whole` that is the entire rest."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        size, self.buffered = self.buffered, 0
        source = self._source
        if source is not None:
            if self.ended:
                # Source and body hold each other: let go, so that neither waits for the garbage collector.
                self._source = None
                if size <= SMALL:
                    return data
            source.body_consumed(self, size)
        return data

    async def read(self) -> bytes:
        """The next bytes, as soon as there are any; b"" at the end. Raises `BodyError`."""
        while not self._chunks:
            if self.error is not None:
                raise self.error
            if self.ended:
                return b""
            if self._source is not None:
                self._source.body_wanted(self)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.take()

    async def read_all(self, limit: int | None = None) -> bytes:
        """The entire rest as one value. Raises `BodyError`, of it `TooLarge` past `limit` bytes."""
        if limit is not None and limit > 0:
            self.limit(limit)
        if self.is_whole:
            return self.take()
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def discard(self) -> None:
        """Nobody wants the rest: what comes is dropped."""
        self.take()
        self.fail(Disconnected("nobody reads this body any more"))


class Whole(Body):
    """A body that is complete from the start. Made by `Body.of`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.ended = True
        self.error = None
        self.length = self.buffered = len(data)

    def limit(self, size: int) -> None:
        if self.buffered > size:
            raise TooLarge

    @property
    def is_whole(self) -> bool:
        return True

    def whole(self) -> bytes:
        return self._data

    def take(self) -> bytes:
        data, self._data = self._data, b""
        self.buffered = 0
        return data

    async def read(self) -> bytes:
        return self.take()

    def feed(self, data: bytes) -> None:
        raise TypeError("the body is complete")

    def end(self) -> None:
        pass

    def fail(self, error: BodyError) -> None:
        pass
