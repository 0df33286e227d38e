"""The same calls to ours and to the original: the same statuses and words, and each reads what the other has kept.

Runs when PYDAPR_ORIGINAL names the folder of the original executables.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration import harness
from tests.integration.scheduler.process import Refused, Scheduler, Watch, metadata

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

NAMES = [
    "",
    "a/b",
    "a\\b",
    "a#b",
    "a?b",
    "a||b",
    ".",
    "a b",
    "ü",
    "a\nb",
    "a\x7fb",
    "x" * 495,
    "x" * 496,
    '"q"',
    "a\n/",
]
SCHEDULES = [
    "", "x", "* * * * *", "* * * * * * *", "@foo", "@every x", "@every -1s", "TZ=Nope * * * * * *", "99 * * * * *",
    "*/0 * * * * *", "1-2-3 * * * * *", "1/2/3 * * * * *", "a * * * * *", "-1 * * * * *", "0 0 0 29 2 *", "TZ=UTC",
    "TZ= * * * * * *", "CRON_TZ=Europe/Rome 0 0 3 * * *", "TZ=Europe/../Rome 0 0 0 * * *", "@Daily", " @daily",
    "0 0 0 ? * sun-sat/2", "0 0 0 * * 7", "CRON_TZ=Europe/Rome @every 1h", "@every 1h ", "@everyx", "5-1 * * * * *",
]  # fmt: skip
MOMENTS = [
    "", "x", "R5/PT1S", "R5", "R", "PT", "P", "P1", "PT5", "P1H", "P1W", "PT1.5S", "R0/PT1H", "R-1/PT1H",
    "P1Y2M3DT4H5M6S",
    "2026-13-01T00:00:00Z", "2099-12-01T00:00:00", "2099-12-01T00:00:00.123456789+01:00", "2099-12-01 00:00:00Z",
    "2099-02-30T00:00:00Z", "2099-12-01T0:00:00Z", "2099-12-01T00:00:00,5Z", "2099-12-01T24:00:00Z", "1h", "1.5h", "1d",
]  # fmt: skip
JOBS: list[dict[str, Any]] = [
    {}, {"repeats": 1}, {"due_time": "1h", "repeats": 2}, {"due_time": "1h", "repeats": 0},
    {"due_time": "1h", "ttl": "1s"},
    {"schedule": "@every 1h", "repeats": 0}, {"schedule": "@every 1h", "due_time": "1h", "ttl": "-1s"},
    *({"schedule": schedule} for schedule in SCHEDULES),
    *({"due_time": moment} for moment in MOMENTS),
    *({"schedule": "@every 1h", "ttl": moment} for moment in MOMENTS),
]  # fmt: skip


def said(call: Callable[[], object]) -> str:
    try:
        call()
    except Refused as refused:
        return str(refused)
    return "OK"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    theirs = [os.path.join(harness.ORIGINAL, "scheduler")]
    made = [Scheduler(tmp_path_factory.mktemp("s"), program=program) for program in (None, theirs)]
    for one in made:
        one.await_ready()
    yield made
    for one in made:
        one.kill()


@pytest.mark.parametrize("name", NAMES)
def test_names(both: list[Scheduler], name: str) -> None:
    ours, theirs = (said(lambda one=one: one.schedule(name, overwrite=True, due_time="1h")) for one in both)  # type: ignore[misc]
    assert ours == theirs


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_jobs(both: list[Scheduler], job: dict[str, Any]) -> None:
    ours, theirs = (said(lambda one=one: one.schedule("job", overwrite=True, **job)) for one in both)  # type: ignore[misc]
    assert ours == theirs


@pytest.mark.parametrize("job", [{"due_time": "0s"}, {"schedule": "@every 100ms", "repeats": 3}], ids=str)
def test_what_is_kept_of_a_job_is_the_same(both: list[Scheduler], job: dict[str, Any]) -> None:
    """What a trigger that fails for ever leaves, and how often it comes."""
    counts = []
    for one in both:
        watch = one.watch(app_id="counted")
        one.schedule("counted", metadata("counted"), **job)
        counts.append(_count(one, watch, is_success="repeats" in job))
        watch.cancel()
    assert counts[0] == counts[1] == (3 if "repeats" in job else 4)


def _count(scheduler: Scheduler, watch: Watch, is_success: bool) -> int:
    """How often the one job comes until it is over."""
    count = 0
    while scheduler.listed(metadata("counted")):
        watch.answer(watch.next(), is_success)
        count += 1
        harness.eventually(
            lambda: not watch.is_empty() or not scheduler.listed(metadata("counted")), "the next time, or the end"
        )
    return count


def test_answers_are_the_same(both: list[Scheduler]) -> None:
    answers = []
    for one in both:
        one.call("DeleteByMetadata", pb.DeleteByMetadataRequest(metadata=metadata()))
        for id in ("1", "2"):
            job = pb.Job(schedule="@every 1h", due_time="2099-01-01T00:00:00Z", ttl="P1Y", repeats=7)
            job.data.value, job.data.type_url = id.encode(), "x/y"
            request = pb.ScheduleJobRequest(name="r", metadata=metadata(actor="T", id=id), job=job, overwrite=True)
            one.call("ScheduleJob", request)
        found = one.call("ListJobs", pb.ListJobsRequest(metadata=metadata(actor="T")))
        answers.append(pb.ListJobsResponse.FromString(found))
    assert answers[0] == answers[1]
    assert len(answers[0].jobs) == 2


@pytest.fixture
def mixed(tmp_path: Path) -> Any:
    """A scheduler of the original with its etcd, and one of ours that uses it: they share all jobs."""
    folders = [tmp_path / name for name in ("theirs", "ours")]
    for folder in folders:
        folder.mkdir(mode=0o700)
    theirs = Scheduler(folders[0], program=[os.path.join(harness.ORIGINAL, "scheduler")], id="theirs").await_ready()
    flags = ("--etcd-embed=false", f"--etcd-client-endpoints=127.0.0.1:{theirs.ports[3]}")
    ours = Scheduler(folders[1], *flags, id="ours").await_ready()
    yield theirs, ours
    for one in (ours, theirs):
        one.kill()


def _come(watches: list[Watch], count: int, limit: float = 40) -> list[tuple[int, str]]:
    """Which jobs come on which stream, all answered, until there have been so many."""
    come: list[tuple[int, str]] = []

    def all_came() -> bool:
        for place, watch in enumerate(watches):
            while not watch.is_empty():
                job = watch.next()
                watch.answer(job)
                come.append((place, job.name))
        return len(come) >= count

    harness.eventually(all_came, f"{count} jobs have come", limit)
    return come


def test_ours_and_an_original_share_the_jobs(mixed: tuple[Scheduler, Scheduler]) -> None:
    watches = [one.watch() for one in mixed]
    for number in range(40):
        mixed[number % 2].schedule(f"job{number}", due_time="0s", schedule="@every 200ms", repeats=3)

    come = _come(watches, 120)

    harness.eventually(lambda: not mixed[0].listed() and not mixed[1].listed(), "all are over")
    assert Counter(name for _, name in come) == {f"job{number}": 3 for number in range(40)}
    assert {place for place, _ in come} == {0, 1}
    assert all(watch.is_empty() for watch in watches)


def test_the_original_takes_over_what_was_ours(mixed: tuple[Scheduler, Scheduler]) -> None:
    theirs, ours = mixed
    ours.process.kill()
    watch = theirs.watch()
    for number in range(20):
        theirs.schedule(f"job{number}", due_time="0s")

    assert {name for _, name in _come([watch], 20)} == {f"job{number}" for number in range(20)}
