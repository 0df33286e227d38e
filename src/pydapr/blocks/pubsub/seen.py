"""Events that a subscription has delivered already: asked for by `dedup` among its metadata, for how long they count.

An event is what its `source` and `id` say (CloudEvents 1.0, 3.1). It is remembered once the app has taken it, over the
end of the sidecar too, so that what is lost on the way comes again, and what comes again is not delivered. A copy that
comes while another is under way waits for it; in bulks, which may not wait for each other, both are delivered.
Called by `deliver` and `bulk`; `daprd.ledger` makes it. New beside the original.
"""

import asyncio
from time import time
from typing import Protocol

from pydapr.blocks.pubsub.events import ID, Event, shown
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.lib import durations
from pydapr.observe import logging

log = logging.get("dapr.runtime.processor.subscription")


class Memory(Protocol):
    """Where ids are remembered. Methods raise `failure`."""

    async def has_seen(self, subscription: str, one: str, now: int) -> bool: ...

    async def see(self, subscription: str, one: str, expires: int) -> None: ...


class Seen:
    """What was delivered. `failure` is what the memory raises: an event is delivered then, as if it were new."""

    def __init__(self, memory: Memory, failure: type[Exception]) -> None:
        self._memory, self._failure = memory, failure
        self._seconds: dict[str, float] = {}
        self._under_way: dict[tuple[int, str], tuple[Event, asyncio.Future[None]]] = {}

    async def begin(self, wanted: Subscribed, event: Event) -> bool:
        """As `is_new`, once a copy of the event that is under way has come to its end. Who begins says `end`."""
        if not self._lasts(wanted) or not event.fields.get(ID):
            return True
        key = id(wanted), _identity(event)
        while (other := self._under_way.get(key)) is not None:
            await asyncio.wait((other[1],))
        self._under_way[key] = event, asyncio.get_running_loop().create_future()
        is_new = False
        try:
            is_new = await self.is_new(wanted, event)
        finally:
            if not is_new:
                self.end(wanted, event)
        return is_new

    def end(self, wanted: Subscribed, event: Event) -> None:
        """The event is not under way any more. It may be said more than once."""
        key = id(wanted), _identity(event)
        mine, over = self._under_way.get(key, (None, None))
        if mine is event and over is not None:
            del self._under_way[key]
            over.set_result(None)

    async def is_new(self, wanted: Subscribed, event: Event) -> bool:
        """Whether the event has not been delivered yet."""
        if not self._lasts(wanted) or not event.fields.get(ID):
            return True
        try:
            return not await self._memory.has_seen(_subscription(wanted), _identity(event), int(time() * 1000))
        except self._failure as error:
            log.error(f"whether an event was delivered before is not known: {error}")
            return True

    async def delivered(self, wanted: Subscribed, event: Event) -> None:
        """The app has taken the event."""
        seconds = self._lasts(wanted)
        if not seconds or not event.fields.get(ID):
            return
        try:
            await self._memory.see(_subscription(wanted), _identity(event), int((time() + seconds) * 1000))
        except self._failure as error:
            log.error(f"an event that was delivered cannot be remembered: {error}")

    def _lasts(self, wanted: Subscribed) -> float:
        text = wanted.dedup
        known = self._seconds.get(text)
        if known is None:
            try:
                known = float(text) if text.isascii() and text.isdecimal() else durations.parse(text)
            except ValueError as error:
                log.error(f"subscription to {wanted.topic}: dedup has no effect: {error}")
                known = 0.0
            known = self._seconds[text] = max(known, 0.0)
        return known


def _subscription(wanted: Subscribed) -> str:
    return f"{wanted.pubsub}\n{wanted.topic}"


def _identity(event: Event) -> str:
    return f"{shown(event.fields.get('source'))}\n{shown(event.fields.get(ID))}"
