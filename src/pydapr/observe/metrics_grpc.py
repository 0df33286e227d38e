"""Metrics of gRPC: calls of the API and of other sidecars, calls of the app, calls that pass through, health probes.

Recorded by `api.grpc.measured`, `app.measured` and those of `peers` that ask; names and labels are the original's
(v1.18.3, `pkg/diagnostics/grpc_monitoring.go`). A method's recorder is made once, by who knows the method.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Sequence
from time import perf_counter

from pydapr.errors import Code, RpcError, go_name
from pydapr.observe.metrics import LONGEST, Count, Family, Registry, Spread
from pydapr.observe.metrics_http import SIZES

KNOWN = 1024
"""Methods that pass through whose recorders are kept."""


class Side:
    """What is recorded of calls on one side, `server` or `client`."""

    __slots__ = ("completed", "latency", "received", "sent")

    def __init__(
        self, completed: Family[Count], latency: Family[Spread], received: Family[Spread], sent: Family[Spread]
    ) -> None:
        self.completed, self.latency = completed, latency
        self.received, self.sent = received, sent

    def method(self, name: str) -> "Method":
        """What is recorded of one method."""
        return Method(self, name)


class Method:
    """Records the calls of one method; its series by status are looked up once."""

    __slots__ = ("_by_code", "_name", "_received", "_sent", "_side")

    def __init__(self, side: Side, name: str) -> None:
        self._side, self._name = side, name
        self._by_code: dict[int, tuple[Count, Spread]] = {}
        self._received: Spread | None = None
        self._sent: Spread | None = None

    def ended(self, code: int, seconds: float) -> None:
        """A call has ended with this status."""
        found = self._by_code.get(code)
        if found is None:
            status = go_name(code)
            side = self._side
            found = self._by_code[code] = (
                side.completed.get(self._name, status), side.latency.get(self._name, status)
            )  # fmt: skip
        found[0].value += 1
        found[1].record(seconds)

    def took(self, size: int) -> None:
        """A call had one message of this size for us."""
        if self._received is None:
            self._received = self._side.received.get(self._name)
        self._received.record(size)

    def gave(self, size: int) -> None:
        """It got one message of this size from us, 0 without any."""
        if self._sent is None:
            self._sent = self._side.sent.get(self._name)
        self._sent.record(size)


class GrpcMetrics:
    """Records. `latencies` are bounds in milliseconds."""

    def __init__(self, registry: Registry, latencies: Sequence[float]) -> None:
        def side(which: str, completed: str, latency: str, texts: tuple[str, str, str, str]) -> Side:
            name, method, status = f"dapr_grpc_io_{which}_", f"grpc_{which}_method", f"grpc_{which}_status"
            labels = ("app_id", method, status)
            return Side(
                registry.counter(name + completed, texts[0], *labels),
                registry.histogram(name + latency, texts[1], latencies, *labels, scale=1000),
                registry.histogram(name + "received_bytes_per_rpc", texts[2], SIZES, "app_id", method),
                registry.histogram(name + "sent_bytes_per_rpc", texts[3], SIZES, "app_id", method),
            )

        self.server = side(
            "server",
            "completed_rpcs",
            "server_latency",
            (
                "Distribution of bytes sent per RPC, by method.",
                "Time between first byte of request received to last byte of response sent, or terminal error.",
                "Total bytes received across all messages per RPC.",
                "Total bytes sent in across all response messages per RPC.",
            ),
        )
        self.client = side(
            "client",
            "completed_rpcs",
            "roundtrip_latency",
            (
                "Count of RPCs by method and status.",
                "Time between first byte of request sent to last byte of response received, or terminal error.",
                "Total bytes received across all response messages per RPC.",
                "Total bytes sent across all request messages per RPC.",
            ),
        )
        self._passing: dict[tuple[bool, bytes], Method] = {}
        status = ("app_id", "grpc_client_status")
        text = "Time between first byte of health probes sent to last byte of response received, or terminal error"
        self._probes = registry.counter(
            "dapr_grpc_io_healthprobes_completed_count", "Count of completed health probes", *status
        )
        self._probe_latency = registry.histogram(
            "dapr_grpc_io_healthprobes_roundtrip_latency", text, latencies, *status, scale=1000
        )

    def passing(self, is_server: bool, path: bytes) -> Method:
        """What is recorded of a method of an app, which anybody may name."""
        found = self._passing.get((is_server, path))
        if found is None:
            side = self.server if is_server else self.client
            found = side.method(path.decode("utf-8", "replace"))
            if len(path) <= LONGEST:
                if len(self._passing) >= KNOWN:
                    self._passing.clear()
                self._passing[is_server, path] = found
        return found

    async def asked(self, path: bytes, message: bytes, work: Awaitable[bytes]) -> bytes:
        """What `work` answers, which asks another process by a message. Without any answer it counts as unavailable."""
        method = self.passing(False, path)
        code, answer = int(Code.UNAVAILABLE), b""
        began = perf_counter()
        try:
            answer = await work
            code = int(Code.OK)
        except RpcError as error:
            code = error.code
            raise
        except CancelledError:
            code = int(Code.CANCELLED)
            raise
        finally:
            method.ended(code, perf_counter() - began)
            method.gave(len(message))
            method.took(len(answer))
        return answer

    def probed(self, code: int, seconds: float) -> None:
        """The app was asked whether it is healthy."""
        self._probes.get(go_name(code)).inc()
        self._probe_latency.get(go_name(code)).record(seconds)
