"""RabbitMQ for components: a connection that comes back, publishing that is confirmed, consumers that outlive a loss.

Used by `pubsub.rabbitmq` and `bindings.rabbitmq`. Home of `aiormq` (an extra). Each consumer has a channel of its own,
so that what the broker refuses to one (it closes the channel) concerns no other.
"""

import asyncio
import contextlib
import logging as stdlib
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydapr.components import Wrong
from pydapr.components.drivers.deliveries import Deliveries
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    from aiormq import spec
    from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

log = logging.get("dapr.contrib")

SCHEMES = ("amqp", "amqps")
PORTS = {"amqp": 5672, "amqps": 5671}

CONNECT_SECONDS = 30.0
ANSWER_SECONDS, CLOSING_SECONDS = 20.0, 5.0
"""How long the broker may take for anything that is asked of it, and for that at the end."""

PUBLISH_SECONDS = 60.0
"""How long publishing may take, with all its tries and those of others that it has to wait for."""

MOST_UNDER_WAY = 1000
"""Messages that a consumer has at a time where `prefetchCount` sets no limit."""

TEXT = "text/plain"
_LONGEST = 2**63 - 1


class Failed(Exception):
    """The broker did not do it. `is_lost` says that the connection is gone, and that trying again may help."""

    def __init__(self, message: str, is_lost: bool) -> None:
        super().__init__(message)
        self.is_lost = is_lost


class Place(Record):
    """Where a broker is, and who we are there. Certificates and key are PEM texts."""

    scheme: str = "amqp"
    host: str = "localhost"
    port: int = 5672
    user: str = "guest"
    password: str = "guest"
    vhost: str = "/"
    name: str = ""
    heartbeat: float = 10.0
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    is_external: bool = False
    """Whether the client certificate says who we are."""


def place(url: str) -> Place:
    """What `amqp://user:password@host:port/vhost` says. Raises `Wrong`, which shows nothing of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Wrong("the connection string is no URL: amqp://user:password@host:port/vhost is wanted") from None
    if parts.scheme not in SCHEMES:
        raise Wrong("the connection string has no scheme of AMQP: it begins with amqp:// or amqps://")
    made = Place(scheme=parts.scheme, host=parts.hostname or "localhost", port=port or PORTS[parts.scheme])
    if parts.username is not None:
        made = made.replace(user=unquote(parts.username), password=unquote(parts.password or ""))
    return made.replace(vhost=unquote(parts.path[1:])) if len(parts.path) > 1 else made


def priority(metadata: Mapping[str, str]) -> int | None:
    """`priority`, brought to what AMQP has. Raises `ValueError`."""
    text = metadata.get("priority")
    if not text:
        return None
    try:
        return min(max(int(text), 0), 255)
    except ValueError:
        raise ValueError(f"priority value must be a valid integer: actual is '{text}'") from None


def find(metadata: Mapping[str, str], name: str) -> str:
    """What is under `name`, whatever its case; "" when nothing is."""
    return metadata.get(name) or next(
        (value for key, value in metadata.items() if value and key.lower() == name.lower()), ""
    )


def properties(
    metadata: Mapping[str, str], *, delivery_mode: int, seconds: float | None, rank: int | None, **more: Any
) -> "spec.Basic.Properties":
    """A message's properties: those that the metadata of a request names, and the others as given."""
    from aiormq import spec

    return spec.Basic.Properties(
        content_type=find(metadata, "contentType") or TEXT,
        message_id=find(metadata, "messageID") or None,
        correlation_id=find(metadata, "correlationID") or None,
        message_type=find(metadata, "type") or None,
        delivery_mode=delivery_mode or None,
        expiration=None if seconds is None else str(min(int(seconds * 1000), _LONGEST)),
        priority=rank,
        **more,
    )


class Server:
    """A broker and the connection to it, which is made anew when it is asked for after a loss."""

    def __init__(self, where: Place) -> None:
        self._where = where
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()
        self._failure, self._failed_at = Failed("", True), float("-inf")
        self._is_closed = False
        self.consumers: set[Consumer] = set()

    async def open(self) -> None:
        """Raises `OSError`, `ValueError`."""
        try:
            await self._connect()
        except Failed as error:
            raise OSError(str(error)) from None

    async def close(self) -> None:
        """Ends what is under way at consumers that are not closed yet, too."""
        self._is_closed = True
        for consumer in list(self.consumers):
            await consumer.abandon()
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await _end(connection)

    async def channel(self, *, confirms: bool = False) -> "AbstractChannel":
        """A new channel. Raises `Failed`."""
        connection = await self._connect()
        with mapped("cannot open a channel"):
            async with asyncio.timeout(ANSWER_SECONDS):
                return await connection.channel(publisher_confirms=confirms)

    async def do(self, doing: str, work: Callable[["AbstractChannel"], Awaitable[None]]) -> None:
        """`work` on a channel of its own, which the broker may close when it refuses it. Raises `Failed`."""
        channel = await self.channel()
        try:
            with mapped(doing):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await work(channel)
        finally:
            await _end(channel)

    async def _connect(self) -> "AbstractConnection":
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        async with self._turn:
            if self._is_closed:
                raise Failed("component is closed", False)
            if self._connection is None or self._connection.is_closed or not self._connection.is_opened:
                if self._failed_at > asked_at:  # a try for another failed meanwhile, which was one for us, too
                    raise Failed(str(self._failure), self._failure.is_lost)
                if self._connection is not None:
                    await _end(self._connection)
                    self._connection = None
                try:
                    self._connection = await self._try_to_connect()
                except Failed as error:
                    self._failure, self._failed_at = error, clock()
                    raise
            return self._connection

    async def _try_to_connect(self) -> "AbstractConnection":
        try:
            import aiormq
            from yarl import URL
        except ImportError:
            raise OSError("RabbitMQ needs the library aiormq: pip install 'pydapr[rabbitmq]'") from None
        stdlib.getLogger("aiormq.connection").addFilter(_is_no_trace)
        where = self._where
        query = {"heartbeat": str(max(round(where.heartbeat), 1 if where.heartbeat > 0 else 0))}
        if where.is_external and where.scheme == "amqps":
            query["auth"] = "external"
        if where.name:
            query["name"] = where.name
        url = URL.build(
            scheme=where.scheme, user=where.user, password=where.password, host=where.host, port=where.port,
            path="/", query=query,
        )  # fmt: skip
        made = aiormq.Connection(url, context=tls_context(where))
        made.vhost = where.vhost
        with mapped(f"cannot connect to {where.host}:{where.port}"):
            async with asyncio.timeout(CONNECT_SECONDS):
                await made.connect()
        return made


def _is_no_trace(record: stdlib.LogRecord) -> bool:
    """The library shows the stack of each connection that is lost, of which we tell by ourselves."""
    return not record.exc_info


def tls_context(where: Place) -> Any:
    """None for a connection without TLS. Raises `ValueError` for a certificate that is none."""
    if where.scheme != "amqps":
        return None
    from pydapr.net import client_tls

    has_both = where.client_cert and where.client_key
    return client_tls.context(
        where.ca_cert, where.client_cert if has_both else "", where.client_key if has_both else ""
    )


@contextlib.contextmanager
def mapped(doing: str) -> Iterator[None]:
    """The library's errors as `Failed`. When a connection is lost, it cancels who waits, or raises bare `Exception`."""
    from aiormq import exceptions

    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Failed(f"{doing}: the connection was lost", True) from None
    except TimeoutError:
        raise Failed(f"{doing}: the broker does not answer", True) from None
    except exceptions.DeliveryError:
        raise Failed(f"{doing}: the broker did not confirm the message", False) from None
    except (exceptions.AMQPChannelError, ValueError) as error:
        raise Failed(f"{doing}: {_worded(error)}", False) from None
    except Failed:
        raise
    except Exception as failure:
        raise Failed(f"{doing}: {_worded(failure)}", True) from None


def _worded(error: BaseException) -> str:
    """What the broker says, if it said anything."""
    said = [part for part in error.args if isinstance(part, str) and part]
    if not said and type(error) is Exception:
        return "the connection was lost"
    return said[-1] if said else type(error).__name__


async def _end(one: "AbstractConnection | AbstractChannel") -> None:
    with contextlib.suppress(Failed), mapped("closing"):
        async with asyncio.timeout(CLOSING_SECONDS):
            await one.close()


class Publisher:
    """Publishes on a channel of its own. A loss on the way is tried again; the message may then be there twice."""

    def __init__(self, server: Server, *, confirms: bool, pause: float, tries: int = 3) -> None:
        self._server, self._confirms, self._pause, self._tries = server, confirms, pause, tries
        self._channel: AbstractChannel | None = None
        self._turn = asyncio.Lock()
        self._known: set[str] = set()

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        about: "spec.Basic.Properties",
        prepare: Callable[["AbstractChannel"], Awaitable[None]] | None = None,
    ) -> None:
        """`prepare` is called before the first message of an exchange on a channel. Raises `Failed`."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._try_to_publish(exchange, routing_key, body, about, prepare)
        except TimeoutError:
            raise Failed("cannot publish: the broker does not answer", True) from None

    async def _try_to_publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        about: "spec.Basic.Properties",
        prepare: Callable[["AbstractChannel"], Awaitable[None]] | None,
    ) -> None:
        for left in reversed(range(self._tries)):
            channel: AbstractChannel | None = None
            try:
                channel = await self._ready(exchange, prepare)
                with mapped("cannot publish"):
                    await channel.basic_publish(  # type: ignore[call-arg]  # the abstract class knows no `wait`
                        body, exchange=exchange, routing_key=routing_key, properties=about,
                        timeout=ANSWER_SECONDS, wait=not self._confirms,
                    )  # fmt: skip
                return
            except Failed as error:
                # The broker closes a channel for what it refuses, such as an exchange that it has removed meanwhile,
                # and with it go the messages of others that are on their way.
                is_closed = channel is not None and channel.is_closed
                if not left or not (error.is_lost or is_closed):
                    raise
                pause = self._pause if error.is_lost else 0.0
                log.warning(f"rabbitmq: {error}; trying again in {durations.text(pause)}")
            await asyncio.sleep(pause)

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await _end(channel)

    async def _ready(
        self, exchange: str, prepare: Callable[["AbstractChannel"], Awaitable[None]] | None
    ) -> "AbstractChannel":
        channel = self._channel
        if channel is not None and not channel.is_closed and (prepare is None or exchange in self._known):
            return channel
        async with self._turn:
            if self._channel is None or self._channel.is_closed:
                self._known.clear()
                self._channel = await self._server.channel(confirms=self._confirms)
            if prepare is not None and exchange not in self._known:
                await self._server.do(f"cannot declare exchange '{exchange}'", prepare)
                self._known.add(exchange)
            return self._channel


Setup = Callable[["AbstractChannel"], Awaitable[str]]
"""Declares what a consumer needs; the name of its queue."""


class Delivery(Record):
    """A message, and the channel on which the broker wants to hear of it."""

    message: Any  # the library's DeliveredMessage, which is not imported before it is needed
    channel: Any


Work = Callable[["DeliveredMessage"], Awaitable[bool | None]]
"""Handles a message: True when it is done with, False to have it again, None to be rid of it. It raises nothing."""


class Consumer:
    """Consumes a queue, and does so again on another channel when it lost the one that it had."""

    def __init__(
        self, server: Server, setup: Setup, work: Work, *, pause: float, is_parallel: bool,
        prefetch: int = 0, acks_itself: bool = False, leaves_first: bool = True,
    ) -> None:  # fmt: skip
        self._server, self._setup, self._work = server, setup, work
        self._pause, self._acks_itself = pause, acks_itself
        self._prefetch = prefetch or MOST_UNDER_WAY
        self._leaves_first = leaves_first or acks_itself
        self._deliveries: Deliveries[Delivery] = Deliveries(self._handle, is_parallel=is_parallel)
        self._channel: AbstractChannel | None = None
        self._own_tag = ""
        self._is_closing = False
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self, patience: float) -> None:
        """Consumes when this returns. Raises `Failed`, for a broker that is away only when it stays away so long."""
        end = asyncio.get_running_loop().time() + patience
        while True:
            try:
                lost = await self._consume()
                break
            except Failed as error:
                if not error.is_lost or asyncio.get_running_loop().time() + self._pause > end:
                    raise
                log.warning(f"rabbitmq: {error}; trying again in {durations.text(self._pause)}")
            await asyncio.sleep(self._pause)
        self._keeping = asyncio.create_task(self._keep(lost))
        self._server.consumers.add(self)

    async def close(self) -> None:
        """Takes no further message, waits for those under way, and gives back what has not begun."""
        self._is_closing = True
        try:
            await tasks.stop((self._keeping,))
            if self._leaves_first:
                await self._leave()
            await (self._deliveries.drain() if self._acks_itself else self._deliveries.finish())
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Cancels what is under way; what is not acknowledged on a channel goes back to its queue with its end."""
        self._is_closing = True
        self._server.consumers.discard(self)
        await tasks.stop((self._keeping,))
        await self._deliveries.stop()
        channel, self._channel = self._channel, None
        if channel is not None:
            await asyncio.shield(_end(channel))

    async def _leave(self) -> None:
        channel = self._channel
        if channel is not None and not channel.is_closed and self._own_tag:
            with contextlib.suppress(Failed), mapped("cannot cancel the consumer"):
                await channel.basic_cancel(self._own_tag, timeout=CLOSING_SECONDS)
                await asyncio.sleep(0)  # the library hands over what came before the answer

    async def _consume(self) -> asyncio.Event:
        """Begins to consume; what it gives is set when that has ended."""
        channel = await self._server.channel()
        try:
            with mapped("cannot consume"):
                async with asyncio.timeout(ANSWER_SECONDS):
                    queue = await self._setup(channel)
                    await channel.basic_qos(prefetch_count=self._prefetch)
                    lost = asyncio.Event()

                    async def take(message: "DeliveredMessage") -> None:
                        self._deliveries.put(Delivery(message, channel))

                    async def gone(_: object) -> None:
                        lost.set()

                    # AMQP has room for 255 bytes; the end is what makes a tag its own.
                    tag = f"{queue}-{uuid.uuid4()}".encode()[-255:].decode(errors="ignore")
                    channel.closing.add_done_callback(lambda _: lost.set())
                    channel.on_consumer_cancel_callbacks.add(gone)
                    self._channel, self._own_tag = channel, tag
                    await channel.basic_consume(queue, take, no_ack=self._acks_itself, consumer_tag=tag)
        except BaseException:
            self._channel = None
            await asyncio.shield(_end(channel))
            raise
        return lost

    async def _handle(self, delivery: Delivery) -> None:
        outcome = await self._work(delivery.message)
        channel, tag = delivery.channel, delivery.message.delivery_tag
        if self._acks_itself or channel.is_closed:
            return
        with contextlib.suppress(Failed), mapped("cannot acknowledge"):
            if outcome:
                await channel.basic_ack(tag, wait=False)
            else:
                await channel.basic_nack(tag, requeue=outcome is False, wait=False)

    async def _keep(self, lost: asyncio.Event) -> None:
        while not self._is_closing:  # the library may lose a cancellation
            await lost.wait()
            channel, self._channel = self._channel, None
            if channel is not None:
                await _end(channel)
            self._deliveries.take()  # the broker has them, and sends them again
            log.error(f"rabbitmq: a consumer was lost; it comes back in {durations.text(self._pause)}")
            while not self._is_closing:
                await asyncio.sleep(self._pause)
                try:
                    lost = await self._consume()
                    break
                except Failed as error:
                    log.error(f"rabbitmq: {error}")
