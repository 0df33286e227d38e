"""pubsub.jetstream publishes to streams of NATS JetStream, and subscribes with a push consumer per subscription.

The streams are there already. Without `durableName` a subscription is of its own and begins as `deliverPolicy` says,
each time; with it the server remembers where it was. A durable name is for one topic; several sidecars share it, and
the messages, if they have the same `queueGroupName`, too. The id of a CloudEvent makes JetStream drop duplicates.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from pydapr.components import Seconds, Wrong, component, convert, option, options
from pydapr.components.drivers import nats
from pydapr.components.drivers.deliveries import Deliveries
from pydapr.components.pubsub import Handler, Message, NotProcessed, PubSub, PubSubError, Subscription
from pydapr.net import tasks
from pydapr.observe import logging

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as Inbox
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

log = logging.get("dapr.contrib")

DELIVER = {
    "": "all", "all": "all", "last": "last", "new": "new", "sequence": "by_start_sequence", "time": "by_start_time",
}  # fmt: skip
MOST_UNDER_WAY = 1000
"""Messages of a subscription at a time, where nobody acknowledges them."""

LOOK_SECONDS, AGAIN_SECONDS = 30.0, 5.0
"""How often is looked whether the consumer is still there, and how often again when it is not."""

Key = tuple[int, datetime.datetime]
"""Which message of its stream it is: its number, and when it was published, as a stream may be made anew."""


@options
class Options:
    nats_url: str = option("Where the servers are, by commas: `nats://host:4222`.")
    name: str = option("What the server shows as the connection's name.", default="dapr.io - pubsub.jetstream")
    jwt: str = option("Who we are, as a JWT.", default="")
    seed_key: str = option("The seed that belongs to `jwt`.", default="")
    token: str = option("Who we are, as a token.", default="")
    tls_client_cert: str = option(
        "The path of our certificate, a file in PEM form.", default="", aliases=("tls_client_cert",)
    )
    tls_client_key: str = option(
        "The path of the certificate's key, a file in PEM form.", default="", aliases=("tls_client_key",)
    )
    stream_name: str = option("The stream; found by the topic when empty.", default="")
    durable_name: str = option("The name of a consumer that the server keeps.", default="")
    queue_group_name: str = option("The name of a group that shares messages.", default="")
    start_sequence: int = option("The first message, for the deliver policy `sequence`.", default=0)
    start_time: int | None = option("The first message, in Unix seconds, for the deliver policy `time`.", default=None)
    flow_control: bool = option("Whether the server waits for us; needs `heartbeat`.", default=False)
    ack_wait: Seconds = option(
        "How long the server waits for an acknowledgement, and a message that nobody took to come again.",
        default=Seconds(0),
    )
    max_deliver: int = option("How often a message is delivered at most; 0 for any number.", default=0)
    back_off: str = option("The pauses between deliveries, by commas: `50ms, 1s, 10s`.", default="")
    max_ack_pending: int = option("How many messages may be unacknowledged; 0 for what the server has.", default=0)
    replicas: int = option("How many servers keep the consumer; 0 for as many as keep the stream.", default=0)
    memory_storage: bool = option("Whether the consumer is kept in memory only.", default=False)
    rate_limit: int = option("Bits per second at most; 0 for any number.", default=0)
    heartbeat: Seconds = option("How often the server shows that it is there.", default=Seconds(0))
    deliver_policy: str = option("`all`, `last`, `new`, `sequence` or `time`.", default="")
    ack_policy: str = option("`explicit`, `all` or `none`.", default="explicit")
    domain: str = option("The JetStream domain.", default="")
    api_prefix: str = option("What the subjects of the JetStream API begin with.", default="")
    concurrency_mode: str = option(
        "`single` for one message after the other, or `parallel`.", default="single", aliases=("concurrency",)
    )


class _Event(msgspec.Struct):
    """All that is read of an event."""

    id: object = None


@component("pubsub.jetstream", Options)
class JetStream(PubSub):
    def __init__(self, options: Options) -> None:
        self._options = options
        self._place = nats.Place(
            url=options.nats_url, name=options.name or "dapr.io - pubsub.jetstream", jwt=options.jwt,
            seed_key=options.seed_key, token=options.token, certificate=options.tls_client_cert,
            key=options.tls_client_key,
        )  # fmt: skip
        nats.check(self._place)
        if options.deliver_policy not in DELIVER:
            raise Wrong(f"deliver policy {options.deliver_policy} is not one of: all, last, new, sequence, time")
        if options.concurrency_mode not in ("", "single", "parallel"):
            raise Wrong(f"invalid concurrencyMode {options.concurrency_mode}")
        self._back_off = [
            float(convert(Seconds, part.strip(), "backOff")) for part in options.back_off.split(",") if part.strip()
        ]
        self._decoder = msgspec.json.Decoder(_Event)
        self._connection: Client | None = None
        self._js: JetStreamContext | None = None
        self._subscriptions: set[_Subscription] = set()

    async def open(self) -> None:
        self._connection = await nats.connect(self._place, self._back)
        given = self._options
        prefix = given.api_prefix.rstrip(".") or "$JS.API"
        self._js = self._connection.jetstream(prefix=prefix, domain=given.domain or None, timeout=nats.ANSWER_SECONDS)

    async def close(self) -> None:
        for one in list(self._subscriptions):
            await one.abandon()
        connection, self._connection, self._js = self._connection, None, None
        if connection is not None:
            await nats.close(connection)

    async def publish(self, message: Message) -> None:
        if self._js is None:
            raise PubSubError("component is closed")
        headers = None
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            id_ = self._decoder.decode(message.data).id
            if isinstance(id_, str) and id_ and id_.isprintable():
                headers = {"Nats-Msg-Id": id_}
        try:
            with nats.mapped():
                await self._js.publish(message.topic, message.data, headers=headers)
        except nats.Failed as error:
            raise PubSubError(str(error)) from None

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if self._js is None or self._connection is None:
            raise PubSubError("component is closed")
        given = self._options
        made = _Subscription(
            self._connection, self._js, topic, given.stream_name, self._wanted(topic), handler,
            is_parallel=given.concurrency_mode == "parallel", delay=given.ack_wait, leave=self._subscriptions.discard,
        )  # fmt: skip
        try:
            with nats.mapped():
                await made.begin()
        except nats.Failed as error:
            raise PubSubError(str(error)) from None
        self._subscriptions.add(made)
        return made

    async def _back(self) -> None:
        for one in list(self._subscriptions):
            one.look()

    def _wanted(self, topic: str) -> "ConsumerConfig":
        """The consumer of a subscription, as the original asks for it."""
        from nats.js import api

        given = self._options
        ack = given.ack_policy if given.ack_policy in ("all", "none") else "explicit"
        start = None
        if given.start_time is not None:
            start = datetime.datetime.fromtimestamp(given.start_time, datetime.UTC)
        return api.ConsumerConfig(
            durable_name=given.durable_name or None,
            deliver_group=given.queue_group_name or None,
            deliver_policy=api.DeliverPolicy(DELIVER[given.deliver_policy]),
            opt_start_seq=given.start_sequence or None,
            opt_start_time=start,
            ack_policy=api.AckPolicy(ack),
            ack_wait=given.ack_wait or None,
            max_deliver=given.max_deliver or None,
            backoff=self._back_off or None,
            filter_subject=topic,
            rate_limit_bps=given.rate_limit or None,
            max_ack_pending=given.max_ack_pending or None,
            flow_control=given.flow_control or None,
            idle_heartbeat=given.heartbeat or None,
            num_replicas=given.replicas or None,
            mem_storage=given.memory_storage or None,
        )


class _Subscription(Subscription):
    """A push consumer, and the inbox that it pushes to."""

    def __init__(
        self, connection: "Client", js: "JetStreamContext", topic: str, stream: str, wanted: "ConsumerConfig",
        handler: Handler, *, is_parallel: bool, delay: float, leave: "Callable[[_Subscription], None]",
    ) -> None:  # fmt: skip
        self._connection, self._js, self._topic, self._stream = connection, js, topic, stream
        self._wanted, self._handler, self._delay, self._leave = wanted, handler, delay, leave
        self._acks = wanted.ack_policy != "none"
        self._deliveries: Deliveries[Key] = Deliveries(self._work, is_parallel=is_parallel)
        self._here: dict[Key, Msg] = {}
        """Messages that wait or are being handled, as they came last."""
        self._room = asyncio.Semaphore(MOST_UNDER_WAY)
        self._inbox: Inbox | None = None
        self._consumer = self._subject = ""
        self._created: object = None
        self._looking: asyncio.Task[None] | None = None
        self._wants_look = asyncio.Event()
        self._is_closing = False
        self._last, self._open = 0, set[int]()
        """The last message that came, and those that have come and are not acknowledged: by their number."""

    async def begin(self) -> None:
        """Raises the library's errors."""
        if not self._stream:
            self._stream = await self._js.find_stream_name_by_subject(self._topic)
        try:
            await self._listen(self._wanted)
        except BaseException:
            await self._unsubscribe()
            raise
        self._looking = asyncio.create_task(self._watch())

    async def close(self) -> None:
        self._is_closing = True
        self._leave(self)
        try:
            await tasks.stop((self._looking,))
            await self._unsubscribe()
            left = await self._deliveries.finish()
        except asyncio.CancelledError:
            await self.abandon()
            raise
        await self._return(left)

    async def abandon(self) -> None:
        """Breaks off what is under way."""
        self._is_closing = True
        self._leave(self)
        await tasks.stop((self._looking,))
        await self._unsubscribe()
        await self._deliveries.stop()
        await self._return(self._deliveries.take())

    def look(self) -> None:
        """Looks now whether the consumer is still there: the server forgets those of a subscription of its own."""
        self._wants_look.set()

    # -- the consumer --

    async def _listen(self, wanted: "ConsumerConfig") -> None:
        subject = await self._shared_subject() or self._connection.new_inbox()
        self._inbox = await self._connection.subscribe(subject, queue=wanted.deliver_group or "", cb=self._arrive)
        made = await self._js.add_consumer(self._stream, wanted.evolve(deliver_subject=subject))
        self._consumer, self._subject = made.name, subject
        self._created = (await self._js.stream_info(self._stream)).created

    async def _shared_subject(self) -> str:
        """Where the consumer of our durable name delivers already to others of our group, if there are any."""
        from nats.js import errors

        if not self._wanted.durable_name or not self._wanted.deliver_group:
            return ""
        try:
            found = await self._js.consumer_info(self._stream, self._wanted.durable_name)
        except errors.NotFoundError:
            return ""
        is_ours = found.config is not None and found.config.deliver_group == self._wanted.deliver_group
        return (found.config.deliver_subject or "") if is_ours and found.config is not None else ""

    async def _watch(self) -> None:
        # The library waits by `wait_for`, which loses a cancellation that comes together with the answer.
        while not self._is_closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wants_look.wait()
            self._wants_look.clear()
            try:
                await self._restore()
            except Exception as fault:  # of ours or the library; it is looked again
                log.error(f"jetstream: cannot look after the consumer of {self._topic}: {fault!r}")

    async def _restore(self) -> None:
        while not self._is_closing:
            try:
                with nats.mapped():
                    found = await self._js.consumer_info(self._stream, self._consumer)
                if found.config is None or found.config.deliver_subject == self._subject:
                    return
            except nats.Failed as error:
                if not error.is_missing:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
            log.warning(f"jetstream: the consumer of {self._topic} is gone; there will be another one")
            try:
                with nats.mapped():
                    wanted = await self._continued()
                    await self._unsubscribe()
                    await self._listen(wanted)
                return
            except nats.Failed as error:
                log.error(f"jetstream: cannot subscribe to {self._topic} again: {error}")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _continued(self) -> "ConsumerConfig":
        """A consumer that goes on where the last one was, if it is still the same stream.

        A durable one is asked for as ever, because the server compares: it may begin again.
        """
        from nats.js import api

        if self._wanted.durable_name:
            return self._wanted
        found = await self._js.stream_info(self._stream)
        if found.created != self._created:
            self._last = 0
            self._open.clear()
        if not self._last:
            return self._wanted
        start = min(self._open, default=self._last + 1)
        return self._wanted.evolve(
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start, opt_start_time=None
        )

    async def _unsubscribe(self) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            with contextlib.suppress(nats.Failed), nats.mapped():
                await inbox.unsubscribe()

    # -- messages --

    async def _arrive(self, message: "Msg") -> None:
        headers = message.headers
        if headers and headers.get("Status") == "100":
            # Flow control, or a heartbeat that says that the server waits for it.
            reply = message.reply or headers.get("Nats-Consumer-Stalled", "")
            if reply:
                await self._connection.publish(reply)
            return
        key = _key(message)
        if key is None:
            log.error(f"jetstream: a message of {message.subject} is none of a stream")
            return
        if key in self._here:
            # The server has waited long enough, but it is still here: handled twice, such messages would only
            # become more. What is said of it in the end is said of this copy.
            self._here[key] = message
            return
        await self._room.acquire()
        self._here[key] = message
        self._last = max(self._last, key[0])
        if self._acks:
            self._open.add(key[0])
        self._deliveries.put(key)

    async def _work(self, key: Key) -> None:
        message = self._here[key]
        try:
            await self._handler(Message(self._topic, message.data, {"Topic": message.subject}))
        except NotProcessed as error:
            log.error(f"jetstream: message of {message.subject} was not processed: {error}")
            await self._refuse(self._here.pop(key), self._delay)
        except BaseException:
            await self._refuse(self._here.pop(key), 0)
            raise
        else:
            last = self._here.pop(key)
            if self._acks:
                self._open.discard(key[0])
                with contextlib.suppress(nats.Failed), nats.mapped():
                    await last.ack()
        finally:
            self._room.release()

    async def _refuse(self, message: "Msg", delay: float) -> None:
        if self._acks:
            with contextlib.suppress(nats.Failed), nats.mapped():
                await message.nak(delay or None)

    async def _return(self, left: Sequence[Key]) -> None:
        for key in left:
            await self._refuse(self._here.pop(key), 0)
        with contextlib.suppress(nats.Failed), nats.mapped():
            if self._connection.is_connected:
                await self._connection.flush(timeout=int(nats.CLOSING_SECONDS))


def _key(message: "Msg") -> Key | None:
    """None for what did not come by a consumer."""
    from nats.errors import Error

    try:
        told = message.metadata
    except (Error, ValueError, IndexError):
        return None
    return told.sequence.stream, told.timestamp
