"""When jobs are due. Cases are those in which the original was seen to differ from what one might expect."""

from datetime import UTC, datetime

import pytest

from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler import timing
from pydapr.scheduler.timing import SECOND, Count

NOW = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND


def job(**fields: object) -> cron_pb2.Job:
    return cron_pb2.Job(**fields)  # type: ignore[arg-type]


def plan(**fields: object) -> timing.Plan:
    return timing.Plan(timing.store(job(**fields), 7, NOW))


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def constant(interval: int, retries: int | None = None) -> cron_pb2.FailurePolicy:
    policy = cron_pb2.FailurePolicy()
    policy.constant.interval.seconds = interval
    if retries is not None:
        policy.constant.max_retries = retries
    return policy


# -- what is kept --


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "job must have either a due time or a schedule"),
        ({"ttl": "1h"}, "job must have either a due time or a schedule"),
        ({"due_time": "1s", "repeats": 2}, "job must have a schedule to repeat"),
        ({"due_time": "1s", "repeats": 0}, "defined repeats must be greater than 0"),
        ({"schedule": "@every 1s", "repeats": 0}, "defined repeats must be greater than 0"),
        ({"due_time": "1s", "ttl": "1s"}, "job must have a schedule to have a ttl"),
        ({"schedule": ""}, "empty spec string"),
        ({"schedule": "x"}, r"expected exactly 6 fields, found 1: \[x\]"),
        ({"schedule": "TZ=UTC"}, "timezone prefix TZ=UTC is not followed by a schedule"),
        ({"schedule": "0 0 0 30 2 *"}, r"schedule is never due: 0 0 0 30 2 \*"),
        ({"due_time": ""}, "due time format not recognized"),
        ({"schedule": "@every 1h", "ttl": "x"}, "ttl format not recognized"),
        ({"schedule": "@every 1h", "due_time": "1h", "ttl": "-1s"}, "ttl must be greater than due time"),
    ],
)
def test_what_cannot_be_kept(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(timing.Invalid, match=f"^{reason}"):
        timing.store(job(**fields), 7, NOW)


def test_a_job_without_a_policy_is_tried_again_three_times() -> None:
    stored = timing.store(job(due_time="1s"), 7, NOW)

    assert stored.partition_id == 7
    assert stored.job.failure_policy == constant(1, 3)
    assert stored.WhichOneof("begin") == "due_time"
    assert timing.moment_of(stored.due_time) == NOW + SECOND


def test_its_own_policy_stays() -> None:
    dropping = cron_pb2.FailurePolicy(drop=cron_pb2.FailurePolicyDrop())

    assert timing.store(job(due_time="1s", failure_policy=dropping), 7, NOW).job.failure_policy == dropping


def test_a_ttl_counts_from_the_due_time() -> None:
    stored = timing.store(job(schedule="@every 1h", due_time="1h", ttl="2h"), 7, NOW)

    assert timing.moment_of(stored.expiration) == NOW + 3 * HOUR


# -- moments --


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", NOW + 10 * SECOND),
        ("-5s", NOW - 5 * SECOND),
        ("10ms", NOW + 10_000_000),
        ("PT1H2M3S", NOW + HOUR + 123 * SECOND),
        ("P1W2D", NOW + 9 * timing.DAY),
        ("R0/PT1S", NOW + SECOND),
        ("R-1/PT1S", NOW + SECOND),
        ("PT", NOW),
        ("P1DT", NOW + timing.DAY),
        ("P1", NOW),
        ("2024-04-24T11:42:22Z", moment("2024-04-24T11:42:22")),
        ("2024-04-24T11:42:22.123456789+01:30", moment("2024-04-24T10:12:22") + 123_456_789),
        ("2024-04-24T1:42:22,5-01:00", moment("2024-04-24T02:42:22") + 500_000_000),
        ("1969-12-31T23:59:59Z", -SECOND),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert timing.parse_moment(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["x", "", "P", "R", "R/PT1S", "P1H", "PT1D", "PT1.5S", "PT1X1S", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
     "2026-12-01T00:00:00", "2026-12-01 00:00:00Z", "2026-12-01T00:00:00+25:00", "2026-12-01T24:00:00Z", "P99999Y",
     "P3000000D", "P-800000D", "P9999999999999999D", "PT9223372036854775807H", "P99999999999999999999D",
     f"P{'9' * 5000}D", f"R{'9' * 5000}"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(timing.Invalid, match="due time format not recognized"):
        timing.parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["R5", "R5/PT1S"])
def test_a_due_time_does_not_repeat(text: str) -> None:
    with pytest.raises(timing.Invalid, match="repeats not supported for due time"):
        timing.parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("begin", "text", "expected"),
    [
        ("2024-01-31T10:00:00", "P1M", "2024-03-02T10:00:00"),
        ("2023-01-31T10:00:00", "P1M", "2023-03-03T10:00:00"),
        ("2024-02-29T10:00:00", "P1Y", "2025-03-01T10:00:00"),
        ("2024-12-15T10:00:00", "P1Y2M3DT4H", "2026-02-18T14:00:00"),
        ("2024-01-15T10:00:00", "P-1M", "2023-12-15T10:00:00"),
    ],
)
def test_months_are_those_of_the_calendar(begin: str, text: str, expected: str) -> None:
    assert timing.parse_moment(text, moment(begin)) == moment(expected)


# -- the next time --


def test_once_is_once() -> None:
    once = plan(due_time="1h")

    assert once.due(timing.NEVER_TRIGGERED) == NOW + HOUR
    assert once.due(once.succeeded(timing.NEVER_TRIGGERED)) is None


def test_a_schedule_begins_after_its_first_interval() -> None:
    assert plan(schedule="@every 1h").due(timing.NEVER_TRIGGERED) == NOW + HOUR


def test_a_schedule_with_a_due_time_begins_at_it() -> None:
    wanted = plan(schedule="@every 1h", due_time="5s")
    first = wanted.succeeded(timing.NEVER_TRIGGERED)

    assert wanted.due(timing.NEVER_TRIGGERED) == NOW + 5 * SECOND
    assert first == Count(1, NOW + 5 * SECOND)
    assert wanted.due(first) == NOW + 5 * SECOND + HOUR


def test_nanoseconds_are_kept() -> None:
    assert plan(schedule="@every 1us3ns").due(Count(4, NOW + 1)) == NOW + 1004


def test_repeats_are_counted() -> None:
    wanted = plan(schedule="@every 1s", repeats=2)
    count = timing.NEVER_TRIGGERED
    for due in (NOW + SECOND, NOW + 2 * SECOND):
        assert wanted.due(count) == due
        count = wanted.succeeded(count)

    assert wanted.due(count) is None


def test_the_ttl_ends_it_and_its_last_moment_counts() -> None:
    wanted = plan(schedule="@every 1h", ttl="2h")

    assert wanted.due(Count(1, NOW + HOUR)) == NOW + 2 * HOUR
    assert wanted.due(Count(2, NOW + 2 * HOUR)) is None


def test_a_ttl_before_the_first_time_ends_it_at_once() -> None:
    assert plan(schedule="@every 1h", ttl="1h").due(timing.NEVER_TRIGGERED) == NOW + HOUR
    assert plan(schedule="@every 1h", ttl="59m").due(timing.NEVER_TRIGGERED) is None


def test_the_clock_of_the_calendar_is_that_of_its_zone() -> None:
    berlin = timing.store(job(schedule="TZ=Europe/Berlin 0 30 9 * * *"), 7, moment("2024-07-01T00:00:00"))
    plain = timing.store(job(schedule="0 30 9 * * *"), 7, moment("2024-07-01T00:00:00"))

    assert timing.Plan(berlin).due(timing.NEVER_TRIGGERED) == moment("2024-07-01T07:30:00")
    assert timing.Plan(plain).due(timing.NEVER_TRIGGERED) == moment("2024-07-01T09:30:00")


def test_the_calendar_ends_with_the_year_9999() -> None:
    late = timing.store(job(schedule="@yearly", due_time="9999-12-31T00:00:00Z"), 7, NOW)
    first = timing.Plan(late).succeeded(timing.NEVER_TRIGGERED)

    assert timing.Plan(late).due(first) is None


# -- failures --


def test_failures_are_tried_again_in_the_interval_of_the_policy() -> None:
    wanted = plan(due_time="1s", failure_policy=constant(2, 1))
    due = NOW + SECOND

    first, again = wanted.failed(timing.NEVER_TRIGGERED, due)
    assert (first, again) == (Count(0, None, 1), due + 2 * SECOND)
    second, last = wanted.failed(first, due + 2 * SECOND)
    assert last is None
    assert wanted.due(second) is None


def test_without_a_bound_there_is_always_another_attempt() -> None:
    assert plan(due_time="1s", failure_policy=constant(2)).failed(Count(0, None, 10**6), NOW)[1] == NOW + 2 * SECOND


def test_what_is_dropped_has_its_next_time() -> None:
    wanted = plan(schedule="@every 1h", failure_policy=cron_pb2.FailurePolicy(drop=cron_pb2.FailurePolicyDrop()))
    count, again = wanted.failed(timing.NEVER_TRIGGERED, NOW + HOUR)

    assert again is None
    assert wanted.due(count) == NOW + 2 * HOUR


def test_attempts_do_not_move_the_schedule() -> None:
    wanted = plan(schedule="@every 1h", failure_policy=constant(600, 1))
    first, again = wanted.failed(timing.NEVER_TRIGGERED, NOW + HOUR)
    assert again == NOW + HOUR + 600 * SECOND

    assert wanted.due(wanted.succeeded(first)) == NOW + 2 * HOUR
    assert wanted.due(wanted.failed(first, again)[0]) == NOW + 2 * HOUR


def test_counters_are_read_as_they_were_written() -> None:
    count = Count(3, NOW + 5, 2)
    read = cron_pb2.Counter.FromString(timing.write_count(count, 9))

    assert read.job_partition_id == 9
    assert timing.read_count(read) == count
    assert timing.read_count(cron_pb2.Counter()) == timing.NEVER_TRIGGERED
