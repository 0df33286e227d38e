"""Pluggable message brokers. Found by `components.drivers.pluggable`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.components.drivers import gathering, pluggable, pluggable_pull
from pydapr.components.pubsub import (
    IMMEDIATE,
    BulkHandler,
    Entry,
    Handler,
    Limits,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)
from pydapr.errors import Code, RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message as Proto

    M = TypeVar("M", bound=Proto)

SERVICE = "PubSub"

PAUSE_SECONDS = 5.0
"""How long a component may take to pause, or to go on."""


class Pluggable(pluggable.Plugged, PubSub):
    """A broker in a process of its own. A topic's messages come one after the other, as with the original."""

    def __init__(self, link: pluggable.Link, given: pluggable.Options) -> None:
        self._link, self._properties = link, dict(given.properties)
        self._subscriptions: set[_Pulled] = set()
        self._is_paused = False

    async def publish(self, message: Message) -> None:
        from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2

        request = pubsub_pb2.PublishRequest(
            data=message.data,
            pubsub_name=self._link.name,
            topic=message.topic,
            metadata=message.metadata,
            content_type=message.content_type,
        )
        await self._call("Publish", request, pubsub_pb2.PublishResponse)

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2

        wanted = [
            pubsub_pb2.BulkMessageEntry(
                entry_id=one.id,
                event=one.message.data,
                content_type=one.message.content_type,
                metadata=one.message.metadata,
            )
            for one in entries
        ]
        request = pubsub_pb2.BulkPublishRequest(
            entries=wanted, pubsub_name=self._link.name, topic=topic, metadata=metadata
        )
        answer = await self._call("BulkPublish", request, pubsub_pb2.BulkPublishResponse)
        return {one.entry_id: one.error for one in answer.failed_entries}

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        return await self._subscribe(topic, metadata, handler, 1)

    async def subscribe_many(
        self, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
    ) -> Subscription:
        # A component that is gathered from at once brings one after the other, as it says.
        source = self if IMMEDIATE in self.features else _Crowd(self, limits.messages)
        return await gathering.subscribe(source, topic, metadata, limits, handler)

    async def _subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler, at_once: int) -> Subscription:
        if self._is_paused:
            self._is_paused = False
            await self._switch("Resume")
        pulled = _Pulled(self, self._link, topic, metadata, handler, at_once)
        self._subscriptions.add(pulled)
        try:
            await pulled.begin()
        except RpcError as error:
            self._subscriptions.discard(pulled)
            raise PubSubError(f"unable to subscribe: {error}") from None
        except BaseException:
            self._subscriptions.discard(pulled)
            raise
        return pulled

    async def leave(self, pulled: "_Pulled") -> None:
        """Before a subscription ends: the component holds back what nobody would take. Others would miss theirs by
        it, so it is the last one that says so."""
        self._subscriptions.discard(pulled)
        if not self._subscriptions:
            self._is_paused = await self._switch("Pause")

    async def _switch(self, method: str) -> bool:
        """Whether the component knows what `method`, Pause or Resume, is, and has done it."""
        from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2

        request = pubsub_pb2.PauseRequest() if method == "Pause" else pubsub_pb2.ResumeRequest()
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._link.call(SERVICE, method, request, pubsub_pb2.PauseResponse)
        except RpcError as error:
            if error.code != Code.UNIMPLEMENTED:
                pluggable.log.warning(f"{method} of pluggable pubsub {self._link.name} has failed: {error}")
            return False
        except TimeoutError:
            pluggable.log.warning(f"{method} of pluggable pubsub {self._link.name} took too long")
            return False
        return True

    async def _call(self, method: str, request: "Proto", answer: "type[M]") -> "M":
        try:
            return await self._link.call(SERVICE, method, request, answer)
        except RpcError as error:
            raise PubSubError(str(error), error.code) from None

    async def _begin(self) -> None:
        from pydapr.proto.dapr.proto.components.v1 import common_pb2, pubsub_pb2

        about = common_pb2.MetadataRequest(properties=self._properties)
        request = pubsub_pb2.PubSubInitRequest(metadata=about)
        await self._link.bare(SERVICE, "Init", request, pubsub_pb2.PubSubInitResponse)
        wanted = common_pb2.FeaturesRequest()
        self.features = tuple(
            (await self._link.bare(SERVICE, "Features", wanted, common_pb2.FeaturesResponse)).features
        )


class _Crowd(PubSub):
    """A broker as who gathers bulks needs it: as many messages at a time as a bulk has."""

    def __init__(self, broker: Pluggable, at_once: int) -> None:
        self._broker, self._at_once, self.features = broker, max(at_once, 1), broker.features

    async def publish(self, message: Message) -> None:
        await self._broker.publish(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        return await self._broker._subscribe(topic, metadata, handler, self._at_once)


class _Pulled(Subscription):
    """The messages of one topic."""

    def __init__(
        self,
        broker: Pluggable,
        link: pluggable.Link,
        topic: str,
        metadata: Mapping[str, str],
        handler: Handler,
        at_once: int,
    ) -> None:
        from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2

        self._broker, self._handler = broker, handler
        wanted = pubsub_pb2.PullMessagesRequest(topic=pubsub_pb2.Topic(name=topic, metadata=metadata))
        what = f"topic {topic} of pluggable pubsub {link.name}"
        first = wanted.SerializeToString()
        self._pull = pluggable_pull.Pull(link, (SERVICE, "PullMessages"), first, self._deliver, at_once, what)

    async def begin(self) -> None:
        await self._pull.begin()

    async def close(self) -> None:
        try:
            await self._broker.leave(self)
        except BaseException:
            await self._pull.abandon()
            raise
        await self._pull.close()

    async def _deliver(self, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2

        got = pubsub_pb2.PullMessagesResponse.FromString(data)
        answer = pubsub_pb2.PullMessagesRequest(ack_message_id=got.id)
        try:
            await self._handler(Message(got.topic_name, got.data, dict(got.metadata), got.content_type))
        except NotProcessed as reason:
            answer.ack_error.message = str(reason)
        return answer.SerializeToString()
