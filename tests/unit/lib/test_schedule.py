"""Schedules in the form of cron, as robfig/cron reads them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from pydapr.lib import schedule


def after(text: str, now: str, zone: str = "UTC") -> str | None:
    moment = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone))
    due = schedule.parse(text).after(moment)
    return due.isoformat(" ") if due is not None else None


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        ("0/15 * * * *", "2012-07-09 14:45:00", "2012-07-09 15:00:00+00:00"),
        ("0/15 * * * *", "2012-07-09 14:59:59.999", "2012-07-09 15:00:00+00:00"),
        ("*/15 * * * *", "2012-07-09 14:46:00", "2012-07-09 15:00:00+00:00"),
        ("20-35/15 * * * *", "2012-07-09 14:45:00", "2012-07-09 15:20:00+00:00"),
        ("0/5 20-35/15 * * * *", "2012-07-09 14:20:57", "2012-07-09 14:35:00+00:00"),
        ("20-35/15 * * * *", "2012-07-09 23:46:00", "2012-07-10 00:20:00+00:00"),
        ("15/35 20-35/15 1/2 */2 * *", "2012-07-09 23:46:00", "2012-07-11 01:20:15+00:00"),
        ("0 0 9 * *", "2012-07-09 23:46:00", "2012-08-09 00:00:00+00:00"),
        ("0 0 0 9 Apr-Oct ?", "2012-07-09 23:35", "2012-08-09 00:00:00+00:00"),
        ("0 0 0 */5 Apr,Aug,Oct Mon", "2012-07-09 23:35", "2012-08-01 00:00:00+00:00"),
        ("0 0 0 */5 Oct Mon", "2012-07-09 23:35", "2012-10-01 00:00:00+00:00"),
        ("0 0 0 * Feb Mon", "2012-07-09 23:35", "2013-02-04 00:00:00+00:00"),
        ("0 0 0 * Feb Mon/2", "2012-07-09 23:35", "2013-02-01 00:00:00+00:00"),
        ("0 * * 26 9 *", "2012-12-31 23:59:45", "2013-09-26 00:00:00+00:00"),
        ("0 0 29 2 *", "2012-07-09 23:35", "2016-02-29 00:00:00+00:00"),
        ("* * * * * *", "2012-07-09 14:45:00.5", "2012-07-09 14:45:01+00:00"),
        ("0 0 1,15 * Sun", "2012-07-15 00:00:00", "2012-07-22 00:00:00+00:00"),
        ("0 0 * * 0", "2012-07-09 00:00", "2012-07-15 00:00:00+00:00"),
        ("@hourly", "2012-07-09 14:45:00", "2012-07-09 15:00:00+00:00"),
        ("@daily", "2012-07-09 14:45:00", "2012-07-10 00:00:00+00:00"),
        ("@midnight", "2012-07-09 14:45:00", "2012-07-10 00:00:00+00:00"),
        ("@weekly", "2012-07-09 14:45:00", "2012-07-15 00:00:00+00:00"),
        ("@monthly", "2012-12-09 14:45:00", "2013-01-01 00:00:00+00:00"),
        ("@yearly", "2012-07-09 14:45:00", "2013-01-01 00:00:00+00:00"),
        ("@every 1h30m", "2012-07-09 14:45:00", "2012-07-09 16:15:00+00:00"),
        ("@every 100ms", "2012-07-09 14:45:00", "2012-07-09 14:45:00.100000+00:00"),
        ("0 0 30 Feb *", "2012-07-09 23:35", None),
        ("0 0 31 Apr ?", "2012-07-09 23:35", None),
    ],
)
def test_next_time(text: str, now: str, due: str | None) -> None:
    assert after(text, now) == due


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        # Clocks go from 2 to 3: what is due at half past two is not due that day.
        ("30 2 * * *", "2024-03-10 00:00", "2024-03-11 02:30:00-04:00"),
        ("0 * * * *", "2024-03-10 01:00", "2024-03-10 03:00:00-04:00"),
        ("@daily", "2024-03-10 00:00", "2024-03-11 00:00:00-04:00"),
        ("@every 1h", "2024-11-03 01:30", "2024-11-03 01:30:00-05:00"),
        ("@every 1h", "2024-03-10 01:30", "2024-03-10 03:30:00-04:00"),
        # Clocks go back from 2 to 1: half past one is twice.
        ("30 1 * * *", "2024-11-03 00:00", "2024-11-03 01:30:00-04:00"),
        ("0 2 * * *", "2024-11-03 00:00", "2024-11-03 02:00:00-05:00"),
    ],
)
def test_days_on_which_clocks_are_changed(text: str, now: str, due: str) -> None:
    assert after(text, now, "America/New_York") == due


def test_an_hour_that_is_twice_has_both() -> None:
    wanted = schedule.parse("TZ=America/New_York 30 1 * * *")
    first = wanted.after(datetime(2024, 11, 3, 4, tzinfo=UTC))
    assert first is not None

    second = wanted.after(first)

    assert first == datetime(2024, 11, 3, 5, 30, tzinfo=UTC)
    assert second == datetime(2024, 11, 3, 6, 30, tzinfo=UTC)


def test_a_zone_of_its_own() -> None:
    now = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))

    due = schedule.parse("TZ=Asia/Tokyo 0 9 * * *").after(now)
    same = schedule.parse("CRON_TZ=Asia/Tokyo 0 9 * * *").after(now)

    assert due == same == datetime(2024, 1, 1, 0, 0, tzinfo=UTC)
    assert due is not None and due.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty spec string"),
        ("* * *", "expected 5 to 6 fields, found 3: [* * *]"),
        ("* * * * * * *", "expected 5 to 6 fields, found 7: [* * * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
        ("@nope", "unrecognized descriptor: @nope"),
        ("@every 1x", 'failed to parse duration @every 1x: time: unknown unit "x" in duration "1x"'),
        ("@every 0s", "failed to parse duration @every 0s: it must be positive"),
        ("@every -1s", "failed to parse duration @every -1s: it must be positive"),
        ("TZ=UTC @every 1h", "timezone is not supported for @every schedules: TZ=UTC @every 1h"),
        ("TZ=UTC", "timezone prefix TZ=UTC is not followed by a schedule"),
        ("TZ=Europe/../Rome 0 0 * * *", "provided bad location Europe/../Rome: time: invalid location name"),
        ("TZ=Nowhere/City 0 0 * * *", "provided bad location Nowhere/City: unknown time zone Nowhere/City"),
    ],
)
def test_faults(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as raised:
        schedule.parse(text)

    assert str(raised.value) == reason


@pytest.mark.parametrize("text", [", * * * * *", "0 , * * * *", "0 0 , * * *", "0 0 0 , * ,", "0 0 0 1 , *"])
def test_a_field_without_numbers_is_never_due(text: str) -> None:
    assert after(text, "2024-01-01T00:00:00") is None


def test_jobs_have_seconds_and_any_length_of_time() -> None:
    every = schedule.parse("@every -1m", for_jobs=True)
    assert isinstance(every, schedule.Every) and every.nanoseconds == -60 * 10**9
    with pytest.raises(ValueError, match="expected exactly 6 fields, found 5"):
        schedule.parse("* * * * *", for_jobs=True)


def test_a_schedule_has_an_end() -> None:
    everything = f"{','.join(map(str, range(60)))} {','.join(map(str, range(60)))} 0-23 1-31 1-12 0-6"
    assert schedule.parse(everything)
    with pytest.raises(ValueError, match="a schedule may have 4096 letters, not 4109"):
        schedule.parse("0" + ",0" * 2049 + " * * * * *")
