"""Nothing that is due gets lost, whoever is killed, and nothing has to be restarted but what was killed."""

import json
import threading
import time
from collections import Counter

from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire
from tests.integration.jobs.conftest import Scheduler


class Jobs:
    """An app that counts its jobs by name. `answer` decides what it says to the nth time."""

    def __init__(self, world: World) -> None:
        self.counts: Counter[str] = Counter()
        self.statuses = ["200 OK"]
        self._lock = threading.Lock()
        self.app = world.app(self._handle)

    def _handle(self, wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        with self._lock:
            name = request.target.removeprefix("/job/")
            status = self.statuses[min(self.counts[name], len(self.statuses) - 1)]
            self.counts[name] += 1
        wire.send(http_wire.answer(status))


def schedule(sidecar: Sidecar, name: str, **job: object) -> None:
    answer = sidecar.call("POST", f"/v1.0/jobs/{name}", body=json.dumps(job).encode())
    assert answer.status == 204, answer.body


def test_delivery_goes_on_after_the_scheduler_was_killed(world: World, scheduler: Scheduler) -> None:
    jobs = Jobs(world)
    sidecar = world.sidecar("app", jobs.app, *scheduler.flags)
    schedule(sidecar, "tick", schedule="@every 200ms")
    eventually(lambda: jobs.counts["tick"] > 1, "the job comes")

    scheduler.kill()
    assert sidecar.status("/v1.0/healthz") == 204
    before = jobs.counts["tick"]
    scheduler.start()

    eventually(lambda: jobs.counts["tick"] > before, "the job comes again", scheduler.recovers_within)


def test_no_job_is_lost_with_a_sidecar(world: World, scheduler: Scheduler) -> None:
    jobs = Jobs(world)
    sidecar = world.sidecar("app", jobs.app, *scheduler.flags)
    names = [f"j{number}" for number in range(300)]
    for name in names:
        schedule(sidecar, name, dueTime="3s")
    eventually(lambda: jobs.counts, "the first jobs come")

    sidecar.kill()
    sidecar = world.sidecar("app", jobs.app, *scheduler.flags)

    eventually(lambda: not set(names) - jobs.counts.keys(), "all jobs have come")


def test_an_app_that_fails_twice_gets_its_job_three_times(world: World, scheduler: Scheduler) -> None:
    jobs = Jobs(world)
    jobs.statuses = ["500 Internal Server Error", "503 Service Unavailable", "200 OK"]
    sidecar = world.sidecar("app", jobs.app, *scheduler.flags)

    policy = {"constant": {"interval": "0.05s", "maxRetries": 5}}
    schedule(sidecar, "tough", dueTime="0s", failurePolicy=policy)
    eventually(lambda: jobs.counts["tough"] == 3, "three times")
    schedule(sidecar, "after", dueTime="0s")
    eventually(lambda: jobs.counts["after"] == 3, "three times")

    assert jobs.counts["tough"] == 3


def test_three_sidecars_of_an_app_share_its_jobs(world: World, scheduler: Scheduler) -> None:
    apps = [Jobs(world) for _ in range(3)]
    sidecars = [world.sidecar("app", jobs.app, *scheduler.flags) for jobs in apps]
    names = [f"j{number}" for number in range(30)]
    for name in names:
        schedule(sidecars[0], name, dueTime="0s")

    eventually(lambda: sum(sum(jobs.counts.values()) for jobs in apps) >= len(names), "all jobs have come")

    assert all(jobs.counts for jobs in apps)
    assert sum((jobs.counts for jobs in apps), Counter()) == Counter(names)


def test_a_sidecar_without_its_scheduler_waits_quietly(world: World) -> None:
    jobs = Jobs(world)
    sidecar = world.daprd("app", jobs.app, "--scheduler-host-address", f"127.0.0.1:{harness.free_port()}")
    sidecar.await_outbound()

    def words() -> str:
        answer = sidecar.call("GET", "/v1.0/healthz")
        assert answer.status == 500
        return str(json.loads(answer.body)["message"])

    eventually(lambda: words() == "dapr is not ready: [scheduler-watch-hosts]", "nothing else is missing")
    began = time.monotonic()
    assert sidecar.stop() == 0
    assert time.monotonic() - began < 5
