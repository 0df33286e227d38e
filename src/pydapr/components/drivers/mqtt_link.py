"""One connection of an MQTT client: bytes to packets, signs of life, and messages that wait for their acknowledgement.

Made by `components.drivers.mqtt`, whose client takes the packets.
"""

import asyncio
from typing import Protocol, cast

from pydapr.components.drivers import mqtt_packets as packets
from pydapr.observe import logging

log = logging.get("dapr.contrib")

KEEP_ALIVE_SECONDS = 30
CLOSING_SECONDS = 1.0


class Client(Protocol):
    """Who the packets are for."""

    def take(self, link: "Link", packet: packets.Packet) -> None:
        """Raises `Malformed`."""

    def lose(self, link: "Link") -> None: ...


class Incoming:
    """A message from the broker, until it is acknowledged on the connection by which it came."""

    __slots__ = ("_link", "message")

    def __init__(self, message: packets.Publish, link: "Link") -> None:
        self.message, self._link = message, link

    @property
    def can_wait(self) -> bool:
        """Whether the broker counts on an acknowledgement, and will not send the message by itself."""
        return self.message.qos > 0 and not self._link.is_lost

    def acknowledge(self) -> None:
        if self.can_wait:
            kind = packets.PUBACK if self.message.qos == 1 else packets.PUBREC
            self._link.write(packets.acknowledge(kind, self.message.id))


class Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, client: Client) -> None:
        self._client, self._reader = client, packets.Reader()
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._has_begun = False
        self._tick: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.is_lost = False
        self.has_room, self.ended = asyncio.Event(), asyncio.Event()
        self.has_room.set()
        self.connected: asyncio.Future[tuple[int, bool]] = self._loop.create_future()
        """The broker's answer: 0 or why it refuses, and whether it still has our session."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        self._tick = self._loop.call_later(KEEP_ALIVE_SECONDS / 2, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            if not self._has_begun:
                self._has_begun = True
                packets.check_begin(data)
            for packet in self._reader.feed(data):
                if packet.kind == packets.CONNACK:
                    answer = packets.read_connack(packet)
                    if not self.connected.done():
                        self.connected.set_result(answer)
                else:
                    self._client.take(self, packet)
        except packets.Malformed as error:
            if not self.connected.done():
                self.connected.set_exception(ConnectionError(f"this is no broker of MQTT: {error}"))
                self.connected.exception()
            else:
                log.error(f"mqtt: {error}; connecting again")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if self._tick is not None:
            self._tick.cancel()
        if not self.connected.done():
            self.connected.set_exception(error or ConnectionError("the broker closed the connection"))
            self.connected.exception()
        self.has_room.set()
        self.ended.set()
        self._client.lose(self)

    def pause_writing(self) -> None:
        self.has_room.clear()

    def resume_writing(self) -> None:
        self.has_room.set()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self.is_lost:
            self._transport.write(data)

    def read_on(self, is_wanted: bool) -> None:
        if self._transport is not None and not self.is_lost:
            if is_wanted and not self._transport.is_reading():
                self._heard = self._loop.time()
                self._transport.resume_reading()
            elif not is_wanted and self._transport.is_reading():
                self._transport.pause_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        if self._transport is not None:
            self.write(packets.DISCONNECT)
            self._transport.close()
            try:
                async with asyncio.timeout(CLOSING_SECONDS):
                    await self.ended.wait()
            except TimeoutError:
                self._transport.abort()

    def _keep_alive(self) -> None:
        """Says that we are there, and gives up on a broker that does not."""
        is_reading = self._transport is not None and self._transport.is_reading()
        if is_reading and self._loop.time() - self._heard > KEEP_ALIVE_SECONDS * 1.5:
            self.abort()
            return
        self.write(packets.PING)
        self._tick = self._loop.call_later(KEEP_ALIVE_SECONDS / 2, self._keep_alive)
