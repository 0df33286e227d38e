"""What the app may ask of a scheduler, how its errors are worded, and what its answers to jobs mean."""

from collections.abc import Sequence

import pytest

from pydapr.app import jobs as app_jobs
from pydapr.blocks.jobs import Deliveries, Jobs
from pydapr.errors import Code, DaprError, RpcError
from pydapr.lib.actors import Packed
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_jobs import JobMetrics
from pydapr.peers.scheduling import Due, Job, NamedJob, Owner, Scheduling


class Keeper(Scheduling):
    """A scheduler that raises `error`, if there is one, and remembers what it is asked."""

    def __init__(self, error: RpcError | None = None) -> None:
        self.error = error
        self.asked: list[tuple[object, ...]] = []

    def _ask(self, *what: object) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    async def schedule(
        self, name: str, job: Job, owner: Owner | None, overwrite: bool, concurrency_key: str | None = None
    ) -> None:
        self._ask("schedule", name, job, owner, overwrite)

    async def get(self, name: str, owner: Owner | None) -> Job:
        self._ask("get", name, owner)
        return JOB

    async def delete(self, name: str, owner: Owner | None) -> None:
        self._ask("delete", name, owner)

    async def list(self, owner: Owner | None) -> Sequence[NamedJob]:
        self._ask("list", owner)
        return [NamedJob("j", None, JOB)]

    async def delete_owned(self, owner: Owner, id_is_prefix: bool = False) -> None:
        raise NotImplementedError

    async def delete_by_prefix(self, prefix: str) -> None:
        self._ask("delete_by_prefix", prefix)


JOB = Job(due_time="0s")


def block(scheduler: Scheduling | None) -> Jobs:
    return Jobs(scheduler, "app", "ns")


async def test_what_is_asked_is_passed_on() -> None:
    keeper = Keeper()
    jobs = block(keeper)

    await jobs.schedule("j", JOB, True)
    assert await jobs.get("j") == JOB
    await jobs.delete("j")
    assert [one.name for one in await jobs.list()] == ["j"]
    await jobs.delete_by_prefix("")

    assert keeper.asked == [
        ("schedule", "j", JOB, None, True),
        ("get", "j", None),
        ("delete", "j", None),
        ("list", None),
        ("delete_by_prefix", ""),
    ]


@pytest.mark.parametrize(
    ("name", "job", "code", "message"),
    [
        ("j", None, "DAPR_SCHEDULER_EMPTY", "Job is empty"),
        ("", JOB, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty"),
        ("j", Job(repeats=1), "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty"),
    ],
)
async def test_an_incomplete_job_is_refused(name: str, job: Job | None, code: str, message: str) -> None:
    keeper = Keeper()

    with pytest.raises(DaprError, match=message) as failed:
        await block(keeper).schedule(name, job, False)

    error = failed.value
    assert (error.status, error.grpc, error.code) == (400, Code.INVALID_ARGUMENT, code)
    assert error.details is not None
    assert (error.details.reason, error.details.metadata) == (code, {"appID": "app", "namespace": "ns"})
    assert keeper.asked == []


async def test_a_job_without_name_can_neither_be_read_nor_deleted() -> None:
    for asking in (block(Keeper()).get, block(Keeper()).delete):
        with pytest.raises(DaprError, match="Name is empty"):
            await asking("")


def test_a_name_in_the_wrong_place_tells_the_app_only() -> None:
    with pytest.raises(DaprError, match="Set the job name in the url only") as failed:
        block(None).refuse_name()

    assert failed.value.details is not None
    assert failed.value.details.metadata == {"appID": "app"}


@pytest.mark.parametrize(
    ("code", "grpc", "status"),
    [
        (Code.ALREADY_EXISTS, Code.ALREADY_EXISTS, 409),
        (Code.UNKNOWN, Code.INTERNAL, 500),
        (Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, 400),
        (Code.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED, 504),
        (77, Code.INTERNAL, 500),
    ],
)
async def test_why_a_job_was_not_kept(code: int, grpc: Code, status: int) -> None:
    with pytest.raises(DaprError, match=r"failed to schedule job due to: rpc error: code = .* desc = why") as failed:
        await block(Keeper(RpcError(code, "why"))).schedule("j", JOB, False)

    assert (failed.value.status, failed.value.grpc, failed.value.code) == (status, grpc, "DAPR_SCHEDULER_SCHEDULE_JOB")


async def test_all_other_errors_are_internal() -> None:
    jobs = block(Keeper(RpcError(Code.NOT_FOUND, "job not found: j")))
    found = {}
    for name, asking in {
        "get": jobs.get("j"), "delete": jobs.delete("j"), "list": jobs.list(), "prefix": jobs.delete_by_prefix("j"),
    }.items():  # fmt: skip
        with pytest.raises(DaprError, match="NotFound desc = job not found: j") as failed:
            await asking
        error = failed.value
        assert (error.status, error.grpc) == (500, Code.INTERNAL)
        found[name] = f"{error.code}: {error.message.partition(' due')[0]}"

    assert found == {
        "get": "DAPR_SCHEDULER_GET_JOB: failed to get job",
        "delete": "DAPR_SCHEDULER_DELETE_JOB: failed to delete job",
        "list": "DAPR_SCHEDULER_LIST_JOBS: failed to list jobs",
        "prefix": "DAPR_SCHEDULER_DELETE_JOB: failed to delete job",
    }


async def test_without_a_scheduler() -> None:
    with pytest.raises(DaprError, match="failed to schedule job due to: scheduler clients are disabled") as failed:
        await block(None).schedule("j", JOB, False)

    assert failed.value.status == 500


class App:
    def __init__(self, code: int | None) -> None:
        self.code = code
        self.seen: tuple[str, str, bytes] | None = None

    async def trigger(self, name: str, type_url: str, value: bytes) -> int:
        self.seen = (name, type_url, value)
        if self.code is None:
            raise app_jobs.Failed("not there")
        return self.code


@pytest.mark.parametrize(
    ("code", "is_taken", "counted"),
    [
        (Code.OK, True, "success_count"),
        (Code.NOT_FOUND, True, "failure_count"),
        (Code.UNKNOWN, False, "failure_count"),
        (None, False, None),
    ],
)
async def test_what_an_answer_means(code: int | None, is_taken: bool, counted: str | None) -> None:
    registry = Registry({"app_id": "app"})
    app = App(code)
    deliveries = Deliveries(app)
    deliveries.metrics = JobMetrics(registry, (1, 10), "ns")

    assert await deliveries.deliver(Due("j", None, Packed("t", b"v"))) == is_taken

    assert app.seen == ("j", "t", b"v")
    text = registry.text()
    for name in ("success_count", "failure_count"):
        series = f'dapr_component_job_{name}{{app_id="app",namespace="ns",operation="job_trigger_op"}} 1'
        assert (series in text) == (name == counted)
    assert ("dapr_component_job_latencies_count" in text) == (counted is not None)
