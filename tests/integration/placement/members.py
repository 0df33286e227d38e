"""Running placements, and streams that report to them as a sidecar does."""

import http.client
import json
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

from pydapr.proto.dapr.proto.placement.v1 import placement_pb2

OURS = [sys.executable, "-m", "pydapr", "placement"]
OPERATIONS = {"lock": placement_pb2.LOCK, "update": placement_pb2.UPDATE, "unlock": placement_pb2.UNLOCK}


class Member:
    """A placement, just started. `cluster` says where each member is reached by the others."""

    def __init__(self, folder: Path, cluster: dict[str, int], id_: str, *flags: str, **environment: str) -> None:
        self.id, self.folder = id_, folder
        self.port, self.health_port, self.metrics_port = (harness.free_port() for _ in range(3))
        listed = ",".join(f"{name}=localhost:{port}" for name, port in cluster.items())
        self.arguments = [
            *OURS, f"--id={id_}", f"--initial-cluster={listed}", f"--port={self.port}", "--metadata-enabled",
            f"--healthz-port={self.health_port}", f"--metrics-port={self.metrics_port}", *flags,
        ]  # fmt: skip
        self.log_path = folder / f"placement-{id_}.log"
        self.environment = environment
        self.start()

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def state(self) -> Any:
        return json.loads(self.get(self.health_port, "/placement/state")[1])

    def hosts(self, namespace: str = "default") -> list[str]:
        """Names of the hosts in its table."""
        tables = (self.state() or {}).get("tables", {})
        return [host["name"] for host in tables.get(namespace, {}).get("hosts", [])]

    def metrics(self) -> dict[str, float]:
        lines = self.get(self.metrics_port, "/metrics")[1].splitlines()
        return {
            name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:5] == "dapr_"
        }

    @property
    def leads(self) -> bool:
        return self.metrics().get("dapr_placement_leader_status") == 1

    def await_ready(self) -> "Member":
        def is_over() -> bool:
            return self.process.poll() is not None or self.get(self.health_port, "/healthz")[0] == 200

        harness.eventually(is_over, "placement is ready")
        assert self.process.poll() is None, self.log
        return self

    def await_leading(self) -> "Member":
        harness.eventually(lambda: self.leads, f"{self.id} leads")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(harness.LIMIT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Stream:
    """A sidecar's stream. It acknowledges what it is ordered, unless it is told not to."""

    def __init__(
        self,
        address: str,
        name: str,
        *types: str,
        namespace: str = "default",
        answers: bool = True,
        credentials: Any = None,
        options: Any = (),
        compression: Any = None,
    ) -> None:
        self.name, self.id, self.namespace, self.answers = name, f"id-{name}", namespace, answers
        self.orders: list[placement_pb2.PlacementOrder] = []
        self.error: grpc.RpcError | None = None
        self.is_over = threading.Event()
        self._said: queue.Queue[placement_pb2.Host | None] = queue.Queue()
        self.report(*types)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        method = self._channel.stream_stream(
            "/dapr.proto.placement.v1.Placement/ReportDaprStatus",
            request_serializer=placement_pb2.Host.SerializeToString,
            response_deserializer=placement_pb2.PlacementOrder.FromString,
        )
        self._call = method(self._saying(), compression=compression)
        threading.Thread(target=self._listen, daemon=True).start()

    def _saying(self) -> Iterator[placement_pb2.Host]:
        while (said := self._said.get()) is not None:
            yield said

    def _listen(self) -> None:
        try:
            for order in self._call:
                self.orders.append(order)
                if self.answers:
                    self.say(operation=OPERATIONS[order.operation], version=order.version)
        except grpc.RpcError as error:
            self.error = error
        self.is_over.set()

    def say(self, **fields: Any) -> None:
        self._said.put(placement_pb2.Host(id=self.id, namespace=self.namespace, **fields))

    def report(self, *types: str) -> None:
        self.say(name=self.name, entities=types, operation=placement_pb2.REPORT)

    @property
    def words(self) -> list[str]:
        return [order.operation for order in list(self.orders)]

    def table(self) -> dict[str, set[str]]:
        """Who hosts what, by the last table; nothing while it is locked."""
        orders = list(self.orders)
        if not orders or orders[-1].operation != "unlock":
            return {}
        last = [order for order in orders if order.operation == "update"][-1]
        return {kind: set(entry.load_map) for kind, entry in last.tables.entries.items()}

    def await_table(self, **types: set[str]) -> None:
        harness.eventually(lambda: self.table() == types, f"{self.name} goes by {types}, not {self.table()}")

    def failure(self) -> tuple[Any, str]:
        """Code and text by which the stream has ended."""
        assert self.is_over.wait(harness.LIMIT), "the stream goes on"
        assert self.error is not None
        return self.error.code(), self.error.details() or ""

    def end(self) -> None:
        """Says that nothing more comes."""
        self._said.put(None)

    def close(self) -> None:
        self._said.put(None)
        self._call.cancel()
        self._channel.close()
