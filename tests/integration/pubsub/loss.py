"""A trial of publishing and delivering while sidecars, apps and brokers are killed: what was acknowledged arrives.

Publishers write through one sidecar; two instances of an app read, each through its own. `orders` are published with
keys and arrive in order where the broker promises that; `risky` messages arrive, or come to the topic of dead letters,
where those that are poison must be. `test_loss` has the short form, `scripts/soak` runs the long one:

    python -m tests.integration.pubsub.loss [--broker NAME] [--messages N] [--seconds S] [--seed N]
"""

import argparse
import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance import kafka_servers, message_servers, redis_servers, servers
from tests.integration.harness import OURS, Sidecar, World, free_port
from tests.integration.pubsub import loss_app

KEYS = 4
"""Of each publisher."""

PUBLISHERS = 4
_LATE_SECONDS = 300.0
RISKY = 5
"""One of so many messages goes to the topic with dead letters."""


@dataclass
class Broker:
    """A broker for the trial. `restart` kills it, or ends it hard, and starts it again."""

    type_: str
    metadata: Mapping[str, str]
    is_ordered: bool
    restart: Callable[[], None] | None = None


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Broker]:
    yield Broker("pubsub.sqlite", {"connectionString": str(folder / "pubsub.db")}, True)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Broker]:
    metadata, restart = servers.shared(redis_servers.to_kill)
    times = {"processingTimeout": "2s", "redeliverInterval": "1s"}
    yield Broker("pubsub.redis", {**metadata, **times}, False, restart)


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[Broker]:
    metadata, restart = servers.shared(message_servers.rabbitmq_to_kill)
    kept = {"deletedWhenUnused": "false", "deliveryMode": "2", "requeueInFailure": "true", "prefetchCount": "50"}
    yield Broker("pubsub.rabbitmq", {**metadata, **kept, "reconnectWaitSeconds": "500ms"}, False, restart)


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[Broker]:
    metadata, restart = servers.shared(kafka_servers.to_kill)
    yield Broker("pubsub.kafka", {**metadata, "initialOffset": "oldest", "backOffDuration": "200ms"}, True, restart)


BROKERS = {"sqlite": sqlite, "redis": redis, "rabbitmq": rabbitmq, "kafka": kafka}


@dataclass
class Publisher:
    """Publishes one message after the other, each until it is acknowledged."""

    name: str
    port: int
    left: Iterator[int]
    stop: threading.Event
    acknowledged: list[tuple[str, str, int]] = field(default_factory=list)
    """Topic, key and number."""
    refused: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            for number in self.left:
                topic = "risky" if number % RISKY == 0 else "orders"
                key = f"{self.name}-{number % KEYS}"
                while not self._publish(connection, topic, key, number):
                    if self.stop.is_set():
                        return
                    connection.close()  # it connects anew by itself
                    time.sleep(0.01)
                self.acknowledged.append((topic, key, number))
                if self.stop.is_set():
                    return

    def _publish(self, connection: http.client.HTTPConnection, topic: str, key: str, number: int) -> bool:
        ordered = f"?metadata.partitionKey={key}" if topic == "orders" else ""
        body = json.dumps({"key": key, "number": number})
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", f"/v1.0/publish/broker/{topic}{ordered}", body, headers)
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException):
            return False
        if reply.status != 204:
            self.refused.append(text)
        return reply.status == 204


class Trial:
    """The processes of one trial, and what becomes of the messages."""

    def __init__(self, world: World, broker: Broker, messages: int, seed: int) -> None:
        self._world, self._broker = world, broker
        self._random = random.Random(seed)
        self.path = world.folder / "received"
        self.path.touch()
        pairs = [{"name": name, "value": value} for name, value in broker.metadata.items()]
        document = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "broker"},
            "spec": {"type": broker.type_, "version": "v1", "metadata": pairs},
        }
        world.write("resources/broker.yaml", json.dumps(document))
        self._apps: dict[int, subprocess.Popen[bytes]] = {}
        self._readers: dict[int, Sidecar] = {}
        for _ in range(2):
            self._start_app(free_port())
        for port in self._apps:
            self._readers[port] = self._start("app", port).await_ready()
        self._writer = self._start("publisher", 0).await_ready()
        self.stop = threading.Event()
        self.publishers = [
            Publisher(f"p{n}", self._writer.http, iter(range(1, messages // PUBLISHERS + 1)), self.stop)
            for n in range(PUBLISHERS)
        ]
        self._threads = [threading.Thread(target=one.run) for one in self.publishers]
        self.kills: dict[str, int] = defaultdict(int)

    def _start_app(self, port: int) -> None:
        command = [sys.executable, loss_app.__file__, str(port), str(self.path), "broker"]
        self._apps[port] = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _start(self, name: str, app_port: int, before: Sidecar | None = None) -> Sidecar:
        """A sidecar; in the place of one `before`, on its ports."""
        flags = ["--resources-path", str(self._world.folder / "resources"), "--log-level", "warn"]
        if before is not None:
            flags += ["--dapr-http-port", str(before.http), "--dapr-grpc-port", str(before.grpc)]
            flags += ["--dapr-internal-grpc-port", str(before.internal), "--metrics-port", str(before.metrics)]
        made = self._world.daprd(name, app_port, *flags, program=OURS)
        if before is not None:
            made.http, made.grpc, made.internal, made.metrics = (
                before.http, before.grpc, before.internal, before.metrics
            )  # fmt: skip
        return made

    # -- killing --

    def kill(self) -> None:
        """Kills one process, chosen by chance, and has another in its place."""
        ways = {
            "app": self._kill_app,
            "sidecar of an app": self._kill_reader,
            "sidecar of publishers": self._kill_writer,
        }
        if self._broker.restart is not None:
            ways["broker"] = self._broker.restart
        name = self._random.choice(list(ways))
        self.kills[name] += 1
        ways[name]()

    def _kill_app(self) -> None:
        port = self._random.choice(list(self._apps))
        self._end_app(port)
        self._start_app(port)

    def _end_app(self, port: int) -> None:
        self._apps[port].kill()
        self._apps[port].wait()

    def _kill_reader(self) -> None:
        port = self._random.choice(list(self._readers))
        self._readers[port] = self._again("app", self._readers[port], port)

    def _kill_writer(self) -> None:
        self._writer = self._again("publisher", self._writer, 0)

    def _again(self, name: str, killed: Sidecar, app_port: int) -> Sidecar:
        killed.send_signal(signal.SIGKILL)
        killed.exit_code()
        self._world.sidecars.remove(killed)
        return self._start(name, app_port, killed)

    # -- the course --

    def run(self, pause: Callable[[], float], seconds: float, kills: int = 1 << 30, between: int = 0) -> None:
        """Publishes all messages and kills now and then, for so long at most, and until so many were killed.

        So many messages are acknowledged `between` every second kill and the one after it, on a slow machine, too.
        """
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self._threads) and time.monotonic() < end:
                time.sleep(pause())
                count = sum(self.kills.values())
                if count % 2 or self.acknowledged() >= between * (count // 2 + 1):
                    self.kill()
                    if count + 1 >= kills:
                        break
        finally:
            self.stop.set()
            for thread in self._threads:
                thread.join()

    def acknowledged(self) -> int:
        return sum(len(one.acknowledged) for one in self.publishers)

    def received(self) -> list[tuple[str, str, int]]:
        found = []
        for line in self.path.read_text().splitlines():
            route, key, number = line.split(" ")
            found.append((route, key, int(number)))
        return found

    def missing(self) -> list[tuple[str, str, int]]:
        """What was acknowledged, and has not arrived where it should."""
        there = set(self.received())
        return [one for publisher in self.publishers for one in publisher.acknowledged if not _has_arrived(one, there)]

    def disorder(self) -> list[str]:
        """Orders that came before earlier ones of their key."""
        last: dict[str, int] = {}
        wrong = []
        for route, key, number in dict.fromkeys(self.received()):
            if route == "orders":
                if number < last.get(key, 0):
                    wrong.append(f"{key}: {number} after {last[key]}")
                last[key] = max(number, last.get(key, 0))
        return wrong if self._broker.is_ordered else []

    def await_all(self, patience: float, seconds: float) -> None:
        """Waits for what is missing as long as some of it arrives every `patience` seconds, and `seconds` at most."""
        end = time.monotonic() + seconds
        missing, changed = len(self.missing()), time.monotonic()
        while missing:
            now = time.monotonic()
            assert now < end and now - changed < patience, f"{missing} messages do not arrive: {self.missing()[:5]}"
            time.sleep(0.2)  # to look costs the processor what others need
            left = len(self.missing())
            if left != missing:
                missing, changed = left, time.monotonic()

    def close(self) -> None:
        for port in self._apps:
            self._end_app(port)

    def told(self) -> str:
        acknowledged, received = self.acknowledged(), self.received()
        dead = sum(route == "dead" for route, _, _ in received)
        kills = ", ".join(f"{count} x {name}" for name, count in sorted(self.kills.items()))
        delivered = f"{len(received)} delivered ({len(received) - len(set(received))} again, {dead} as dead letters)"
        return f"{acknowledged} acknowledged, {delivered}, killed: {kills or 'nothing'}"


def _has_arrived(one: tuple[str, str, int], there: set[tuple[str, str, int]]) -> bool:
    topic, key, number = one
    if topic == "orders":
        return one in there
    is_poison = number % loss_app.EVERY in (loss_app.POISON_DROPPED, loss_app.POISON_FAILED)
    return ("dead", key, number) in there or (one in there and not is_poison)


@contextlib.contextmanager
def trial(folder: Path, name: str, messages: int, seed: int) -> Iterator[Trial]:
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(BROKERS[name](folder))
        world = World(folder)
        stack.callback(world.close)
        made = Trial(world, broker, messages, seed)
        stack.callback(made.close)
        yield made


def main() -> int:
    given = argparse.ArgumentParser(
        description="Kills what publishes and delivers, and looks whether anything is lost."
    )
    given.add_argument("--broker", choices=BROKERS, default="sqlite")
    given.add_argument("--messages", type=int, default=50_000)
    given.add_argument("--seconds", type=float, default=900.0, help="the end of publishing, if it is not done before")
    given.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    wanted = given.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pydapr-loss-") as folder:
        try:
            with trial(Path(folder), wanted.broker, wanted.messages, wanted.seed) as one:
                one.run(lambda: random.uniform(0.5, 3.0), wanted.seconds)
                with contextlib.suppress(AssertionError):
                    one.await_all(60.0, _LATE_SECONDS)
                missing, disorder = one.missing(), one.disorder()
                refused = {text for publisher in one.publishers for text in publisher.refused}
                lines = (
                    f"{wanted.broker}, seed {wanted.seed}: {one.told()}, {time.monotonic() - began:.0f} s",
                    f"lost: {len(missing)} {missing[:5]}; out of order: {len(disorder)} {disorder[:5]}",
                    f"answers to publishers other than 204: {len(refused)} kinds {sorted(refused)[:3]}",
                )
                sys.stdout.write("\n".join(lines) + "\n")
                return 1 if missing or disorder else 0
        finally:
            servers.stop_all()


if __name__ == "__main__":
    sys.exit(main())
