"""Publish and subscribe: `publish` sends what apps publish to brokers, `deliver` brings what comes from them to apps.

This file has what both know of a broker. `daprd.pubsub` makes it when the component is opened.
"""

from pydapr.blocks.pubsub.scopes import Scopes
from pydapr.components.pubsub import PubSub
from pydapr.lib.record import Record


class Broker(Record):
    """An open broker by the name of its component, and what the app may do with it."""

    name: str
    pubsub: PubSub
    scopes: Scopes = Scopes()
    prefix: str = ""
    """What stands before the names of topics in the broker: the namespace, if the component's metadata refers to it."""

    def topic(self, name: str) -> str:
        """The broker's name for a topic of the app."""
        return self.prefix + name
