"""A client of MQTT 3.1.1 for components: a session that comes back, and messages acknowledged when they are handled.

Used by `pubsub.mqtt3` and `bindings.mqtt3`. The protocol itself is in `mqtt_packets`, one connection in `mqtt_link`. It
is our own because the known libraries acknowledge what they hand over, or need threads. A message that was published
and not acknowledged is sent again after a loss; what came over a lost connection is the broker's to send again.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydapr.components import Wrong
from pydapr.components.drivers import mqtt_packets as packets
from pydapr.components.drivers.deliveries import Deliveries
from pydapr.components.drivers.mqtt_link import KEEP_ALIVE_SECONDS, Incoming, Link
from pydapr.lib.record import Record
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    import ssl

log = logging.get("dapr.contrib")

PLAIN, SECURE = ("tcp", "mqtt"), ("ssl", "tls", "mqtts", "tcps", "mqtt+ssl")
CONNECT_SECONDS = 10.0
ANSWER_SECONDS, CLOSING_SECONDS = 20.0, 5.0
"""How long the broker may take for anything that is asked of it, and for that at the end."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Between tries to connect again."""

MOST_UNDER_WAY = 1000
"""Messages at a time; the broker waits with more of them."""

MANY_PARKED = 10
"""Messages that nobody subscribes to; many brokers wait with more when so many are not acknowledged."""

_REASONS = {
    1: "unacceptable protocol version", 2: "identifier rejected", 3: "server unavailable",
    4: "bad user name or password", 5: "not authorized",
}  # fmt: skip


class Failed(Exception):
    """The broker did not do it. The message is the reason."""


class Place(Record):
    """Where a broker is, and who we are there. Certificates and key are PEM texts."""

    host: str
    port: int
    is_secure: bool = False
    user: str | None = None
    password: str | None = None
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""


def place(url: str) -> Place:
    """What `tcp://user:password@host:1883` says. Raises `Wrong`, which shows nothing of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Wrong("the url is none: tcp://host:1883 or ssl://host:8883 is wanted") from None
    if not parts.hostname or parts.scheme not in PLAIN + SECURE:
        raise Wrong("the url is none of MQTT: tcp://host:1883 or ssl://host:8883 is wanted")
    is_secure = parts.scheme in SECURE
    user = unquote(parts.username) if parts.username else None
    return Place(
        host=parts.hostname, port=port or (8883 if is_secure else 1883), is_secure=is_secure, user=user,
        password=unquote(parts.password) if parts.password and user is not None else None,
    )  # fmt: skip


def check_certificates(ca: str, certificate: str, key: str) -> None:
    """Raises `Wrong` for what is no PEM."""
    for name, text in (("caCert", ca), ("clientCert", certificate), ("clientKey", key)):
        if text and "-----BEGIN" not in text:
            raise Wrong(f"invalid TLS configuration: invalid {name}")


Handle = Callable[[packets.Publish], Awaitable[bool]]
"""Handles a message; whether it is done with. It raises nothing."""


class _Outgoing:
    """A message on its way to the broker."""

    __slots__ = ("done", "is_released", "is_retained", "payload", "qos", "topic")

    def __init__(self, topic: str, payload: bytes, qos: int, is_retained: bool) -> None:
        self.topic, self.payload, self.qos, self.is_retained = topic, payload, qos, is_retained
        self.is_released = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def packet(self, id_: int, is_again: bool) -> bytes:
        """Raises `ValueError`."""
        if self.is_released:
            return packets.acknowledge(packets.PUBREL, id_)
        return packets.publish(self.topic, self.payload, self.qos, id_, is_retained=self.is_retained, is_again=is_again)


class Listening:
    """What is subscribed to, and where its messages go. `pause` says how long after which try there is another one.

    MQTT has no way to refuse a message: on one connection, the broker sends each once. So it is tried again here.
    """

    def __init__(self, client: "Client", wanted: str, qos: int, handle: Handle, pause: Callable[[int], float]) -> None:
        self._client, self.wanted, self.qos = client, wanted, qos
        self._handle, self._pause = handle, pause
        self.deliveries: Deliveries[Incoming] = Deliveries(self._work, is_parallel=True)
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending = asyncio.Event()

    async def close(self) -> None:
        """Waits for what is under way. The rest stays with the broker, which has to be asked to forget it."""
        self._client.leave(self)
        self._ending.set()
        try:
            for incoming in await self.deliveries.finish():
                self._client.give_back(incoming)
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Breaks off what is under way."""
        self._client.leave(self)
        self._ending.set()
        await self.deliveries.stop()
        for incoming in self.deliveries.take():
            self._client.give_back(incoming)

    async def _work(self, incoming: Incoming) -> None:
        is_done = False
        try:
            is_done = await self._is_handled(incoming)
        finally:
            if is_done:
                incoming.acknowledge()
                self._client.handled()
            else:
                self._client.give_back(incoming)

    async def _is_handled(self, incoming: Incoming) -> bool:
        tries = 0
        while not await self._handle(incoming.message):
            tries += 1
            if incoming.can_wait:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause(tries)):
                        await self._ending.wait()
            if not incoming.can_wait or self._ending.is_set():
                return False
        return True


class Client:
    """A session with a broker, connected again after a loss as long as anybody needs it."""

    def __init__(self, where: Place, client_id: str, *, is_clean: bool) -> None:
        self._where, self._id, self._is_clean = where, client_id, is_clean
        self._tls: ssl.SSLContext | None = None
        self._link: Link | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_needed, self._is_up, self._is_down = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._began = 0.0
        self._last_id = 0
        self._outgoing: dict[int, _Outgoing] = {}
        self._asked: dict[int, Listening | asyncio.Future[None]] = {}
        self._listening: list[Listening] = []
        self._parked: list[Incoming] = []
        self._load = 0
        self._waiting = 0
        """Who publishes what is not acknowledged, and waits for a connection."""
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        return self._keeping is not None

    async def open(self) -> None:
        """Raises `OSError`, `ValueError` (for a certificate that is none)."""
        if self._where.is_secure and self._tls is None:
            from pydapr.net import client_tls

            has_both = self._where.client_cert and self._where.client_key
            self._tls = client_tls.context(
                self._where.ca_cert, self._where.client_cert if has_both else "",
                self._where.client_key if has_both else "",
            )  # fmt: skip
        await self._connect()
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        self._is_closed = True
        await tasks.stop((self._keeping,))
        self._keeping = None
        for listening in list(self._listening):
            await listening.deliveries.stop()
        for outgoing in self._outgoing.values():
            if not outgoing.done.done():
                outgoing.done.set_exception(Failed("mqtt client closed"))
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def publish(self, topic: str, payload: bytes, qos: int, *, is_retained: bool) -> None:
        """Returns when the broker has acknowledged it, if it acknowledges at all. Raises `Failed`."""
        if self._is_closed:
            raise Failed("component is closed")
        if not topic or "+" in topic or "#" in topic or "\0" in topic:
            raise Failed("the topic is empty or has a wildcard, to which nothing can be published")
        outgoing = _Outgoing(topic, payload, qos, is_retained)
        id_ = self._new_id() if qos else 0
        try:
            packet = outgoing.packet(id_, False)
        except ValueError as error:
            raise Failed(f"the message cannot be published: it is {error}") from None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._send(id_, outgoing, packet)
        except TimeoutError:
            raise Failed("the broker does not answer") from None
        finally:
            self._outgoing.pop(id_, None)

    async def _send(self, id_: int, outgoing: _Outgoing, packet: bytes) -> None:
        if outgoing.qos:
            self._outgoing[id_] = outgoing
            if self._link is not None:
                self._link.write(packet)
            else:
                self._is_needed.set()  # connecting sends it
            await outgoing.done
            return
        while (link := self._link) is None:
            self._waiting += 1
            self._is_needed.set()
            try:
                await self._is_up.wait()
            finally:
                self._waiting -= 1
        link.write(packet)
        await link.has_room.wait()

    async def subscribe(self, listening: Listening) -> None:
        """Raises `Failed`."""
        if self._is_closed:
            raise Failed("component is closed")
        self._listening.append(listening)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._link is not None:
                    self._ask_for(listening, self._link)
                self._is_needed.set()
                self._unpark(listening)
                await listening.granted
        except BaseException as error:
            await listening.abandon()
            if self._is_clean:
                self._forget(listening.wanted)
            if isinstance(error, TimeoutError):
                raise Failed("the broker does not answer") from None
            raise

    def leave(self, listening: Listening) -> None:
        """Nothing more comes to it; with a session that is kept, the broker keeps what it would have got."""
        with contextlib.suppress(ValueError):
            self._listening.remove(listening)

    async def unsubscribe(self, wanted: str) -> None:
        """The broker forgets who has left, with what waits for it."""
        id_ = self._forget(wanted)
        if id_ is None:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[id_] = answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await answer
        self._asked.pop(id_, None)

    def _forget(self, wanted: str) -> int | None:
        """The id of what the broker was asked, if there was something to ask."""
        if any(other.wanted == wanted for other in self._listening):
            return None
        for incoming in [one for one in self._parked if packets.is_match(wanted, one.message.topic)]:
            self._parked.remove(incoming)
            incoming.acknowledge()
        if self._link is None:
            return None
        id_ = self._new_id()
        self._link.write(packets.unsubscribe(id_, wanted))
        return id_

    def give_back(self, incoming: Incoming) -> None:
        """Nobody has handled it: it is for who subscribes next, because on one connection the broker sends it once."""
        self.handled()
        if incoming.can_wait:
            self._arrive(incoming)

    def handled(self) -> None:
        """One message less is under way."""
        self._load -= 1
        if self._load < MOST_UNDER_WAY and self._link is not None:
            self._link.read_on(True)

    # -- from a connection --

    def take(self, link: Link, packet: packets.Packet) -> None:
        """Raises `Malformed`."""
        kind = packet.kind
        if kind == packets.PUBLISH:
            self._arrive(Incoming(packets.read_publish(packet), link))
            return
        if kind == packets.PINGRESP:
            return
        id_ = packets.read_id(packet)
        if kind == packets.PUBREL:
            link.write(packets.acknowledge(packets.PUBCOMP, id_))
        elif kind in (packets.SUBACK, packets.UNSUBACK):
            self._answered(id_, packet.body[2:])
        elif kind == packets.PUBREC:
            found = self._outgoing.get(id_)
            if found is not None:
                found.is_released = True
            link.write(packets.acknowledge(packets.PUBREL, id_))
        elif kind in (packets.PUBACK, packets.PUBCOMP):
            found = self._outgoing.pop(id_, None)
            if found is not None and not found.done.done():
                found.done.set_result(None)

    def lose(self, link: Link) -> None:
        if link is self._link:
            self._link = None
            self._parked.clear()  # the broker sends them again
            for asked in self._asked.values():
                if isinstance(asked, asyncio.Future) and not asked.done():
                    asked.set_result(None)
            self._asked.clear()
            self._is_up.clear()
            self._is_down.set()

    def _arrive(self, incoming: Incoming) -> None:
        topic = incoming.message.topic
        exact = next((one for one in self._listening if one.wanted == topic), None)
        found = exact or next((one for one in self._listening if packets.is_match(one.wanted, topic)), None)
        if found is None:
            if incoming.can_wait:
                self._parked.append(incoming)
                if len(self._parked) == MANY_PARKED and self._listening:
                    log.warning(
                        f"mqtt: many messages wait to which nobody subscribes now, such as those of topic {topic}, and "
                        f"may hold up others. An earlier subscription of {self._id} is why they come: one that ends "
                        "for good has the metadata unsubscribeOnClose"
                    )
            return
        self._hand_over(found, incoming)

    def _hand_over(self, listening: Listening, incoming: Incoming) -> None:
        self._load += 1
        if self._load >= MOST_UNDER_WAY and self._link is not None:
            self._link.read_on(False)
        listening.deliveries.put(incoming)

    def _unpark(self, listening: Listening) -> None:
        parked, self._parked = self._parked, []
        for incoming in parked:
            if not packets.is_match(listening.wanted, incoming.message.topic):
                self._parked.append(incoming)
            elif incoming.can_wait:
                self._hand_over(listening, incoming)

    def _answered(self, id_: int, codes: bytes) -> None:
        asked = self._asked.pop(id_, None)
        if isinstance(asked, asyncio.Future):
            if not asked.done():
                asked.set_result(None)
            return
        if asked is None:
            return
        is_refused = bool(codes) and codes[0] == packets.REFUSED
        if not asked.granted.done():
            if is_refused:
                asked.granted.set_exception(Failed(f"the broker refuses the subscription to {asked.wanted}"))
            else:
                asked.granted.set_result(None)
        elif is_refused:
            log.error(f"mqtt: the broker refuses the subscription to {asked.wanted} now")

    # -- connecting --

    async def _keep(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            if self._link is not None:
                await self._is_down.wait()
                # Two clients of one id throw each other out: less and less often, if nobody ends it.
                pause = FIRST_PAUSE if loop.time() - self._began > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            if not self._listening and not self._outgoing and not self._waiting:
                self._is_needed.clear()
                await self._is_needed.wait()
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))
            try:
                await self._connect()
            except (OSError, Failed) as error:
                log.error(f"mqtt: {error}")
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> None:
        """Raises `OSError`."""
        where = self._where
        link = Link(self)
        made = f"cannot connect to {where.host}:{where.port}"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().create_connection(
                    lambda: link, where.host, where.port, ssl=self._tls,
                    server_hostname=where.host if self._tls is not None else None,
                )  # fmt: skip
                link.write(
                    packets.connect(
                        self._id, where.user, where.password, is_clean=self._is_clean, keep_alive=KEEP_ALIVE_SECONDS
                    )
                )
                code, has_session = await link.connected
        except TimeoutError:
            link.abort()
            raise OSError(f"{made}: the broker does not answer") from None
        except OSError as error:
            link.abort()
            raise OSError(f"{made}: {error}") from None
        except BaseException:
            link.abort()
            raise
        if code:
            link.abort()
            raise OSError(f"{made}: {_REASONS.get(code, f'refused with code {code}')}")
        if link.is_lost:
            raise OSError(f"{made}: the broker closed the connection")
        self._begin(link, has_session)

    def _begin(self, link: Link, has_session: bool) -> None:
        self._link, self._began = link, asyncio.get_running_loop().time()
        self._is_down.clear()
        self._is_up.set()
        for listening in self._listening:
            self._ask_for(listening, link)
        for id_, outgoing in self._outgoing.items():
            # With its session the broker has lost what it had received and was not yet to release.
            outgoing.is_released = outgoing.is_released and has_session
            link.write(outgoing.packet(id_, has_session))

    def _ask_for(self, listening: Listening, link: Link) -> None:
        id_ = self._new_id()
        self._asked[id_] = listening
        link.write(packets.subscribe(id_, listening.wanted, listening.qos))

    def _new_id(self) -> int:
        for _ in range(65535):
            self._last_id = self._last_id % 65535 + 1
            if self._last_id not in self._outgoing and self._last_id not in self._asked:
                return self._last_id
        raise Failed("too many messages are on their way")
