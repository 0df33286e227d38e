"""Messages that are to be delivered later: `deliverAt` and `deliverAfter` among the metadata of a request.

Brokers that delay messages do so themselves; for all others they are held in the `Keeper`, over the end of the sidecar
too, and published when they are due, at least once. Used by `publish`; `daprd.ledger` makes it. New beside the
original, whose Pulsar has metadata of these names.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from time import monotonic, time
from typing import Protocol

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.errors import MetadataInvalid
from pydapr.components.pubsub import Message, PubSubError
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.runtime.pubsub.publisher")

AT, AFTER = "deliverat", "deliverafter"
LONGEST = 400 * 86400.0
"""Seconds that a message may wait."""

_AT_A_TIME = 100
_LONGEST_NAP = 60.0
"""Seconds until the keeper is asked again, who may have got something from another sidecar of the app."""

_LAST_SECONDS = 5.0
"""How long what is under way may take at the end."""

_LONGEST_PAUSE = 60.0
"""Seconds between attempts to publish what a broker does not take."""


class _Rest(Record):
    """A broker has not taken a message, and is left alone `until` then, by the monotonic clock."""

    until: float
    pause: float
    """For how many seconds it was."""


class Kept(Protocol):
    """A message that waits."""

    @property
    def id(self) -> int: ...
    @property
    def pubsub(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def data(self) -> bytes: ...
    @property
    def tries(self) -> int: ...


class Keeper(Protocol):
    """Where messages wait, in milliseconds since 1970. Methods raise `failure`."""

    @property
    def is_there(self) -> bool: ...

    async def hold(
        self, due: int, pubsub: str, topic: str, content_type: str, metadata: Mapping[str, str], data: bytes
    ) -> None: ...

    async def take(self, now: int, most: int) -> Sequence[Kept]: ...

    async def remove(self, ids: Sequence[int]) -> None: ...

    async def put_off(self, one: int, due: int) -> None: ...

    async def give_back(self, ids: Sequence[int], due: int) -> None: ...

    async def next_due(self) -> int | None: ...


class Wrong(ValueError):
    """What metadata say of the time cannot be followed; the message is the reason."""


def due(metadata: Mapping[str, str], now: float) -> float | None:
    """When a message with this metadata is to be delivered, in Unix seconds; None for at once. Raises `Wrong`."""
    given = {name.lower(): value for name, value in metadata.items() if name.lower() in (AT, AFTER) and value}
    if not given:
        return None
    if len(given) > 1:
        raise Wrong("of deliverAt and deliverAfter only one can be given")
    at = _moment(given[AT]) if AT in given else now + _duration(given[AFTER])
    if at - now > LONGEST:
        raise Wrong(f"messages can be held for {LONGEST / 86400:.0f} days at most")
    return at if at > now else None


def _moment(text: str) -> float:
    if text.isascii() and text.isdecimal() and len(text) <= 15:
        return int(text) / 1000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or "T" not in text.upper():
        raise Wrong(f"deliverAt value must be a time as in RFC 3339, or Unix milliseconds: actual is '{text}'")
    return at.timestamp()


def _duration(text: str) -> float:
    try:
        seconds = float(text) if text.isascii() and text.isdecimal() else durations.parse(text)
    except ValueError:
        raise Wrong(f"deliverAfter value must be a duration, such as 10s or 5m: actual is '{text}'") from None
    if seconds < 0:
        raise Wrong(f"deliverAfter value must not be negative: actual is '{text}'")
    return seconds


class Later:
    """Holds messages, and publishes them when they are due. `failure` is what the keeper raises."""

    def __init__(self, keeper: Keeper, brokers: Mapping[str, Broker], failure: type[Exception]) -> None:
        self._keeper, self._brokers, self._failure = keeper, brokers, failure
        self._has_new = asyncio.Event()
        self._publishing: asyncio.Task[None] | None = None
        self._is_over = False
        self._resting: dict[str, _Rest] = {}
        """Brokers that did not take the last message."""

    def due(self, broker: Broker, metadata: Mapping[str, str]) -> float | None:
        try:
            return due(metadata, time())
        except Wrong as error:
            raise MetadataInvalid(broker.name, str(error), metadata) from None

    async def hold(self, broker: Broker, message: Message) -> None:
        at = message.deliver_at
        if at is None:
            await broker.pubsub.publish(message)
            return
        try:
            await self._keeper.hold(
                ceil(at * 1000), broker.name, message.topic, message.content_type, message.metadata, message.data
            )  # fmt: skip
        except self._failure as error:
            raise PubSubError(f"the message cannot be held until it is due: {error}") from None
        self._has_new.set()
        self.begin()

    def begin(self) -> None:
        """Publishes what is due from now on. Nothing happens when nothing was ever held."""
        if self._publishing is None and not self._is_over and self._keeper.is_there:
            self._publishing = asyncio.create_task(self._publish())

    async def end(self) -> None:
        """What is being published is finished, so that it is not published again."""
        self._is_over = True
        self._has_new.set()
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            await asyncio.wait((publishing,), timeout=_LAST_SECONDS)
        await tasks.stop((publishing,))

    async def _publish(self) -> None:
        pause = 0.5
        while not self._is_over:
            self._has_new.clear()
            nap = _LONGEST_NAP
            try:
                found = await self._keeper.take(int(time() * 1000), _AT_A_TIME)
                await self._publish_all(found)
                if found:
                    continue
                following = await self._keeper.next_due()
                pause = 0.5
                if following is not None:
                    nap = min(max(following / 1000 - time(), 0.001), nap)
            except Exception as error:  # whatever it is, the others are not to wait for the next start
                log.error(f"messages that are due are published later: {error if str(error) else repr(error)}")
                nap, pause = pause, min(pause * 2, _LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._has_new.wait()

    async def _publish_all(self, messages: Sequence[Kept]) -> None:
        """Brokers do not wait for each other."""
        by_broker: dict[str, list[Kept]] = {}
        for one in messages:
            by_broker.setdefault(one.pubsub, []).append(one)
        try:
            async with asyncio.TaskGroup() as group:
                for name, several in by_broker.items():
                    group.create_task(self._publish_to(name, several))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _publish_to(self, name: str, messages: Sequence[Kept]) -> None:
        done, left = list[int](), [one.id for one in messages]
        try:
            for one in messages:
                if self._is_over or self._rest(name):
                    break
                left.pop(0)
                if await self._is_published(one):
                    done.append(one.id)
        finally:
            if done:
                await self._keeper.remove(done)
            if left:
                await self._keeper.give_back(left, ceil((time() + self._rest(name)) * 1000))

    def _rest(self, name: str) -> float:
        """Seconds for which nothing is to be published to a broker, so that one that is away costs others nothing."""
        rest = self._resting.get(name)
        return max(rest.until - monotonic(), 0.0) if rest is not None else 0.0

    async def _is_published(self, one: Kept) -> bool:
        broker = self._brokers.get(one.pubsub)
        try:
            if broker is None:
                raise PubSubError(f"there is no pubsub {one.pubsub} any more")
            await broker.pubsub.publish(Message(one.topic, one.data, one.metadata, one.content_type))
        except Exception as error:  # a fault of a component must not cost the message
            told = str(error) if isinstance(error, PubSubError) else repr(error)
            fault = broker.pubsub.scrub(told) if broker is not None else told
            pause = min(2.0 ** min(one.tries, 10), _LONGEST_PAUSE)
            log.warning(f"a message to {one.topic} is due, and tried again in {pause:g}s: {fault}")
            last = self._resting.get(one.pubsub)
            rest = min(last.pause * 2, _LONGEST_PAUSE) if last is not None else 1.0
            self._resting[one.pubsub] = _Rest(monotonic() + rest, rest)
            await self._keeper.put_off(one.id, ceil((time() + pause) * 1000))
            return False
        self._resting.pop(one.pubsub, None)
        return True
