"""A collector of traces: Zipkin's API and OTLP over HTTP and gRPC. The messages are read by their field numbers."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from pydapr.wire import invocation


@dataclass
class Span:
    """A span as OTLP has it, with what describes the sidecar."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    state: str
    code: int
    message: str
    took: int
    attributes: dict[str, str]
    resource: dict[str, str]


class Collector:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.zipkin: list[dict[str, Any]] = []
        self.metrics: set[str] = set()
        """Names of metrics."""
        self.lines: list[tuple[str, str]] = []
        """Scope, and level and message, of lines of the log."""
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        """What HTTP requests are answered with before 200."""
        collector = self

        class Posts(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                status = collector.statuses.pop(0) if collector.statuses else 200
                if status == 200:
                    collector.take(self.path, {key.lower(): value for key, value in self.headers.items()}, data)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
            def service(self, details: Any) -> Any:
                metadata = {item.key: item.value for item in details.invocation_metadata}

                def export(data: bytes, _: Any) -> bytes:
                    collector.take(details.method, metadata, data)
                    return b""

                return grpc.unary_unary_rpc_method_handler(export)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Posts)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        self._grpc.add_generic_rpc_handlers((Calls(),))
        self.http = f"127.0.0.1:{self._http.server_port}"
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def take(self, path: str, headers: dict[str, str], data: bytes) -> None:
        self.paths.append(path)
        self.headers.append(headers)
        if headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        if "metrics" in path:
            described = [scoped for one in _all(data, 1) for scoped in _all(one, 2)]
            self.metrics |= {_first(metric, 1).decode() for scoped in described for metric in _all(scoped, 2)}
        elif "logs" in path:
            described = [scoped for one in _all(data, 1) for scoped in _all(one, 2)]
            for scoped in described:
                scope = _first(_first(scoped, 1), 1).decode()
                self.lines += [(scope, _line(record)) for record in _all(scoped, 2)]
        elif headers.get("content-type") == "application/json":
            self.zipkin += json.loads(data)
        else:
            self.spans += _spans(data)

    def named(self, name: str, kind: int) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name and span.kind == kind]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(0)


def _all(data: bytes, number: int) -> list[Any]:
    return [value for n, value in invocation.fields(data) if n == number]


def _first(data: bytes, number: int, default: Any = b"") -> Any:
    return next(iter(_all(data, number)), default)


def _attributes(data: bytes, number: int) -> dict[str, str]:
    return {_first(one, 1).decode(): _first(_first(one, 2), 1).decode() for one in _all(data, number)}


def _line(record: bytes) -> str:
    return f"{_first(record, 3).decode()}: {_first(_first(record, 5), 1).decode()}"


def _spans(data: bytes) -> list[Span]:
    out = []
    for described in _all(data, 1):
        resource = _attributes(_first(described, 1), 1)
        for scoped in _all(described, 2):
            assert _first(_first(scoped, 1), 1) == b"dapr-diagnostics"
            out += [_span(one, resource) for one in _all(scoped, 2)]
    return out


def _span(data: bytes, resource: dict[str, str]) -> Span:
    status = _first(data, 15)
    at = data.index(b"\x39")
    while data[at + 9 : at + 10] != b"\x41":
        at = data.index(b"\x39", at + 1)
    began, ended = (int.from_bytes(data[start : start + 8], "little") for start in (at + 1, at + 10))
    return Span(
        _first(data, 5).decode(), _first(data, 6, 0), _first(data, 1).hex(), _first(data, 2).hex(),
        _first(data, 4).hex(), _first(data, 3).decode(), _first(status, 3, 0), _first(status, 2).decode(),
        ended - began, _attributes(data, 9), resource,
    )  # fmt: skip
