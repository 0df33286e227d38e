"""From state stores' components to the outbox, and the subscriptions through which its events come back.

`daprd.components` asks what a store says of an outbox, `daprd.runtime` makes it and ends it. The names of metadata are
the original's (v1.18.3, `pkg/runtime/pubsub/outbox.go`). Events are forwarded whether the app is there or not: they
need nothing of it.
"""

import asyncio
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.outbox import Outbox, Wanted, log
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import NO_METADATA, PubSubError, Subscription
from pydapr.lib import truth
from pydapr.net import tasks

if TYPE_CHECKING:
    from pydapr.daprd import flags
    from pydapr.daprd.components import Opened

_LONGEST_PAUSE = 10.0
"""Seconds between attempts to subscribe."""


def read(properties: Mapping[str, str]) -> Wanted | None:
    """What a state store's metadata say of an outbox, None for none."""
    pubsub, topic = properties.get("outboxPublishPubsub", ""), properties.get("outboxPublishTopic", "")
    if not pubsub or not topic:
        return None
    discards = truth.is_true(properties.get("outboxDiscardWhenMissingState", ""))
    return Wanted(pubsub, topic, properties.get("outboxPubsub", "") or pubsub, discards)


class Relay:
    """The outbox with its subscriptions."""

    def __init__(self, outbox: Outbox, brokers: Mapping[str, Broker]) -> None:
        self.outbox = outbox
        self._brokers = brokers
        self._subscribing: list[asyncio.Task[None]] = []
        self._subscriptions: list[Subscription] = []

    def begin(self) -> None:
        """Has events come back from now on."""
        for store, wanted in self.outbox.wanted.items():
            broker = self._brokers.get(wanted.inner)
            if broker is None:
                log.warning(
                    f"could not subscribe to internal outbox topic: outbox pubsub {wanted.inner} not loaded"
                )  # fmt: skip
                continue
            self._subscribing.append(asyncio.create_task(self._subscribe(store, broker)))

    async def end(self) -> None:
        """Lets what is under way come to its end."""
        self.outbox.is_ending = True
        await tasks.stop(self._subscribing)
        self._subscribing = []
        while self._subscriptions:
            await self._subscriptions.pop().close()

    async def _subscribe(self, store: str, broker: Broker) -> None:
        handler = functools.partial(self.outbox.forward, store)
        topic = broker.topic(self.outbox.topic(store))
        pause = 0.5
        while True:
            try:
                self._subscriptions.append(await broker.pubsub.subscribe(topic, NO_METADATA, handler))
                return
            except PubSubError as error:
                fault = broker.pubsub.scrub(str(error))
                log.warning(f"failed to subscribe to outbox topics: {fault}; trying again in {pause:g}s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def relay(settings: "flags.Settings", opened: "Opened", publisher: Publisher) -> Relay:
    """The outbox of the stores that have one."""
    stores = {name: opened.state_stores[name].store for name in opened.outboxes}
    made = Outbox(settings.app_id, settings.identity_namespace, opened.outboxes, stores, publisher)
    return Relay(made, opened.brokers)
