"""When a job is due: from what an app has asked for to what is kept, and from that and its counter to the next time.

Pure: the time is an argument, in nanoseconds since 1970 (UTC) as everywhere in the scheduler. Used by `service`, which
keeps jobs, and by `engine`, which triggers them. Rules and words of errors are those of the original's library
(diagridio/go-etcd-cron v0.12, `internal/scheduler` and `internal/counter`), compared side by side with the original.
"""

import re
from datetime import UTC, date, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from pydapr.lib import durations, schedule
from pydapr.lib.record import Record
from pydapr.proto.etcd import cron_pb2

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
RETRY_SECONDS = 1
MAX_RETRIES = 3
"""What is done about a failed trigger where the job does not say."""

KNOWN_SCHEDULES = 4096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1).toordinal()
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FIRST, _LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND
"""The years 1 to 9999: beyond them there are no timestamps."""

_UNITS = {"H": 3600 * SECOND, "S": SECOND}
_NO_MOMENT = "due time format not recognized"

_schedules: dict[str, schedule.Schedule] = {}


class Invalid(ValueError):
    """A job cannot be kept; the message says why."""


class Count(Record):
    """How often a job has been triggered: `count` times, last for `last`; failed `attempts` times since."""

    count: int = 0
    last: int | None = None
    attempts: int = 0


NEVER_TRIGGERED = Count()


class Plan:
    """When a stored job is due, taken apart."""

    __slots__ = ("_begin", "_begins_itself", "_expires", "_policy", "_repeats", "_schedule")

    def __init__(self, stored: cron_pb2.StoredJob) -> None:
        """Raises `ValueError` when the schedule cannot be read."""
        job = stored.job
        self._schedule = _parse_schedule(job.schedule) if job.HasField("schedule") else None
        self._begins_itself = self._schedule is None or stored.WhichOneof("begin") == "due_time"
        self._begin = moment_of(stored.due_time if self._begins_itself else stored.start)
        self._expires = moment_of(stored.expiration) if stored.HasField("expiration") else None
        self._repeats = job.repeats if job.HasField("repeats") else None
        self._policy = job.failure_policy if job.HasField("failure_policy") else None

    def _scheduled(self, count: Count) -> int | None:
        """The time that the schedule names next; None when there is none any more."""
        if self._schedule is None:
            return None if count.count >= 1 else self._begin
        if self._repeats is not None and count.count >= self._repeats:
            return None
        if count.last is None:
            return self._begin if self._begins_itself else _after(self._schedule, self._begin)
        found = _after(self._schedule, count.last)
        return None if found is None or (self._expires is not None and found > self._expires) else found

    def due(self, count: Count) -> int | None:
        """When it is due next; None when it is over."""
        if self._repeats is not None and count.count >= self._repeats:
            return None
        found = self._scheduled(count)
        return None if found is None or (self._expires is not None and found > self._expires) else found

    def succeeded(self, count: Count) -> Count:
        """The counter after a trigger that went well."""
        at = self._scheduled(count)
        return Count(count.count + 1, count.last if at is None else at)

    def failed(self, count: Count, due: int) -> tuple[Count, int | None]:
        """The counter after a trigger of `due` that failed, and when it is tried again; None for not at all, and then
        the counter is at the next time of the schedule."""
        attempts = count.attempts + 1
        policy = self._policy
        if policy is None or policy.WhichOneof("policy") != "constant":
            return Count(count.count + 1, due), None
        constant = policy.constant
        if not constant.HasField("max_retries") or constant.max_retries >= attempts:
            interval = constant.interval
            return Count(count.count, count.last, attempts), due + interval.seconds * SECOND + interval.nanos
        return self.succeeded(count), None


def store(job: cron_pb2.Job, partition: int, now: int) -> cron_pb2.StoredJob:
    """What is kept of a job that is asked for `now`. Raises `Invalid`."""
    has_schedule, has_due = job.HasField("schedule"), job.HasField("due_time")
    if not has_schedule and not has_due:
        raise Invalid("job must have either a due time or a schedule")
    if not has_schedule and job.repeats > 1:
        raise Invalid("job must have a schedule to repeat")
    if job.HasField("repeats") and job.repeats < 1:
        raise Invalid("defined repeats must be greater than 0")
    if not has_schedule and job.HasField("ttl"):
        raise Invalid("job must have a schedule to have a ttl")
    planned = _checked_schedule(job.schedule) if has_schedule else None
    begin = parse_moment(job.due_time, now) if has_due else now
    if planned is not None and not has_due and _after(planned, now) is None:
        raise Invalid(f"schedule is never due: {job.schedule}")
    stored = cron_pb2.StoredJob(partition_id=partition, job=job)
    _set(stored.due_time if has_due else stored.start, begin)
    if job.HasField("ttl"):
        try:
            expires = parse_moment(job.ttl, begin)
        except Invalid:
            raise Invalid("ttl format not recognized") from None
        if has_due and begin > expires:
            raise Invalid("ttl must be greater than due time")
        _set(stored.expiration, expires)
    if not job.HasField("failure_policy"):
        constant = stored.job.failure_policy.constant
        constant.interval.seconds = RETRY_SECONDS
        constant.max_retries = MAX_RETRIES
    return stored


# -- counters --


def read_count(counter: cron_pb2.Counter) -> Count:
    """The state of a counter that was kept."""
    last = moment_of(counter.last_trigger) if counter.HasField("last_trigger") else None
    return Count(counter.count, last, counter.attempts)


def write_count(count: Count, partition: int) -> bytes:
    """What is kept of the counter of the job with this partition id."""
    counter = cron_pb2.Counter(job_partition_id=partition, count=count.count, attempts=count.attempts)
    if count.last is not None:
        _set(counter.last_trigger, count.last)
    return counter.SerializeToString()


# -- moments --


def moment_of(timestamp: Timestamp) -> int:
    """The nanoseconds of a timestamp."""
    return timestamp.seconds * SECOND + timestamp.nanos


def _set(timestamp: Timestamp, moment: int) -> None:
    timestamp.seconds, timestamp.nanos = divmod(moment, SECOND)
    timestamp.SetInParent()


def parse_moment(text: str, now: int) -> int:
    """A moment (RFC 3339), or how long after `now` it is, as Go or ISO 8601 write durations. Raises `Invalid`."""
    if found := _MOMENT.fullmatch(text):
        return _moment(found)
    try:
        moment = now + durations.nanoseconds(text)
    except ValueError:
        moment = _after_iso(text, now)
    if not _FIRST <= moment < _LAST:
        raise Invalid(_NO_MOMENT)
    return moment


def _moment(found: re.Match[str]) -> int:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    nanoseconds = int((found[7] or "")[:9].ljust(9, "0"))
    away = (int(found[9]) * 60 + int(found[10])) * (-1 if found[8] == "-" else 1) if found[8] else 0
    if found[8] and (int(found[9]) > 24 or int(found[10]) > 59):
        raise Invalid(_NO_MOMENT)
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise Invalid(_NO_MOMENT) from None
    return ((at - _EPOCH) // timedelta(seconds=1) - away * 60) * SECOND + nanoseconds


def _after_iso(text: str, now: int) -> int:
    """`text` is a duration of ISO 8601 without fractions, `P1Y2M3W4DT5H6M7S`. What has no unit does not count."""
    if len(text) < 2:
        raise Invalid(_NO_MOMENT)
    if text[0] == "R":
        repeats, _, text = text[1:].partition("/")
        if not _NUMBER.fullmatch(repeats):
            raise Invalid(_NO_MOMENT)
        if int(repeats) > 0:
            raise Invalid("repeats not supported for due time")
        if not text:
            return now
    if text[0] != "P":
        raise Invalid(_NO_MOMENT)
    years, months, days, nanoseconds = _iso(text)
    return _add_date(now, years, months, days) + nanoseconds


def _iso(text: str) -> tuple[int, int, int, int]:
    """Years, months, days, and nanoseconds beside them. Raises `Invalid`."""
    years = months = days = nanoseconds = 0
    in_time, start = False, 1
    for position in range(1, len(text)):
        letter = text[position]
        if letter == "T":
            if start != position:
                raise Invalid(_NO_MOMENT)
            in_time, start = True, position + 1
        if letter not in "YMWDHS":
            continue
        number = text[start:position]
        if not _NUMBER.fullmatch(number) or (letter in "YWD" and in_time) or (letter in "HS" and not in_time):
            raise Invalid(_NO_MOMENT)
        amount, start = int(number), position + 1
        if letter == "Y":
            years = amount
        elif letter in "WD":
            days += amount * (7 if letter == "W" else 1)
        elif letter in "HS":
            nanoseconds += amount * _UNITS[letter]
        elif in_time:
            nanoseconds += amount * 60 * SECOND
        else:
            months = amount
    return years, months, days, nanoseconds


def _add_date(moment: int, years: int, months: int, days: int) -> int:
    """A month later is the same day of the month, and what a shorter month lacks is in the one after it, as in Go."""
    if not (years or months):
        return moment + days * DAY
    day, time = divmod(moment, DAY)
    try:
        today = date.fromordinal(_FIRST_DAY + day)
        year, month = divmod(today.year * 12 + today.month - 1 + years * 12 + months, 12)
        first = date(year, month + 1, 1).toordinal()
    except (ValueError, OverflowError):
        raise Invalid(_NO_MOMENT) from None
    return (first + today.day - 1 + days - _FIRST_DAY) * DAY + time


# -- schedules --


def _checked_schedule(text: str) -> schedule.Schedule:
    try:
        return _parse_schedule(text)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _parse_schedule(text: str) -> schedule.Schedule:
    """Raises `ValueError`. Those known are kept: most jobs of a system have the same few."""
    found = _schedules.get(text)
    if found is None:
        if len(_schedules) >= KNOWN_SCHEDULES:
            _schedules.clear()
        found = _schedules[text] = schedule.parse(text, for_jobs=True)
    return found


def _after(planned: schedule.Schedule, moment: int) -> int | None:
    if isinstance(planned, schedule.Every):
        return moment + planned.nanoseconds
    try:
        found = planned.after(_EPOCH + timedelta(seconds=moment // SECOND))
    except (OverflowError, ValueError):  # beyond the year 9999
        return None
    return None if found is None else (found - _EPOCH) // timedelta(seconds=1) * SECOND
