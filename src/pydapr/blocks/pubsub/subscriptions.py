"""What an app is subscribed to, and how it says so when it is asked. Pure.

Used by `daprd.subscriptions`, which asks the app and reads resources, and by `deliver`. What counts when several
speak of one topic, and the words of faults, are the original's (v1.18.3, `pkg/runtime/pubsub/subscriptions.go`,
`pkg/runtime/compstore/subscriptions.go`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pydapr.blocks.pubsub import events, routing
from pydapr.lib.record import Record
from pydapr.wire import topicevents

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


# -- from the app, over HTTP --


class _Rule(msgspec.Struct):
    match: str | None = ""
    path: str | None = ""


class _Routes(msgspec.Struct):
    rules: list[_Rule] | None = None
    default: str | None = ""


class _Bulk(msgspec.Struct):
    enabled: bool | None = False
    maxMessagesCount: int | None = 0
    maxAwaitDurationMs: int | None = 0


class _Entry(msgspec.Struct):
    pubsubname: str | None = ""
    topic: str | None = ""
    deadLetterTopic: str | None = ""
    metadata: dict[str, str] | None = None
    route: str | None = ""
    routes: _Routes | None = None
    bulkSubscribe: _Bulk | None = None


_NAMES = {name.lower(): name for kind in (_Entry, _Routes, _Rule, _Bulk) for name in kind.__struct_fields__}


def from_http(body: bytes) -> list[Subscribed]:
    """What the app answered to `GET /dapr/subscribe`. Raises `Invalid`, and `cel.Invalid` for a rule."""
    if not body.strip():
        return []
    try:
        entries = msgspec.convert(_respelled(events.decoded(body)), list[_Entry] | None)
    except (events.Unreadable, msgspec.ValidationError) as error:
        raise Invalid(f"error getting topics from app: {error}") from None
    return [_of_entry(entry) for entry in entries or ()]


def _respelled(value: Any, depth: int = 0) -> Any:
    """Names of objects in our spelling: the original takes them in any case. Metadata's names stay as they are."""
    if isinstance(value, list) and depth < 8:
        return [_respelled(item, depth + 1) for item in value]
    if isinstance(value, dict) and depth < 8:
        out = {}
        for name, inner in value.items():
            name = _NAMES.get(name.lower(), name)
            out[name] = inner if name == "metadata" else _respelled(inner, depth + 1)
        return out
    return value


def _of_entry(entry: _Entry) -> Subscribed:
    routes = entry.routes or _Routes()
    rules = [routing.rule(rule.match or "", rule.path or "") for rule in routes.rules or ()]
    if routes.default or entry.route:
        rules.append(routing.Rule(routes.default or entry.route or ""))
    bulk = entry.bulkSubscribe
    return Subscribed(
        entry.pubsubname or "",
        entry.topic or "",
        tuple(rules),
        entry.metadata or {},
        entry.deadLetterTopic or "",
        Bulk(bulk.maxMessagesCount or 0, bulk.maxAwaitDurationMs or 0) if bulk is not None and bulk.enabled else None,
    )


# -- from the app, over gRPC --


def from_grpc(message: bytes) -> list[Subscribed]:
    """What the app answered to `ListTopicSubscriptions`. Raises `Invalid`, and `cel.Invalid` for a rule."""
    try:
        found = topicevents.subscriptions(message)
    except topicevents.Invalid as error:
        raise Invalid(f"error getting topic list from app: {error}") from None
    return [_of_message(one) for one in found]


def _of_message(given: topicevents.TopicSubscription) -> Subscribed:
    rules = [routing.rule(match, path) for match, path in given.rules]
    if given.default:
        rules.append(routing.Rule(given.default))
    return Subscribed(
        given.pubsub,
        given.topic,
        tuple(rules) or (routing.Rule(""),),
        given.metadata,
        given.dead_letter,
        Bulk(*given.bulk) if given.bulk is not None else None,
    )


# -- together --


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
