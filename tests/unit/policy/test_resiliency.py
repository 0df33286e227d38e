"""Which policies a target has."""

from collections.abc import Callable

from tests.unit.policy.conftest import Reader

from pydapr.policy import resiliency
from pydapr.policy.resiliency import Definition, Resiliency

POLICIES = """
  policies:
    timeouts: {t: 1s, DefaultTimeoutPolicy: 9s}
    retries: {r: {maxRetries: 1}, DefaultAppRetryPolicy: {maxRetries: 4}}
    circuitBreakers: {c: {trip: consecutiveFailures > 0}}
"""
TARGETS = """
  targets:
    apps:
      one: {timeout: t, retry: r, circuitBreaker: c, circuitBreakerCacheSize: 2}
      bare: {}
      wrong: {timeout: x, retry: x, circuitBreaker: x}
      "http://there": {circuitBreaker: c}
      named: {circuitBreaker: c}
    actors:
      Type: {timeout: t, retry: r, circuitBreaker: c, circuitBreakerScope: type}
      Id: {circuitBreaker: c, circuitBreakerScope: id}
    components:
      store: {outbound: {timeout: t, circuitBreaker: c}, inbound: {retry: r, circuitBreaker: c}}
"""


def defined(found: Definition | None) -> Definition:
    assert found is not None
    return found


def names(found: Definition | None) -> str | None:
    return found.breaker.name if found is not None and found.breaker is not None else None


def test_app_has_the_policies_of_its_target(read: Reader) -> None:
    found = defined(read("\n" + POLICIES + TARGETS).app("one", "m", 0.0))

    assert found.name == "endpoint[one, one:m]"
    assert found.timeout == 1.0
    assert found.retry is not None and found.retry.max_retries == 1
    assert names(found) == "one:m"


def test_each_method_of_an_app_has_a_breaker_of_its_own(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)
    first = defined(policies.app("one", "a", 0.0)).breaker

    assert defined(policies.app("one", "a", 1.0)).breaker is first
    assert defined(policies.app("one", "b", 1.0)).breaker is not first


def test_breakers_of_an_app_are_bounded(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)
    first = defined(policies.app("one", "a", 0.0)).breaker
    for method in ("b", "c"):
        policies.app("one", method, 0.0)

    assert defined(policies.app("one", "a", 0.0)).breaker is not first


def test_url_and_http_endpoint_have_breakers_by_their_own_names(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)
    policies.base_urls = {"named": "http://base"}

    assert names(policies.app("http://there", "m", 0.0)) == "http://there/m"
    assert names(policies.app("named", "m", 0.0)) == "named:http://base"


def test_named_app_without_policies_has_none_and_no_defaults(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)

    assert policies.app("bare", "m", 0.0) is None
    assert policies.app("wrong", "m", 0.0) is None
    assert policies.names_app("bare")


def test_unnamed_app_has_the_default_policies(read: Reader) -> None:
    policies = read("\n" + POLICIES)
    found = defined(policies.app("other", "m", 0.0))

    assert (found.timeout, found.breaker) == (9.0, None)
    assert found.retry is not None and found.retry.max_retries == 4
    assert policies.applies_to_apps and not policies.names_app("other")


def test_without_any_policy_for_apps_nothing_applies(read: Reader) -> None:
    policies = read("{policies: {retries: {DefaultActorRetryPolicy: {}}}, targets: {components: {s: {}}}}")

    assert not policies.applies_to_apps
    assert policies.app("a", "m", 0.0) is None


def test_default_breakers_are_kept_by_app_and_bounded(read: Reader) -> None:
    policies = read("{policies: {circuitBreakers: {DefaultCircuitBreakerPolicy: {}}}}")
    first = defined(policies.app("a", "m", 0.0)).breaker
    assert defined(policies.app("a", "m", 0.0)).breaker is first

    for number in range(resiliency.MAX_UNNAMED):
        policies.app(f"app{number}", "m", 0.0)

    assert defined(policies.app("a", "m", 0.0)).breaker is not first


def test_actor_has_retry_and_breaker_before_and_timeout_after_the_lock(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)
    before = defined(policies.actor_before_lock("Type", "1", 0.0))
    after = defined(policies.actor_after_lock("Type", "1"))

    assert (before.name, before.timeout, before.has_retries, names(before)) == ("actor[Type, 1]", 0.0, True, "Type")
    assert (after.timeout, after.retry, after.breaker) == (1.0, None, None)


def test_actors_breakers_are_by_type_or_by_id(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)

    assert names(policies.actor_before_lock("Id", "1", 0.0)) == "Id-1"
    assert names(policies.actor_before_lock("Type", "2", 0.0)) == "Type"
    assert policies.actor_after_lock("Id", "1") is None


def test_unnamed_actor_has_the_default_policies(read: Reader) -> None:
    policies = read(
        "{policies: {timeouts: {DefaultActorTimeoutPolicy: 2s}, circuitBreakers: {DefaultCircuitBreakerPolicy: {}}}}"
    )

    assert defined(policies.actor_after_lock("Any", "1")).timeout == 2.0
    assert names(policies.actor_before_lock("Any", "1", 0.0)) == "Any"


def test_component_has_policies_for_each_direction_and_one_breaker(read: Reader) -> None:
    policies = read("\n" + POLICIES + TARGETS)
    outbound = defined(policies.component("store", resiliency.STATESTORE, resiliency.OUTBOUND, 0.0))
    inbound = defined(policies.component("store", resiliency.STATESTORE, resiliency.INBOUND, 0.0))

    assert (outbound.name, outbound.timeout, outbound.retry) == ("component[store] output", 1.0, None)
    assert (inbound.name, inbound.timeout, inbound.has_retries) == ("component[store] input", 0.0, True)
    assert outbound.breaker is inbound.breaker and names(outbound) == "c-store"


def _timeout(policies: Resiliency, kind: str, direction: str) -> float:
    found = policies.component("any", kind, direction, 0.0)
    return found.timeout if found is not None else 0.0


def test_defaults_of_components_go_from_special_to_general(read: Reader) -> None:
    policies = read(
        """{policies: {timeouts: {
            DefaultStatestoreComponentOutboundTimeoutPolicy: 1s,
            DefaultComponentOutboundTimeoutPolicy: 2s,
            DefaultComponentTimeoutPolicy: 3s,
            DefaultTimeoutPolicy: 4s}}}"""
    )

    assert _timeout(policies, resiliency.STATESTORE, resiliency.OUTBOUND) == 1.0
    assert _timeout(policies, resiliency.PUBSUB, resiliency.OUTBOUND) == 2.0
    assert _timeout(policies, resiliency.PUBSUB, resiliency.INBOUND) == 3.0
    assert defined(policies.app("a", "m", 0.0)).timeout == 4.0


def test_later_resources_add_to_and_override_earlier_ones(read: Reader) -> None:
    policies = read(
        "{policies: {timeouts: {t: 1s, u: 1s}}, targets: {apps: {a: {timeout: t}}}}",
        "{policies: {timeouts: {t: 2s}}, targets: {apps: {b: {timeout: u}}}}",
    )

    assert defined(policies.app("a", "m", 0.0)).timeout == 2.0
    assert defined(policies.app("b", "m", 0.0)).timeout == 1.0


def test_changes_of_breakers_are_logged(read: Reader, lines: Callable[[], list[str]]) -> None:
    one = defined(read("\n" + POLICIES + TARGETS).app("one", "m", 0.0)).breaker
    assert one is not None

    one.leave(one.enter(0.0), False, 0.0)

    assert lines()[-1] == 'info Circuit breaker "one:m" changed state from closed to open'


def test_policies_found_are_told_when_debugging(read: Reader, lines: Callable[[], list[str]], debug: object) -> None:
    read("\n" + POLICIES + TARGETS).app("one", "m", 0.0)

    assert lines()[-1] == "debug Found Endpoint Policy for one: {Timeout:t Retry:r CircuitBreaker:c}"
