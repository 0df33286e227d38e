"""pubsub.in-memory brings messages to subscribers in this process: for tests, no other sidecar sees them.

A subscription gets its messages one after the other, in the order in which they were published. As with the original,
a message of a topic without a subscription is gone, and so is one that nobody took, unless `redeliverInterval` says
when it comes again. A topic to subscribe to may end in `*`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping

from pydapr.components import Seconds, component, option, options
from pydapr.components.pubsub import (
    WILDCARDS,
    Handler,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)
from pydapr.errors import Code
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.contrib")

MOST_MESSAGES, MOST_BYTES = 1000, 64 << 20
"""What waits for one subscription before who publishes waits, too."""

PATIENCE_SECONDS = 10.0
"""How long who publishes waits for a subscription that does not keep up."""


@options
class Options:
    redeliver_interval: Seconds = option(
        "When a message that nobody took is delivered again, at the end of what waits; 0 for never.",
        default=Seconds(0),
    )


class _Line(Subscription):
    """A subscription and the messages that wait for it."""

    def __init__(self, bus: "InMemory", topic: str, handler: Handler) -> None:
        self._bus, self.topic, self._handler = bus, topic, handler
        self.waiting: deque[Message] = deque()
        self._bytes = 0
        self._has_some, self.has_room = asyncio.Event(), asyncio.Event()
        self.has_room.set()
        self._again: dict[asyncio.TimerHandle, Message] = {}
        self._is_ending = False
        self._delivering = asyncio.create_task(self._deliver())

    def put(self, message: Message) -> None:
        self.waiting.append(message)
        self._has_some.set()
        self._count(len(message.data))

    def _count(self, size: int) -> None:
        """Bytes that came, or went. What is to come again counts like what waits."""
        self._bytes += size
        if len(self.waiting) + len(self._again) >= MOST_MESSAGES or self._bytes >= MOST_BYTES:
            self.has_room.clear()
        else:
            self.has_room.set()

    async def close(self) -> None:
        self._is_ending = True
        self._bus.leave(self)
        self._has_some.set()
        try:
            await asyncio.wait((self._delivering,))
        finally:
            again = list(self._again.values())
            await self.abandon()
            self._bus.keep(self.topic, [*self.waiting, *again])

    async def abandon(self) -> None:
        """Ends what is under way, too."""
        await tasks.stop((self._delivering,))
        for handle in self._again:
            handle.cancel()
        self._again.clear()
        self.has_room.set()

    async def _deliver(self) -> None:
        while True:
            await self._has_some.wait()
            while self.waiting and not self._is_ending:
                message = self.waiting.popleft()
                self._count(-len(message.data))
                try:
                    await self._handler(message)
                except NotProcessed as reason:
                    self._failed(message, str(reason))
                except Exception as fault:  # a fault of ours must not end the deliveries
                    self._failed(message, repr(fault))
                except asyncio.CancelledError:
                    self.waiting.appendleft(message)
                    raise
            if self._is_ending:
                return
            self._has_some.clear()

    def _failed(self, message: Message, reason: str) -> None:
        log.error(reason)
        interval = self._bus.redeliver_interval
        if interval <= 0:
            return

        def again() -> None:
            self._bytes -= len(message.data)
            del self._again[handle]
            self.put(message)

        handle = asyncio.get_running_loop().call_later(interval, again)
        self._again[handle] = message
        self._count(len(message.data))


@component("pubsub.in-memory", Options)
class InMemory(PubSub):
    features = (WILDCARDS,)

    def __init__(self, options: Options) -> None:
        self.redeliver_interval = options.redeliver_interval
        self._lines: dict[str, list[_Line]] = {}
        self._patterns: dict[str, list[_Line]] = {}
        """Subscriptions whose topic ends in `*`, by what stands before that."""
        self._left: dict[str, list[Message]] = {}
        """What was published and not delivered when the subscription to a topic was closed: the next one gets it."""
        self._is_closed = False

    async def close(self) -> None:
        self._is_closed = True
        for lines in [*self._lines.values(), *self._patterns.values()]:
            for line in list(lines):
                await line.abandon()
        self._lines.clear()
        self._patterns.clear()
        self._left.clear()

    async def publish(self, message: Message) -> None:
        if self._is_closed:
            raise PubSubError("component is closed", Code.FAILED_PRECONDITION)
        if message.content_type:  # that of what the envelope holds; subscribers would take it for the message's
            message = Message(message.topic, message.data, message.metadata)
        lines = self._subscribed(message.topic)
        for line in lines:
            if not line.has_room.is_set():
                await self._wait_for_room(lines)
                break
        for line in lines:
            line.put(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if self._is_closed:
            raise PubSubError("component is closed", Code.FAILED_PRECONDITION)
        line = _Line(self, topic, handler)
        if topic.endswith("*"):
            self._patterns.setdefault(topic[:-1], []).append(line)
        self._lines.setdefault(topic, []).append(line)
        for message in self._left.pop(topic, ()):
            line.put(message)
        return line

    def leave(self, line: _Line) -> None:
        """`line` gets nothing more."""
        for known, key in ((self._lines, line.topic), (self._patterns, line.topic[:-1])):
            lines = known.get(key, [])
            with contextlib.suppress(ValueError):
                lines.remove(line)
            if not lines:
                known.pop(key, None)

    def keep(self, topic: str, messages: list[Message]) -> None:
        """Has `messages` for the next subscription to `topic`, if there is none now."""
        if messages and topic not in self._lines:
            self._left[topic] = [*self._left.get(topic, ()), *messages][-2 * MOST_MESSAGES :]

    def _subscribed(self, topic: str) -> list[_Line]:
        found = self._lines.get(topic, [])
        if self._patterns:
            found = list(found)
            for before, lines in self._patterns.items():
                if topic.startswith(before) and topic not in (before, f"{before}*"):
                    found += lines
        return found

    async def _wait_for_room(self, lines: list[_Line]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while full := next((line for line in lines if not line.has_room.is_set()), None):
                    await full.has_room.wait()
        except TimeoutError:
            raise PubSubError("a subscriber does not keep up: too many messages wait for it") from None
