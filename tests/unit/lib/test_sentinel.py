"""Rules of Sentinel out of JSON."""

from typing import Any

import pytest

from pydapr.lib import sentinel


def test_names_are_read_without_regard_to_case_and_unknown_ones_are_ignored() -> None:
    text = '[{"Resource": "GET:/a", "THRESHOLD": 2.5, "controlbehavior": 1, "id": "x", "maxQueueingTimeMs": null}]'

    assert sentinel.read(sentinel.Flow, text) == [sentinel.Flow("GET:/a", 0, 1, 2.5)]


def test_null_is_no_rules() -> None:
    assert sentinel.read(sentinel.Flow, "null") == []


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (sentinel.Flow, "{", "no JSON"),
        (sentinel.Flow, "{}", "an array of rules is wanted"),
        (sentinel.Flow, "[1]", "rule 0: an object is wanted"),
        (sentinel.Flow, '[{"resource": 1}]', "rule 0: resource: a text is wanted"),
        (sentinel.Flow, '[{"threshold": "1"}]', "rule 0: threshold: a number is wanted"),
        (sentinel.Flow, '[{"threshold": true}]', "rule 0: threshold: a number is wanted"),
        (sentinel.Flow, '[{}, {"statIntervalInMs": -1}]', "rule 1: statIntervalInMs: -1 is no whole number"),
        (sentinel.Flow, '[{"statIntervalInMs": 1.5}]', "1.5 is no whole number"),
        (sentinel.Flow, '[{"tokenCalculateStrategy": 3}]', "rule 0: tokenCalculateStrategy 3 is not supported"),
        (sentinel.Flow, '[{"controlBehavior": 2}]', "controlBehavior 2 is not supported"),
        (sentinel.Flow, '[{"relationStrategy": 2}]', "relationStrategy 2 is not supported"),
        (sentinel.Breaker, '[{"strategy": 3}]', "strategy 3 is not supported"),
        (sentinel.Isolation, '[{"metricType": 1}]', "metricType 1 is not supported"),
        (sentinel.HotSpot, '[{"metricType": 2}]', "metricType 2 is not supported"),
        (sentinel.System, '[{"metricType": 5}]', "metricType 5 is not supported"),
    ],
)
def test_what_cannot_be_read_or_had_is_told(kind: type[Any], text: str, reason: str) -> None:
    with pytest.raises(sentinel.Unreadable, match=reason):
        sentinel.read(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        (sentinel.Flow, '{"resource": "r"}', ""),
        (sentinel.Flow, "{}", "empty Resource"),
        (sentinel.Flow, '{"resource": "r", "threshold": -1}', "negative Threshold"),
        (sentinel.Flow, '{"resource": "r", "relationStrategy": 1}', "RefResource must be non empty"),
        (sentinel.Flow, '{"resource": "r", "tokenCalculateStrategy": 1}', "WarmUpPeriodSec"),
        (
            sentinel.Flow,
            '{"resource": "r", "tokenCalculateStrategy": 1, "warmUpPeriodSec": 1, "warmUpColdFactor": 1}',
            "WarmUpColdFactor",
        ),
        (sentinel.Flow, '{"resource": "r", "tokenCalculateStrategy": 2}', "HighMemUsageThreshold"),
        (sentinel.Breaker, '{"resource": "r", "statIntervalMs": 1, "retryTimeoutMs": 1}', ""),
        (sentinel.Breaker, '{"resource": "r", "retryTimeoutMs": 1}', "invalid StatIntervalMs"),
        (sentinel.Breaker, '{"resource": "r", "statIntervalMs": 1}', "invalid RetryTimeoutMs"),
        (
            sentinel.Breaker,
            '{"resource": "r", "statIntervalMs": 1, "retryTimeoutMs": 1, "threshold": 2}',
            "valid range",
        ),
        (
            sentinel.Breaker,
            '{"resource": "r", "statIntervalMs": 1, "retryTimeoutMs": 1, "threshold": 2, "strategy": 2}',
            "",
        ),
        (sentinel.Isolation, '{"resource": "r"}', "zero threshold"),
        (sentinel.HotSpot, "{}", "empty resource name"),
        (sentinel.System, '{"triggerCount": -1}', "negative threshold"),
        (sentinel.System, '{"metricType": 4, "triggerCount": 50}', "invalid CPU usage"),
    ],
)
def test_rules_without_meaning_are_told_apart(kind: type[Any], text: str, fault: str) -> None:
    (rule,) = sentinel.read(kind, f"[{text}]")

    assert fault in rule.fault() if fault else rule.fault() == ""
