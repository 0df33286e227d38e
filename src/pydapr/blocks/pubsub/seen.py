"""Events that a subscription has delivered already: asked for by `dedup` among its metadata, for how long they count.

An event is what its `source` and `id` say (CloudEvents 1.0, 3.1). It is remembered once the app has taken it, over the
end of the sidecar too, so that what is lost on the way comes again, and what comes again is not delivered. Called by
`deliver`; `daprd.ledger` makes it. New beside the original.
"""

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
