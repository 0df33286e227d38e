"""Calls and streams of a running scheduler, with the statuses and words of the original."""

import grpc
import pytest
from tests.integration.scheduler.process import SERVICE, Refused, Scheduler, Watch, metadata

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

NO_TARGET = pb.JobMetadata(app_id="app", namespace="default")


def test_a_job_is_found_as_it_was_given(scheduler: Scheduler) -> None:
    job = pb.Job(schedule="@every 1h", repeats=3, ttl="10h")
    job.data.type_url, job.data.value = "x/y", b"\x01"
    job.failure_policy.constant.interval.seconds = 7
    scheduler.call("ScheduleJob", pb.ScheduleJobRequest(name="a", metadata=metadata(), job=job))

    found = pb.GetJobResponse.FromString(scheduler.call("GetJob", pb.GetJobRequest(name="a", metadata=metadata())))

    assert found.job == job


def test_a_job_without_a_policy_has_the_usual_one(scheduler: Scheduler) -> None:
    scheduler.schedule("a", due_time="1h")

    found = pb.GetJobResponse.FromString(scheduler.call("GetJob", pb.GetJobRequest(name="a", metadata=metadata()))).job

    assert found.due_time == "1h" and not found.HasField("data") and not found.HasField("schedule")
    assert (found.failure_policy.constant.interval.seconds, found.failure_policy.constant.max_retries) == (1, 3)


def test_a_job_is_overwritten_only_on_request(scheduler: Scheduler) -> None:
    scheduler.schedule("a", due_time="1h")
    with pytest.raises(Refused, match=r"^ALREADY_EXISTS job already exists: 'app\|\|default\|\|app\|\|a'$"):
        scheduler.schedule("a", due_time="2h")
    scheduler.schedule("a", overwrite=True, due_time="2h")
    assert scheduler.metric('dapr_scheduler_jobs_created_failed_total{type="job"}') == 1
    assert scheduler.metric('dapr_scheduler_jobs_created_total{type="job"}') == 2


@pytest.mark.parametrize(
    ("method", "request_", "answer"),
    [
        ("ScheduleJob", pb.ScheduleJobRequest(name="a"), "INVALID_ARGUMENT missing namespace or appID in request"),
        ("ScheduleJob", pb.ScheduleJobRequest(name="a", metadata=NO_TARGET), "UNKNOWN unknown job type: <nil>"),
        (
            "ScheduleJob",
            pb.ScheduleJobRequest(name="a", metadata=metadata()),
            "UNKNOWN job failed validation: job must have either a due time or a schedule",
        ),
        (
            "ScheduleJob",
            pb.ScheduleJobRequest(name="a/b", metadata=metadata(), job=pb.Job(due_time="1s")),
            'UNKNOWN job name is invalid "app||default||app||a/b": must not contain',
        ),
        ("GetJob", pb.GetJobRequest(name="no", metadata=metadata()), "NOT_FOUND job not found: no"),
        ("GetJob", pb.GetJobRequest(name="a#b", metadata=metadata()), "UNKNOWN job name is invalid"),
        ("DeleteJob", pb.DeleteJobRequest(name="a?b", metadata=metadata()), "UNKNOWN job name is invalid"),
        (
            "DeleteByMetadata",
            pb.DeleteByMetadataRequest(),
            "INVALID_ARGUMENT failed to parse metadata: rpc error: code = InvalidArgument desc = missing namespace",
        ),
        (
            "DeleteByNamePrefix",
            pb.DeleteByNamePrefixRequest(metadata=NO_TARGET),
            "UNKNOWN failed to parse metadata: unknown job type: <nil>",
        ),
        ("ListJobs", pb.ListJobsRequest(metadata=NO_TARGET), "UNKNOWN unknown job type: <nil>"),
        ("Nothing", pb.ListJobsRequest(), "UNIMPLEMENTED unknown method Nothing for service"),
    ],
)
def test_refusals(scheduler: Scheduler, method: str, request_: object, answer: str) -> None:
    with pytest.raises(Refused) as refused:
        scheduler.call(method, request_)
    assert str(refused.value).startswith(answer)


def test_jobs_and_reminders_are_listed_apart(scheduler: Scheduler) -> None:
    scheduler.schedule("j", due_time="1h")
    for id in ("1", "1||2", "2"):
        scheduler.schedule(f"r{id[0]}", metadata(actor="T", id=id), due_time="1h")
    assert scheduler.listed() == ["j"]
    assert scheduler.listed(metadata("other")) == []
    assert sorted(scheduler.listed(metadata(actor="T"))) == ["r1", "r1", "r2"]
    assert scheduler.listed(metadata(actor="T", id="2")) == ["r2"]


def test_what_is_forgotten_together(scheduler: Scheduler) -> None:
    for id in ("1", "10", "2"):
        scheduler.schedule("r", metadata(actor="T", id=id), due_time="1h")
    scheduler.call("DeleteByMetadata", pb.DeleteByMetadataRequest(metadata=metadata(actor="T", id="1")))
    assert len(scheduler.listed(metadata(actor="T"))) == 2
    scheduler.call(
        "DeleteByMetadata", pb.DeleteByMetadataRequest(metadata=metadata(actor="T", id="1"), id_prefix_match=True)
    )
    assert len(scheduler.listed(metadata(actor="T"))) == 1
    for name in ("a1", "a2", "b"):
        scheduler.schedule(name, due_time="1h")
    scheduler.call("DeleteByNamePrefix", pb.DeleteByNamePrefixRequest(metadata=metadata(), name_prefix="a"))
    assert scheduler.listed() == ["b"]
    scheduler.call("DeleteJob", pb.DeleteJobRequest(metadata=metadata(), name="b"))
    scheduler.call("DeleteJob", pb.DeleteJobRequest(metadata=metadata(), name="b"))
    assert scheduler.listed() == []


def test_a_job_goes_to_its_app_and_a_reminder_to_who_hosts_its_type(scheduler: Scheduler) -> None:
    app, host = scheduler.watch(), scheduler.watch(app_id="other", actor_types=["T"])
    scheduler.schedule("job", due_time="0s")
    scheduler.schedule("reminder", metadata("third", actor="T", id="1"), due_time="0s")

    job, reminder = app.next(), host.next()

    assert (job.name, job.id, job.metadata) == ("job", 1, metadata())
    assert (reminder.name, reminder.id) == ("reminder", 1)
    assert reminder.metadata == metadata("third", actor="T", id="1")
    app.answer(job)
    host.answer(reminder)


def test_who_takes_reminders_only_gets_no_jobs(scheduler: Scheduler) -> None:
    reminders = scheduler.watch(actor_types=["T"], accept_job_types=[pb.JOB_TARGET_TYPE_ACTOR_REMINDER])
    scheduler.schedule("job", due_time="0s")
    scheduler.schedule("reminder", metadata(actor="T", id="1"), due_time="0s")
    assert reminders.next().name == "reminder"
    jobs = scheduler.watch(actor_types=["T"], accept_job_types=[pb.JOB_TARGET_TYPE_JOB])
    assert jobs.next().name == "job"


@pytest.mark.parametrize(
    ("requests", "answer"),
    [
        ([], "UNKNOWN EOF"),
        ([pb.WatchJobsRequest()], "UNKNOWN initial request is required on stream connection"),
        ([pb.WatchJobsRequest(result={"id": 1})], "UNKNOWN initial request is required on stream connection"),
        ([pb.WatchJobsRequest(initial={"app_id": "a"})], "INVALID_ARGUMENT missing namespace or appID in request"),
        (
            [pb.WatchJobsRequest(initial={"app_id": "a", "namespace": "n", "accept_job_types": [1, 1]})],
            "UNKNOWN duplicate target type specified: JOB_TARGET_TYPE_ACTOR_REMINDER",
        ),
        ([pb.WatchJobsRequest(initial={"app_id": "a", "namespace": "n"})], "CANCELLED context canceled"),
        (
            [pb.WatchJobsRequest(initial={"app_id": "a", "namespace": "n"}), pb.WatchJobsRequest(result={"id": 7})],
            "CANCELLED context canceled",
        ),
    ],
)
def test_streams_that_make_no_sense(scheduler: Scheduler, requests: list[pb.WatchJobsRequest], answer: str) -> None:
    watch = Watch(scheduler._channel, None)
    for request in requests:
        watch.say(request)
    watch.finish()
    with pytest.raises(Refused) as refused:
        watch.next()
    assert str(refused.value) == answer


def test_sidecars_are_told_which_schedulers_there_are(scheduler: Scheduler) -> None:
    ask = scheduler._channel.unary_stream(
        SERVICE + "WatchHosts", request_serializer=lambda one: one.SerializeToString()
    )
    hosts = ask(pb.WatchHostsRequest(), timeout=20)
    assert pb.WatchHostsResponse.FromString(next(hosts)).hosts == [pb.Host(address=f"127.0.0.1:{scheduler.port}")]
    assert scheduler.stop() == 0
    with pytest.raises(grpc.RpcError) as ended:
        next(hosts)
    assert ended.value.code() == grpc.StatusCode.UNKNOWN
    assert ended.value.details() == "cron closed"


def test_large_payloads_pass(scheduler: Scheduler) -> None:
    job = pb.Job(due_time="0s")
    job.data.value = bytes(5 << 20)
    scheduler.call("ScheduleJob", pb.ScheduleJobRequest(name="a", metadata=metadata(), job=job))
    assert scheduler.watch().next().data.value == job.data.value
