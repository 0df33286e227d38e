"""Whether a failed operation is tried again, and when. No clock and no chance in here: both are arguments.

`policy.decode` makes a `Retry` from what a resource says, `policy.runner` asks a `Schedule` after each failure.
The numbers and the words of faults are the original's (v1.18.3, `pkg/resiliency/retry.go` and the exponential
back-off of cenkalti/backoff that it uses).
"""

from __future__ import annotations

import re

from pydapr.lib import quote
from pydapr.lib.record import Record

Ranges = tuple[tuple[int, int], ...]
"""First and last code of each range, both included."""

HTTP_CODES = (100, 599)
GRPC_CODES = (0, 16)

RANDOMISATION = 0.5
MULTIPLIER = 1.5

_NUMBER = re.compile(r"[+-]?[0-9]+\Z")


class Retry(Record):
    """How often and after which pauses. Seconds; `max_retries` below zero is without end.

    Codes of None match all codes. `max_elapsed` counts from the first try and holds for exponential pauses only.
    """

    is_exponential: bool = False
    duration: float = 5.0
    initial_interval: float = 0.5
    max_interval: float = 60.0
    max_elapsed: float = 900.0
    max_retries: int = -1
    http_codes: Ranges | None = None
    grpc_codes: Ranges | None = None

    def wants(self, code: int) -> bool:
        """Whether a failure with this code, HTTP's or gRPC's, is worth another try."""
        if GRPC_CODES[0] <= code <= GRPC_CODES[1]:
            return matches(self.grpc_codes, code)
        if HTTP_CODES[0] <= code <= HTTP_CODES[1]:
            return matches(self.http_codes, code)
        return False


class Schedule:
    """The pauses of one operation that is tried since `began`."""

    __slots__ = ("_began", "_interval", "_left", "_retry")

    def __init__(self, retry: Retry, began: float) -> None:
        self._retry = retry
        self._began = began
        self._left = retry.max_retries
        self._interval = retry.initial_interval

    def after_failure(self, now: float, chance: float) -> float | None:
        """Seconds until the next try, None when there is none. `chance` is between 0 and 1."""
        if self._left == 0:
            return None
        self._left -= 1
        retry = self._retry
        if not retry.is_exponential:
            return retry.duration
        spread = RANDOMISATION * self._interval
        pause = self._interval - spread + chance * 2 * spread
        self._interval = min(self._interval * MULTIPLIER, retry.max_interval)
        if retry.max_elapsed and now - self._began + pause > retry.max_elapsed:
            return None
        return pause


def matches(ranges: Ranges | None, code: int) -> bool:
    return ranges is None or any(first <= code <= last for first, last in ranges)


def codes(text: str, valid: tuple[int, int]) -> Ranges | None:
    """The ranges in `429,500-599`; None for "", which is all codes. Raises `ValueError`."""
    if not text:
        return None
    return tuple(_range(part, valid) for part in text.split(",") if part)


def _range(part: str, valid: tuple[int, int]) -> tuple[int, int]:
    ends = part.split("-")
    if len(ends) > 2:
        raise ValueError(f"invalid pattern {part}, more than one '-' exists")
    first = _code("start", ends[0], part, valid)
    last = _code("end", ends[-1], part, valid)
    if last < first:
        raise ValueError(f"invalid pattern {part}, start value should not bigger than end value")
    return first, last


def _code(which: str, text: str, part: str, valid: tuple[int, int]) -> int:
    if not _NUMBER.match(text):
        reason = f"strconv.Atoi: parsing {quote.go(text)}: invalid syntax"
        raise ValueError(f"failed to parse {which} code {text} from pattern {part} to int, {reason}")
    code = int(text)
    if not valid[0] <= code <= valid[1]:
        raise ValueError(f"invalid pattern {part}, {which} code {code} is not valid")
    return code
