"""Start-up and service invocation, ours alone or in turn with another build of the Dapr executables.

Called by `scripts/bench`. Each case runs in rounds, A B A B …, so that a machine that grows slow or fast does
so for both; shown are medians, and ours divided by theirs. Latency and rate come from wrk, processor time and
memory from the kernel (Linux). A call goes wrk > sidecar of the caller > sidecar of the callee > echo app and
back, with a body of 1 KB, without TLS except in the cases that say so.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Numbers = dict[str, float]

READY_SECONDS = 30.0
WARM_SECONDS = 2
IDLE_SECONDS = 2.0
BODY_BYTES = 1024

COLUMNS = {
    "ready_ms": "ready, ms",
    "cpu_start_ms": "CPU to ready, ms",
    "cpu_idle_percent": "CPU idle, %",
    "rps": "calls/s",
    "delivered_rps": "delivered/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "cpu_caller_us": "CPU µs per call, caller",
    "cpu_callee_us": "CPU µs per call, callee",
    "pss_mib": "memory, MiB",
    "errors": "errors",
}


# -- what the kernel knows --


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far (the clock id is that of clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


def pss_mib(pid: int) -> float:
    """Memory of a process, of what is shared its share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


# -- processes --


def request(port: int, verb: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP request on a connection of its own. Raises `OSError`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(verb, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()


def until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if is_true():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {READY_SECONDS:.0f} s: {what}")
        time.sleep(0.002)


@dataclass
class Sidecar:
    """A sidecar that is ready."""

    process: "subprocess.Popen[bytes]"
    http_port: int
    metrics_port: int
    ready_seconds: float
    cpu_at_ready: float

    @property
    def pid(self) -> int:
        return self.process.pid


@dataclass
class Build:
    """A folder of executables, and what was started from it."""

    name: str
    folder: Path
    work: Path
    rounds: dict[str, list[Numbers]] = field(default_factory=dict)
    _started: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _count: int = 0

    def program(self, what: str = "daprd") -> str:
        for name in (what, f"dapr-{what}"):
            if (self.folder / name).exists():
                return str(self.folder / name)
        raise SystemExit(f"no {what} in {self.folder}")

    def unique(self, role: str) -> str:
        """An app id that nobody remembers."""
        self._count += 1
        return f"{role}-{os.getpid()}-{self.name}-{self._count}"

    def sentry(self) -> dict[str, str]:
        """Starts a certificate authority; the flags and variables by which sidecars use it."""
        port, healthz, metrics = free_ports(3)
        credentials = self.work / self.unique("credentials")
        credentials.mkdir()
        config = self.work / "sentry.yaml"
        config.write_text("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: x\nspec: {}\n")
        command = [self.program("sentry"), f"--issuer-credentials={credentials}", f"--config={config}"]
        command += [f"--port={port}", f"--healthz-port={healthz}", f"--metrics-port={metrics}"]
        with (self.work / "sentry.log").open("wb") as log:
            self._started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.work))
        until(lambda: request(healthz, "GET", "/healthz")[0] == 200, "sentry is ready")
        return {
            "--enable-mtls": "true",
            "--sentry-address": f"localhost:{port}",
            "DAPR_TRUST_ANCHORS": (credentials / "ca.crt").read_text(),
        }

    def daprd(self, app_id: str, app_port: int = 0, more: dict[str, str] | None = None) -> Sidecar:
        http_port, grpc, internal, metrics = free_ports(4)
        command = [
            self.program(),
            "--app-id",
            app_id,
            "--dapr-http-port",
            str(http_port),
            "--dapr-grpc-port",
            str(grpc),
        ]
        command += ["--dapr-internal-grpc-port", str(internal), "--metrics-port", str(metrics), "--log-level", "error"]
        command += ["--resources-path", str(self.work / "resources")]
        command += ["--app-port", str(app_port)] if app_port else []
        environment = {**os.environ, "DAPR_RUNTIME_PATH": str(self.work), "HOME": str(self.work)}
        for name, value in (more or {}).items():
            if name.startswith("--"):
                command.append(f"{name}={value}")
            else:
                environment[name] = value
        began = time.monotonic()
        with (self.work / f"{app_id}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=self.work)
        self._started.append(process)
        until(lambda: request(http_port, "GET", "/v1.0/healthz")[0] == 204, f"{app_id} is ready")
        return Sidecar(process, http_port, metrics, time.monotonic() - began, cpu_seconds(process.pid))

    def redis(self, port: int) -> None:
        """Starts a Redis server that keeps nothing on the disk."""
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.work))
        until(lambda: _listens(port), "redis-server listens")

    def stop(self) -> None:
        for process in self._started:
            process.send_signal(signal.SIGINT)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def echo_app() -> Iterator[int]:
    """The app that is called; its port."""
    port = free_ports(1)[0]
    program = Path(__file__).with_name("echo_app.py")
    process = subprocess.Popen([sys.executable, str(program), str(port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: request(port, "POST", "/", b"hi")[1] == b"hi", "the echo app answers")
        yield port
    finally:
        process.terminate()
        process.wait()


# -- cases --


def startup(build: Build, echo_port: int, seconds: int) -> Numbers:
    """From the start of the process to the first 204 of its health check, and then at rest."""
    sidecar = build.daprd(build.unique("start"))
    time.sleep(IDLE_SECONDS)
    idle = cpu_seconds(sidecar.pid) - sidecar.cpu_at_ready
    return {
        "ready_ms": sidecar.ready_seconds * 1000,
        "cpu_start_ms": sidecar.cpu_at_ready * 1000,
        "cpu_idle_percent": idle / IDLE_SECONDS * 100,
        "pss_mib": pss_mib(sidecar.pid),
    }


def invoke(connections: int, with_mtls: bool = False) -> Callable[[Build, int, int], Numbers]:
    def case(build: Build, echo_port: int, seconds: int) -> Numbers:
        more = build.sentry() if with_mtls else None
        callee_id = build.unique("callee")
        callee = build.daprd(callee_id, echo_port, more)
        caller = build.daprd(build.unique("caller"), 0, more)
        path = f"/v1.0/invoke/{callee_id}/method/echo"
        until(lambda: request(caller.http_port, "POST", path, b"hi")[0] == 200, "a call gets through")
        url = f"http://127.0.0.1:{caller.http_port}{path}"
        script = _script(build.work)
        wrk(url, script, connections, WARM_SECONDS)
        pids = (caller.pid, callee.pid)
        before = [cpu_seconds(pid) for pid in pids]
        numbers, calls = wrk(url, script, connections, seconds)
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        numbers["cpu_caller_us"], numbers["cpu_callee_us"] = (one / calls * 1e6 for one in spent)
        numbers["pss_mib"] = max(pss_mib(pid) for pid in pids)
        return numbers

    return case


def state(store: str, saves: bool) -> Callable[[Build, int, int], Numbers]:
    """One key of 1 KB, saved or read by 16 connections."""

    def case(build: Build, echo_port: int, seconds: int) -> Numbers:
        metadata = []
        if store == "redis":
            [port] = free_ports(1)
            build.redis(port)
            metadata = [{"name": "redisHost", "value": f"127.0.0.1:{port}"}]
        about = {"type": f"state.{store}", "version": "v1", "metadata": metadata}
        resource = {"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "store"}, "spec": about}
        folder = build.work / build.unique("resources")
        folder.mkdir()
        (folder / "store.yaml").write_text(json.dumps(resource))
        sidecar = build.daprd(build.unique("state"), 0, {"--resources-path": str(folder)})
        body = json.dumps([{"key": "key", "value": "x" * BODY_BYTES}])
        until(lambda: request(sidecar.http_port, "POST", "/v1.0/state/store", body.encode())[0] == 204, "it saves")
        url = f"http://127.0.0.1:{sidecar.http_port}/v1.0/state/store{'' if saves else '/key'}"
        script = build.work / "state.lua"
        headers = 'wrk.headers["Content-Type"] = "application/json"\n'
        script.write_text(f"wrk.method = 'POST'\nwrk.body = '{body}'\n{headers}" if saves else "wrk.method = 'GET'\n")
        wrk(url, script, 16, WARM_SECONDS)
        before = cpu_seconds(sidecar.pid)
        numbers, calls = wrk(url, script, 16, seconds)
        numbers["cpu_caller_us"] = (cpu_seconds(sidecar.pid) - before) / calls * 1e6
        numbers["pss_mib"] = pss_mib(sidecar.pid)
        return numbers

    return case


def publish(broker: str) -> Callable[[Build, int, int], Numbers]:
    """Messages of 1 KB to a topic that nobody is subscribed to, by 16 connections."""

    def case(build: Build, echo_port: int, seconds: int) -> Numbers:
        metadata = []
        if broker == "redis":
            [port] = free_ports(1)
            build.redis(port)
            metadata = [{"name": "redisHost", "value": f"127.0.0.1:{port}"}, {"name": "maxLenApprox", "value": "1000"}]
        about = {"type": f"pubsub.{broker}", "version": "v1", "metadata": metadata}
        component = {"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "ps"}, "spec": about}
        folder = build.work / build.unique("resources")
        folder.mkdir()
        (folder / "ps.yaml").write_text(json.dumps(component))
        sidecar = build.daprd(build.unique("publisher"), 0, {"--resources-path": str(folder)})
        url = f"http://127.0.0.1:{sidecar.http_port}/v1.0/publish/ps/t"
        script = build.work / "publish.lua"
        body = json.dumps({"text": "x" * BODY_BYTES})
        headers = 'wrk.headers["Content-Type"] = "application/json"\n'
        script.write_text(f"wrk.method = 'POST'\nwrk.body = '{body}'\n{headers}")
        wrk(url, script, 16, WARM_SECONDS)
        before = cpu_seconds(sidecar.pid)
        numbers, calls = wrk(url, script, 16, seconds)
        numbers["cpu_caller_us"] = (cpu_seconds(sidecar.pid) - before) / calls * 1e6
        numbers["pss_mib"] = pss_mib(sidecar.pid)
        return numbers

    return case


def deliver(broker: str) -> Callable[[Build, int, int], Numbers]:
    """Messages of 1 KB, published by 16 connections, until the app has them all.

    The caller publishes, the callee delivers. They are one sidecar where messages do not leave it: then its processor
    time, for both, stands under the caller.
    """

    def case(build: Build, echo_port: int, seconds: int) -> Numbers:
        metadata = []
        if broker == "redis":
            [port] = free_ports(1)
            build.redis(port)
            metadata = [{"name": "redisHost", "value": f"127.0.0.1:{port}"}]
        about = {"type": f"pubsub.{broker}", "version": "v1", "metadata": metadata}
        component = {"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "ps"}, "spec": about}
        spec = {"pubsubname": "ps", "topic": "t", "route": "/t"}
        wanted = {"apiVersion": "dapr.io/v1alpha1", "kind": "Subscription", "metadata": {"name": "t"}, "spec": spec}
        folder = build.work / build.unique("resources")
        folder.mkdir()
        (folder / "ps.yaml").write_text(json.dumps(component))
        more = {"--resources-path": str(folder)}
        caller = build.daprd(build.unique("publisher"), 0, more) if broker != "in-memory" else None
        (folder / "t.yaml").write_text(json.dumps(wanted))
        callee = build.daprd(build.unique("subscriber"), echo_port, more)
        caller = caller or callee
        url = f"http://127.0.0.1:{caller.http_port}/v1.0/publish/ps/t"
        script = _script(build.work)
        _, warm = wrk(url, script, 16, WARM_SECONDS)
        _await_delivered(callee, warm)
        pids = (caller.pid, callee.pid)
        before = [cpu_seconds(pid) for pid in pids]
        delivered, began = _delivered(callee), time.monotonic()
        numbers, calls = wrk(url, script, 16, seconds)
        _await_delivered(callee, warm + calls)
        numbers["delivered_rps"] = (_delivered(callee) - delivered) / (time.monotonic() - began)
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        numbers["cpu_caller_us"] = spent[0] / calls * 1e6
        if caller is not callee:
            numbers["cpu_callee_us"] = spent[1] / calls * 1e6
        numbers["pss_mib"] = pss_mib(callee.pid)
        return numbers

    return case


def _delivered(sidecar: Sidecar) -> int:
    """Messages that the app has taken."""
    text = request(sidecar.metrics_port, "GET", "/")[1].decode()
    found = re.findall(r"^dapr_component_pubsub_ingress_count\{[^}]*\} (\S+)$", text, re.MULTILINE)
    return int(sum(map(float, found)))


def _await_delivered(sidecar: Sidecar, count: int) -> None:
    until(lambda: _delivered(sidecar) >= count, f"{count} messages are delivered")


CASES: dict[str, Callable[[Build, int, int], Numbers]] = {
    "startup": startup,
    "invoke, 1 connection": invoke(1),
    "invoke, 16 connections": invoke(16),
    "invoke, 64 connections": invoke(64),
    "invoke-mtls, 16 connections": invoke(16, with_mtls=True),
    "state-get, in-memory": state("in-memory", saves=False),
    "state-save, in-memory": state("in-memory", saves=True),
    "state-get, redis": state("redis", saves=False),
    "state-save, redis": state("redis", saves=True),
    "publish, in-memory": publish("in-memory"),
    "publish, redis": publish("redis"),
    "deliver, in-memory": deliver("in-memory"),
    "deliver, redis": deliver("redis"),
}


def _script(work: Path) -> Path:
    path = work / "post.lua"
    path.write_text(
        'wrk.method = "POST"\n'
        f'wrk.body = string.rep("x", {BODY_BYTES})\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
    )
    return path


_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def wrk(url: str, script: Path, connections: int, seconds: int) -> tuple[Numbers, int]:
    """What wrk says, and how many calls it made."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    calls = int(_find(r"(\d+) requests in", text)[1])

    def latency(percent: int) -> float:
        found = _find(rf"{percent}%\s+([\d.]+)(us|ms|s)", text)
        return float(found[1]) * _MILLISECONDS[found[2]]

    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = (int(failed[1]) if failed else 0) + (sum(map(int, broken.groups())) if broken else 0)
    numbers = {"rps": float(_find(r"Requests/sec:\s+([\d.]+)", text)[1])}
    numbers |= {"p50_ms": latency(50), "p99_ms": latency(99), "errors": float(errors)}
    return numbers, calls


def _find(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk said nothing like {pattern!r}:\n{text}")
    return found


# -- results --


def medians(rounds: list[Numbers]) -> Numbers:
    return {name: statistics.median(one[name] for one in rounds) for name in COLUMNS if name in rounds[0]}


def shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 or number == int(number) else f"{number:.3g}"


def table(builds: list[Build], case: str) -> str:
    """The medians of a case as a table in Markdown; with two builds also the first divided by the second."""
    rows = [(build.name, medians(build.rounds[case])) for build in builds if build.rounds.get(case)]
    if not rows:
        return ""
    names = list(rows[0][1])
    lines = [f"| {case} | " + " | ".join(COLUMNS[name] for name in names) + " |", "|---|" + "---:|" * len(names)]
    lines += [f"| {who} | " + " | ".join(shown(numbers[name]) for name in names) + " |" for who, numbers in rows]
    if len(rows) == 2:
        (_, ours), (_, theirs) = rows
        ratios = [f"{ours[name] / theirs[name]:.2f}" if theirs[name] else "" for name in names]
        lines.append("| ours / theirs | " + " | ".join(ratios) + " |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    return f"{model[1] if model else platform.machine()}, {cores} cores, CPython {platform.python_version()}"


def measure(builds: list[Build], wanted: str, rounds: int, seconds: int) -> None:
    with echo_app() as port:
        for name, case in CASES.items():
            if not re.search(wanted, name):
                continue
            for _ in range(rounds):
                for build in builds:
                    try:
                        build.rounds.setdefault(name, []).append(case(build, port, seconds))
                    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                        print(f"{name}, {build.name}: {error}", file=sys.stderr)
                    finally:
                        build.stop()
            print(table(builds, name), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--ours", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--peer", type=Path, help="folder with the executables to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--only", default=".", help="regular expression for the names of cases")
    parser.add_argument("--json", type=Path, help="also write every round to this file")
    chosen = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("scripts/bench reads processor time and memory from /proc: Linux only")
    work = Path(tempfile.mkdtemp(prefix="pydapr-bench-"))
    builds = [Build("ours", chosen.ours.resolve(), work / "ours")]
    if chosen.peer:
        builds.append(Build("theirs", chosen.peer.resolve(), work / "theirs"))
    for build in builds:
        (build.work / "resources").mkdir(parents=True)
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}; medians of {chosen.rounds} rounds of {chosen.seconds} s\n")
    try:
        measure(builds, chosen.only, chosen.rounds, chosen.seconds)
    finally:
        for build in builds:
            build.stop()
        shutil.rmtree(work, ignore_errors=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({build.name: build.rounds for build in builds}, indent=1))


if __name__ == "__main__":
    main()
