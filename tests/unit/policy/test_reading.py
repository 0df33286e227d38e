"""Resiliency resources to policies in force, and what is said about those that cannot be."""

from collections.abc import Callable

import pytest
from tests.unit.policy.conftest import Reader

from pydapr.policy import built_in
from pydapr.policy.retry import Retry

Lines = Callable[[], list[str]]


def test_retries_get_the_originals_defaults(read: Reader) -> None:
    found = read("{policies: {retries: {r: {}}}}")

    assert found.retries["r"] == Retry(duration=5.0, max_interval=60.0, max_elapsed=900.0, max_retries=-1)


def test_retries_are_read(read: Reader) -> None:
    found = read(
        "{policies: {retries: {r: {policy: Exponential, duration: 2s, maxInterval: 250, maxRetries: 7, "
        "matching: {httpStatusCodes: '429,500-599', gRPCStatusCodes: 14}}}}}"
    )

    assert found.retries["r"] == Retry(
        is_exponential=True,
        duration=2.0,
        max_interval=0.25,
        max_retries=7,
        http_codes=((429, 429), (500, 599)),
        grpc_codes=((14, 14),),
    )


def test_a_number_is_milliseconds(read: Reader) -> None:
    assert read("{policies: {timeouts: {t: 1500}}}").timeouts == {"t": 1.5}


def test_circuit_breakers_get_the_originals_defaults(read: Reader) -> None:
    rules = read("{policies: {circuitBreakers: {c: {interval: 0, timeout: 0s}}}}").circuit_breakers["c"]

    assert (rules.name, rules.max_requests, rules.interval, rules.timeout) == ("c", 1, 0.0, 60.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "{policies: {timeouts: {t: soon}}}",
            'invalid duration "t", soon: time: invalid duration "soon"',
        ),
        (
            "{policies: {retries: {r: {policy: linear, duration: x}}}}",
            'invalid retry configuration "r": 2 error(s) decoding:\n\n'
            "* error decoding 'duration': invalid duration \"x\"\n"
            "* error decoding 'policy': invalid PolicyType \"linear\": unexpected back off policy type: linear",
        ),
        (
            "{policies: {retries: {r: {matching: {httpStatusCodes: 11, gRPCStatusCodes: 400}}}}}",
            "invalid pattern 11, start code 11 is not valid",
        ),
        (
            "{policies: {circuitBreakers: {c: {maxRequests: -1}}}}",
            'invalid retry configuration "c": 1 error(s) decoding:\n\n'
            "* cannot parse 'maxRequests', -1.000000 overflows uint",
        ),
        ("{targets: {actors: {A: {circuitBreaker: c}}}}", "actor circuit breakers must include scope"),
        (
            "{targets: {actors: {A: {circuitBreaker: c, circuitBreakerScope: x}}}}",
            'unknown circuit breaker scope "x"',
        ),
        ("{targets: {apps: {a: {circuitBreakerCacheSize: -1}}}}", "must provide a positive size"),
    ],
)
def test_faults_are_logged_in_the_originals_words(read: Reader, lines: Lines, spec: str, message: str) -> None:
    read(spec)

    assert lines() == [
        "info Loading Resiliency configuration: r0",
        f"error Could not read resiliency policy r0: {message}",
    ]


def test_rule_that_cannot_be_compiled_is_named(read: Reader, lines: Lines) -> None:
    read("{policies: {circuitBreakers: {c: {trip: 'requests >'}}}}")

    assert "* error decoding 'trip': invalid Expr \"requests >\": " in lines()[1]


def test_what_stands_before_a_fault_holds(read: Reader) -> None:
    found = read(
        "{policies: {timeouts: {good: 1s}, retries: {bad: {policy: x}}}, targets: {apps: {a: {timeout: good}}}}"
    )

    assert found.timeouts == {"good": 1.0}
    assert "bad" not in found.retries
    assert not found.names_app("a")


def test_a_fault_in_one_resource_is_none_of_the_next(read: Reader) -> None:
    found = read("{policies: {timeouts: {t: x}}}", "{policies: {timeouts: {u: 1s}}}")

    assert found.timeouts == {"u": 1.0}


def test_built_in_policies_can_be_overridden(read: Reader, lines: Lines) -> None:
    found = read("{policies: {retries: {DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: 5}}}}")

    assert found.retries[built_in.SERVICE] == Retry(duration=0.01, max_retries=5)
    assert not [line for line in lines() if line.startswith("warning")]


@pytest.mark.parametrize("most", [0, 2, -1])
def test_overrides_have_three_retries_at_least(read: Reader, lines: Lines, most: int) -> None:
    found = read(f"{{policies: {{retries: {{DaprBuiltInServiceRetries: {{maxRetries: {most}}}}}}}}}")

    assert found.retries[built_in.SERVICE].max_retries == 3
    assert (
        "warning Attempted override of DaprBuiltInServiceRetries did not meet minimum retry count, resetting to 3."
        in lines()
    )


def test_protected_policy_cannot_be_overridden(read: Reader, lines: Lines) -> None:
    found = read("{policies: {retries: {DaprBuiltInActorNotFoundRetries: {maxRetries: 50}}}}")

    assert found.retries[built_in.ACTOR_NOT_FOUND] == Retry(duration=1.0, max_retries=5)
    assert [line for line in lines() if line.startswith("warning Attempted to override protected policy")]
