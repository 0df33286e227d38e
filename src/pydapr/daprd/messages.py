"""All that the sidecar does with messages: who publishes them, who takes them to the app, what is kept of them.

Built by `daprd.runtime` when the components are open. Without brokers there is a publisher that says so, and
nothing else is imported.
"""

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydapr.daprd import pubsub
from pydapr.daprd.triggers import Triggers

if TYPE_CHECKING:
    from pydapr.app.channel import AppChannel
    from pydapr.app.grpc import GrpcApp
    from pydapr.blocks.pubsub.deliver import Around
    from pydapr.blocks.pubsub.publish import Publisher
    from pydapr.blocks.state import State
    from pydapr.daprd import flags, load
    from pydapr.daprd.components import Opened
    from pydapr.daprd.ledger import Kept
    from pydapr.daprd.measures import Measures
    from pydapr.daprd.outbox import Relay
    from pydapr.daprd.subscriptions import Consumers
    from pydapr.daprd.triggers import Source
    from pydapr.observe.tracing import Tracer
    from pydapr.policy.resiliency import Resiliency


class Unusable(Exception):
    """A resource describes what cannot be. The message says which, and why."""


class Messages:
    """The parts, of which all but `publisher` are None where nobody needs them."""

    def __init__(self, publisher: "Publisher") -> None:
        self.publisher = publisher
        self.relay: Relay | None = None
        self.kept: Kept | None = None
        self.consumers: Consumers | None = None

    def documents(self) -> list[dict[str, Any]]:
        """All subscriptions as the metadata API shows them."""
        return self.consumers.documents() if self.consumers is not None else []

    def triggers(self, events: "Source | None") -> Triggers:
        """What calls the app by itself: messages, and the `events` of input bindings."""
        subscribed = self.consumers.source if self.consumers is not None else None
        streams = [self.consumers.end_streams] if self.consumers is not None else []
        relay = [self.relay.end] if self.relay is not None else []
        return Triggers([one for one in (subscribed, events) if one is not None], [*streams, *relay])


def build(
    settings: "flags.Settings",
    loaded: "load.Loaded",
    opened: "Opened | None",
    states: "State",
    app: "Callable[[], AppChannel | None]",
    rpc: "GrpcApp",
    policies: "Resiliency | None",
    measures: "Measures | None",
    tracer: "Tracer | None",
    stack: contextlib.AsyncExitStack,
) -> Messages:
    """Everything there is to do with messages. Raises `Unusable`."""
    made = Messages(pubsub.publisher(settings.app_id, opened, policies, measures, tracer))
    brokers = opened.brokers if opened is not None else {}
    described = loaded.resources.subscriptions
    if brokers:
        from pydapr.daprd import ledger

        made.kept = ledger.kept(settings, os.environ, brokers)
        stack.push_async_callback(made.kept.close)
        made.publisher.later = made.kept.later
        made.kept.later.begin()
    if opened is not None and opened.outboxes:
        from pydapr.daprd import outbox

        made.relay = outbox.relay(settings, opened, made.publisher)
        states.outbox = made.relay.outbox
        made.relay.begin()
    if brokers or described:
        from pydapr.daprd import subscriptions

        def around() -> "Around":
            from pydapr.blocks.pubsub.deliver import Around

            metrics = measures.ingress if measures is not None else None
            return Around(made.publisher.send, policies, metrics, made.kept.seen() if made.kept is not None else None)

        try:
            made.consumers = subscriptions.Consumers(
                settings, brokers, described, app, rpc, policies, around, measures, tracer
            )
        except subscriptions.Unusable as error:
            raise Unusable(str(error)) from None
    return made
