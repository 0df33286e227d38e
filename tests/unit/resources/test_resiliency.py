"""Resiliency resources."""

from pydapr.resources import documents, fields, resiliency

TEXT = b"""
kind: Resiliency
metadata: {name: r, namespace: n}
scopes: [a, b]
spec:
  policies:
    timeouts: {fast: 5s}
    retries:
      often: {policy: exponential, maxInterval: 60s, maxRetries: -1, matching: {httpStatusCodes: 429}}
      plain: {duration: 1s}
    circuitBreakers: {cb: {maxRequests: 1, timeout: 60s, trip: "consecutiveFailures > 5"}}
  targets:
    apps: {one: {timeout: fast, retry: often, circuitBreaker: cb, circuitBreakerCacheSize: 100}}
    actors: {Cat: {circuitBreaker: cb, circuitBreakerScope: both}}
    components: {store: {outbound: {retry: plain}}}
"""


def read(text: bytes) -> resiliency.Resiliency:
    found = documents.decode(text)
    assert isinstance(found, dict)
    return resiliency.read(fields.Fields(found, "Resiliency"))


def test_policies_and_targets_are_carried_as_written() -> None:
    found = read(TEXT)
    assert found.retries["often"] == resiliency.Retry(
        policy="exponential", max_interval="60s", max_retries=-1, has_matching=True, http_status_codes="429"
    )
    assert found.retries["plain"].max_retries is None
    assert found.circuit_breakers["cb"].trip == "consecutiveFailures > 5"
    assert found.apps["one"] == resiliency.Target("fast", "often", "cb", 100)
    assert found.actors["Cat"].circuit_breaker_scope == "both"
    assert found.components["store"].outbound.retry == "plain"
    assert found.components["store"].inbound == resiliency.Target()
    assert found.scopes == ("a", "b")


def test_equal_documents_are_equal_values() -> None:
    assert read(TEXT) == read(TEXT) != read(TEXT.replace(b"5s", b"6s"))
