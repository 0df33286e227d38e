"""What an app is subscribed to. Pure.

Used by `daprd.subscriptions`, which asks the app (`answers`) and reads resources, and by `deliver`. What counts when
several speak of one topic is the original's choice (v1.18.3, `pkg/runtime/compstore/subscriptions.go`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydapr.blocks.pubsub import routing
from pydapr.lib.record import Record

DECLARATIVE, PROGRAMMATIC, STREAMING = "DECLARATIVE", "PROGRAMMATIC", "STREAMING"

DEDUP = "dedup"
"""In a subscription's metadata: for how long an event's id is remembered, so that it is not delivered twice."""

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})


class Invalid(ValueError):
    """The app's answer cannot be used. The message is the reason."""


class Bulk(Record):
    """Delivery of many messages at once; 0 stands for the default."""

    max_messages: int = 0
    max_await_ms: int = 0


class Subscribed(Record):
    """One topic that the app is subscribed to. `name` is that of the resource, "" when the app said it."""

    pubsub: str
    topic: str
    rules: tuple[routing.Rule, ...]
    metadata: Mapping[str, str] = {}
    dead_letter: str = ""
    bulk: Bulk | None = None
    kind: str = PROGRAMMATIC
    name: str = ""

    @property
    def is_raw(self) -> bool | None:
        """Whether messages are bytes and no events; None when what is said of it makes no sense."""
        value = self.metadata.get("rawPayload", "")
        return True if value in _TRUE else False if value in _FALSE else None

    @property
    def dedup(self) -> str:
        """For how long ids of events are remembered, "" for not at all."""
        return self.metadata.get(DEDUP, "")

    def document(self) -> dict[str, Any]:
        """As the metadata API shows it."""
        out: dict[str, Any] = {"pubsubname": self.pubsub, "topic": self.topic}
        if self.metadata:
            out["metadata"] = dict(sorted(self.metadata.items()))
        if self.rules:
            out["rules"] = [_shown(rule) for rule in self.rules]
        return {**out, "deadLetterTopic": self.dead_letter, "type": self.kind}


def _shown(rule: routing.Rule) -> dict[str, str]:
    return {name: value for name, value in (("match", rule.match), ("path", rule.path)) if value}


def merged(declarative: Iterable[Subscribed], programmatic: Iterable[Subscribed]) -> Sequence[Subscribed]:
    """One subscription for each topic of a broker.

    What the app says comes before what resources say; of several from resources the first counts, of several from the
    app the last.
    """
    found: dict[tuple[str, str], Subscribed] = {}
    for one in declarative:
        found.setdefault((one.pubsub, one.topic), one)
    for one in programmatic:
        found[one.pubsub, one.topic] = one
    return list(found.values())
