"""A root replaced while sidecars, actors and jobs are at work: placement and scheduler follow, and nothing is lost."""

import collections
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration import harness, http_wire
from tests.integration.http_wire import Message, Wire
from tests.integration.jobs.conftest import PROGRAMS, Scheduler
from tests.integration.mtls.conftest import Mesh
from tests.integration.mtls.load import Load
from tests.integration.placement.members import Member
from tests.unit.security import issuing

from pydapr.security import certificates

STORE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: st}
spec:
  type: state.in-memory
  version: v1
  metadata:
  - {name: actorStateStore, value: "true"}
"""
CHANGED, RENEWED = "Trust anchors have changed", "Successfully renewed workload identity"

Log = Callable[[], str]


class Everything:
    """An app with actors and jobs, who calls it, and a placement and a scheduler, all by one file of anchors."""

    def __init__(self, mesh: Mesh, folder: Path) -> None:
        self.sentry, world = mesh.sentry, mesh.world
        self.anchors = world.write("anchors.pem", self.sentry.anchors)
        world.write("resources/store.yaml", STORE)
        flags = "--tls-enabled=true", f"--sentry-address={self.sentry.address}", f"--trust-anchors-file={self.anchors}"
        self.placement = Member(folder, {"p1": harness.free_port()}, "p1", *flags)
        self.scheduler = Scheduler(world, PROGRAMS["ours"], *flags, f"--identity-directory-write={folder}/tls").start()
        self.jobs: collections.Counter[str] = collections.Counter()
        app = world.app(self._handle)
        app.config = b'{"entities": ["Cat"]}'
        common = "--placement-host-address", self.placement.address, *self.scheduler.flags
        environment = {"DAPR_TRUST_ANCHORS_FILE": str(self.anchors)}
        resources = "--resources-path", str(world.folder / "resources")
        self.host = mesh.daprd("host", app, *common, *resources, environment=environment)
        self.caller = mesh.daprd("caller", None, *common, environment=environment)
        logs = folder / "placement-p1.log", world.folder / "scheduler" / "scheduler.log"
        self.logs: list[Log] = [lambda path=path: path.read_text() for path in logs]  # type: ignore[misc]
        self.logs += [lambda one=one: one.log for one in (self.host, self.caller)]  # type: ignore[misc]

    def _handle(self, wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        if request.target.startswith("/job/"):
            self.jobs[request.target.removeprefix("/job/")] += 1
        wire.send(http_wire.answer(body=request.body))

    def await_ready(self) -> "Everything":
        self.placement.await_ready()
        for one in (self.host, self.caller):
            one.await_ready()
        return self

    @contextlib.contextmanager
    def all_say(self, line: str, times: int = 1) -> Iterator[None]:
        """Waits until all have said it so often after what is done within."""
        before = [log().count(line) for log in self.logs]
        yield
        for log, number in zip(self.logs, before, strict=True):
            harness.eventually(lambda log=log, number=number: log().count(line) >= number + times, line)  # type: ignore[misc]

    def replace_root(self) -> None:
        old, made = self.sentry.anchors.encode(), issuing.made()
        with self.all_say(CHANGED):
            self.anchors.write_bytes(old + made.anchors)
        with self.all_say(RENEWED, 2):
            (self.sentry.credentials / "ca.crt").write_bytes(old + made.anchors)
            (self.sentry.credentials / "issuer.crt").write_bytes(certificates.encode(made.chain))
            (self.sentry.credentials / "issuer.key").write_bytes(certificates.encode_key(made.key))
            self.sentry_has_changed()
        with self.all_say(CHANGED), self.all_say(RENEWED):
            self.anchors.write_bytes(made.anchors)

    def sentry_has_changed(self) -> None:
        harness.eventually(lambda: "Issuer credentials changed" in self.sentry.log, "sentry has changed")

    def close(self) -> None:
        self.placement.kill()
        self.scheduler.kill()


@pytest.fixture
def everything(mesh: Mesh, tmp_path: Path) -> Iterator[Everything]:
    made = Everything(mesh, tmp_path)
    try:
        yield made.await_ready()
    finally:
        made.close()
        for log in made.logs[:2]:
            print(log()[-8000:])  # noqa: T201 - pytest shows it with a failure


@pytest.mark.parametrize("sentry", ["short-lived"], indirect=True)
def test_actors_and_jobs_go_on_while_the_root_is_replaced(everything: Everything) -> None:
    caller, host = everything.caller, everything.host
    accepted: list[str] = []

    def actor(number: int) -> Message:
        return caller.call("PUT", f"/v1.0/actors/Cat/{number % 20}/method/some", body=b"hello")

    def job(number: int) -> Message:
        answer = host.call("POST", f"/v1.0/jobs/j{number}", body=b'{"dueTime": "500ms"}')
        accepted.append(f"j{number}")
        return answer

    harness.eventually(lambda: actor(0).status == 200, "the actor is found")
    loads = [Load(caller, host, actor, 2), Load(caller, host, job, 1)]
    with contextlib.ExitStack() as stack:
        for load in loads:
            stack.enter_context(load.running())
        everything.replace_root()
    harness.eventually(lambda: len(everything.jobs) >= len(accepted), "all jobs come")
    assert [load.failures for load in loads] == [[], []]
    assert all(load.count > 20 for load in loads)
    assert everything.jobs == collections.Counter(accepted)
