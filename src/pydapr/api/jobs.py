"""Jobs between protobuf and plain values, for both faces."""

from collections.abc import Iterable

from google.protobuf import any_pb2

from pydapr.lib.actors import Packed
from pydapr.peers import scheduler_messages as messages
from pydapr.peers.scheduling import FailurePolicy, Job, NamedJob
from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.internals.v1 import jobs_pb2 as http_pb2
from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2


def job(asked: jobs_pb2.Job | http_pb2.JobHTTPRequest, data: Packed | None) -> Job:
    """What an app wants kept."""
    return Job(
        schedule=asked.schedule if asked.HasField("schedule") else None,
        repeats=asked.repeats if asked.HasField("repeats") else None,
        due_time=asked.due_time if asked.HasField("due_time") else None,
        ttl=asked.ttl if asked.HasField("ttl") else None,
        data=data,
        failure_policy=policy(asked.failure_policy) if asked.HasField("failure_policy") else None,
    )


def message(name: str, job: Job) -> jobs_pb2.Job:
    """A job as an app is told of it."""
    told = None
    if job.failure_policy is not None:
        told = common_pb2.JobFailurePolicy.FromString(messages.policy_message(job.failure_policy))
    return jobs_pb2.Job(
        name=name,
        schedule=job.schedule,
        repeats=job.repeats,
        due_time=job.due_time,
        ttl=job.ttl,
        data=any_pb2.Any(type_url=job.data.type_url, value=job.data.value) if job.data is not None else None,
        failure_policy=told,
    )


def policy(asked: common_pb2.JobFailurePolicy) -> FailurePolicy | None:
    """None for a policy that names none."""
    return messages.policy(asked.SerializeToString())


def listed(jobs: Iterable[NamedJob]) -> list[jobs_pb2.Job]:
    return [message(one.name, one.job) for one in jobs]
