"""Rules of Sentinel (sentinel-golang v1.0.4) as data, out of their JSON. Pure; called by middleware.http.sentinel.

Read as Go reads it: names without regard to case, unknown names ignored, numbers within their type. A rule that cannot
mean anything is told apart (`fault`), because the original goes on without it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


class Unreadable(ValueError):
    """The rules cannot be read, or ask for what is not there."""


def _whole(low: int, high: int) -> Any:
    return field(default=0, metadata={"range": (low, high)})


def _u32() -> Any:
    return _whole(0, 2**32 - 1)


def _u64() -> Any:
    return _whole(0, 2**64 - 1)


def _i32() -> Any:
    return _whole(-(2**31), 2**31 - 1)


def _i64() -> Any:
    return _whole(-(2**63), 2**63 - 1)


DIRECT, WARM_UP, MEMORY_ADAPTIVE = 0, 1, 2
REJECT, THROTTLING = 0, 1
ITSELF, ASSOCIATED = 0, 1
SLOW_RATIO, ERROR_RATIO, ERROR_COUNT = 0, 1, 2
LOAD, AVERAGE_TIME, CONCURRENCY, INBOUND_QPS, CPU = 0, 1, 2, 3, 4
BBR = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """How many requests may pass in a while."""

    resource: str = ""
    tokenCalculateStrategy: int = _i32()
    controlBehavior: int = _i32()
    threshold: float = 0.0
    relationStrategy: int = _i32()
    refResource: str = ""
    maxQueueingTimeMs: int = _u32()
    warmUpPeriodSec: int = _u32()
    warmUpColdFactor: int = _u32()
    statIntervalInMs: int = _u32()
    lowMemUsageThreshold: int = _i64()
    highMemUsageThreshold: int = _i64()
    memLowWaterMarkBytes: int = _i64()
    memHighWaterMarkBytes: int = _i64()

    def fault(self) -> str:
        if not self.resource:
            return "empty Resource"
        if self.threshold < 0:
            return "negative Threshold"
        if self.relationStrategy == ASSOCIATED and not self.refResource:
            return "RefResource must be non empty when RelationStrategy is AssociatedResource"
        if self.tokenCalculateStrategy == WARM_UP and self.warmUpPeriodSec <= 0:
            return "WarmUpPeriodSec must be great than 0"
        if self.tokenCalculateStrategy == WARM_UP and self.warmUpColdFactor == 1:
            return "WarmUpColdFactor must be great than 1"
        if self.tokenCalculateStrategy == MEMORY_ADAPTIVE:
            if not 0 < self.highMemUsageThreshold < self.lowMemUsageThreshold:
                return "HighMemUsageThreshold must be above 0 and below LowMemUsageThreshold"
            if not 0 < self.memLowWaterMarkBytes < self.memHighWaterMarkBytes:
                return "MemLowWaterMarkBytes must be above 0 and below MemHighWaterMarkBytes"
        return ""

    def unknown(self) -> str:
        return (
            _not_among("tokenCalculateStrategy", self.tokenCalculateStrategy, 3)
            or _not_among("controlBehavior", self.controlBehavior, 2)
            or _not_among("relationStrategy", self.relationStrategy, 2)
        )


@dataclass(frozen=True, slots=True)
class Breaker:
    """When requests are held back for a while, because those before went badly."""

    resource: str = ""
    strategy: int = _u32()
    retryTimeoutMs: int = _u32()
    minRequestAmount: int = _u64()
    statIntervalMs: int = _u32()
    statSlidingWindowBucketCount: int = _u32()
    maxAllowedRtMs: int = _u64()
    threshold: float = 0.0
    probeNum: int = _u64()

    def fault(self) -> str:
        if not self.resource:
            return "empty resource name"
        if not self.statIntervalMs:
            return "invalid StatIntervalMs"
        if not self.retryTimeoutMs:
            return "invalid RetryTimeoutMs"
        if self.threshold < 0:
            return "invalid Threshold"
        if self.strategy != ERROR_COUNT and self.threshold > 1:
            return "invalid ratio threshold (valid range: [0.0, 1.0])"
        return ""

    def unknown(self) -> str:
        return _not_among("strategy", self.strategy, 3)


@dataclass(frozen=True, slots=True)
class Isolation:
    """How many requests may be under way at a time."""

    resource: str = ""
    metricType: int = _i32()
    threshold: int = _u32()

    def fault(self) -> str:
        if not self.resource:
            return "empty resource of isolation rule"
        return "" if self.threshold else "zero threshold"

    def unknown(self) -> str:
        return _not_among("metricType", self.metricType, 1)


@dataclass(frozen=True, slots=True)
class HotSpot:
    """How often a parameter may have a value. Requests have no parameters in this sense: nothing comes of it."""

    resource: str = ""
    metricType: int = _i32()
    controlBehavior: int = _i32()
    paramIndex: int = _i64()
    threshold: int = _i64()
    maxQueueingTimeMs: int = _i64()
    burstCount: int = _i64()
    durationInSec: int = _i64()
    paramsMaxCapacity: int = _i64()

    def fault(self) -> str:
        return "" if self.resource else "empty resource name"

    def unknown(self) -> str:
        return _not_among("metricType", self.metricType, 2) or _not_among("controlBehavior", self.controlBehavior, 2)


@dataclass(frozen=True, slots=True)
class System:
    """When the sidecar as a whole takes no more requests."""

    metricType: int = _u32()
    triggerCount: float = 0.0
    strategy: int = _i32()

    def fault(self) -> str:
        if self.triggerCount < 0:
            return "negative threshold"
        if self.metricType == CPU and self.triggerCount > 1:
            return "invalid CPU usage, valid range is [0.0, 1.0]"
        return ""

    def unknown(self) -> str:
        return _not_among("metricType", self.metricType, 5)


def _not_among(name: str, value: int, count: int) -> str:
    return "" if 0 <= value < count else f"{name} {value} is not supported"


def read(kind: type[T], text: str) -> list[T]:
    """The rules in a JSON array. Raises `Unreadable`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}") from None
    if document is None:
        return []
    if not isinstance(document, list):
        raise Unreadable("an array of rules is wanted")
    return [_rule(kind, one, f"rule {number}") for number, one in enumerate(document)]


def _rule(kind: type[T], document: Any, where: str) -> T:
    if not isinstance(document, Mapping):
        raise Unreadable(f"{where}: an object is wanted")
    given = {str(name).lower(): value for name, value in document.items() if value is not None}
    values = {
        one.name: _value(one.type, given[one.name.lower()], one.metadata.get("range"), f"{where}: {one.name}")
        for one in fields(kind)  # type: ignore[arg-type]
        if one.name.lower() in given
    }
    rule: Any = kind(**values)
    if unknown := rule.unknown():
        raise Unreadable(f"{where}: {unknown}")
    made: T = rule
    return made


def _value(kind: Any, value: Any, limits: tuple[int, int] | None, where: str) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise Unreadable(f"{where}: a text is wanted")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"{where}: a number is wanted")
    if limits is None:
        return float(value)
    if not isinstance(value, int) or not limits[0] <= value <= limits[1]:
        raise Unreadable(f"{where}: {value} is no whole number between {limits[0]} and {limits[1]}")
    return value
