"""Go's durations as text: `1h2m3.5s`, `500ms`, `1us`.

Read by flags, resources and every API field that Dapr words as a duration; written into logs and answers.
Nanoseconds are exact integers, seconds are floats for clocks and timeouts.
"""

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
_DIGITS = "0123456789"
_LIMIT = 1 << 63
_SECOND = 1_000_000_000


def parse(text: str) -> float:
    """Seconds in `text`; raises ValueError with Go's words."""
    return nanoseconds(text) / _SECOND


def nanoseconds(text: str) -> int:
    """Nanoseconds in `text`; raises ValueError with Go's words."""
    negative = text[:1] == "-"
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise _invalid(text)
    total = 0
    while rest:
        amount, rest = _term(rest, text)
        total += amount
        if total > _LIMIT:
            raise _invalid(text)
    if total == _LIMIT and not negative:
        raise _invalid(text)
    return -total if negative else total


def _term(rest: str, text: str) -> tuple[int, str]:
    whole, rest = _leading(rest, _DIGITS)
    fraction = ""
    dotted = rest[:1] == "."
    if dotted:
        fraction, rest = _leading(rest[1:], _DIGITS)
    if not whole and not fraction:
        raise _invalid(text)
    unit, rest = _unit(rest)
    if not unit:
        raise ValueError(f"time: missing unit in duration {_quoted(text)}")
    scale = _UNITS.get(unit)
    if scale is None:
        raise ValueError(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
    amount = int(whole or "0") * scale
    if fraction:
        amount += _part(fraction, scale)
    if amount > _LIMIT:
        raise _invalid(text)
    return amount, rest


def _part(digits: str, unit: int) -> int:
    # Go multiplies as float64 and drops what is beyond 19 digits; `0.333…h` differs by 1 ns otherwise.
    digits = digits[:18] if digits[:19] > "922337203685477580" else digits[:19]
    return int(float(int(digits)) * (unit / 10.0 ** len(digits)))


def _leading(text: str, letters: str) -> tuple[str, str]:
    rest = text.lstrip(letters)
    return text[: len(text) - len(rest)], rest


def _unit(text: str) -> tuple[str, str]:
    for position, letter in enumerate(text):
        if letter == "." or letter in _DIGITS:
            return text[:position], text[position:]
    return text, ""


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
