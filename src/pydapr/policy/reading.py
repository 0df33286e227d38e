"""From Resiliency resources to the policies in force. Called by `daprd.load` when there is such a resource.

A fault ends the reading of its resource: what was read before it holds, targets come last. It is logged and is
no reason not to start (v1.18.3, `pkg/resiliency/resiliency.go`).
"""

from __future__ import annotations

from pydapr.observe import logging
from pydapr.policy import built_in, decode
from pydapr.policy.resiliency import CACHE_SIZE, Names, Resiliency

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydapr.observe.metrics_resiliency import ResiliencyMetrics
    from pydapr.resources import resiliency as resource

log = logging.get("dapr.runtime")

ACTOR_CACHE_SIZE = 5000

SCOPES = ("type", "id", "both")


def load(wanted: Iterable[resource.Resiliency], metrics: ResiliencyMetrics | None = None) -> Resiliency:
    """All resources together; of two policies or targets with the same name the later one holds."""
    found = Resiliency()
    found.metrics = metrics
    for one in wanted:
        found.name, found.namespace = one.name, one.namespace
        log.info(f"Loading Resiliency configuration: {one.name}")
        try:
            _policies(found, one)
            _targets(found, one)
        except decode.Invalid as error:
            log.error(f"Could not read resiliency policy {one.name}: {error}")
            continue
        if metrics is not None:
            metrics.loaded(one.name, one.namespace)
    return found


def _policies(found: Resiliency, wanted: resource.Resiliency) -> None:
    for name, text in wanted.timeouts.items():
        found.timeouts[name] = decode.timeout(name, text)
    for name, given in wanted.retries.items():
        policy = decode.retry_policy(name, given)
        if name == built_in.ACTOR_NOT_FOUND:
            log.warning(
                f"Attempted to override protected policy {name} which is not allowed. "
                "Ignoring provided policy and using default."
            )
            continue
        if name in built_in.RETRIES and policy.max_retries < built_in.LEAST_RETRIES:
            log.warning(f"Attempted override of {name} did not meet minimum retry count, resetting to 3.")
            policy = policy.replace(max_retries=built_in.LEAST_RETRIES)
        found.retries[name] = decode.matching(given, policy)
    for name, rules in wanted.circuit_breakers.items():
        found.circuit_breakers[name] = decode.circuit_breaker(name, rules)


def _targets(found: Resiliency, wanted: resource.Resiliency) -> None:
    for name, target in wanted.apps.items():
        found.add_app(name, _names(target), _size(target, CACHE_SIZE))
    for name, target in wanted.actors.items():
        scope = target.circuit_breaker_scope
        if target.circuit_breaker and not scope:
            raise decode.Invalid("actor circuit breakers must include scope")
        if target.circuit_breaker and scope not in SCOPES:
            raise decode.Invalid(f'unknown circuit breaker scope "{scope}"')
        names = _names(target).replace(per_id=scope in ("id", "both"))
        found.add_actor(name, names, _size(target, ACTOR_CACHE_SIZE))
    for name, both in wanted.components.items():
        found.add_component(name, _names(both.inbound), _names(both.outbound))


def _names(target: resource.Target) -> Names:
    return Names(target.timeout, target.retry, target.circuit_breaker)


def _size(target: resource.Target, default: int) -> int:
    size = target.circuit_breaker_cache_size or default
    if size < 0:
        raise decode.Invalid("must provide a positive size")
    return size
