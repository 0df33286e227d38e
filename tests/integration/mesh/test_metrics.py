"""The metrics of our sidecars beside those of the original's after the same calls: names, labels, counts.

Runs when PYDAPR_ORIGINAL names a folder with the original executables.
"""

import os
import re
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire, answer

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

RESILIENCY = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: policies}
spec:
  policies:
    timeouts: {short: 10s}
    retries: {few: {policy: constant, duration: 10ms, maxRetries: 2}}
    circuitBreakers: {careful: {maxRequests: 1, timeout: 60s, trip: consecutiveFailures >= 3}}
  targets:
    apps:
      %s: {timeout: short, retry: few, circuitBreaker: careful}
"""
CONFIGURATION = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: counted}
spec:
  metrics:
    recordErrorCodes: true
    rules: [{name: dapr_http_client_completed_count, labels: [{name: path, regex: {"/order/N": "/order/[0-9]+"}}]}]
"""
PROCESS = re.compile(r"(go|process|python|pydapr)_")
TIMES = re.compile(r"_(sum|bucket)\{")
PROBES = ("/v1.0/healthz", "ERR_HEALTH_NOT_READY")
"""What depends on how often somebody looked whether the sidecar is ready."""


def serve(wire: Wire, request: Message) -> None:
    """An app that fails where the path says so."""
    request.body = b"".join(wire.pieces())
    status = "500 Oops" if "/fail" in request.start else "404 Not Found" if "/missing" in request.start else "200 OK"
    wire.send(answer(status, "Content-Type: text/plain", body=b"x" * 100))


class Pair:
    """A caller and a callee of one kind, and what they tell after the calls."""

    def __init__(self, world: World, folder: Path, kind: str, program: list[str]) -> None:
        app = world.app(serve)
        (folder / "resources").mkdir(parents=True)
        (folder / "config.yaml").write_text(CONFIGURATION)
        config = ("--config", str(folder / "config.yaml"))
        self.callee = world.daprd(f"callee-{kind}", app, *config, program=program)
        (folder / "resources" / "policies.yaml").write_text(RESILIENCY % self.callee.app_id)
        resources = ("--resources-path", str(folder / "resources"))
        self.caller = world.daprd(f"caller-{kind}", app, *config, *resources, program=program)
        self.app_port = app.port

    def call(self) -> None:
        caller, callee = self.caller.await_ready(), self.callee.await_ready()
        invoke = f"/v1.0/invoke/{callee.app_id}/method"
        harness.eventually(lambda: caller.call("GET", f"{invoke}/hello").status == 200, "the callee is found")
        for verb, path, body in [
            ("GET", "/hello?q=1", None),
            ("POST", "/order/17", b"five5"),
            ("POST", "/order/18", b"x" * 5000),
            ("BREW", "/hello", None),
            ("GET", "/missing", None),
            ("GET", "/fail", None),
            ("GET", "/fail", None),
        ]:
            caller.call(verb, invoke + path, body=body)
        caller.call("GET", f"/v1.0/invoke/{caller.app_id}/method/own")
        caller.call("GET", f"/v1.0/invoke/http://127.0.0.1:{self.app_port}/method/url")
        caller.call("GET", "/v1.0/metadata")
        for one in (caller, callee):  # an error for certain: to have been asked too early is another, by chance
            one.call("GET", "/v1.0/healthz?appid=other")

    def told(self, sidecar: Sidecar) -> dict[str, str]:
        """Series and values, without what depends on time, and names of sidecars made alike."""
        text = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        for one, name in ((self.caller, "CALLER"), (self.callee, "CALLEE")):
            text = text.replace(one.app_id, name)
        lines = text.replace(str(self.app_port), "PORT").splitlines()
        series = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {
            name: value
            for name, value in series.items()
            if not PROCESS.match(name) and not TIMES.search(name) and not any(probe in name for probe in PROBES)
        }

    def types(self, sidecar: Sidecar) -> set[str]:
        text = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        return {line for line in text.splitlines() if line.startswith("# ") and not PROCESS.match(line.split()[2])}

    def bounds(self, sidecar: Sidecar) -> set[tuple[str, ...]]:
        """Metric and bound of each bucket."""
        text = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        return {found for found in re.findall(r'^(dapr_\w+_bucket)\{.*le="([^"]+)"', text, re.MULTILINE)}


@pytest.fixture(scope="module")
def pairs(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    original = [os.path.join(harness.ORIGINAL, "daprd")]
    made = []
    for name, program in (("ours", harness.OURS), ("original", original)):
        pair = Pair(shared_world, tmp_path_factory.mktemp(name), name, program)
        pair.call()
        made.append(pair)
    return made[0], made[1]


COUNTED_PER_REQUEST = ("_request_bytes_count", "_response_bytes_count")
"""These count the requests that found nobody ready, too."""


def comparable(told: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in told.items() if not any(part in name for part in COUNTED_PER_REQUEST)}


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_the_same_series_with_the_same_counts(pairs: tuple[Pair, Pair], side: str) -> None:
    ours, theirs = (comparable(pair.told(getattr(pair, side))) for pair in pairs)

    assert ours == theirs


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_the_same_types_and_help(pairs: tuple[Pair, Pair], side: str) -> None:
    ours, theirs = (pair.types(getattr(pair, side)) for pair in pairs)

    assert ours - theirs == theirs - ours == set()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_the_same_bounds(pairs: tuple[Pair, Pair], side: str) -> None:
    ours, theirs = (pair.bounds(getattr(pair, side)) for pair in pairs)

    assert ours == theirs
