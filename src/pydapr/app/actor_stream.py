"""Streams that apps open to host actors: what actors are to do goes out, and answers find who waits for them.

`api.grpc.actor_events` reads and writes a stream, `blocks.actors.streams` asks by it. An app that is replaced opens its
new stream before the old one ends: from then on the new one gets everything, and the old one finishes what it has.
"""

import asyncio
from collections.abc import Callable, Iterable

from pydapr.observe import logging
from pydapr.wire.actorstreams import Reply

log = logging.get("dapr.runtime.actors.callbackstream")

_SHOWN = 64
"""Bytes of what an app says that the log has."""

Write = Callable[[bytes], bytes]
"""Makes a message of the id that its answer will have."""


class Disconnected(Exception):
    """The stream ended while the app had what was asked: nobody knows what became of it."""


class Connection:
    """One stream. `number` is what the log calls it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_open = True
        self._last = 0
        self._pending: dict[bytes, asyncio.Future[Reply | None]] = {}
        self._greeting = b""
        self._is_greeted = False
        self._outgoing: dict[bytes, bytes] = {}
        """Messages that have not gone yet, by their ids; who gives up takes back its own."""
        self._wanted: asyncio.Future[None] | None = None

    async def ask(self, write: Write) -> Reply:
        """The app's answer. Raises `Disconnected`."""
        if not self.is_open:
            raise Disconnected
        self._last += 1
        id = b"%d" % self._last
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._pending[id] = answer
        try:
            self._outgoing[id] = write(id)
            self._wake()
            reply = await answer
        finally:
            self._pending.pop(id, None)
            self._outgoing.pop(id, None)
        if reply is None:
            raise Disconnected
        return reply

    def greet(self, message: bytes) -> None:
        """Says first that the app is heard; nothing goes out before."""
        self._greeting, self._is_greeted = message, True
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def outgoing(self) -> bytes:
        """The next message for the app."""
        while True:
            if self._greeting:
                message, self._greeting = self._greeting, b""
                return message
            if self._outgoing and self._is_greeted:
                return self._outgoing.pop(next(iter(self._outgoing)))
            self._wanted = asyncio.get_running_loop().create_future()
            try:
                await self._wanted
            finally:
                self._wanted = None

    def answered(self, reply: Reply) -> None:
        """The app has answered."""
        answer = self._pending.get(reply.id)
        if answer is None or answer.done():
            id = reply.id[:_SHOWN].decode("utf-8", "replace")
            log.warning(f"Dropping actor callback response with unknown id={id}")
            return
        answer.set_result(reply)

    def close(self) -> None:
        """Nobody is there any more: all who wait hear of it now."""
        self.is_open = False
        self._outgoing.clear()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_result(None)


class Connections:
    """All streams there are, and which of them has which types."""

    def __init__(self) -> None:
        self._by_type: dict[str, list[Connection]] = {}
        self._last = 0

    def open(self) -> Connection:
        """A stream, which gets nothing before `add`."""
        self._last += 1
        return Connection(self._last)

    def add(self, connection: Connection, types: Iterable[str]) -> None:
        """What concerns actors of these types goes to this stream from now on."""
        for name in types:
            self._by_type.setdefault(name, []).append(connection)

    def remove(self, connection: Connection, types: Iterable[str]) -> list[str]:
        """This stream gets nothing more. Returns the types that no other has."""
        orphans = []
        for name in types:
            others = [other for other in self._by_type.get(name, ()) if other is not connection]
            if others:
                self._by_type[name] = others
            elif self._by_type.pop(name, None) is not None:
                orphans.append(name)
        return orphans

    def find(self, actor_type: str) -> Connection | None:
        """The newest stream with a type."""
        found = self._by_type.get(actor_type)
        return found[-1] if found else None
