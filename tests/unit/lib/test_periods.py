"""Periods and moments, as dapr/kit reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.lib import durations, periods
from pydapr.lib.periods import ENDLESS, NEVER, SECOND, Period

READ = [
    ("PT5S", Period(nanoseconds=5 * SECOND)),
    ("1h30m", Period(nanoseconds=5400 * SECOND)),
    ("1.5s", Period(nanoseconds=3 * SECOND // 2)),
    ("R3/PT1S", Period(nanoseconds=SECOND, repeats=3)),
    ("R0/PT1S", Period(nanoseconds=SECOND, repeats=0)),
    ("P1Y2M3DT4H5M6S", Period(1, 2, 3, (4 * 3600 + 5 * 60 + 6) * SECOND)),
    ("P2W", Period(days=14)),
    ("P1W1D", Period(days=8)),
    ("R5/P1D", Period(days=1, repeats=5)),
    ("R4", Period(repeats=4)),
    ("R4/", Period(repeats=4)),
    ("PT", Period()),
    ("P1", Period()),
    ("PT-5S", Period(nanoseconds=-5 * SECOND)),
    ("-5s", Period(nanoseconds=-5 * SECOND)),
]

REFUSED = ["", "5", "P", "R/PT1S", "Rx/PT1S", "R3/1h", "PTS", "PT5Y", "P5S", "P1TT5S", "every day", "PT5.5S", "P٣D"]


@pytest.mark.parametrize(("text", "period"), READ)
def test_a_period_is_read_in_either_form(text: str, period: Period) -> None:
    assert periods.parse(text) == period


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        periods.parse(text)
    assert str(refusal.value) == f"unsupported duration format: {text}"


def _at(text: str) -> int:
    found = periods.point(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("P1M", "2026-01-31T10:00:00Z", "2026-03-03T10:00:00Z"),
        ("P1M", "2028-01-30T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("P1Y", "2028-02-29T00:00:00Z", "2029-03-01T00:00:00Z"),
        ("P14M", "2025-12-01T00:00:00Z", "2027-02-01T00:00:00Z"),
        ("P1DT1S", "2026-12-31T23:59:59.5Z", "2027-01-02T00:00:00.5Z"),
        ("90m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
    ],
)
def test_a_period_leads_to_a_later_moment(text: str, start: str, end: str) -> None:
    assert periods.parse(text).after(_at(start)) == _at(end)


def test_what_is_beyond_calendars_is_never() -> None:
    assert periods.parse("P9000Y").after(_at("2026-01-01T00:00:00Z")) == NEVER


def test_moments_are_absolute_or_counted_from_a_start() -> None:
    start = _at("2026-05-01T10:00:00Z")
    assert periods.moment("2026-05-01T12:00:00+02:00", 0) == start
    assert periods.moment("1s", start) == periods.moment("PT1S", start) == start + SECOND
    assert periods.shown(start) == "2026-05-01 10:00:00 +0000 UTC"
    assert periods.shown(start + 250_000_000) == "2026-05-01 10:00:00.25 +0000 UTC"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("R3/PT1S", "repetitions are not allowed"),
        ("tomorrow", "unsupported time/duration format: tomorrow"),
        ("2026-02-30T10:00:00Z", "unsupported time/duration format: 2026-02-30T10:00:00Z"),
        ("2026-02-03 10:00:00Z", "unsupported time/duration format: 2026-02-03 10:00:00Z"),
        ("2026-02-03T24:00:00Z", "unsupported time/duration format: 2026-02-03T24:00:00Z"),
    ],
)
def test_what_is_no_moment_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        periods.moment(text, 0)
    assert str(refusal.value) == reason


@given(
    moment=st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    days=st.integers(0, 4000),
    seconds=st.integers(0, 10**7),
)
def test_days_and_seconds_are_those_of_the_calendar(moment: datetime, days: int, seconds: int) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def nanoseconds(at: datetime) -> int:
        return (at - epoch) // timedelta(microseconds=1) * 1000

    period = periods.parse(f"P{days}DT{seconds}S")
    assert period.after(nanoseconds(moment)) == nanoseconds(moment + timedelta(days=days, seconds=seconds))
    assert periods.point(moment.isoformat()) == nanoseconds(moment)


@given(st.integers(0, (1 << 62)), st.integers(1, 1 << 40))
def test_a_duration_keeps_its_meaning_as_a_period(amount: int, repeats: int) -> None:
    text = durations.nanoseconds_text(amount)
    assert periods.parse(text) == Period(nanoseconds=amount, repeats=ENDLESS)
    seconds = amount % (1 << 30)
    assert periods.parse(f"R{repeats}/PT{seconds}S") == Period(nanoseconds=seconds * SECOND, repeats=repeats)


@given(st.text(alphabet="RPTYMWDHS/0123456789-+.smh", max_size=14))
def test_any_text_is_a_period_or_none(text: str) -> None:
    try:
        found = periods.parse(text)
    except ValueError as error:
        assert str(error) == f"unsupported duration format: {text}"
    else:
        assert isinstance(found.after(0), int)
