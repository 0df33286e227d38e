"""From Component resources to the brokers of the pub/sub block: scopes, consumer id, namespace.

`daprd.components` asks for this before it opens a broker. What is read and how is the original's (v1.18.3,
`pkg/runtime/processor/pubsub`).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydapr.blocks.pubsub import Broker, scopes
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import PubSub
from pydapr.resources import component

if TYPE_CHECKING:
    from pydapr.daprd.components import Opened
    from pydapr.daprd.measures import Measures
    from pydapr.observe.tracing import Tracer
    from pydapr.policy.resiliency import Resiliency

CONSUMER_ID = "consumerID"

Make = Callable[[PubSub], Broker]
"""The broker of the block around one that is open."""


def with_consumer(properties: Mapping[str, str], app_id: str) -> dict[str, str]:
    """The metadata with the consumer id, which is the app's id where none is given."""
    given = next((value.strip() for name, value in properties.items() if name.lower() == CONSUMER_ID.lower()), "")
    rest = {name: value for name, value in properties.items() if name.lower() != CONSUMER_ID.lower()}
    return {**rest, CONSUMER_ID: given or app_id}


def plan(wanted: component.Component, properties: Mapping[str, str], app_id: str, namespace: str) -> Make:
    """How the broker that `wanted` describes is used. `properties` are its metadata, resolved."""
    refers = any("{namespace}" in (pair.value or "") for pair in wanted.metadata)
    found, prefix = scopes.read(properties, app_id), namespace if refers else ""
    return lambda pubsub: Broker(wanted.name, pubsub, found, prefix)


def publisher(
    app_id: str,
    opened: "Opened | None",
    policies: "Resiliency | None",
    measures: "Measures | None",
    tracer: "Tracer | None",
) -> Publisher:
    """Who publishes to the brokers that are open; `opened` is None where there are no components at all."""
    made = Publisher(app_id, opened.brokers if opened is not None else {}, policies)
    made.metrics = measures.egress if measures is not None else None
    made.tracer = tracer
    return made
