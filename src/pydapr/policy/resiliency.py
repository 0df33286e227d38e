"""Which policies apply to which target, and the memory of their breakers.

Made by `policy.reading` when there is a Resiliency resource; faces and blocks ask for the `Definition` of a
target and give it to `policy.runner`. Names, levels and log lines are the original's (v1.18.3,
`pkg/resiliency/resiliency.go`). The time is an argument.
"""

from __future__ import annotations

import functools

from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.policy import breaker, built_in, retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydapr.observe.metrics_resiliency import ResiliencyMetrics, Watch

log = logging.get("dapr.runtime")

CACHE_SIZE = 100
"""How many breakers an app or actor type has that no resource names."""

MAX_UNNAMED = 1024
"""Apps and actor types, named by no resource, that have breakers by default policies."""

INBOUND, OUTBOUND = "Inbound", "Outbound"

BINDING, CONFIGURATION, LOCK, PUBSUB = "Binding", "Configuration", "Lock", "Pubsub"
CRYPTO, CONVERSATION, SECRETSTORE, STATESTORE = "Crypto", "Conversation", "Secretstore", "Statestore"


class Names(Record):
    """The names of the policies for one target."""

    timeout: str = ""
    retry: str = ""
    circuit_breaker: str = ""
    per_id: bool = False
    """Actors only: each has a breaker of its own, instead of one for the type."""


class Definition(Record):
    """The policies around one operation; what is None or 0 is not there. `name` is for the log."""

    name: str
    timeout: float = 0.0
    retry: retry.Retry | None = None
    breaker: breaker.Breaker | None = None
    watch: Watch | None = None
    """Who hears what the policies do; None where nobody measures."""

    @property
    def has_retries(self) -> bool:
        return self.retry is not None and self.retry.max_retries != 0


class Resiliency:
    """Policies by name, targets by name, breakers by target."""

    def __init__(self) -> None:
        self.timeouts: dict[str, float] = {}
        self.retries: dict[str, retry.Retry] = dict(built_in.RETRIES)
        self.circuit_breakers: dict[str, breaker.Rules] = {}
        self.base_urls: Mapping[str, str] = {}
        """HTTPEndpoints by name; all methods of one share a breaker."""
        self.metrics: ResiliencyMetrics | None = None
        self.name = self.namespace = ""
        """Those of the resource that was read last, under which the metrics stand."""
        self._apps: dict[str, Names] = {}
        self._actors: dict[str, Names] = {}
        self._components: dict[tuple[str, str], Names] = {}
        self._app_breakers: dict[str, breaker.Cache] = {}
        self._actor_breakers: dict[str, breaker.Cache] = {}
        self._component_breakers: dict[str, breaker.Breaker] = {}
        self._unnamed: dict[tuple[str, str], breaker.Cache] = {}
        self._defaults: dict[tuple[str, ...], Names | None] = {}

    def add_app(self, app_id: str, names: Names, cache_size: int) -> None:
        self._apps[app_id] = names
        self._app_breakers[app_id] = breaker.Cache(cache_size)

    def add_actor(self, actor_type: str, names: Names, cache_size: int) -> None:
        self._actors[actor_type] = names
        self._actor_breakers[actor_type] = breaker.Cache(cache_size)

    def add_component(self, name: str, inbound: Names, outbound: Names) -> None:
        self._components[name, INBOUND] = inbound
        self._components[name, OUTBOUND] = outbound

    # -- apps --

    @property
    def applies_to_apps(self) -> bool:
        """Whether any app can have a policy; if none can, nobody needs to ask."""
        return bool(self._apps) or self._default(("App",)) is not None

    def names_app(self, app_id: str) -> bool:
        """Whether a resource names the app, in which case the built-in retries do not hold for it."""
        return app_id in self._apps

    def app(self, target: str, method: str, now: float) -> Definition | None:
        """The policies for one method of an app, or of a server named by a URL. None when there are none."""
        names = self._apps.get(target)
        if names is not None:
            _tell("Endpoint Policy for", target, names)
            cache = self._app_breakers[target]
        else:
            names = self._default(("App",))
            if names is None:
                return None
            _tell("Default Policy for Endpoint", target, names)
            cache = self._unnamed_cache("app", target)
        endpoint = self._endpoint(target, method)
        found = self._cached_breaker(names, cache, endpoint, now)
        return self._definition(f"endpoint[{target}, {endpoint}]", names, found, f"app_{target}", now)

    def _endpoint(self, target: str, method: str) -> str:
        """What has a breaker of its own."""
        if target.startswith(("http://", "https://")):
            return f"{target}/{method}"
        return f"{target}:{self.base_urls.get(target, method)}"

    # -- actors --

    def actor_before_lock(self, actor_type: str, actor_id: str, now: float) -> Definition | None:
        """Retry and breaker around a call of an actor and its wait for the turn. None when there are none."""
        names = self._actors.get(actor_type)
        if names is not None:
            _tell("Actor Policy for type", actor_type, names)
            cache = self._actor_breakers[actor_type]
        else:
            names = self._default(("Actor",))
            if names is None:
                return None
            _tell("Default Policy for Actor type", actor_type, names)
            cache = self._unnamed_cache("actor", actor_type)
        key = f"{actor_type}-{actor_id}" if names.per_id else actor_type
        found = self._cached_breaker(names, cache, key, now)
        names = names.replace(timeout="")
        return self._definition(f"actor[{actor_type}, {actor_id}]", names, found, f"actor_{actor_type}", now)

    def actor_after_lock(self, actor_type: str, actor_id: str) -> Definition | None:
        """The timeout around an actor's turn. None when there is none."""
        names = self._actors.get(actor_type) or self._default(("Actor",))
        if names is None:
            return None
        names = Names(timeout=names.timeout)
        return self._definition(f"actor[{actor_type}, {actor_id}]", names, None, f"actor_{actor_type}", 0.0)

    # -- components --

    def component(self, name: str, kind: str, direction: str, now: float) -> Definition | None:
        """The policies for calls to a component (`OUTBOUND`) or from it (`INBOUND`). None when there are none."""
        names = self._components.get((name, direction))
        if names is None:
            names = self._default((f"{kind}Component{direction}", f"Component{direction}", "Component"))
        if names is None:
            return None
        rules = self.circuit_breakers.get(names.circuit_breaker)
        found = None
        if rules is not None:
            found = self._component_breakers.get(name)
            if found is None:
                found = self._component_breakers[name] = _new(rules, now, f"{rules.name}-{name}")
        what = f"component[{name}] {'output' if direction == OUTBOUND else 'input'}"
        return self._definition(what, names, found, f"{kind}_{name}", now, direction)

    # -- what they have in common --

    def _default(self, levels: tuple[str, ...]) -> Names | None:
        """The default policies of a target that is not named: of each kind that of the first level that has one."""
        if levels not in self._defaults:
            found = Names(
                timeout=_first(levels, "TimeoutPolicy", self.timeouts),
                retry=_first(levels, "RetryPolicy", self.retries),
                circuit_breaker=_first(levels, "CircuitBreakerPolicy", self.circuit_breakers),
            )
            self._defaults[levels] = None if found == Names() else found
        return self._defaults[levels]

    def _cached_breaker(self, names: Names, cache: breaker.Cache, key: str, now: float) -> breaker.Breaker | None:
        rules = self.circuit_breakers.get(names.circuit_breaker)
        return cache.get(key, functools.partial(_new, rules, now)) if rules is not None else None

    def _definition(
        self,
        name: str,
        names: Names,
        found: breaker.Breaker | None,
        target: str,
        now: float,
        direction: str = OUTBOUND,
    ) -> Definition | None:
        seconds = max(self.timeouts.get(names.timeout, 0.0), 0.0)
        again = self.retries.get(names.retry)
        if not seconds and again is None and found is None:
            return None
        watch = None
        if self.metrics is not None:
            watch = self.metrics.watch(self.name, self.namespace, target, direction.lower())
            watch.applied(bool(seconds), again is not None, found.state(now) if found is not None else None)
        return Definition(name, seconds, again, found, watch)

    def _unnamed_cache(self, kind: str, target: str) -> breaker.Cache:
        key = (kind, target)
        found = self._unnamed.pop(key, None) or breaker.Cache(CACHE_SIZE)
        if len(self._unnamed) >= MAX_UNNAMED:
            del self._unnamed[next(iter(self._unnamed))]
        self._unnamed[key] = found
        return found


def _first(levels: tuple[str, ...], what: str, policies: Mapping[str, object]) -> str:
    names = [f"Default{level}{what}" for level in (*levels, "")]
    return next((name for name in names if name in policies), "")


def _new(rules: breaker.Rules, now: float, name: str) -> breaker.Breaker:
    return breaker.Breaker(name, rules, _changed, now)


def _changed(name: str, before: str, after: str) -> None:
    log.info(f'Circuit breaker "{name}" changed state from {before} to {after}')


def _tell(what: str, target: str, names: Names) -> None:
    if log.is_enabled(logging.DEBUG):
        shown = f"Timeout:{names.timeout} Retry:{names.retry} CircuitBreaker:{names.circuit_breaker}"
        log.debug(f"Found {what} {target}: {{{shown}}}")
