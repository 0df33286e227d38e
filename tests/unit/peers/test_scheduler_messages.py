"""What schedulers are told, and what they tell, is what protobuf makes of it."""

import contextlib
from collections.abc import Callable

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from pydapr.lib.actors import Packed
from pydapr.peers import scheduler_messages as messages
from pydapr.peers.scheduling import Due, FailurePolicy, Job, NamedJob, Owner
from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
SMALL = st.integers(0, (1 << 32) - 1)
INTERVALS = st.integers(-(1 << 24), 1 << 24).map(lambda quarters: quarters / 4)
POLICIES = st.just(FailurePolicy(True)) | st.builds(
    FailurePolicy, st.just(False), st.none() | INTERVALS, st.none() | SMALL
)
PACKED = st.builds(Packed, WORDS, st.binary(max_size=300))
JOBS = st.builds(
    Job,
    st.none() | WORDS,
    st.none() | SMALL,
    st.none() | WORDS,
    st.none() | WORDS,
    st.none() | PACKED,
    st.none() | POLICIES,
)
OWNERS = st.none() | st.builds(Owner, WORDS, WORDS)
UNKNOWN = b"\x7a\x03abc\x78\x01\x7d1234\x79" + b"12345678"


def _policy(policy: FailurePolicy) -> common_pb2.JobFailurePolicy:
    out = common_pb2.JobFailurePolicy()
    if policy.drops:
        out.drop.SetInParent()
        return out
    out.constant.SetInParent()
    if policy.interval is not None:
        nanoseconds = round(abs(policy.interval) * 1_000_000_000)
        out.constant.interval.FromNanoseconds(-nanoseconds if policy.interval < 0 else nanoseconds)
    if policy.max_retries is not None:
        out.constant.max_retries = policy.max_retries
    return out


def _job(job: Job) -> pb.Job:
    data = None if job.data is None else any_pb2.Any(type_url=job.data.type_url, value=job.data.value)
    policy = None if job.failure_policy is None else _policy(job.failure_policy)
    return pb.Job(
        schedule=job.schedule,
        repeats=job.repeats,
        due_time=job.due_time,
        ttl=job.ttl,
        data=data,
        failure_policy=policy,
    )


def _metadata(owner: Owner | None, concurrency_key: str | None = None) -> pb.JobMetadata:
    if owner is None:
        target = pb.JobTargetMetadata(job=pb.TargetJob())
    else:
        target = pb.JobTargetMetadata(actor=pb.TargetActorReminder(type=owner.actor_type, id=owner.actor_id))
    return pb.JobMetadata(app_id="app", namespace="space", target=target, concurrency_key=concurrency_key)


# -- what they are told --


@given(WORDS, JOBS, OWNERS, st.none() | WORDS, st.booleans())
def test_a_job_is_told(name: str, job: Job, owner: Owner | None, key: str | None, overwrite: bool) -> None:
    told = messages.schedule(name, job, messages.metadata("app", "space", owner, key), overwrite)

    expected = pb.ScheduleJobRequest(name=name, job=_job(job), metadata=_metadata(owner, key), overwrite=overwrite)
    assert told == expected.SerializeToString()


@given(WORDS, OWNERS)
def test_a_job_is_asked_for_by_its_name(name: str, owner: Owner | None) -> None:
    told = messages.by_name(name, messages.metadata("app", "space", owner))

    metadata = _metadata(owner)
    assert told == pb.GetJobRequest(name=name, metadata=metadata).SerializeToString()
    assert told == pb.DeleteJobRequest(name=name, metadata=metadata).SerializeToString()
    assert told == pb.DeleteByNamePrefixRequest(name_prefix=name, metadata=metadata).SerializeToString()


@given(OWNERS)
def test_jobs_are_asked_for_by_whose_they_are(owner: Owner | None) -> None:
    whose, metadata = messages.metadata("app", "space", owner), _metadata(owner)

    assert messages.by_metadata(whose) == pb.ListJobsRequest(metadata=metadata).SerializeToString()
    assert messages.by_metadata(whose) == pb.DeleteByMetadataRequest(metadata=metadata).SerializeToString()
    by_prefix = pb.DeleteByMetadataRequest(metadata=metadata, id_prefix_match=True)
    assert messages.by_metadata(whose, id_is_prefix=True) == by_prefix.SerializeToString()


@given(WORDS, WORDS, st.booleans(), st.lists(WORDS, max_size=3))
def test_a_stream_begins_with_what_is_taken(app_id: str, namespace: str, takes_jobs: bool, types: list[str]) -> None:
    kinds = [pb.JOB_TARGET_TYPE_JOB] if takes_jobs else []
    kinds += [pb.JOB_TARGET_TYPE_ACTOR_REMINDER] if types else []
    initial = pb.WatchJobsRequestInitial(app_id=app_id, namespace=namespace, actor_types=types, accept_job_types=kinds)

    told = messages.initial(app_id, namespace, takes_jobs, types)

    assert told == pb.WatchJobsRequest(initial=initial).SerializeToString()


@given(st.integers(0, (1 << 64) - 1), st.booleans())
def test_a_result_is_told(number: int, is_success: bool) -> None:
    result = pb.WatchJobsRequestResult(id=number, status=pb.SUCCESS if is_success else pb.FAILED)

    assert messages.result(number, is_success) == pb.WatchJobsRequest(result=result).SerializeToString()


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.500s"), (-1.5, "-1.500s"), (-0.25, "-0.250s"), (0, "0s")])
def test_an_interval_is_a_duration(seconds: float, text: str) -> None:
    told = messages.policy_message(FailurePolicy(False, seconds, 1))

    assert common_pb2.JobFailurePolicy.FromString(told).constant.interval.ToJsonString() == text
    assert messages.policy(told) == FailurePolicy(False, seconds, 1)


def test_the_longest_interval_that_can_be_asked_for_is_told() -> None:
    asked = common_pb2.JobFailurePolicy()
    asked.constant.interval.seconds = (1 << 63) - 1
    policy = messages.policy(asked.SerializeToString())
    assert policy is not None

    assert common_pb2.JobFailurePolicy.FromString(messages.policy_message(policy)) == asked


def test_what_does_not_fit_is_told_as_what_is_left_of_it() -> None:
    """The original does so with repeats, and a text cannot hold half a pair of surrogates."""
    told = messages.job_message(Job("\ud800", repeats=(1 << 32) + 5))

    assert pb.Job.FromString(told) == pb.Job(schedule="?", repeats=5)


# -- what they tell --


@given(JOBS)
def test_a_job_is_read_as_it_was_given(job: Job) -> None:
    assert messages.kept(pb.GetJobResponse(job=_job(job)).SerializeToString()) == job


def test_an_answer_without_a_job_has_nothing() -> None:
    assert messages.kept(b"") == Job()


@given(st.lists(st.tuples(WORDS, OWNERS, JOBS), max_size=3))
def test_a_listing_is_read(listed: list[tuple[str, Owner | None, Job]]) -> None:
    told = pb.ListJobsResponse(
        jobs=[pb.NamedJob(name=name, metadata=_metadata(owner), job=_job(job)) for name, owner, job in listed]
    )

    assert messages.jobs(told.SerializeToString()) == [NamedJob(name, owner, job) for name, owner, job in listed]


@given(WORDS, st.integers(0, (1 << 64) - 1), OWNERS, st.none() | PACKED)
def test_what_is_due_is_read(name: str, number: int, owner: Owner | None, data: Packed | None) -> None:
    packed = None if data is None else any_pb2.Any(type_url=data.type_url, value=data.value)
    told = pb.WatchJobsResponse(name=name, id=number, data=packed, metadata=_metadata(owner, "key"))

    assert messages.due(told.SerializeToString()) == (number, Due(name, owner, data))


def test_what_is_due_for_nobody_that_is_known_has_a_number() -> None:
    assert messages.due(pb.WatchJobsResponse(name="a", id=7).SerializeToString()) == (7, None)
    of_another_kind = pb.JobMetadata(target=pb.JobTargetMetadata.FromString(UNKNOWN))
    assert messages.due(pb.WatchJobsResponse(id=7, metadata=of_another_kind).SerializeToString()) == (7, None)


def test_a_policy_that_names_none_is_none() -> None:
    assert messages.policy(b"") is None
    assert messages.policy(UNKNOWN) is None


@given(st.lists(WORDS, max_size=3))
def test_the_schedulers_are_read(addresses: list[str]) -> None:
    told = pb.WatchHostsResponse(hosts=[pb.Host(address=address) for address in addresses])

    assert messages.hosts(told.SerializeToString()) == addresses


def test_fields_that_are_not_known_are_passed_over() -> None:
    job = pb.Job.FromString(pb.Job(schedule="@daily").SerializeToString() + UNKNOWN)
    job.failure_policy.constant.interval.MergeFromString(b"\x08\x02" + UNKNOWN)
    metadata = pb.JobMetadata.FromString(_metadata(Owner("cat", "c1")).SerializeToString() + UNKNOWN)
    metadata.target.actor.MergeFromString(UNKNOWN)
    named = pb.NamedJob.FromString(pb.NamedJob(name="a", metadata=metadata, job=job).SerializeToString() + UNKNOWN)

    told = pb.ListJobsResponse(jobs=[named]).SerializeToString() + UNKNOWN

    assert messages.jobs(told) == [
        NamedJob("a", Owner("cat", "c1"), Job("@daily", failure_policy=FailurePolicy(False, 2.0)))
    ]


# -- what is no message --

READERS: list[tuple[Callable[[bytes], object], type[Message]]] = [
    (messages.due, pb.WatchJobsResponse),
    (messages.hosts, pb.WatchHostsResponse),
    (messages.jobs, pb.ListJobsResponse),
    (messages.kept, pb.GetJobResponse),
    (messages.policy, common_pb2.JobFailurePolicy),
]


@pytest.mark.parametrize(("read", "kind"), READERS)
@pytest.mark.parametrize("data", [b"\xff", b"\x0a", b"\x0a\x05abc", b"\x80\x80", b"\x08" + b"\xff" * 11, b"\x0b"])
def test_what_is_no_message_is_refused(read: Callable[[bytes], object], kind: type[Message], data: bytes) -> None:
    with pytest.raises(DecodeError):
        kind.FromString(data)
    with pytest.raises(messages.Invalid):
        read(data)


@pytest.mark.parametrize("data", [b"\x0a\x01\xff", b"\x1a\x01\x0a", b"\x22\x04\x1a\x02\x12\x05", b"\x10\x80"])
def test_what_is_due_and_broken_inside_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        pb.WatchJobsResponse.FromString(data)
    with pytest.raises(messages.Invalid):
        messages.due(data)


@pytest.mark.parametrize("read", [read for read, _ in READERS])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(read: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(messages.Invalid):
        read(data)
