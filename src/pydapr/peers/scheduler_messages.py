"""What a scheduler is told and tells, between plain values (`peers.scheduling`) and protobuf. Pure."""

from collections.abc import Sequence

from google.protobuf import any_pb2, duration_pb2

from pydapr.lib.actors import Packed
from pydapr.peers.scheduling import Due, FailurePolicy, Job, NamedJob, Owner
from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2

_NANOS = 1_000_000_000
_MOST_SECONDS = (1 << 63) - 1


def job_message(job: Job) -> scheduler_pb2.Job:
    """A job to be kept."""
    return scheduler_pb2.Job(
        schedule=job.schedule,
        repeats=job.repeats,
        due_time=job.due_time,
        ttl=job.ttl,
        data=any_pb2.Any(type_url=job.data.type_url, value=job.data.value) if job.data is not None else None,
        failure_policy=policy_message(job.failure_policy) if job.failure_policy is not None else None,
    )


def job(message: scheduler_pb2.Job) -> Job:
    """A job as it was given."""
    return Job(
        schedule=message.schedule if message.HasField("schedule") else None,
        repeats=message.repeats if message.HasField("repeats") else None,
        due_time=message.due_time if message.HasField("due_time") else None,
        ttl=message.ttl if message.HasField("ttl") else None,
        data=packed(message.data) if message.HasField("data") else None,
        failure_policy=policy(message.failure_policy) if message.HasField("failure_policy") else None,
    )


def packed(message: any_pb2.Any) -> Packed:
    return Packed(message.type_url, message.value)


def policy_message(policy: FailurePolicy) -> common_pb2.JobFailurePolicy:
    if policy.drops:
        return common_pb2.JobFailurePolicy(drop=common_pb2.JobFailurePolicyDrop())
    interval = None
    if policy.interval is not None:
        sign = -1 if policy.interval < 0 else 1  # of both parts, or it is no duration
        seconds, nanos = divmod(round(abs(policy.interval) * _NANOS), _NANOS)
        interval = duration_pb2.Duration(seconds=sign * min(seconds, _MOST_SECONDS), nanos=sign * nanos)
    return common_pb2.JobFailurePolicy(
        constant=common_pb2.JobFailurePolicyConstant(interval=interval, max_retries=policy.max_retries)
    )


def policy(message: common_pb2.JobFailurePolicy) -> FailurePolicy | None:
    """None for a policy that names none, which is the scheduler's own."""
    kind = message.WhichOneof("policy")
    if kind is None:
        return None
    if kind == "drop":
        return FailurePolicy(True)
    constant = message.constant
    interval = None
    if constant.HasField("interval"):
        interval = constant.interval.seconds + constant.interval.nanos / _NANOS
    return FailurePolicy(False, interval, constant.max_retries if constant.HasField("max_retries") else None)


def metadata(
    app_id: str, namespace: str, owner: Owner | None, concurrency_key: str | None = None
) -> scheduler_pb2.JobMetadata:
    """Whose job it is."""
    if owner is None:
        target = scheduler_pb2.JobTargetMetadata(job=scheduler_pb2.TargetJob())
    else:
        actor = scheduler_pb2.TargetActorReminder(id=owner.actor_id, type=owner.actor_type)
        target = scheduler_pb2.JobTargetMetadata(actor=actor)
    return scheduler_pb2.JobMetadata(app_id=app_id, namespace=namespace, target=target, concurrency_key=concurrency_key)


def owner(message: scheduler_pb2.JobMetadata) -> Owner | None:
    target = message.target
    return Owner(target.actor.type, target.actor.id) if target.WhichOneof("type") == "actor" else None


def named(message: scheduler_pb2.NamedJob) -> NamedJob:
    return NamedJob(message.name, owner(message.metadata), job(message.job))


def due(message: scheduler_pb2.WatchJobsResponse) -> Due | None:
    """None for what is for nobody that we know."""
    if message.metadata.target.WhichOneof("type") is None:
        return None
    data = packed(message.data) if message.HasField("data") else None
    return Due(message.name, owner(message.metadata), data)


def initial(app_id: str, namespace: str, takes_jobs: bool, actor_types: Sequence[str]) -> bytes:
    """What a stream begins with: who takes what."""
    accepted = []
    if takes_jobs:
        accepted.append(scheduler_pb2.JOB_TARGET_TYPE_JOB)
    if actor_types:
        accepted.append(scheduler_pb2.JOB_TARGET_TYPE_ACTOR_REMINDER)
    asks = scheduler_pb2.WatchJobsRequestInitial(
        app_id=app_id, namespace=namespace, actor_types=actor_types, accept_job_types=accepted
    )
    return scheduler_pb2.WatchJobsRequest(initial=asks).SerializeToString()


def result(number: int, is_success: bool) -> bytes:
    """What became of the message with this number."""
    status = scheduler_pb2.SUCCESS if is_success else scheduler_pb2.FAILED
    told = scheduler_pb2.WatchJobsRequestResult(id=number, status=status)
    return scheduler_pb2.WatchJobsRequest(result=told).SerializeToString()
