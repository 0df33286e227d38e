"""Jobs of the app: what a scheduler keeps for it, and what is due.

`Jobs` is called by the faces and goes on to `peers.scheduling`; `Deliveries` is told by `peers.scheduler` and goes on
to the app by `app.jobs`. Rules and words are the original's (v1.18.3, `pkg/api/universal/jobs.go`,
`pkg/runtime/scheduler`).
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from pydapr.app import jobs, rpc
from pydapr.errors import Code, JobFailed, JobIncomplete, RpcError
from pydapr.observe import logging
from pydapr.peers.scheduling import Due, Job, NamedJob, Scheduling

if TYPE_CHECKING:
    from pydapr.observe.metrics_jobs import JobMetrics

    T = TypeVar("T")

log = logging.get("dapr.runtime.scheduler.cluster")
api_log = logging.get("dapr.api")


class Jobs:
    """The app's jobs. All methods raise `DaprError`. `scheduler` is None where none is configured."""

    def __init__(self, scheduler: Scheduling | None, app_id: str, namespace: str) -> None:
        self._scheduler = scheduler
        self._app_id = app_id
        self._about = {"appID": app_id, "namespace": namespace}

    async def schedule(self, name: str, job: Job | None, overwrite: bool) -> None:
        """Has a job kept. When this returns it is stored."""
        if job is None:
            raise JobIncomplete("EMPTY", "Job is empty", self._about)
        self._check(name)
        if job.schedule is None and job.due_time is None:
            raise JobIncomplete("SCHEDULE_EMPTY", "Schedule is empty", self._about)
        await self._ask("schedule", name, lambda asked: asked.schedule(name, job, None, overwrite))

    async def get(self, name: str) -> Job:
        """The job as it was given."""
        self._check(name)
        return await self._ask("get", name, lambda asked: asked.get(name, None))

    async def delete(self, name: str) -> None:
        """Forgets a job; it is no error that there is none."""
        self._check(name)
        await self._ask("delete", name, lambda asked: asked.delete(name, None))

    async def list(self) -> Sequence[NamedJob]:
        """All of the app's jobs."""
        return await self._ask("list", "", lambda asked: asked.list(None))

    async def delete_by_prefix(self, prefix: str) -> None:
        """Forgets the jobs whose names begin so, all of them if it is empty."""
        await self._ask("delete", prefix, lambda asked: asked.delete_by_prefix(prefix))

    def refuse_name(self) -> None:
        """Raises that a name stands where none may be."""
        raise JobIncomplete("JOB_NAME", "Set the job name in the url only", {"appID": self._app_id})

    def _check(self, name: str) -> None:
        if not name:
            raise JobIncomplete("JOB_NAME_EMPTY", "Name is empty", self._about)

    async def _ask(self, verb: str, name: str, ask: "Callable[[Scheduling], Awaitable[T]]") -> "T":
        what = "JOBS" if verb == "list" else "JOB"
        try:
            if self._scheduler is None:
                raise _Disabled
            return await ask(self._scheduler)
        except (RpcError, _Disabled) as error:
            reason = str(error)
            code = error.code if isinstance(error, RpcError) and verb == "schedule" else Code.INTERNAL
        api_log.error(f"Error on {verb} of job {name} due to: {reason}")
        grpc = Code.INTERNAL if code == Code.UNKNOWN or code not in _CODES else Code(code)
        status = rpc.HTTP_STATUS.get(grpc, 500)
        text = f"failed to {verb} {what.lower()} due to: {reason}"
        raise JobFailed(f"{verb.upper()}_{what}", text, self._about, status, grpc)


_CODES = frozenset(Code)


class _Disabled(Exception):
    """There is no scheduler."""

    def __str__(self) -> str:
        return "scheduler clients are disabled"


class Deliveries:
    """Gives the app its jobs when they are due."""

    def __init__(self, app: jobs.App) -> None:
        self._app = app
        self.metrics: JobMetrics | None = None

    async def deliver(self, due: Due) -> bool:
        """Whether the app took a job, or will never take it. Otherwise the job's failure policy decides."""
        data = due.data
        began = perf_counter()
        try:
            if data is None:
                code = await self._app.trigger(due.name, "", b"")
            else:
                code = await self._app.trigger(due.name, data.type_url, data.value)
        except jobs.Failed as error:
            log.error(f"failed to invoke schedule app job: {error}")
            return False
        if self.metrics is not None:
            self.metrics.triggered(code == Code.OK, perf_counter() - began)
        if code == Code.OK:
            return True
        told = f"app while processing triggered job {due.name}. status code returned: {code}"
        if code == Code.NOT_FOUND:
            log.error(f"non-retriable error returned from {told}")
            return True
        log.error(f"unexpected status code returned from {told}")
        return False
