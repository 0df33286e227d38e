"""A running scheduler, and what sidecars ask of it: by grpcio, so that nothing of ours is in between."""

import http.client
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from tests.integration import harness

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

OURS = [sys.executable, "-m", "pydapr", "scheduler"]
SERVICE = "/dapr.proto.scheduler.v1.Scheduler/"
LIMIT = 20.0
UNBOUNDED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def metadata(app_id: str = "app", namespace: str = "default", actor: str = "", id: str = "") -> pb.JobMetadata:
    made = pb.JobMetadata(app_id=app_id, namespace=namespace)
    if actor:
        made.target.actor.type, made.target.actor.id = actor, id
    else:
        made.target.job.SetInParent()
    return made


class Refused(Exception):
    """A call that was answered with another status than OK."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.code, self.text = error.code().name, error.details()
        super().__init__(f"{self.code} {self.text}")


class Scheduler:
    """A scheduler, just started. `folder` has its jobs; the same folder has them again."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        id: str = "one",
        again: "Scheduler | None" = None,
        program: list[str] | None = None,
    ) -> None:
        self._folder, self._flags, self._id, self._program = folder, flags, id, program
        peer_scheme = "https" if "--tls-enabled=true" in flags else "http"
        ports: list[int] = again.ports if again is not None else [harness.free_port() for _ in range(5)]
        self.ports: list[int] = ports
        self.port, self.health_port, self.metrics_port, etcd, peer = ports
        self.log_path = folder / "scheduler.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program or OURS), f"--id={id}", f"--port={self.port}", f"--healthz-port={self.health_port}",
                    f"--metrics-port={self.metrics_port}", f"--etcd-client-port={etcd}", f"--etcd-data-dir={folder}",
                    "--listen-address=127.0.0.1", f"--etcd-initial-cluster={id}={peer_scheme}://127.0.0.1:{peer}",
                    *flags,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "NAMESPACE": "default"},
            )  # fmt: skip
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options=UNBOUNDED)

    # -- what it says --

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def get(self, port: int, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_healthy(self) -> bool:
        try:
            return self.get(self.health_port, "/healthz")[0] == 200
        except OSError:
            return False

    def await_ready(self) -> "Scheduler":
        harness.eventually(lambda: self.is_healthy() and "Cron is ready" in self.log, "the scheduler is ready")
        return self

    def metric(self, line: str) -> float:
        """The value of a series; 0 when there is none."""
        text = self.get(self.metrics_port, "/metrics")[1]
        return next((float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(f"{line} ")), 0.0)

    # -- calls --

    def call(self, method: str, request: Any, **options: Any) -> bytes:
        ask = self._channel.unary_unary(SERVICE + method, request_serializer=lambda one: one.SerializeToString())
        try:
            return bytes(ask(request, timeout=LIMIT, wait_for_ready=True, **options))
        except grpc.RpcError as error:
            raise Refused(error) from None

    def schedule(self, name: str, app: pb.JobMetadata | None = None, overwrite: bool = False, **job: Any) -> None:
        request = pb.ScheduleJobRequest(name=name, metadata=app or metadata(), overwrite=overwrite, job=pb.Job(**job))
        self.call("ScheduleJob", request)

    def schedule_many(self, requests: Iterator[pb.ScheduleJobRequest]) -> list[str]:
        """Schedules all at once; the names of those that were acknowledged."""
        ask = self._channel.unary_unary(SERVICE + "ScheduleJob", request_serializer=lambda one: one.SerializeToString())
        asked = [(one.name, ask.future(one, timeout=LIMIT, wait_for_ready=True)) for one in requests]
        return [name for name, answer in asked if answer.exception() is None]

    def listed(self, app: pb.JobMetadata | None = None) -> list[str]:
        answer = self.call("ListJobs", pb.ListJobsRequest(metadata=app or metadata()))
        return [job.name for job in pb.ListJobsResponse.FromString(answer).jobs]

    def watch(self, **initial: Any) -> "Watch":
        return Watch(self._channel, pb.WatchJobsRequestInitial(**({"app_id": "app", "namespace": "default"} | initial)))

    # -- its end --

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        self._channel.close()

    def again(self) -> "Scheduler":
        """The same one after its end."""
        return Scheduler(self._folder, *self._flags, id=self._id, again=self, program=self._program)


class Watch:
    """A stream of jobs: a thread receives, the test answers."""

    def __init__(self, channel: grpc.Channel, initial: pb.WatchJobsRequestInitial | None) -> None:
        self._requests: queue.SimpleQueue[pb.WatchJobsRequest | None] = queue.SimpleQueue()
        self._received: queue.SimpleQueue[pb.WatchJobsResponse | grpc.RpcError] = queue.SimpleQueue()
        if initial is not None:
            self._requests.put(pb.WatchJobsRequest(initial=initial))
        open_ = channel.stream_stream(SERVICE + "WatchJobs", request_serializer=lambda one: one.SerializeToString())
        self.call = open_(iter(self._requests.get, None), wait_for_ready=True)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            for data in self.call:
                self._received.put(pb.WatchJobsResponse.FromString(data))
        except grpc.RpcError as error:
            self._received.put(error)

    def next(self, limit: float = LIMIT) -> pb.WatchJobsResponse:
        """The next job. Raises `Refused` when the stream has ended, `queue.Empty` when there is none within limits."""
        found = self._received.get(timeout=limit)
        if isinstance(found, grpc.RpcError):
            raise Refused(found)
        return found

    def is_empty(self) -> bool:
        """Whether nothing has come that was not asked for yet."""
        return self._received.empty()

    def answer(self, job: pb.WatchJobsResponse | int, is_success: bool = True) -> None:
        number = job if isinstance(job, int) else job.id
        result = pb.WatchJobsRequestResult(id=number, status=pb.SUCCESS if is_success else pb.FAILED)
        self._requests.put(pb.WatchJobsRequest(result=result))

    def say(self, request: pb.WatchJobsRequest) -> None:
        self._requests.put(request)

    def finish(self) -> None:
        """Says that nothing more comes."""
        self._requests.put(None)

    def cancel(self) -> None:
        self._requests.put(None)
        self.call.cancel()
