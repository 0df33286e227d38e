"""What an app answers when it is asked what it is subscribed to. Pure.

Called by `daprd.subscriptions`, and imported by it when there is an answer: what reads it takes a sidecar some
milliseconds to import. The words of faults are the original's (v1.18.3, `pkg/runtime/pubsub/subscriptions.go`).
"""

from typing import Any

import msgspec

from pydapr.blocks.pubsub import events, routing
from pydapr.blocks.pubsub.subscriptions import Bulk, Invalid, Subscribed
from pydapr.wire import topicevents

# -- over HTTP --


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
    """What the app answered to `GET /dapr/subscribe`. Raises `Invalid`, and `routing.Invalid` for a rule."""
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


# -- over gRPC --


def from_grpc(message: bytes) -> list[Subscribed]:
    """What the app answered to `ListTopicSubscriptions`. Raises `Invalid`, and `routing.Invalid` for a rule."""
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
