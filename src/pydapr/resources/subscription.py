"""Declarative subscriptions: `kind: Subscription`, `dapr.io/v1alpha1` and `v2alpha1`, as one value.

Read by `folder` and by the operator's client; `blocks.pubsub` subscribes. The older form, with one route,
becomes the newer one with only a default path.
"""

from __future__ import annotations

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydapr.resources.fields import Fields


class Rule(Record):
    """Events for which the expression `match` holds go to `path`."""

    match: str
    path: str


class BulkSubscribe(Record):
    """Delivery of many messages at once; 0 stands for the pub/sub component's default."""

    enabled: bool = False
    max_messages_count: int = 0
    max_await_duration_ms: int = 0


class Subscription(Record):
    """One subscription of the app."""

    name: str
    namespace: str = ""
    pubsubname: str = ""
    topic: str = ""
    metadata: Mapping[str, str] = {}
    rules: tuple[Rule, ...] = ()
    default: str = ""
    dead_letter_topic: str = ""
    bulk_subscribe: BulkSubscribe = BulkSubscribe()
    scopes: tuple[str, ...] = ()

    @property
    def log_name(self) -> str:
        return self.name


def read_v1(document: Fields) -> Subscription:
    """A subscription of v1alpha1; raises fields.FieldError."""
    return _read(document, (), document.child("spec", "SubscriptionSpec").text("route"))


def read_v2(document: Fields) -> Subscription:
    """A subscription of v2alpha1; raises fields.FieldError."""
    routes = document.child("spec", "SubscriptionSpec").child("routes", "Routes")
    rules = tuple(Rule(rule.text("match"), rule.text("path")) for rule in routes.children("rules", "Rule"))
    return _read(document, rules, routes.text("default"))


def _read(document: Fields, rules: tuple[Rule, ...], default: str) -> Subscription:
    about = document.child("metadata", "ObjectMeta")
    spec = document.child("spec", "SubscriptionSpec")
    bulk = spec.child("bulkSubscribe", "BulkSubscribe")
    return Subscription(
        name=about.text("name"),
        namespace=about.text("namespace"),
        pubsubname=spec.text("pubsubname"),
        topic=spec.text("topic"),
        metadata=spec.pairs("metadata"),
        rules=rules,
        default=default,
        dead_letter_topic=spec.text("deadLetterTopic"),
        bulk_subscribe=BulkSubscribe(
            bulk.flag("enabled"),
            bulk.number("maxMessagesCount", kind="int32"),
            bulk.number("maxAwaitDurationMs", kind="int32"),
        ),
        scopes=document.texts("scopes"),
    )
