"""Resiliency resources: `kind: Resiliency`, `dapr.io/v1alpha1`.

Read by `folder` and by the operator's client; `policy.resiliency` checks and compiles what stands here, so
durations, code ranges and expressions are still text.
"""

from __future__ import annotations

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydapr.resources.fields import Fields


class Retry(Record):
    """A named retry policy."""

    policy: str = ""
    duration: str = ""
    max_interval: str = ""
    max_retries: int | None = None
    has_matching: bool = False
    http_status_codes: str = ""
    grpc_status_codes: str = ""


class CircuitBreaker(Record):
    """A named circuit breaker policy."""

    max_requests: int = 0
    interval: str = ""
    timeout: str = ""
    trip: str = ""


class Target(Record):
    """Names of the policies for one app, actor type or direction of a component."""

    timeout: str = ""
    retry: str = ""
    circuit_breaker: str = ""
    circuit_breaker_cache_size: int = 0
    circuit_breaker_scope: str = ""
    """Actors only: type, id or both."""


class ComponentTarget(Record):
    """Policies for calls from the component (inbound) and to it (outbound)."""

    inbound: Target = Target()
    outbound: Target = Target()


class Resiliency(Record):
    """One resource with policies and the targets they apply to."""

    name: str
    namespace: str
    timeouts: Mapping[str, str]
    retries: Mapping[str, Retry]
    circuit_breakers: Mapping[str, CircuitBreaker]
    apps: Mapping[str, Target]
    actors: Mapping[str, Target]
    components: Mapping[str, ComponentTarget]
    scopes: tuple[str, ...] = ()

    @property
    def log_name(self) -> str:
        return self.name


def read(document: Fields) -> Resiliency:
    """The resource in a document; raises fields.FieldError."""
    about = document.child("metadata", "ObjectMeta")
    spec = document.child("spec", "ResiliencySpec")
    policies, targets = spec.child("policies", "Policies"), spec.child("targets", "Targets")
    breakers = policies.named("circuitBreakers", "CircuitBreaker")
    components = targets.named("components", "ComponentPolicyNames")
    return Resiliency(
        name=about.text("name"),
        namespace=about.text("namespace"),
        timeouts=policies.pairs("timeouts"),
        retries={name: _retry(item) for name, item in policies.named("retries", "Retry").items()},
        circuit_breakers={name: _breaker(item) for name, item in breakers.items()},
        apps={name: _target(item) for name, item in targets.named("apps", "EndpointPolicyNames").items()},
        actors={name: _target(item) for name, item in targets.named("actors", "ActorPolicyNames").items()},
        components={name: _component(item) for name, item in components.items()},
        scopes=document.texts("scopes"),
    )


def _retry(retry: Fields) -> Retry:
    matching = retry.child("matching", "RetryMatching")
    return Retry(
        policy=retry.text("policy"),
        duration=retry.text("duration"),
        max_interval=retry.text("maxInterval"),
        max_retries=retry.number_or_none("maxRetries"),
        has_matching=retry.has("matching"),
        http_status_codes=matching.text("httpStatusCodes"),
        grpc_status_codes=matching.text("gRPCStatusCodes"),
    )


def _breaker(breaker: Fields) -> CircuitBreaker:
    return CircuitBreaker(
        max_requests=breaker.number("maxRequests"),
        interval=breaker.text("interval"),
        timeout=breaker.text("timeout"),
        trip=breaker.text("trip"),
    )


def _target(target: Fields) -> Target:
    return Target(
        timeout=target.text("timeout"),
        retry=target.text("retry"),
        circuit_breaker=target.text("circuitBreaker"),
        circuit_breaker_cache_size=target.number("circuitBreakerCacheSize"),
        circuit_breaker_scope=target.text("circuitBreakerScope"),
    )


def _component(target: Fields) -> ComponentTarget:
    return ComponentTarget(
        inbound=_target(target.child("inbound", "PolicyNames")),
        outbound=_target(target.child("outbound", "PolicyNames")),
    )
