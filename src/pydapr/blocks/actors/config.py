"""What an app says of the actors that it hosts: the answer to `GET /dapr/config`, and the same by other ways.

Read by `daprd.actors`. Names, defaults and words of the log are the original's (v1.18.3, `pkg/config`,
`pkg/actors/api/config.go`); new is that `drainRebalancedActors` of single types counts.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydapr.blocks.actors import Reentrancy, TypeOptions
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.observe import logging

log = logging.get("dapr.runtime.actor.config")
actor_log = logging.get("dapr.runtime.actor")

IDLE_SECONDS = 3600.0
DRAIN_SECONDS = 2.0
STACK_DEPTH = 32

DRAIN_SHARE = 0.8
"""Of the time for a round of placement, how much a drain may take that would take all of it."""


class Wrong(ValueError):
    """What the app says cannot be read."""


class Entities(Record):
    """Settings of some types, or of all; texts as the app has given them, None for what it has not."""

    entities: tuple[str, ...] = ()
    idle_timeout: str = ""
    drain_timeout: str = ""
    drains: bool | None = None
    reentrancy: Reentrancy = Reentrancy()


class AppConfig(Record):
    """What the app hosts, and how; `apart` has types with settings of their own."""

    common: Entities = Entities()
    apart: tuple[Entities, ...] = ()


def read(document: bytes) -> AppConfig:
    """What the app has answered. Raises `Wrong`."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise Wrong(str(error)) from None
    if found is None:
        return AppConfig()
    fields = _fields(found, "the configuration")
    apart = _list(fields.get("entitiesconfig"), "entitiesConfig")
    return AppConfig(_entities(fields), tuple(_entities(_fields(one, "entitiesConfig")) for one in apart))


def options(config: AppConfig, round_seconds: float) -> Mapping[str, TypeOptions]:
    """How each type is hosted; a drain fits into a round of placement. Raises `Wrong`."""
    common = config.common
    drain, idle = DRAIN_SECONDS, IDLE_SECONDS
    if common.drain_timeout:
        try:
            drain = _clamped(durations.parse(common.drain_timeout), round_seconds, "global config")
        except ValueError as error:
            raise Wrong(f"failed to parse drain ongoing call timeout: {error}") from None
    if common.idle_timeout:
        try:
            idle = durations.parse(common.idle_timeout)
        except ValueError as error:
            raise Wrong(f"failed to parse default actor idle timeout: {error}") from None
    drains = common.drains is not False
    usual = TypeOptions(idle, drain, drains, common.reentrancy)
    made = dict.fromkeys(common.entities, usual)
    for one in config.apart:
        mine = _apart(one, drain, drains, round_seconds)
        for name in one.entities:
            if name in made:
                made[name] = mine
            else:
                actor_log.warning(f"Configuration specified for non-hosted actor type: {name}")
    return made


def _apart(one: Entities, drain: float, drains: bool, round_seconds: float) -> TypeOptions:
    idle = IDLE_SECONDS
    if one.idle_timeout:
        try:
            idle = durations.parse(one.idle_timeout)
        except ValueError:
            usual = durations.text(IDLE_SECONDS)
            log.warning(f"Invalid actor idle timeout value {one.idle_timeout}, using default value {usual}")
    if one.drain_timeout:
        try:
            source = f"entities={','.join(one.entities) or '<none>'}"
            drain = _clamped(durations.parse(one.drain_timeout), round_seconds, source)
        except ValueError:
            usual = durations.text(DRAIN_SECONDS)
            log.warning(f"Invalid drain ongoing call timeout value {one.drain_timeout}, using default value {usual}")
    return TypeOptions(idle, drain, drains if one.drains is None else one.drains, one.reentrancy)


def _clamped(drain: float, round_seconds: float, source: str) -> float:
    if round_seconds <= 0 or drain < round_seconds:
        return drain
    most = max(round_seconds * DRAIN_SHARE, DRAIN_SECONDS)
    log.warning(
        f"drainOngoingCallTimeout ({durations.text(drain)}) for {source} meets or exceeds the dissemination timeout "
        f"({durations.text(round_seconds)}); clamping to {durations.text(most)} to avoid blocking placement "
        "dissemination"
    )
    return most


# -- JSON, as Go reads it: names without regard to case --


def _entities(fields: Mapping[str, Any]) -> Entities:
    again = _fields(fields.get("reentrancy"), "reentrancy")
    depth = again.get("maxstackdepth")
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool)):
        raise Wrong("json: maxStackDepth must be a whole number")
    return Entities(
        tuple(_texts(fields.get("entities"))),
        _text(fields.get("actoridletimeout"), "actorIdleTimeout"),
        _text(fields.get("drainongoingcalltimeout"), "drainOngoingCallTimeout"),
        _truth(fields.get("drainrebalancedactors"), "drainRebalancedActors"),
        Reentrancy(_truth(again.get("enabled"), "enabled") or False, STACK_DEPTH if depth is None else depth),
    )


def _fields(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Wrong(f"json: {what} must be an object")
    return {name.lower(): one for name, one in value.items()}


def _list(value: Any, what: str) -> Iterable[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Wrong(f"json: {what} must be an array")
    return value


def _texts(value: Any) -> Iterable[str]:
    return [_text(one, "a type") for one in _list(value, "entities")]


def _text(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Wrong(f"json: {what} must be a string")
    return value


def _truth(value: Any, what: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise Wrong(f"json: {what} must be true or false")
    return value
