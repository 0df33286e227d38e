"""A look into a topic without taking anything, and publishing again what is in it, such as dead letters.

Called by the HTTP face; needs a broker that can show its messages. New beside the original.
"""

from collections.abc import Collection, Mapping, Sequence
from time import time

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.errors import CannotBrowse, Forbidden, MetadataInvalid, TopicEmpty
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import Browsed, Message, PubSubError, Unsupported
from pydapr.errors import DaprError
from pydapr.lib.record import Record

MOST_SHOWN = 1000
"""Messages on a page."""

MOST_REPLAYED = 10_000
"""Messages that one request publishes again."""

_AT_A_TIME = 100


class Replayed(Record):
    """What became of messages that were to be published again: ids, and reasons by id."""

    done: Sequence[str]
    failed: Mapping[str, str]
    after: str
    """Where to go on, "" at the end."""


class Browser:
    """Looks into the topics of the brokers. Methods raise `DaprError`; names of topics are the app's."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def browse(
        self, name: str, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        """A page of messages, and what to give as `after` for the next, "" at the end."""
        broker = self._broker(name, topic, metadata)
        found, following = await self._page(broker, topic, after, most, metadata)
        return [_shown(broker, one) for one in found], following

    async def replay(
        self, name: str, topic: str, to: str, ids: Collection[str] | None, after: str, metadata: Mapping[str, str]
    ) -> Replayed:
        """Publishes messages of `topic` again, those of `ids` or all: to the topic `to`, or to the one that each names.

        They stay where they are. What is published while this goes on is not looked at.
        """
        broker = self._broker(name, topic, metadata)
        if to == topic:
            raise MetadataInvalid(name, "messages cannot be published again to the topic that they are in", metadata)
        began, done, failed = time(), list[str](), dict[str, str]()
        while len(done) + len(failed) < MOST_REPLAYED:
            found, after = await self._page(broker, topic, after, _AT_A_TIME, metadata)
            for one in found:
                if one.time is not None and one.time > began:
                    return Replayed(done, failed, "")
                if ids is None or one.id in ids:
                    fault = await self._send(name, topic, to, one.message)
                    if fault:
                        failed[one.id] = fault
                    else:
                        done.append(one.id)
            if not after:
                break
        return Replayed(done, failed, after)

    async def _send(self, name: str, topic: str, to: str, message: Message) -> str:
        """Publishes one message; why it could not be, "" if it could."""
        target = to or _origin(message)
        if not target or target == topic:
            return "it names no other topic; say by `to` which"
        try:
            await self._publisher.send(name, target, message.data, message.metadata, message.content_type)
        except DaprError as error:
            return error.message
        return ""

    async def _page(
        self, broker: Broker, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        try:
            return await broker.pubsub.browse(broker.topic(topic), after, most, metadata)
        except PubSubError as error:
            is_able = not isinstance(error, Unsupported)
            raise CannotBrowse(broker.name, topic, broker.pubsub.scrub(str(error)), is_able=is_able) from None

    def _broker(self, name: str, topic: str, metadata: Mapping[str, str]) -> Broker:
        """The broker, if the app may see what is in the topic."""
        if not topic:
            raise TopicEmpty(name, metadata)
        broker = self._publisher.line(name, topic, metadata).broker
        if not broker.scopes.can_subscribe(topic):
            raise Forbidden(name, topic, self._publisher.app_id)
        return broker


def _shown(broker: Broker, one: Browsed) -> Browsed:
    """A message with the app's name for its topic."""
    message = one.message
    name = message.topic.removeprefix(broker.prefix)
    return Browsed(one.id, Message(name, message.data, message.metadata, message.content_type), one.time)


def _origin(message: Message) -> str:
    """The topic that an event says it was published to, "" when it is none, or says nothing."""
    from pydapr.blocks.pubsub import events  # a look into topics is rare, and every sidecar with a broker offers it

    try:
        found = events.decode(message.data).get("topic")
    except events.Unreadable:
        return ""
    return found if isinstance(found, str) else ""
