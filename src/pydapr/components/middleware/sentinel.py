"""middleware.http.sentinel lets requests pass as rules of Sentinel allow; the rest gets 429.

    flowRules: '[{"resource": "POST:/v1.0/invoke/shop/method/order", "threshold": 10}]'

A resource is method and path, `GET:/orders`, compared as a whole. Checked in this order: system rules, flow rules,
isolation rules, circuit breakers. What is counted and how is sentinel-golang's (v1.0.4); all of it is our own.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from pydapr.components import Wrong, component, option, options
from pydapr.components.middleware import Middleware, refuse
from pydapr.lib import sentinel, urls
from pydapr.lib.window import Window
from pydapr.net.exchange import Exchange, Handler, Headers
from pydapr.net.wrapped import Wrapped
from pydapr.observe import logging

log = logging.get("dapr.contrib")

SECOND = 1000
_BUCKET = 500
_BUCKETS = 20
_LONG_AGO = -(10**15)


@options
class Options:
    app_name: str = option("A name for the app. Accepted; nothing depends on it.", default="")
    log_dir: str = option("Where Sentinel writes its own logs. Accepted; there are none.", default="")
    flow_rules: str = option("How many requests may pass, as a JSON array.", default="")
    circuit_breaker_rules: str = option("When to hold requests back for a while, as a JSON array.", default="")
    hot_spot_param_rules: str = option("Read, and never met: requests have no parameters for them.", default="")
    isolation_rules: str = option("How many requests may be under way, as a JSON array.", default="")
    system_rules: str = option("When the sidecar as a whole takes no more, as a JSON array.", default="")


class _Rule(Protocol):
    def fault(self) -> str: ...


R = TypeVar("R", bound=_Rule)


class Node:
    """What is counted for a resource, or for all requests."""

    __slots__ = ("concurrency", "window")

    def __init__(self) -> None:
        self.concurrency = 0
        self.window = Window(_BUCKETS, _BUCKETS * _BUCKET)

    def enter(self, now: int) -> None:
        self.concurrency += 1
        self.window.at(now).passed += 1

    def leave(self, now: int, took: int) -> None:
        self.concurrency -= 1
        bucket = self.window.at(now)
        bucket.completed += 1
        bucket.took += took
        bucket.fastest = min(bucket.fastest, took)


class FlowGate:
    """Holds one flow rule."""

    def __init__(self, rule: sentinel.Flow, node: Node) -> None:
        self._rule = rule
        interval = rule.statIntervalInMs or SECOND
        self._interval = interval
        is_even = interval % _BUCKET == 0 and interval <= _BUCKETS * _BUCKET
        self._step = _BUCKET if is_even else interval
        self._shares = is_even and _BUCKETS * _BUCKET % interval == 0
        self._window = node.window if self._shares else Window(interval // self._step, interval)
        self._throttle_ns = rule.maxQueueingTimeMs * 1_000_000
        self._last_ns = _LONG_AGO
        self._warm = _WarmUp(rule) if rule.tokenCalculateStrategy == sentinel.WARM_UP else None

    def wait(self, now_ns: int, memory: Callable[[], int]) -> float:
        """How many seconds a request has to wait; -1 when it may not pass."""
        now = now_ns // 1_000_000
        allowed = self._allowed(now, memory)
        if self._rule.controlBehavior == sentinel.THROTTLING:
            return self._throttled(now_ns, allowed)
        return -1.0 if self._window.passed(now, self._interval) + 1 > allowed else 0.0

    def count(self, now: int) -> None:
        """A request has passed."""
        if not self._shares:
            self._window.at(now).passed += 1

    def _allowed(self, now: int, memory: Callable[[], int]) -> float:
        rule = self._rule
        if self._warm is not None:
            before = self._window.passed(now - self._step, self._interval) * SECOND / self._interval
            return self._warm.allowed(now, before)
        if rule.tokenCalculateStrategy != sentinel.MEMORY_ADAPTIVE:
            return rule.threshold
        low, high = rule.memLowWaterMarkBytes, rule.memHighWaterMarkBytes
        share = (min(max(memory(), low), high) - low) / (high - low)
        return rule.lowMemUsageThreshold + share * (rule.highMemUsageThreshold - rule.lowMemUsageThreshold)

    def _throttled(self, now: int, allowed: float) -> float:
        if allowed < 1:
            return -1.0
        gap = math.ceil(self._interval * 1_000_000 / allowed)
        wait = self._last_ns + gap - now
        if wait <= 0:
            self._last_ns = now
            return 0.0
        if wait > self._throttle_ns:
            return -1.0
        self._last_ns += gap
        return wait / 1e9


class _WarmUp:
    """Lets few pass at first, and more while they come steadily. Tokens are stored while it is quiet."""

    def __init__(self, rule: sentinel.Flow) -> None:
        self._threshold = rule.threshold
        self._cold = rule.warmUpColdFactor if rule.warmUpColdFactor > 1 else 3
        tokens = rule.warmUpPeriodSec * rule.threshold
        self._warning = int(tokens / (self._cold - 1))
        self._most = self._warning + int(2 * tokens / (1 + self._cold))
        room = (self._most - self._warning) * self._threshold
        self._slope = (self._cold - 1) / room if room else 0.0
        self._stored = 0
        self._filled = _LONG_AGO

    def allowed(self, now: int, before: float) -> float:
        self._fill(now - now % SECOND, before)
        if self._stored < self._warning or not self._threshold:
            return self._threshold
        above = self._stored - self._warning
        return math.nextafter(1.0 / (above * self._slope + 1.0 / self._threshold), math.inf)

    def _fill(self, second: int, before: float) -> None:
        if second <= self._filled:
            return
        stored = self._stored
        is_quiet = before < int(self._threshold) // self._cold
        if stored < self._warning or (stored > self._warning and is_quiet):
            stored += int((second - self._filled) * self._threshold / SECOND)
        self._stored = max(0, min(stored, self._most) - int(before))
        self._filled = second


CLOSED, HALF_OPEN, OPEN = "closed", "half open", "open"


class BreakerGate:
    """Holds one circuit breaker rule."""

    def __init__(self, rule: sentinel.Breaker) -> None:
        self._rule = rule
        count = rule.statSlidingWindowBucketCount
        if not count or rule.statIntervalMs % count:
            count = 1
        self._window = Window(count, rule.statIntervalMs)
        self.state = CLOSED
        self._retry_at = 0
        self._probes = 0

    @property
    def counts_errors(self) -> bool:
        return self._rule.strategy != sentinel.SLOW_RATIO

    def passes(self, now: int) -> bool:
        if self.state == CLOSED:
            return True
        if self.state == OPEN:
            if now < self._retry_at:
                return False
            self.state = HALF_OPEN
            return True
        return self._rule.probeNum > 0

    def reopen(self) -> None:
        """The request that was to probe has been held back by somebody else."""
        if self.state == HALF_OPEN:
            self.state = OPEN

    def completed(self, now: int, took: int, is_error: bool) -> None:
        rule = self._rule
        is_bad = is_error if self.counts_errors else took > rule.maxAllowedRtMs
        bucket = self._window.at(now)
        bucket.completed += 1
        bucket.bad += is_bad
        if self.state == HALF_OPEN:
            self._probed(now, is_bad)
        elif self.state == CLOSED:
            last = self._window.last(now, rule.statIntervalMs)
            total, bad = sum(one.completed for one in last), sum(one.bad for one in last)
            if total < rule.minRequestAmount:
                return
            measure = bad if rule.strategy == sentinel.ERROR_COUNT else bad / total
            wanted = int(rule.threshold) if rule.strategy == sentinel.ERROR_COUNT else rule.threshold - 1e-8
            if measure >= wanted:
                self._open(now)

    def _probed(self, now: int, is_bad: bool) -> None:
        if is_bad:
            self._open(now)
            return
        self._probes += 1
        if self._probes >= self._rule.probeNum:
            self.state, self._probes = CLOSED, 0
            self._window.clear()

    def _open(self, now: int) -> None:
        self.state, self._probes = OPEN, 0
        self._retry_at = now + self._rule.retryTimeoutMs


class Machine:
    """What the machine and this process need, looked up once in a while."""

    def __init__(self) -> None:
        self.load = self.cpu = 0.0
        self._at = self._memory_at = 0.0
        self._used = 0.0
        self._memory = 0

    def look(self) -> None:
        now = time.monotonic()
        if now - self._at < 1.0 and self._at:
            return
        used = time.process_time()
        if self._at:
            self.cpu = (used - self._used) / (now - self._at)
        self._at, self._used = now, used
        self.load = os.getloadavg()[0]

    def memory(self) -> int:
        now = time.monotonic()
        if now - self._memory_at >= 0.15:
            with open("/proc/self/statm", encoding="ascii") as file:
                self._memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            self._memory_at = now
        return self._memory


class SystemGate:
    """Holds all system rules."""

    def __init__(self, rules: list[sentinel.System], machine: Machine) -> None:
        self._rules, self._machine = rules, machine
        self._looks = any(rule.metricType in (sentinel.LOAD, sentinel.CPU) for rule in rules)

    def passes(self, now: int, all_: Node) -> bool:
        if self._looks:
            self._machine.look()
        return all(self._holds(rule, now, all_) for rule in self._rules)

    def _holds(self, rule: sentinel.System, now: int, all_: Node) -> bool:
        most = rule.triggerCount
        if rule.metricType == sentinel.INBOUND_QPS:
            return all_.window.passed(now, SECOND) < most
        if rule.metricType == sentinel.CONCURRENCY:
            return all_.concurrency < most
        if rule.metricType == sentinel.AVERAGE_TIME:
            last = all_.window.last(now, SECOND)
            completed = sum(one.completed for one in last)
            return (sum(one.took for one in last) // completed if completed else 0) < most
        actual = self._machine.load if rule.metricType == sentinel.LOAD else self._machine.cpu
        return actual <= most or (rule.strategy == sentinel.BBR and _has_room(now, all_))


def _has_room(now: int, all_: Node) -> bool:
    """Whether fewer are under way than the sidecar has lately completed in the time of the fastest."""
    last = all_.window.last(now, SECOND)
    completed = max((one.completed for one in last), default=0) * (SECOND / _BUCKET)
    fastest = max(min((one.fastest for one in last), default=60_000), 1)
    return all_.concurrency <= 1 or all_.concurrency <= completed * fastest / 1000


class Resource:
    """A resource that rules name."""

    def __init__(self) -> None:
        self.node = Node()
        self.flows: list[FlowGate] = []
        self.isolations: list[int] = []
        self.breakers: list[BreakerGate] = []


@component("middleware.http.sentinel", Options)
class Sentinel(Middleware):
    def __init__(
        self, options: Options, clock: Callable[[], int] = time.monotonic_ns, machine: Machine | None = None
    ) -> None:
        self._clock = clock
        self._machine = machine or Machine()
        self._all = Node()
        self._resources: dict[str, Resource] = {}
        for flow in _load(sentinel.Flow, options.flow_rules, "flow"):
            if flow.tokenCalculateStrategy == sentinel.MEMORY_ADAPTIVE:
                self._machine.memory()
            counted = flow.refResource if flow.relationStrategy == sentinel.ASSOCIATED else flow.resource
            self._of(flow.resource).flows.append(FlowGate(flow, self._of(counted).node))
        for isolation in _load(sentinel.Isolation, options.isolation_rules, "isolation"):
            self._of(isolation.resource).isolations.append(isolation.threshold)
        for breaker in _load(sentinel.Breaker, options.circuit_breaker_rules, "circuit breaker"):
            self._of(breaker.resource).breakers.append(BreakerGate(breaker))
        if _load(sentinel.HotSpot, options.hot_spot_param_rules, "hotspot param"):
            log.warning("sentinel hotspot param rules never hold a request back: requests have no parameters for them")
        system = _load(sentinel.System, options.system_rules, "system")
        self._system = SystemGate(system, self._machine) if system else None

    def _of(self, name: str) -> Resource:
        return self._resources.setdefault(name, Resource())

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            resource = self._resources.get(_name(exchange))
            if resource is None and self._system is None:
                await inner(exchange)
            elif await self._enters(resource):
                await self._pass(inner, exchange, resource)
            else:
                refuse(exchange, 429, "Too Many Requests")

        return handle

    async def _enters(self, resource: Resource | None) -> bool:
        """Whether a request may pass, perhaps after a while. It is counted as passed then."""
        now = self._clock()
        if self._system is not None and not self._system.passes(now // 1_000_000, self._all):
            return False
        if resource is not None:
            for flow in resource.flows:
                seconds = flow.wait(self._clock(), self._machine.memory)
                if seconds < 0:
                    return False
                if seconds:
                    await asyncio.sleep(seconds)
            if any(resource.node.concurrency + 1 > most for most in resource.isolations):
                return False
            if not _pass_breakers(resource.breakers, self._clock() // 1_000_000):
                return False
        now = self._clock() // 1_000_000
        self._all.enter(now)
        if resource is not None:
            resource.node.enter(now)
            for flow in resource.flows:
                flow.count(now)
        return True

    async def _pass(self, inner: Handler, exchange: Exchange, resource: Resource | None) -> None:
        begun = self._clock()
        watched: _Watched | None = None
        if resource is not None and any(breaker.counts_errors for breaker in resource.breakers):
            exchange = watched = _Watched(exchange)
        is_error = False
        try:
            await inner(exchange)
        except Exception:
            is_error = True
            raise
        finally:
            now = self._clock()
            took, now = (now - begun) // 1_000_000, now // 1_000_000
            self._all.leave(now, took)
            if resource is not None:
                resource.node.leave(now, took)
                is_error = is_error or (watched is not None and watched.is_error)
                for breaker in resource.breakers:
                    breaker.completed(now, took, is_error)


def _pass_breakers(breakers: Iterable[BreakerGate], now: int) -> bool:
    probing: list[BreakerGate] = []
    for breaker in breakers:
        before = breaker.state
        if not breaker.passes(now):
            for one in probing:
                one.reopen()
            return False
        if before != breaker.state:
            probing.append(breaker)
    return True


def _name(exchange: Exchange) -> str:
    """What the original calls a request: method and decoded path."""
    path = exchange.target.partition(b"?")[0]
    try:
        text = urls.decode(path)
    except ValueError:
        text = path.decode("utf-8", "surrogateescape")
    return f"{exchange.method.decode('latin-1')}:{text}"


def _load(kind: type[R], text: str, what: str) -> list[R]:
    """The rules that mean something; of the others the log says why they do not, as the original's does."""
    if not text:
        return []
    try:
        rules = sentinel.read(kind, text)
    except sentinel.Unreadable as error:
        raise Wrong(f"fail to load sentinel {what} rules '{text}': {error}") from None
    for rule in rules:
        if fault := rule.fault():
            log.warning(f"Ignoring invalid sentinel {what} rule {rule}: {fault}")
    return [rule for rule in rules if not rule.fault()]


class _Watched(Wrapped):
    """Sees whether the answer is an error."""

    __slots__ = ("is_error",)

    def __init__(self, inner: Exchange) -> None:
        super().__init__(inner)
        self.is_error = False

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.is_error = status >= 500
        super().respond(status, headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        self.is_error = status >= 500
        super().begin(status, headers)

    def abort(self) -> None:
        self.is_error = True
        super().abort()
