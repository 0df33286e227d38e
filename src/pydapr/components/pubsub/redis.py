"""pubsub.redis has the messages in Redis streams: a server, one that sentinels watch, or a cluster.

Sidecars of the original share streams and groups with ours. A message that the app did not take is delivered again
after `processingTimeout`; so is one whose sidecar has died. Without `maxLenApprox` or `streamTTL` a stream grows for
ever. Messages are handled side by side; with `concurrency` 1 and one instance of an app they come in order, except
those that come again. Publishing shares a connection, each subscription has one: options about pools have no meaning.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.drivers import redis, redis_streams
from pydapr.components.drivers.redis_connection import Command, Failure
from pydapr.components.pubsub import Browsed, Entry, Handler, Message, PubSub, PubSubError, Subscription
from pydapr.lib import durations
from pydapr.observe import logging

log = logging.get("dapr.contrib")


@options
class Options(redis.Options):
    consumer_id: str = option("The consumer group, and its consumer.", default="")
    processing_timeout: str = option(
        "How long a message may be in work before it comes again, a duration or milliseconds; 0 for never again.",
        default="60s",
    )
    redeliver_interval: str = option(
        "How often is looked for messages to deliver again, a duration or milliseconds; 0 for never.", default="15s"
    )
    queue_depth: int = option("How many messages may wait here for their turn.", default=100)
    concurrency: int = option("How many messages are handled at a time.", default=10)
    max_len_approx: int = option("About how many messages a stream keeps, 0 for all.", default=0)
    stream_ttl: Seconds = option("About how long a stream keeps messages, 0 for ever.", default=Seconds(0))


@component("pubsub.redis", Options)
class Redis(PubSub):
    def __init__(self, options: Options) -> None:
        if options.queue_depth < 1:
            raise Wrong("metadata property queueDepth must be at least 1")
        if options.concurrency < 1:
            raise Wrong("metadata property concurrency must be at least 1")
        self._settings = redis.settings(options)
        self._client = redis.client(self._settings)
        self._rules = redis_streams.Rules(
            options.consumer_id,
            _seconds(options.processing_timeout, "processingTimeout"),
            _seconds(options.redeliver_interval, "redeliverInterval"),
            options.queue_depth,
            options.concurrency,
        )
        self._turns = asyncio.Semaphore(options.concurrency)
        self._most, self._age = options.max_len_approx, options.stream_ttl

    async def open(self) -> None:
        if self._most > 0 and self._age > 0:
            log.warning("redis streams: maxLenApprox and streamTTL cannot be used together; maxLenApprox is used.")
        try:
            await self._client.open()
        except OSError as error:
            raise OSError(f"redis streams: {_reason(error)}") from error

    async def close(self) -> None:
        await self._client.close()

    async def publish(self, message: Message) -> None:
        command = redis_streams.add(message.topic, message.data, message.metadata, self._trim())
        try:
            [reply] = await self._client.run(message.topic, [command], may_repeat=True)
        except OSError as error:
            raise PubSubError(f"redis streams: error from publish: {_reason(error)}") from None
        if isinstance(reply, Failure):
            raise PubSubError(f"redis streams: error from publish: {reply}")

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """All in one go."""
        trim = self._trim()
        commands = [redis_streams.add(topic, one.message.data, one.message.metadata, trim) for one in entries]
        try:
            replies = await self._client.run(topic, commands, may_repeat=True) if commands else []
        except OSError as error:
            return {one.id: f"redis streams: error from publish: {_reason(error)}" for one in entries}
        return {
            one.id: f"redis streams: error from publish: {reply}"
            for one, reply in zip(entries, replies, strict=True)
            if isinstance(reply, Failure)
        }

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        silence = self._settings.silence
        wanted = self._settings.replace(silence=silence and silence + redis_streams.BLOCK_SECONDS)
        group = redis_streams.Group((self._client, redis.client(wanted)), topic, self._rules, self._turns, handler)
        try:
            await group.begin()
        except OSError as error:
            raise PubSubError(f"redis streams: {_reason(error)}") from None
        return group

    async def browse(
        self, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        start = redis_streams.following(after) if after else "-"
        try:
            [found] = await self._client.run(topic, [("XRANGE", topic, start, "+", "COUNT", most)], may_repeat=True)
        except OSError as error:
            raise PubSubError(f"redis streams: {_reason(error)}") from None
        if isinstance(found, Failure):
            raise PubSubError(f"redis streams: {found}")
        seen = [
            Browsed(id_.decode(), redis_streams.message(topic, fields), int(id_.partition(b"-")[0]) / 1000)
            for id_, fields in found
        ]
        return seen, seen[-1].id if len(seen) == most else ""

    def _trim(self) -> Command:
        if self._most > 0:
            return ("MAXLEN", "~", self._most)
        if self._age > 0:
            return ("MINID", "~", f"{int((time.time() - self._age) * 1000)}-1")
        return ()


def _reason(error: OSError) -> str:
    """What the driver says, which speaks of stores."""
    return str(error).removeprefix("redis store: ")


def _seconds(text: str, name: str) -> float:
    """Raises `Wrong`."""
    try:
        return int(text) / 1000 if text.isdecimal() else max(durations.parse(text or "0s"), 0.0)
    except ValueError:
        raise Wrong(f"metadata property {name}: {text!r} is no duration") from None
