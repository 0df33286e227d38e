"""Jobs by HTTP and gRPC, to HTTP and gRPC apps."""

import json
from collections.abc import Callable

import grpc
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from tests.integration import harness, http_wire
from tests.integration.grpc_app import DAPR, GrpcApp, failure
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.jobs.conftest import Scheduler

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2, jobs_pb2, metadata_pb2

Call = Callable[..., bytes]


def rpc(sidecar: Sidecar, method: str) -> Call:
    channel = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")
    return channel.unary_unary(DAPR + method)  # type: ignore[no-any-return]


def test_a_job_by_http(world: World, scheduler: Scheduler) -> None:
    app = world.app(http_wire.always(http_wire.answer()))
    sidecar = world.sidecar("app", app, *scheduler.flags)
    job = {"dueTime": "1h", "schedule": "@every 2h", "repeats": 3, "ttl": "9h", "data": {"b": [1, None], "a": "ü"}}
    body = json.dumps(job).encode()

    assert sidecar.call("POST", "/v1.0/jobs/a%20job", body=body).status == 204
    again = sidecar.call("POST", "/v1.0-alpha1/jobs/a%20job", body=body)
    found = sidecar.document("GET", "/v1.0/jobs/a%20job")

    assert (again.status, json.loads(again.body)["errorCode"]) == (409, "DAPR_SCHEDULER_SCHEDULE_JOB")
    assert found == {
        **job,
        "name": "a job",
        "data": {"@type": "type.googleapis.com/google.protobuf.Value", "value": job["data"]},
        "failurePolicy": {"constant": {"interval": "1s", "maxRetries": 3}},
    }
    now = json.dumps({**job, "dueTime": "0s", "overwrite": True}).encode()
    assert sidecar.call("POST", "/v1.0/jobs/a%20job", body=now).status == 204
    eventually(lambda: app.seen, "the job comes")
    assert (app.last.target, app.last.get("content-type")) == ("/job/a%20job", "application/json")
    assert app.last.body == '{"a":"ü","b":[1,null]}'.encode()
    assert [sidecar.call("DELETE", "/v1.0/jobs/a%20job").status for _ in range(2)] == [204, 204]
    gone = sidecar.call("GET", "/v1.0/jobs/a%20job")
    assert (gone.status, json.loads(gone.body)["errorCode"]) == (500, "DAPR_SCHEDULER_GET_JOB")
    assert sidecar.document("GET", "/v1.0/metadata")["scheduler"]["connected_addresses"] == [scheduler.flags[1]]


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("/v1.0/jobs/j", b"{}", "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty"),
        ("/v1.0/jobs/%20", b'{"dueTime":"1s"}', "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty"),
        ("/v1.0/jobs/j", b'{"name":"k"}', "DAPR_SCHEDULER_JOB_NAME", "Set the job name in the url only"),
        ("/v1.0/jobs/j", b"[]", "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: "),
        ("/v1.0/jobs/j", b'{"dueTime":7}', "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: "),
    ],
)
def test_what_is_no_job(shared_world: World, path: str, body: bytes, code: str, message: str) -> None:
    sidecar = _alone(shared_world)

    answer = sidecar.call("POST", path, body=body)

    document = json.loads(answer.body)
    assert (answer.status, document["errorCode"]) == (400, code)
    assert document["message"].startswith(message)
    if code.startswith("DAPR"):
        [details] = document["details"]
        assert (details["reason"], details["domain"]) == (code, "dapr.io")
        assert details["metadata"]["appID"] == sidecar.app_id


def test_without_a_scheduler_the_api_says_so(shared_world: World) -> None:
    sidecar = _alone(shared_world)

    answer = sidecar.call("POST", "/v1.0/jobs/j", body=b'{"dueTime":"1s"}')

    assert answer.status == 500
    assert json.loads(answer.body)["message"] == "failed to schedule job due to: scheduler clients are disabled"
    asked = jobs_pb2.GetJobRequest(name="j").SerializeToString()
    code, text = failure(lambda: rpc(sidecar, "GetJob")(asked))
    assert (code, text) == ("INTERNAL", "failed to get job due to: scheduler clients are disabled")
    assert "scheduler" not in sidecar.document("GET", "/v1.0/metadata")


def _alone(world: World) -> Sidecar:
    """A sidecar without a scheduler, the same for all tests of the world."""
    return world.sidecars[0] if world.sidecars else world.sidecar("alone", None, "--scheduler-host-address", '""')


def test_a_job_by_grpc_to_a_grpc_app(world: World, scheduler: Scheduler) -> None:
    app = GrpcApp()
    try:
        sidecar = world.sidecar("app", app.port, "--app-protocol", "grpc", *scheduler.flags)
        data = any_pb2.Any()
        data.Pack(wrappers_pb2.StringValue(value="hello"))
        job = jobs_pb2.Job(name="a b", due_time="0s", data=data)
        message = jobs_pb2.ScheduleJobRequest(job=job).SerializeToString()

        rpc(sidecar, "ScheduleJobAlpha1")(message, timeout=harness.LIMIT)
        eventually(lambda: b"job/a b" in app.request, "the job comes")

        seen = appcallback_pb2.JobEventRequest.FromString(app.request)
        assert (seen.name, seen.method, seen.data, seen.content_type) == ("a b", "job/a b", data, data.type_url)
    finally:
        app.close()


def test_lists_and_prefixes(world: World, scheduler: Scheduler) -> None:
    sidecar = world.sidecar("app", None, *scheduler.flags)
    other = world.sidecar("other", None, *scheduler.flags)
    for one, name in ((sidecar, "day-1"), (sidecar, "day-2"), (sidecar, "night"), (other, "day-3")):
        message = jobs_pb2.ScheduleJobRequest(job=jobs_pb2.Job(name=name, due_time="1h")).SerializeToString()
        rpc(one, "ScheduleJob")(message, timeout=harness.LIMIT)

    def names(one: Sidecar) -> list[str]:
        answer = rpc(one, "ListJobs")(b"", timeout=harness.LIMIT)
        return sorted(job.name for job in jobs_pb2.ListJobsResponse.FromString(answer).jobs)

    assert (names(sidecar), names(other)) == (["day-1", "day-2", "night"], ["day-3"])
    prefix = jobs_pb2.DeleteJobsByPrefixRequest(name_prefix="day-").SerializeToString()
    rpc(sidecar, "DeleteJobsByPrefix")(prefix, timeout=harness.LIMIT)
    assert (names(sidecar), names(other)) == (["night"], ["day-3"])
    rpc(sidecar, "DeleteJobsByPrefixAlpha1")(b"", timeout=harness.LIMIT)
    assert (names(sidecar), names(other)) == ([], ["day-3"])
    told = metadata_pb2.GetMetadataResponse.FromString(rpc(sidecar, "GetMetadata")(b"", timeout=harness.LIMIT))
    assert list(told.scheduler.connected_addresses) == [scheduler.flags[1]]


def test_an_unhealthy_app_gets_its_jobs_when_it_is_well_again(world: World, scheduler: Scheduler) -> None:
    is_well = True
    jobs: list[str] = []

    def handle(wire: http_wire.Wire, request: http_wire.Message) -> None:
        request.body = b"".join(wire.pieces())
        if request.target.startswith("/job/"):
            jobs.append(request.target)
        wire.send(http_wire.answer("200 OK" if is_well else "500 Internal Server Error"))

    app = world.app(handle)
    checks = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")
    sidecar = world.sidecar("app", app, *checks, *scheduler.flags)
    sidecar.await_log("Scheduler stream connected")
    is_well = False
    sidecar.await_log("App entered un-healthy status")

    assert sidecar.call("POST", "/v1.0/jobs/j", body=b'{"dueTime":"0s","failurePolicy":{"drop":{}}}').status == 204
    probes = len(app.seen)
    eventually(lambda: len(app.seen) > probes + 1, "probes go on")
    assert jobs == []
    is_well = True

    eventually(lambda: jobs, "the job comes")


def test_what_the_scheduler_is_asked_is_counted(world: World, scheduler: Scheduler) -> None:
    sidecar = world.sidecar("app", world.app(), *scheduler.flags)
    assert sidecar.call("POST", "/v1.0/jobs/j", body=b'{"dueTime":"1h"}').status == 204
    assert sidecar.call("GET", "/v1.0/jobs/none").status == 500

    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
    for name, status in (("ScheduleJob", "OK"), ("GetJob", "NotFound")):
        method = f'app_id="{sidecar.app_id}",grpc_client_method="/dapr.proto.scheduler.v1.Scheduler/{name}"'
        assert f'dapr_grpc_io_client_completed_rpcs{{{method},grpc_client_status="{status}"}} 1\n' in page
        assert f"dapr_grpc_io_client_sent_bytes_per_rpc_count{{{method}}} 1\n" in page
