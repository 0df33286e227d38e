"""Message brokers: messages go to topics, and come to who subscribed to them, at least once.

`daprd.opening` opens the brokers that resources describe; `blocks.pubsub` publishes and delivers. Messages are bytes
here: CloudEvents, routing, scopes, dead letters and what an app answers are the block's. How a new broker is judged:
`tests/conformance/test_pubsub.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydapr.components import Part
from pydapr.errors import Code
from pydapr.lib.record import Record

MESSAGE_TTL, WILDCARDS, BULK = "MESSAGE_TTL", "SUBSCRIBE_WILDCARDS", "BULK_PUBSUB"
"""Features: it ends messages by `ttlInSeconds` itself; topics to subscribe to may be patterns; bulk is native."""

IMMEDIATE = "BULK_SUBSCRIBE_IMMEDIATE"
"""Feature: a message is not followed by another before it is done with, so gathering must not wait for more."""

NO_METADATA: Mapping[str, str] = {}


class PubSubError(Exception):
    """The broker could not do what it was asked to. The message is what the app reads.

    `code` is the gRPC code that a policy's `matching` looks at: UNAVAILABLE unless the component knows better, as with
    the original's brokers, where FAILED_PRECONDITION is what no further try can mend.
    """

    def __init__(self, message: str, code: int = Code.UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code


class Unsupported(PubSubError):
    """The broker cannot do this at all."""


class NotProcessed(Exception):
    """Nobody took the message: it goes back to the broker, which delivers it again. The message is the reason."""


class Message(Record):
    """One message on its way to the broker, or from it, when `topic` is where it was published.

    `metadata` is what came with the request, or what the broker tells of a message. `deliver_at`, in Unix seconds, is
    set for brokers that say `delays` only: they deliver the message no sooner.
    """

    topic: str
    data: bytes
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str = ""
    deliver_at: float | None = None


class Entry(Record):
    """A message of many, with an id by which it is spoken of. `content_type` and `metadata` are in `message`."""

    id: str
    message: Message


class Limits(Record):
    """Of one delivery of many: no more than `messages`, and none waits longer than `seconds` for others."""

    messages: int
    seconds: float


class Browsed(Record):
    """A message that was looked at, not taken. `id` is the broker's; `time`, in Unix seconds, when it was published."""

    id: str
    message: Message
    time: float | None = None


Handler = Callable[[Message], Awaitable[None]]
"""Delivers one message. Raises `NotProcessed`, and nothing else; without it the message is done with."""

BulkHandler = Callable[[Sequence[Entry]], Awaitable[Mapping[str, str]]]
"""Delivers many; the ids of those that nobody took, each with the reason. It raises nothing."""


class Subscription(ABC):
    """One topic's messages on their way to a handler."""

    @abstractmethod
    async def close(self) -> None:
        """Takes no further message; those under way are finished, and the broker knows it, when this returns.

        When it is cancelled, so are the handlers that still run, and their messages stay with the broker.
        """


class PubSub(Part, ABC):
    """A broker. All methods raise `PubSubError`, within a bounded time.

    A subscription outlives the broker's absence: it goes on when the broker is back, and no one need tell it to.
    """

    delays = False
    """Whether it holds messages until their `deliver_at`, over its own restart if it is durable."""

    @abstractmethod
    async def publish(self, message: Message) -> None:
        """When this returns, the broker has the message, as safely as it keeps messages."""

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Publishes many; the ids of those that failed, each with the reason. One after the other, if not overridden.

        `metadata` is the request's, that of the entries is in them. Raises when none could be tried.
        """
        failed = {}
        for entry in entries:
            try:
                await self.publish(entry.message)
            except PubSubError as error:
                failed[entry.id] = str(error)
        return failed

    @abstractmethod
    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        """Gives `handler` what is published to `topic`, also several messages at a time where order is not promised.

        `metadata` is the subscription's. Cancelling the call leaves nothing behind.
        """

    async def subscribe_many(
        self, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
    ) -> Subscription:
        """As `subscribe`, with many messages at once; brokers that say `BULK` override it, for others it gathers."""
        from pydapr.components.drivers import gathering

        return await gathering.subscribe(self, topic, metadata, limits, handler)

    async def browse(
        self, topic: str, after: str, most: int, metadata: Mapping[str, str]
    ) -> tuple[Sequence[Browsed], str]:
        """Up to `most` messages of `topic` without taking them, and what to give as `after` for the next ones, "" at
        the end. Raises `Unsupported` when the broker cannot."""
        raise Unsupported("this broker cannot show its messages")
