"""Names of jobs and reminders, and what is shown of them."""

from datetime import UTC, datetime

import pytest

from pydapr.cli import jobs
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2


def stored(metadata: scheduler_pb2.JobMetadata, begin: int = 1000, schedule: str | None = None) -> bytes:
    kept = cron_pb2.StoredJob()
    kept.due_time.seconds = begin
    kept.due_time.nanos = 999
    kept.job.metadata.Pack(metadata)
    if schedule is not None:
        kept.job.schedule = schedule
    return kept.SerializeToString()


def of_app(namespace: str = "default", app_id: str = "orders") -> scheduler_pb2.JobMetadata:
    metadata = scheduler_pb2.JobMetadata(app_id=app_id, namespace=namespace)
    metadata.target.job.SetInParent()
    return metadata


def of_actor(type_: str, id_: str) -> scheduler_pb2.JobMetadata:
    metadata = scheduler_pb2.JobMetadata(app_id="orders", namespace="default")
    metadata.target.actor.type, metadata.target.actor.id = type_, id_
    return metadata


@pytest.mark.parametrize(
    ("metadata", "key", "name"),
    [
        (of_app(), "app||default||orders||nightly", "app/orders/nightly"),
        (of_actor("Cat", "c1"), "actorreminder||default||Cat||c1||feed", "actor/Cat/c1/feed"),
        (
            of_actor("dapr.internal.default.orders.workflow", "w1"),
            "actorreminder||default||dapr.internal.default.orders.workflow||w1||start-x",
            "workflow/orders/w1/start-x",
        ),
        (
            of_actor("dapr.internal.default.orders.activity", "w1::0::1"),
            "actorreminder||default||dapr.internal.default.orders.activity||w1::0::1||run-activity",
            "activity/orders/w1::0::1",
        ),
    ],
)
def test_a_key_and_a_name_lead_to_each_other(metadata: scheduler_pb2.JobMetadata, key: str, name: str) -> None:
    assert jobs.read(jobs.JOBS + key, stored(metadata), None).name == name
    assert jobs.key(name, "default") == key


def test_a_job_is_read_with_its_counter() -> None:
    counter = cron_pb2.Counter(count=3)
    counter.last_trigger.seconds = 990

    job = jobs.read("dapr/jobs/x||j", stored(of_app(), schedule="@daily"), counter.SerializeToString())

    assert (job.triggers, job.schedule, job.repeats, job.expiration) == (3, "@daily", None, None)
    assert job.begin == datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC)
    assert job.last_trigger == datetime(1970, 1, 1, 0, 16, 30, tzinfo=UTC)


def test_jobs_are_chosen_by_namespace_and_kind_and_stand_in_order() -> None:
    kept = {
        "dapr/jobs/b": stored(of_app(), 20),
        "dapr/jobs/a": stored(of_app(), 30),
        "dapr/jobs/c": stored(of_actor("Cat", "1"), 10),
        "dapr/jobs/d": stored(of_app("other"), 5),
    }

    assert [job.begin.second for job in jobs.select(kept, {}, "default", "all")] == [10, 20, 30]
    assert [job.begin.second for job in jobs.select(kept, {}, "default", "app")] == [20, 30]


def test_something_else_under_a_key_is_told() -> None:
    with pytest.raises(jobs.Wrong, match="failed to read dapr/jobs/x"):
        jobs.read("dapr/jobs/x", cron_pb2.StoredJob().SerializeToString(), None)


@pytest.mark.parametrize("name", ["app", "app/a", "actor/t/i", "workflow/a/i", "activity/a", "job/a/b", ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(jobs.Wrong):
        jobs.key(name, "default")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", ["app||n||", "actorreminder||n||"]),
        ("app", ["app||n||"]),
        ("app/a", ["app||n||a||"]),
        ("actor/t", ["actorreminder||n||t||"]),
        ("actor/t/i", ["actorreminder||n||t||i||"]),
        ("workflow", ["actorreminder||n||dapr.internal.n."]),
        ("workflow/a", [f"actorreminder||n||dapr.internal.n.a.{kind}||" for kind in ("workflow", "activity")]),
        (
            "workflow/a/i",
            ["actorreminder||n||dapr.internal.n.a.workflow||i||", "actorreminder||n||dapr.internal.n.a.activity||i::"],
        ),
    ],
)
def test_what_delete_all_removes(name: str, expected: list[str]) -> None:
    assert jobs.prefixes(name, "n") == expected


@pytest.mark.parametrize("name", ["all/x", "app/a/b", "actor", "actor/a/b/c", "workflow/a/b/c", "x", ""])
def test_delete_all_of_something_else_is_refused(name: str) -> None:
    with pytest.raises(jobs.Wrong):
        jobs.prefixes(name, "n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (5e-5, "50.0µs"), (0.25, "250.0ms"), (2.5, "2.50s"), (90, "1.5m"), (7200, "2.0h")]
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert jobs.human(seconds) == text
