"""The jobs API over gRPC. Called by the router; asks `blocks.jobs`."""

from pydapr.api.grpc import unary
from pydapr.blocks.jobs import Jobs
from pydapr.net.http2_server import ServerExchange


class JobsApi:
    """Answers the methods for jobs. Those with `Alpha1` at the end of the name have the same messages, byte by byte."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def answers(self) -> dict[str, unary.Answer]:
        """By the names of methods."""
        methods: dict[str, unary.Answer] = {
            "ScheduleJob": self.schedule,
            "GetJob": self.get,
            "DeleteJob": self.delete,
            "ListJobs": self.list,
            "DeleteJobsByPrefix": self.delete_by_prefix,
        }
        return {f"{name}{suffix}": answer for name, answer in methods.items() for suffix in ("", "Alpha1")}

    async def schedule(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Keeps a job."""
        from pydapr.api import jobs
        from pydapr.lib.actors import Packed
        from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2

        asked = unary.decode(jobs_pb2.ScheduleJobRequest, data)
        job = None
        if asked.HasField("job"):
            given = asked.job.data
            job = jobs.job(asked.job, Packed(given.type_url, given.value) if asked.job.HasField("data") else None)
        await self._jobs.schedule(asked.job.name, job, asked.overwrite)
        return b""

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """A job as it was given."""
        from pydapr.api import jobs
        from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2

        asked = unary.decode(jobs_pb2.GetJobRequest, data)
        job = await self._jobs.get(asked.name)
        return jobs_pb2.GetJobResponse(job=jobs.message(asked.name, job)).SerializeToString()

    async def delete(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Forgets a job."""
        from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2

        await self._jobs.delete(unary.decode(jobs_pb2.DeleteJobRequest, data).name)
        return b""

    async def list(self, exchange: ServerExchange, data: bytes) -> bytes:
        """All jobs."""
        from pydapr.api import jobs
        from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2

        unary.decode(jobs_pb2.ListJobsRequest, data)
        found = await self._jobs.list()
        return jobs_pb2.ListJobsResponse(jobs=jobs.listed(found)).SerializeToString()

    async def delete_by_prefix(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Forgets the jobs whose names begin so."""
        from pydapr.proto.dapr.proto.runtime.v1 import jobs_pb2

        await self._jobs.delete_by_prefix(unary.decode(jobs_pb2.DeleteJobsByPrefixRequest, data).name_prefix)
        return b""
