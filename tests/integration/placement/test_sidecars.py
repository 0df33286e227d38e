"""Sidecars of the original and our placement: a leader that is killed, and a sidecar that stands still."""

import os
import signal
import time

import pytest
from tests.integration import harness
from tests.integration.placement.conftest import Cluster, Start

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names the original's executables")

STORE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: store
spec:
  type: state.in-memory
  version: v1
  metadata:
  - name: actorStateStore
    value: "true"
"""


class Hosts:
    """Sidecars of apps that host cats."""

    def __init__(self, world: harness.World, addresses: list[str], count: int) -> None:
        folder = world.write("resources/store.yaml", STORE).parent
        flags = f"--placement-host-address={','.join(addresses)}", f"--resources-path={folder}"
        program = [os.path.join(harness.ORIGINAL, "daprd")]
        apps = [world.app() for _ in range(count)]
        for app in apps:
            app.config = b'{"entities": ["Cat"]}'
        here = {"DAPR_HOST_IP": "127.0.0.1"}
        self.sidecars = [
            world.daprd(f"cats{number}", app, *flags, program=program, environment=here)
            for number, app in enumerate(apps)
        ]
        for sidecar in self.sidecars:
            sidecar.await_ready()

    def await_calls(self, limit: float = harness.LIMIT, of: int = -1) -> None:
        """Each of them reaches actors on all of them."""
        for sidecar in self.sidecars[:of] if of > 0 else self.sidecars:
            harness.eventually(
                lambda one=sidecar: all(self._call(one, n) for n in range(12)),  # type: ignore[misc]
                f"{sidecar.app_id} calls actors",
                limit,
            )

    @staticmethod
    def _call(sidecar: harness.Sidecar, number: int) -> bool:
        return sidecar.call("POST", f"/v1.0/actors/Cat/c{number}/method/m", body=b"").status == 200


def test_sidecars_follow_the_next_leader(cluster: Cluster, world: harness.World) -> None:
    first = cluster.leader()
    hosts = Hosts(world, [member.address for member in cluster], 2)
    harness.eventually(lambda: len(first.hosts()) == 2, "both have reported")
    hosts.await_calls()
    first.kill()
    second = cluster.leader(limit=10)
    assert second is not first
    harness.eventually(lambda: len(second.hosts()) == 2, "both have reported to the next leader")
    hosts.await_calls()
    second.stop()
    first.start()
    third = cluster.leader(limit=15)
    harness.eventually(lambda: len(third.hosts()) == 2, "both have reported to the one after that")
    hosts.await_calls()


@pytest.mark.parametrize("rounds", [False, True], ids=["idle", "in a round"])
def test_one_that_stands_still_is_missed_soon(start: Start, world: harness.World, rounds: bool) -> None:
    member = start("--disseminate-timeout=2s", "--keepalive-time=1s", "--keepalive-timeout=1s")
    hosts = Hosts(world, [member.address], 3)
    harness.eventually(lambda: len(member.hosts()) == 3, "all have reported")
    hosts.await_calls()
    still = hosts.sidecars[-1]
    if rounds:
        hosts.sidecars[1].send_signal(signal.SIGKILL)
        del hosts.sidecars[1]
    still.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    left = len(hosts.sidecars) - 1
    harness.eventually(lambda: len(member.hosts()) == left, "it is out of the table", 10)
    assert time.monotonic() - began < 8
    hosts.await_calls(of=left)
    still.send_signal(signal.SIGCONT)
    harness.eventually(lambda: len(member.hosts()) == left + 1, "it is back", 30)
    hosts.await_calls()
