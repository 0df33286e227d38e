"""From the texts of a Resiliency resource to timeouts, retries and breakers. Called by `policy.resiliency`.

Faults are worded as the original words them, which decodes with mapstructure.
"""

from __future__ import annotations

import re

from pydapr.lib import durations, quote
from pydapr.policy import breaker, retry, trip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pydapr.resources import resiliency

_NUMBER = re.compile(r"[+-]?[0-9]+\Z")


class Invalid(ValueError):
    """A policy cannot be used; the message names it."""


def timeout(name: str, text: str) -> float:
    """Seconds of a named timeout. Raises `Invalid`."""
    try:
        return _seconds(text)
    except ValueError as error:
        raise Invalid(f"invalid duration {quote.go(name)}, {text}: {error}") from None


def retry_policy(name: str, given: resiliency.Retry) -> retry.Retry:
    """A named retry policy without what it matches. Raises `Invalid`."""
    fields = _Fields(name)
    default = retry.Retry()
    policy = given.policy.lower() or "constant"
    if policy not in ("constant", "exponential"):
        reason = f"unexpected back off policy type: {given.policy}"
        fields.say(f"error decoding 'policy': invalid PolicyType {quote.go(given.policy)}: {reason}")
    found = retry.Retry(
        is_exponential=policy == "exponential",
        duration=fields.duration("duration", given.duration, default.duration),
        max_interval=fields.duration("maxInterval", given.max_interval, default.max_interval),
        max_retries=-1 if given.max_retries is None else max(given.max_retries, -1),
    )
    fields.check()
    return found


def matching(given: resiliency.Retry, found: retry.Retry) -> retry.Retry:
    """`found` with the codes it matches. Raises `Invalid`."""
    try:
        return found.replace(
            http_codes=retry.codes(given.http_status_codes, retry.HTTP_CODES),
            grpc_codes=retry.codes(given.grpc_status_codes, retry.GRPC_CODES),
        )
    except ValueError as error:
        raise Invalid(str(error)) from None


def circuit_breaker(name: str, given: resiliency.CircuitBreaker) -> breaker.Rules:
    """A named circuit breaker. Raises `Invalid`."""
    fields = _Fields(name)
    if given.max_requests < 0:
        fields.say(f"cannot parse 'maxRequests', {given.max_requests:f} overflows uint")
    interval = fields.duration("interval", given.interval, 0.0)
    rest = fields.duration("timeout", given.timeout, 0.0)
    rule: Callable[[breaker.Counts], bool] = breaker.more_than_five
    if given.trip:
        try:
            rule = trip.compile(given.trip)
        except trip.Invalid as error:
            fields.say(f"error decoding 'trip': invalid Expr {quote.go(given.trip)}: {error}")
    fields.check()
    return breaker.Rules(
        name=name,
        max_requests=given.max_requests or 1,
        interval=max(interval, 0.0),
        timeout=rest if rest > 0 else breaker.DEFAULT_TIMEOUT,
        trip=rule,
    )


def _seconds(text: str) -> float:
    """A number is milliseconds. Raises `ValueError`."""
    return int(text) / 1000 if _NUMBER.match(text) else durations.parse(text)


class _Fields:
    """Collects the faults in the fields of one policy, to tell them together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._faults: list[str] = []

    def say(self, fault: str) -> None:
        self._faults.append(fault)

    def duration(self, field: str, text: str, default: float) -> float:
        if not text:
            return default
        try:
            return _seconds(text)
        except ValueError:
            self.say(f"error decoding '{field}': invalid duration {quote.go(text)}")
            return default

    def check(self) -> None:
        if self._faults:
            lines = "\n".join(f"* {fault}" for fault in sorted(self._faults))
            raise Invalid(
                f"invalid retry configuration {quote.go(self._name)}: {len(self._faults)} error(s) decoding:\n\n{lines}"
            )
