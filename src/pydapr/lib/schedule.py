"""When something is due, in the form of cron with seconds: `*/5 * * * *`, `0 30 3 * * mon-fri`, `@daily`, `@every 15m`.

Pure: the time is an argument. Used by `bindings.cron` and the scheduler. Form and meaning are those of robfig/cron as
Dapr has it (dapr/kit, `cron`): seconds may be left out, `N/step` goes to the end of the range, a day must match both
day fields if one of them is a star and either of them else, `TZ=Asia/Tokyo ` before it says whose clock is meant.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from pydapr.lib import durations

_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_DAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
_BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
"""Of seconds, minutes, hours, days of the month, months, days of the week: least, most, names."""

_NAMED = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_EVERY = "@every "
_LONGEST = 4096
"""Letters of a schedule. One that names every second, minute, hour, day and month has 500."""
_YEARS = 5
"""How far ahead is looked; what is due later is never due."""

_STARS = ("*", "?")


class Every:
    """Due again and again after the same time."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def after(self, now: datetime) -> datetime | None:
        """The first time after `now`, which is aware of its zone."""
        return (now.astimezone(UTC) + timedelta(microseconds=self.nanoseconds / 1000)).astimezone(now.tzinfo)


class Calendar:
    """Due when clock and calendar match. `zone` is whose they are, None for that of the time that is asked about."""

    def __init__(self, fields: list[str], zone: tzinfo | None) -> None:
        self._zone = zone
        sets = [_field(text, *bounds) for text, bounds in zip(fields, _BOUNDS, strict=True)]
        self._seconds, self._minutes, self._hours, self._days, self._months, self._weekdays = (
            found for found, _ in sets
        )
        self._needs_both_days = sets[3][1] or sets[5][1]
        self._is_never = not (self._seconds and self._minutes and self._hours and self._months)

    def after(self, now: datetime) -> datetime | None:
        """The first time after `now`, which is aware of its zone; None when there is none within five years."""
        if self._is_never:
            return None
        zone = self._zone or now.tzinfo
        assert zone is not None
        moment = now.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        last = now.year + _YEARS
        while True:
            local = moment.astimezone(zone)
            if local.year > last:
                return None
            if local.month not in self._months:
                year, month = divmod(local.year * 12 + local.month, 12)
                moment = datetime(year, month + 1, 1, tzinfo=zone).astimezone(UTC)
            elif not self._is_day(local):
                day = local.replace(hour=0, minute=0, second=0, fold=0) + timedelta(days=1)
                moment = day.astimezone(UTC)
            elif local.hour not in self._hours:
                moment += timedelta(seconds=3600 - local.minute * 60 - local.second)
            elif local.minute not in self._minutes:
                moment += timedelta(seconds=60 - local.second)
            elif local.second not in self._seconds:
                moment += timedelta(seconds=1)
            else:
                return moment.astimezone(now.tzinfo)

    def _is_day(self, local: datetime) -> bool:
        in_month, in_week = local.day in self._days, local.isoweekday() % 7 in self._weekdays
        return in_month and in_week if self._needs_both_days else in_month or in_week


Schedule = Every | Calendar


def parse(text: str, for_jobs: bool = False) -> Schedule:
    """The schedule that `text` describes. `for_jobs` is the form of the scheduler's jobs, where seconds may not be left
    out and `@every` takes any length of time, none and less than none among them. Raises `ValueError`."""
    if not text:
        raise ValueError("empty spec string")
    if len(text) > _LONGEST:
        raise ValueError(f"a schedule may have {_LONGEST} letters, not {len(text)}")
    zone, whole = None, text
    if text.startswith(("TZ=", "CRON_TZ=")):
        head, space, text = text.partition(" ")
        if not space:
            raise ValueError(f"timezone prefix {whole} is not followed by a schedule")
        zone, text = _zone(head.partition("=")[2]), text.strip()
    if text.startswith(_EVERY):
        if text != whole:
            raise ValueError(f"timezone is not supported for @every schedules: {whole}")
        try:
            nanoseconds = durations.nanoseconds(text.removeprefix(_EVERY))
        except ValueError as error:
            raise ValueError(f"failed to parse duration {text}: {error}") from None
        if nanoseconds <= 0 and not for_jobs:
            raise ValueError(f"failed to parse duration {text}: it must be positive")
        return Every(nanoseconds)
    if text.startswith("@"):
        if text not in _NAMED:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _NAMED[text]
    fields = text.split()
    if for_jobs and len(fields) != 6:
        raise ValueError(f"expected exactly 6 fields, found {len(fields)}: [{' '.join(fields)}]")
    if not 5 <= len(fields) <= 6:
        raise ValueError(f"expected 5 to 6 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Calendar(["0", *fields] if len(fields) == 5 else fields, zone)


def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name in ("", "UTC"):
        return UTC
    if name == "Local":
        return None
    if ".." in name.split("/") or name.startswith("/") or "\\" in name:
        raise ValueError(f"provided bad location {name}: time: invalid location name")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"provided bad location {name}: unknown time zone {name}") from None


def _field(text: str, least: int, most: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The numbers of one field, and whether a star is among its parts."""
    found: set[int] = set()
    has_star = False
    for part in text.split(","):
        if not part:
            continue
        numbers, is_star = _range(part, least, most, names)
        found.update(numbers)
        has_star = has_star or is_star
    return frozenset(found), has_star


def _range(text: str, least: int, most: int, names: dict[str, int]) -> tuple[range, bool]:
    span, *steps = text.split("/")
    low, *high = span.split("-")
    if len(high) > 1:
        raise ValueError(f"too many hyphens: {text}")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    is_star = low in _STARS
    if is_star:
        start, end = least, most
    else:
        start = _number(low, names)
        end = _number(high[0], names) if high else start
    step = 1
    if steps:
        step = _number(steps[0], {})
        if not high:
            end = most
    if start < least:
        raise ValueError(f"beginning of range ({start}) below minimum ({least}): {text}")
    if end > most:
        raise ValueError(f"end of range ({end}) above maximum ({most}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), is_star and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
