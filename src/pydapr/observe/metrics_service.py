"""Metrics of service invocation, of components and of errors; names and labels are the original's (v1.18.3,
`pkg/diagnostics/service_monitoring.go`, `errorcode_monitoring.go`).

`Called` is recorded on the caller's side (`peers.sidecar`, `app.measured`), `received` and `replied`
on the callee's (`api.internal`). Sidecars are few, so their series are kept by name and status; but a peer may call
itself what it likes, so a name that is none for its length is not kept.
"""

from collections.abc import Sequence

from pydapr.errors import DaprError
from pydapr.observe.metrics import LONGEST, MANY, Count, Registry, Spread

KNOWN = 1024
"""Apps whose recorders are kept."""

UNARY, STREAMING = "unary", "streaming"

Answer = tuple[Count, Spread]


class ServiceMetrics:
    """Records. `latencies` are bounds in milliseconds."""

    def __init__(self, registry: Registry, latencies: Sequence[float]) -> None:
        name = "dapr_runtime_service_invocation_"
        self.requests_sent = registry.counter(
            name + "req_sent_total", "The number of requests sent via service invocation.",
            "app_id", "dst_app_id", "type",
        )  # fmt: skip
        self._requests_received = registry.counter(
            name + "req_recv_total", "The number of requests received via service invocation.",
            "app_id", "src_app_id",
        )  # fmt: skip
        self._responses_sent = registry.counter(
            name + "res_sent_total", "The number of responses sent via service invocation.",
            "app_id", "dst_app_id", "status",
        )  # fmt: skip
        self._responses_received = registry.counter(
            name + "res_recv_total", "The number of responses received via service invocation.",
            "app_id", "src_app_id", "status", "type",
        )  # fmt: skip
        self._latency = registry.histogram(
            name + "res_recv_latency_ms", "The latency of service invocation response.", latencies,
            "app_id", "src_app_id", "status", scale=1000,
        )  # fmt: skip
        self._called: dict[str, Called] = {}
        self._received: dict[bytes, Count] = {}
        self._replied: dict[tuple[bytes, int], Count] = {}

    # -- the caller's side --

    def app(self, app_id: str) -> "Called":
        """What is recorded of calls of an app."""
        found = self._called.get(app_id)
        if found is None:
            found = Called(self, app_id)
            if len(app_id) <= LONGEST:
                if len(self._called) >= KNOWN:
                    self._called.clear()
                self._called[app_id] = found
        return found

    def series(self, app_id: str, status: int) -> Answer:
        """The series of answers with a status."""
        text = str(status)
        return self._responses_received.get(app_id, text, UNARY), self._latency.get(app_id, text)

    def stream_sent(self, app_id: str) -> None:
        """A call that is a stream goes to an app."""
        self.requests_sent.get(app_id, STREAMING).inc()

    def stream_failed(self, app_id: str, code: int) -> None:
        """A stream to an app could not be begun."""
        self._responses_received.get(app_id, str(code), STREAMING).inc()

    # -- the callee's side --

    def received(self, app_id: bytes) -> None:
        """Another app calls this one."""
        found = self._received.get(app_id)
        if found is None:
            found = self._requests_received.get(app_id.decode("utf-8", "replace"))
            if len(app_id) <= LONGEST:
                if len(self._received) >= KNOWN:
                    self._received.clear()
                self._received[app_id] = found
        found.value += 1

    def replied(self, app_id: bytes, status: int) -> None:
        """It has its answer."""
        found = self._replied.get((app_id, status))
        if found is None:
            found = self._responses_sent.get(app_id.decode("utf-8", "replace"), str(status))
            if len(app_id) <= LONGEST:
                if len(self._replied) >= KNOWN:
                    self._replied.clear()
                self._replied[app_id, status] = found
        found.value += 1


class Called:
    """Records the calls of one app; `sent` is counted up by who calls."""

    __slots__ = ("_app_id", "_by_status", "_metrics", "sent")

    def __init__(self, metrics: ServiceMetrics, app_id: str) -> None:
        self._metrics, self._app_id = metrics, app_id
        self._by_status: dict[int, Answer] = {}
        self.sent = metrics.requests_sent.get(app_id, UNARY)

    def answered(self, status: int, seconds: float) -> None:
        """The app answered; `status` is HTTP's, or gRPC's where the app speaks that."""
        found = self._by_status.get(status)
        if found is None:
            found = self._by_status[status] = self._metrics.series(self._app_id, status)
        count, latency = found
        count.value += 1
        latency.fresh.append(seconds)
        if len(latency.fresh) >= MANY:
            latency.settle()


_BY = {True: ("app", "app specific"), False: ("global", "global")}


class AccessMetrics:
    """Records what the access rules decide of calls to the app (`policy.gate`)."""

    def __init__(self, registry: Registry) -> None:
        self._families = {
            (is_allowed, by_app): registry.counter(
                f"dapr_runtime_acl_{short}_policy_action_{done}_total",
                f"The number of requests {done} by the {who} action specified in the access control policy.",
                "app_id", "namespace", "trustDomain", fixed={},
            )
            for is_allowed, done in ((True, "allowed"), (False, "blocked"))
            for by_app, (short, who) in _BY.items()
        }  # fmt: skip

    def series(self, is_allowed: bool, by_app: bool, app_id: str, namespace: str, trust_domain: str) -> Count:
        """The series of decisions over one caller, by its own policy or the global default."""
        return self._families[is_allowed, by_app].get(app_id, namespace, trust_domain)


class ComponentMetrics:
    """Records what becomes of components at the start."""

    def __init__(self, registry: Registry) -> None:
        name = "dapr_runtime_component_"
        self._loaded = registry.counter(name + "loaded", "The number of successfully loaded components.", "app_id")
        self._initialized = registry.counter(
            name + "init_total", "The number of initialized components.", "app_id", "component"
        )
        self._failed = registry.counter(
            name + "init_fail_total", "The number of component initialization failures.",
            "app_id", "component", "componentName", "reason",
        )  # fmt: skip

    def loaded(self) -> None:
        self._loaded.get().inc()

    def initialized(self, type_: str) -> None:
        self._initialized.get(type_).inc()

    def failed(self, type_: str, name: str, reason: str) -> None:
        """`reason` is `creation` or `init`."""
        self._failed.get(type_, name, reason).inc()


class IdentityMetrics:
    """Records how certificates are got under mTLS (`daprd.identity`)."""

    def __init__(self, registry: Registry) -> None:
        name = "dapr_runtime_mtls_"
        self._made = registry.counter(
            name + "init_total", "The number of successful mTLS authenticator initialization.", "app_id"
        )
        self._renewed = registry.counter(
            name + "workload_cert_rotated_total", "The number of the successful workload certificate rotations.",
            "app_id",
        )  # fmt: skip
        self._failed = registry.counter(
            name + "workload_cert_rotated_fail_total", "The number of the failed workload certificate rotations.",
            "app_id", "reason",
        )  # fmt: skip

    def made(self) -> None:
        """The first certificate is here."""
        self._made.get().inc()

    def renewed(self, reason: str) -> None:
        """The certificate was renewed, or was not for a `reason`."""
        (self._failed.get(reason) if reason else self._renewed.get()).inc()


class ErrorMetrics:
    """Records the errors that the API answers, by their code."""

    def __init__(self, registry: Registry) -> None:
        self._total = registry.counter(
            "dapr_error_code_total",
            "Total number of times an error with a specific error code was encountered.",
            "app_id", "category", "error_code",
        )  # fmt: skip

    def answered(self, error: DaprError) -> None:
        if error.category:
            self._total.get(error.category, error.code).inc()
