"""Go's durations as text: `1h2m3.5s`, `500ms`, `1us`.

Read by flags, resources and every API field that Dapr words as a duration; written into logs and answers.
Nanoseconds are exact integers, seconds are floats for clocks and timeouts.
"""

import re

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>[^.0-9]*)")
_MOST_DIGITS = 19
"""Of a number that may be within the limit, zeros before it left out."""

_LIMIT = 1 << 63
_SECOND = 1_000_000_000


def parse(text: str) -> float:
    """Seconds in `text`; raises ValueError with Go's words."""
    return nanoseconds(text) / _SECOND


def nanoseconds(text: str) -> int:
    """Nanoseconds in `text`; raises ValueError with Go's words."""
    negative = text[:1] == "-"
    start = 1 if text[:1] in ("-", "+") else 0
    if text[start:] == "0":
        return 0
    if start == len(text):
        raise _invalid(text)
    total = 0
    while start < len(text):
        amount, start = _term(text, start)
        total += amount
        if total > _LIMIT:
            raise _invalid(text)
    if total == _LIMIT and not negative:
        raise _invalid(text)
    return -total if negative else total


def _term(text: str, start: int) -> tuple[int, int]:
    """The amount that stands at `start`, and where it ends. A text may have as many as fit into a message."""
    term = _TERM.match(text, start)
    assert term is not None  # nothing at all is a match, too
    whole, fraction, unit = term["whole"].lstrip("0"), term["fraction"], term["unit"]
    if not term["whole"] and not fraction:
        raise _invalid(text)
    if not unit:
        raise ValueError(f"time: missing unit in duration {_quoted(text)}")
    scale = _UNITS.get(unit)
    if scale is None:
        raise ValueError(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
    if len(whole) > _MOST_DIGITS:
        raise _invalid(text)
    amount = int(whole or "0") * scale
    if fraction:
        amount += _part(fraction, scale)
    if amount > _LIMIT:
        raise _invalid(text)
    return amount, term.end()


def _part(digits: str, unit: int) -> int:
    # Go multiplies as float64 and drops what is beyond 19 digits; `0.333…h` differs by 1 ns otherwise.
    digits = digits[:18] if digits[:19] > "922337203685477580" else digits[:19]
    return int(float(int(digits)) * (unit / 10.0 ** len(digits)))


def _invalid(text: str) -> ValueError:
    return ValueError(f"time: invalid duration {_quoted(text)}")


def _quoted(text: str) -> str:
    letters = (
        f"\\{c}" if c in '"\\' else c if " " <= c < "\x7f" else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text
    )
    return f'"{"".join(letters)}"'


def text(seconds: float) -> str:
    """`seconds` as Go prints a duration: `5s`, `1m0s`, `1.5s`, `500ms`, `0s`."""
    return nanoseconds_text(round(seconds * _SECOND))


def nanoseconds_text(amount: int) -> str:
    """`amount` nanoseconds as Go prints a duration."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    if amount == 0:
        return "0s"
    if amount < _SECOND:
        return sign + _below_a_second(amount)
    minutes, rest = divmod(amount, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, _SECOND) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _below_a_second(amount: int) -> str:
    if amount < 1_000:
        return f"{amount}ns"
    if amount < 1_000_000:
        return _decimal(amount, 1_000) + "µs"
    return _decimal(amount, 1_000_000) + "ms"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(unit + rest)[1:].rstrip('0')}"
