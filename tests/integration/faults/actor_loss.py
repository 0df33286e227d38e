"""A trial of actors, reminders and jobs while sidecars, apps, placement and the scheduler are killed.

Clients increment counters, which are actors that keep their number in a store that all sidecars share, and register
reminders and jobs. What must hold at the end: no number was given twice and none that was acknowledged is lost; no
actor had two turns at a time, wherever; each reminder and job that was acknowledged came, and none too early.
`test_actor_loss` has the short form, `scripts/soak --actors` runs the long one:

    python -m tests.integration.faults.actor_loss [--seconds S] [--sidecars N] [--actors N] [--seed N]
        [--daprd FILE] [--placement FILE] [--scheduler FILE]
"""

import argparse
import contextlib
import http.client
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.faults import actor_app
from tests.integration.harness import OURS, Sidecar, World, eventually, free_port

CLIENTS = 4
FROZEN_SECONDS, SHORTLY = 4.0, 1.5
"""How long a process may do nothing, and a sidecar, which must not be given up for dead: one that comes back from that
may still write what a turn has left behind, with the original as here."""

EARLY = 0.05
"""Seconds by which the clock of a client may be behind what it asked for."""

NOTICED = 0.1
"""Seconds in which something may still begin for a process that has just been killed."""

RETURNED = 1.0
"""Seconds in which all sidecars are back at a placement that was killed."""

FOR_EVER = {"constant": {"interval": "1s"}}
"""What is to be done when an app does not take a reminder or job: try again, without an end."""

STORE = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: store}
spec:
  type: state.sqlite
  version: v1
  metadata:
  - {name: connectionString, value: "PATH"}
  - {name: actorStateStore, value: "true"}
"""

PROGRAMS = {
    "daprd": OURS,
    "placement": [sys.executable, "-m", "pydapr", "placement"],
    "scheduler": [sys.executable, "-m", "pydapr", "scheduler"],
}


@dataclass
class Client:
    """Asks for one thing after the other, each until it is acknowledged."""

    name: str
    port: int
    actors: int
    chance: random.Random
    stop: threading.Event
    values: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """What increments of each actor have answered."""
    attempts: int = 0
    due: dict[str, float] = field(default_factory=dict)
    """When each acknowledged reminder and job may come at the earliest, by the name in the files of apps."""
    slowest: float = 0.0
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def run(self, hosts: Sequence[int]) -> None:
        for number in itertools.count():
            if self.stop.is_set():
                return
            actor = f"a{self.chance.randrange(self.actors)}"
            if number % 10 == 3:
                self._remind(f"{self.name}-r{number}", actor, self.chance.choice(hosts))
            elif number % 10 == 7:
                self._schedule(f"{self.name}-j{number}", self.chance.choice(hosts))
            else:
                self._increment(actor)

    def _increment(self, actor: str) -> None:
        target = f"/v1.0/actors/{actor_app.TYPE}/{actor}/method/increment"
        began = time.monotonic()
        while not self.stop.is_set():
            self.attempts += 1
            text = self._ask(self.port, "PUT", target, b"{}")
            if text is not None:
                self.values[actor].append(int(text))
                self.slowest = max(self.slowest, time.monotonic() - began)
                return
            time.sleep(0.02)

    def _remind(self, name: str, actor: str, port: int) -> None:
        seconds = self.chance.randint(1, 6)
        body = {"dueTime": f"{seconds}s", "data": name, "failure_policy": FOR_EVER}
        target = f"/v1.0/actors/{actor_app.TYPE}/{actor}/reminders/{name}"
        self._register(f"remind {actor} {name}", seconds, port, target, body)

    def _schedule(self, name: str, port: int) -> None:
        seconds = self.chance.randint(1, 6)
        body = {"dueTime": f"{seconds}s", "data": name, "failurePolicy": FOR_EVER, "overwrite": True}
        self._register(f"job {name}", seconds, port, f"/v1.0/jobs/{name}", body)

    def _register(self, name: str, seconds: float, port: int, target: str, body: Mapping[str, object]) -> None:
        began = time.time()
        while not self.stop.is_set():
            if self._ask(port, "POST", target, json.dumps(body).encode()) is not None:
                self.due[name] = began + seconds
                return
            time.sleep(0.05)

    def _ask(self, port: int, verb: str, target: str, body: bytes) -> bytes | None:
        """The answer; None when it is not good."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(verb, target, body, {"content-type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
        except TimeoutError:
            self.refused[f"no answer in 30 s to {verb} {target.rpartition('/')[2].partition('-')[0]}"] += 1
            return None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if reply.status not in (200, 204):
            self.refused[f"{reply.status} {text.decode(errors='replace')[:160]}"] += 1
            return None
        return text


@dataclass
class Host:
    """An app and its sidecar."""

    name: str
    port: int
    app: "subprocess.Popen[bytes] | None" = None
    sidecar: Sidecar | None = None
    killed: list[float] = field(default_factory=list)
    """When one of them was."""


class Trial:
    """The processes of one trial, and what becomes of what was acknowledged."""

    def __init__(
        self, world: World, sidecars: int, actors: int, seed: int, programs: Mapping[str, list[str]] = PROGRAMS
    ) -> None:
        self._world, self._programs = world, programs
        self._random = random.Random(seed)
        self.path = world.folder / "turns"
        self.path.touch()
        world.write("resources/store.yaml", STORE.replace("PATH", str(world.folder / "state.db")))
        self._ports = {name: [free_port() for _ in range(5)] for name in ("placement", "scheduler")}
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        for name in self._ports:
            self._start_service(name)
        self._hosts = [Host(f"h{number}", free_port()) for number in range(sidecars)]
        for host in self._hosts:
            host.sidecar = self._start_sidecar("host", host.port)
            self._start_app(host)
        self._caller = self._start_sidecar("caller", 0)
        self.stop = threading.Event()
        self.clients = [
            Client(f"c{n}", self._caller.http, actors, random.Random(f"{seed} {n}"), self.stop) for n in range(CLIENTS)
        ]
        self._threads = [threading.Thread(target=one.run, args=(self._doors(),)) for one in self.clients]
        self.kills: dict[str, int] = defaultdict(int)
        self._placements_killed: list[float] = []
        self.frozen_sidecar = SHORTLY
        self._thaws: list[threading.Timer] = []

    def _doors(self) -> list[int]:
        return [host.sidecar.http for host in self._hosts if host.sidecar is not None]

    # -- processes --

    def _start_service(self, name: str) -> None:
        port, health, metrics, client, peer = self._ports[name]
        flags = ["--port", str(port), "--healthz-port", str(health), "--metrics-port", str(metrics)]
        flags += ["--listen-address", "127.0.0.1"]
        if name == "placement":
            flags += ["--initial-cluster", f"dapr-placement-0=127.0.0.1:{peer}"]
        if name == "scheduler":
            flags += ["--etcd-data-dir", str(self._world.folder / "scheduler"), "--etcd-client-port", str(client)]
            flags += ["--etcd-initial-cluster", f"dapr-scheduler-server-0=http://localhost:{peer}"]
            flags += ["--override-broadcast-host-port", f"localhost:{port}", "--id", "dapr-scheduler-server-0"]
        with (self._world.folder / f"{name}.log").open("ab") as log:
            self._services[name] = subprocess.Popen(
                [*self._programs[name], *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._world.folder,
            )

    def _start_app(self, host: Host) -> None:
        assert host.sidecar is not None
        command = [
            sys.executable,
            actor_app.__file__,
            str(host.port),
            str(host.sidecar.http),
            str(self.path),
            host.name,
        ]
        host.app = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _start_sidecar(self, name: str, app_port: int, before: Sidecar | None = None) -> Sidecar:
        """A sidecar; in the place of one `before`, on its ports."""
        flags = ["--resources-path", str(self._world.folder / "resources"), "--log-level", "info"]
        flags += ["--placement-host-address", f"localhost:{self._ports['placement'][0]}"]
        flags += ["--scheduler-host-address", f"localhost:{self._ports['scheduler'][0]}"]
        if before is not None:
            flags += ["--dapr-http-port", str(before.http), "--dapr-grpc-port", str(before.grpc)]
            flags += ["--dapr-internal-grpc-port", str(before.internal), "--metrics-port", str(before.metrics)]
        made = self._world.daprd(name, app_port, *flags, program=self._programs["daprd"])
        if before is not None:
            made.http, made.grpc, made.internal, made.metrics = (
                before.http, before.grpc, before.internal, before.metrics
            )  # fmt: skip
        return made

    # -- killing --

    def kill(self) -> None:
        """Kills one process, chosen by chance, and has another in its place."""
        ways: dict[str, Callable[[], None]] = {
            "app": self._kill_app,
            "sidecar of an app": self._kill_host,
            "sidecar of clients": self._kill_caller,
            "placement": lambda: self._kill_service("placement"),
            "scheduler": lambda: self._kill_service("scheduler"),
            "frozen app": self._freeze_app,
            "frozen sidecar": lambda: self._freeze(self._sidecar().process, self.frozen_sidecar),
            "frozen placement": lambda: self._freeze(self._services["placement"], FROZEN_SECONDS),
            "frozen scheduler": lambda: self._freeze(self._services["scheduler"], FROZEN_SECONDS),
        }
        name = self._random.choice(list(ways))
        self.kills[name] += 1
        ways[name]()

    def _sidecar(self) -> Sidecar:
        found = [host.sidecar for host in self._hosts if host.sidecar is not None]
        return self._random.choice([*found, self._caller])

    def _freeze_app(self) -> None:
        """What an app has before it meanwhile is somebody else's when placement is lost: it is not waited for then."""
        host, began = self._random.choice(self._hosts), time.monotonic()

        def thawed() -> None:
            if any(moment > began - RETURNED for moment in self._placements_killed):
                host.killed += [began, time.monotonic()]

        self._freeze(host.app, FROZEN_SECONDS, thawed)

    def _freeze(
        self, process: "subprocess.Popen[bytes] | None", seconds: float, ends: Callable[[], None] = lambda: None
    ) -> None:
        """Has a process do nothing for a while, as if its machine were overloaded."""
        assert process is not None
        process.send_signal(signal.SIGSTOP)

        def go_on() -> None:
            ends()
            process.send_signal(signal.SIGCONT)

        thaw = threading.Timer(self._random.uniform(0.2, seconds), go_on)
        self._thaws.append(thaw)
        thaw.start()

    def _kill_app(self) -> None:
        host = self._random.choice(self._hosts)
        self._end_app(host)
        self._start_app(host)

    def _end_app(self, host: Host) -> None:
        assert host.app is not None
        host.app.kill()
        host.app.wait()
        host.killed.append(time.monotonic())

    def _kill_host(self) -> None:
        host = self._random.choice(self._hosts)
        assert host.sidecar is not None
        host.killed.append(time.monotonic())
        host.sidecar = self._again("host", host.sidecar, host.port)

    def _kill_caller(self) -> None:
        self._caller = self._again("caller", self._caller, 0)

    def _again(self, name: str, killed: Sidecar, app_port: int) -> Sidecar:
        killed.send_signal(signal.SIGKILL)
        killed.exit_code()
        self._world.sidecars.remove(killed)
        return self._start_sidecar(name, app_port, killed)

    def _kill_service(self, name: str) -> None:
        self._services[name].kill()
        if name == "placement":
            self._placements_killed.append(time.monotonic())
        self._services[name].wait()
        self._start_service(name)

    # -- the course --

    def run(self, pause: Callable[[], float], seconds: float, kills: int = 1 << 30, between: int = 0) -> None:
        """Lets clients ask and kills now and then, for so long at most, and until so many were killed.

        So many increments are acknowledged `between` every second kill and the one after it, on a slow machine, too.
        """
        for thread in self._threads:
            thread.start()
        try:
            eventually(lambda: all(client.values for client in self.clients), "actors answer", 30.0)
            end = time.monotonic() + seconds
            while time.monotonic() < end and (count := sum(self.kills.values())) < kills:
                time.sleep(pause())
                if count % 2 or self.acknowledged() >= between * (count // 2 + 1):
                    self.kill()
            time.sleep(pause())
        finally:
            self.stop.set()
            for running in (*self._threads, *self._thaws):
                running.join()

    def acknowledged(self) -> int:
        return sum(len(values) for client in self.clients for values in list(client.values.values()))

    def await_all(self, seconds: float) -> None:
        """Waits until all reminders and jobs have come, and all actors answer."""
        end = time.monotonic() + seconds
        while (missing := self.missing()) and time.monotonic() < end:
            time.sleep(0.2)
        assert not missing, f"{len(missing)} reminders and jobs do not come: {missing[:5]}"

    def _lines(self) -> Iterator[list[str]]:
        for line in self.path.read_text().splitlines():
            yield line.split(" ")

    def _came(self) -> dict[str, float]:
        """When each reminder and job came first."""
        came: dict[str, float] = {}
        for kind, *words, moment in self._lines():
            if kind in ("remind", "job"):
                came.setdefault(" ".join((kind, *words)), float(moment))
        return came

    def missing(self) -> list[str]:
        """Reminders and jobs that were acknowledged and have not come."""
        came = self._came()
        return [name for client in self.clients for name in client.due if name not in came]

    def early(self) -> list[str]:
        """Reminders and jobs that came before their time."""
        came = self._came()
        due = {name: moment for client in self.clients for name, moment in client.due.items() if name in came}
        return [f"{name}: {due[name] - came[name]:.3f} s" for name in due if came[name] < due[name] - EARLY]

    def lost(self) -> list[str]:
        """Increments that were acknowledged and are gone: a number that was given twice, or is more than there is."""
        wrong = []
        given: dict[str, list[int]] = defaultdict(list)
        for client in self.clients:
            for actor, values in client.values.items():
                given[actor] += values
        for actor, values in given.items():
            twice = (
                sorted({value for value in values if values.count(value) > 1}) if len(set(values)) < len(values) else ()
            )
            wrong += [f"{actor}: {value} was given twice" for value in twice]
            reader = Client("reader", self._caller.http, 0, self._random, threading.Event())
            reader._increment(actor)
            if reader.values[actor][0] <= max(values):
                wrong.append(f"{actor}: {reader.values[actor][0]} after {max(values)}")
        return wrong

    def overlaps(self) -> list[str]:
        """Turns of one actor at the same time. What a killed process had begun has ended with it."""
        killed = {host.name: sorted(host.killed) for host in self._hosts}
        begun: dict[str, tuple[str, str, float]] = {}
        turns: dict[str, list[tuple[float, float, str]]] = defaultdict(list)

        def close(actor: str, host: str, began: float, ended: float) -> None:
            end = next((moment for moment in killed[host] if began - NOTICED <= moment < ended), ended)
            turns[actor].append((began, max(began, end), host))

        for kind, *words in self._lines():
            if kind == "enter":
                begun[words[1]] = (words[0], words[2], float(words[3]))
            elif kind == "leave":
                actor, host, began = begun.pop(words[1])
                close(actor, host, began, float(words[3]))
        for actor, host, began in begun.values():
            close(actor, host, began, began + 3600.0)
        wrong = []
        for actor, spans in turns.items():
            for (began, ended, host), (next_began, _, next_host) in itertools.pairwise(sorted(spans)):
                if next_began < ended:
                    wrong.append(f"{actor}: at {host} {began:.4f}-{ended:.4f}, at {next_host} from {next_began:.4f}")
        return wrong

    def close(self) -> None:
        for host in self._hosts:
            self._end_app(host)
        for service in self._services.values():
            service.kill()
            service.wait()

    def told(self) -> str:
        acknowledged = self.acknowledged()
        attempts = sum(one.attempts for one in self.clients)
        due = [name.partition(" ")[0] for one in self.clients for name in one.due]
        kills = ", ".join(f"{count} x {name}" for name, count in sorted(self.kills.items()))
        slowest = max(one.slowest for one in self.clients)
        return (
            f"{acknowledged} increments acknowledged of {attempts} tried, the slowest after {slowest:.1f} s; "
            f"{due.count('remind')} reminders, {due.count('job')} jobs; killed: {kills or 'nothing'}"
        )


@contextlib.contextmanager
def trial(
    folder: Path, sidecars: int, actors: int, seed: int, programs: Mapping[str, list[str]] = PROGRAMS
) -> Iterator[Trial]:
    world = World(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(world.close)
        made = Trial(world, sidecars, actors, seed, programs)
        stack.callback(made.close)
        yield made


def main() -> int:
    given = argparse.ArgumentParser(description="Kills what hosts actors and schedules jobs, and looks what is lost.")
    given.add_argument("--actors", type=int, default=20)
    given.add_argument("--sidecars", type=int, default=3)
    given.add_argument("--seconds", type=float, default=600.0, help="how long processes are killed")
    given.add_argument("--pause", type=float, default=3.0, help="the longest time between two that are killed")
    given.add_argument("--frozen", type=float, default=SHORTLY, help="how long a sidecar may be frozen")
    given.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given.add_argument("--keep", help="a folder for logs and files, which stays")
    for name in PROGRAMS:
        given.add_argument(f"--{name}", help="another program than ours")
    wanted = given.parse_args()
    other = {name: [getattr(wanted, name)] for name in PROGRAMS if getattr(wanted, name)}
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = wanted.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="pydapr-actors-"))
        Path(folder).mkdir(parents=True, exist_ok=True)
        one = stack.enter_context(trial(Path(folder), wanted.sidecars, wanted.actors, wanted.seed, PROGRAMS | other))
        one.frozen_sidecar = wanted.frozen
        one.run(lambda: random.uniform(0.3, wanted.pause), wanted.seconds)
        with contextlib.suppress(AssertionError):
            one.await_all(60.0)
        found = {"lost": one.lost(), "two at a time": one.overlaps(), "missing": one.missing(), "early": one.early()}
        sys.stdout.write(f"seed {wanted.seed}: {one.told()}, {time.monotonic() - began:.0f} s\n")
        for name, wrong in found.items():
            sys.stdout.write(f"{name}: {len(wrong)} {wrong[:5]}\n")
        refused: dict[str, int] = defaultdict(int)
        for client in one.clients:
            for text, count in client.refused.items():
                refused[text] += count
        for text, count in sorted(refused.items(), key=lambda item: -item[1])[:12]:
            sys.stdout.write(f"  {count} x {text}\n")
        return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
