"""When timers and reminders are due: `PT5S`, `R3/P1DT2H`, `1h30m`, `2026-05-01T10:00:00Z`.

Pure: times are nanoseconds since 1970, the present is an argument. Used by `blocks.actors`. Form, meaning and words are
those of dapr/kit (`time`), which is lenient: what it passes over is passed over here.
"""

import re
from datetime import date

from pydapr.lib import durations
from pydapr.lib.record import Record

ENDLESS = -1
"""Repeats of a period that says nothing of them."""

SECOND = 1_000_000_000
_DAY = 86_400 * SECOND
_EPOCH = date(1970, 1, 1).toordinal()
NEVER = (date.max.toordinal() - _EPOCH) * _DAY
"""What is due later than calendars reach."""

_LONGEST = (1 << 63) - 1
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)  # fmt: skip


class Period(Record):
    """How long, in the units of a calendar and in nanoseconds, and how often: `repeats` is `ENDLESS` or a number."""

    years: int = 0
    months: int = 0
    days: int = 0
    nanoseconds: int = 0
    repeats: int = ENDLESS

    @property
    def is_calendar(self) -> bool:
        """Whether it has units that are not always equally long."""
        return bool(self.years or self.months or self.days)

    @property
    def is_empty(self) -> bool:
        return not (self.is_calendar or self.nanoseconds)

    def after(self, moment: int) -> int:
        """The moment that is so much later."""
        if not self.is_calendar:
            return moment + self.nanoseconds
        days, rest = divmod(moment, _DAY)
        try:
            begin = date.fromordinal(_EPOCH + days)
            years, month = divmod(begin.month - 1 + self.months, 12)
            # A day that its month does not have is one of the next month, as in Go.
            first = date(begin.year + self.years + years, month + 1, 1).toordinal()
            date.fromordinal(first + begin.day - 1 + self.days)
        except (ValueError, OverflowError):
            return NEVER
        return (first + begin.day - 1 + self.days - _EPOCH) * _DAY + rest + self.nanoseconds


def parse(text: str) -> Period:
    """A period in ISO 8601's form or Go's. Raises `ValueError`."""
    found = _iso(text)
    if found is None:
        try:
            found = Period(nanoseconds=durations.nanoseconds(text))
        except ValueError:
            raise ValueError(f"unsupported duration format: {text}") from None
    return found


def moment(text: str, start: int) -> int:
    """A point in time, or a period after `start`. Raises `ValueError`."""
    found = _iso(text)
    if found is not None:
        if found.repeats != ENDLESS:
            raise ValueError("repetitions are not allowed")
        return found.after(start)
    try:
        return start + durations.nanoseconds(text)
    except ValueError:
        absolute = point(text)
    if absolute is None:
        raise ValueError(f"unsupported time/duration format: {text}")
    return absolute


def point(text: str) -> int | None:
    """The moment that a text of RFC 3339 names, None when it is none."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    offset = 0
    if match[8]:
        if int(match[9]) > 24 or int(match[10]) > 59:
            return None
        offset = (int(match[9]) * 3600 + int(match[10]) * 60) * (1 if match[8] == "+" else -1)
    return days * _DAY + (hour * 3600 + minute * 60 + second - offset) * SECOND + fraction


def shown(at: int) -> str:
    """A moment as Go prints it: `2026-05-01 10:00:00 +0000 UTC`."""
    days, rest = divmod(at, _DAY)
    seconds, fraction = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    try:
        day = date.fromordinal(_EPOCH + days).isoformat()
    except (ValueError, OverflowError):
        day = "(beyond all calendars)"
    part = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{day} {hour:02d}:{minute:02d}:{second:02d}{part} +0000 UTC"


def _iso(text: str) -> Period | None:
    """A period in ISO 8601's form, None when it is not one."""
    if len(text) < 2:
        return None
    repeats = ENDLESS
    if text[0] == "R":
        count, _, text = text[1:].partition("/")
        found = _number(count)
        if found is None:
            return None
        repeats = found
        if not text:
            return Period(repeats=repeats)
    if text[0] != "P":
        return None
    amounts = _amounts(text[1:])
    return amounts.replace(repeats=repeats) if amounts is not None else None


_DATE_UNITS = {"Y": 0, "M": 1, "W": 2, "D": 2}
_TIME_UNITS = {"H": 3600 * SECOND, "M": 60 * SECOND, "S": SECOND}


def _amounts(text: str) -> Period | None:
    """What stands behind `P`. A letter that is no unit, and a number without one, mean nothing."""
    parts = [0, 0, 0]
    nanoseconds = start = 0
    is_time = False
    for position, letter in enumerate(text):
        if letter == "T":
            if start != position:
                return None
            is_time, start = True, position + 1
        elif letter in _DATE_UNITS or letter in _TIME_UNITS:
            number = _number(text[start:position])
            units = _TIME_UNITS if is_time else _DATE_UNITS
            if number is None or letter not in units:
                return None
            if is_time:
                nanoseconds += number * units[letter]
            elif letter == "D" or letter == "W":
                parts[2] += number * (7 if letter == "W" else 1)
            else:
                parts[units[letter]] = number
            start = position + 1
    if abs(nanoseconds) > _LONGEST:
        return None
    years, months, days = parts
    return Period(years, months, days, nanoseconds)


def _number(text: str) -> int | None:
    """A whole number of 64 bits, None for anything else."""
    if _NUMBER.fullmatch(text) is None or len(text) > 20:
        return None
    value = int(text)
    return value if abs(value) <= _LONGEST else None
