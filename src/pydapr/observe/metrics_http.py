"""Metrics of HTTP: requests to the API, calls to the app and to other servers, probes of the app's health.

Recorded by `api.http.measured` and `app.measured`; names and labels are the original's (v1.18.3,
`pkg/diagnostics/http_monitoring.go`). What a label set is made of is worked out once and kept by what the request
has at hand: a request costs a lookup and some additions.
"""

from collections.abc import Sequence

from pydapr.lib import urls
from pydapr.observe.metrics import MANY, Count, Registry, Spread
from pydapr.observe.metrics_paths import Labels

SIZES = tuple(1 << power for power in (10, 11, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32))
"""Bounds of sizes in bytes."""

KNOWN = 4096
"""Requests whose recorders are kept."""

LONGEST = 512
"""Bytes of a target that is kept."""

_VERBS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"})


class _Request:
    """The series of requests of one kind and outcome."""

    __slots__ = ("latency", "requests", "responses")

    def __init__(self, requests: Count, responses: Count, latency: Spread) -> None:
        self.requests, self.responses, self.latency = requests, responses, latency


class _Call:
    """The series of calls of one kind and outcome."""

    __slots__ = ("calls", "latency", "sent")

    def __init__(self, calls: Count, latency: Spread, sent: Spread) -> None:
        self.calls, self.latency, self.sent = calls, latency, sent


class HttpMetrics:
    """Records. `latencies` are bounds in milliseconds; without `with_verbs` the method's label is empty."""

    def __init__(self, registry: Registry, latencies: Sequence[float], paths: Labels, with_verbs: bool) -> None:
        self._paths = paths
        self._with_verbs = with_verbs
        self._requests: dict[tuple[bytes, bytes, int], _Request] = {}
        self._calls: dict[tuple[str, bytes, int], _Call] = {}
        self._make_server_series(registry, latencies)
        self._make_client_series(registry, latencies)

    def _make_server_series(self, registry: Registry, latencies: Sequence[float]) -> None:
        labels = ("app_id", "method", "path", "status")
        self._request_count = registry.counter(
            "dapr_http_server_request_count", "Count of HTTP requests processed by the server.", *labels
        )
        self._response_count = None
        if self._paths.is_increased:
            self._response_count = registry.counter(
                "dapr_http_server_response_count", "The number of HTTP responses", *labels
            )
        self._server_latency = registry.histogram(
            "dapr_http_server_latency", "HTTP request end-to-end latency in server.", latencies, *labels, scale=1000
        )
        self._asked = registry.histogram(
            "dapr_http_server_request_bytes",
            "HTTP request body size if set as ContentLength (uncompressed) in server.",
            SIZES,
            "app_id",
        ).get()
        self._told = registry.histogram(
            "dapr_http_server_response_bytes", "HTTP response body size (uncompressed) in server.", SIZES, "app_id"
        ).get()

    def _make_client_series(self, registry: Registry, latencies: Sequence[float]) -> None:
        labels = ("app_id", "method", "path", "status")
        self._sent = registry.histogram(
            "dapr_http_client_sent_bytes", "Total bytes sent in request body (not including headers)", SIZES, *labels
        )
        self._received = registry.histogram(
            "dapr_http_client_received_bytes",
            "Total bytes received in response bodies (not including headers but including error responses with bodies)",
            SIZES,
            "app_id",
        ).get()
        text = "Time between first byte of {} sent to last byte of response received, or terminal error"
        self._roundtrip = registry.histogram(
            "dapr_http_client_roundtrip_latency", text.format("request headers"), latencies, *labels, scale=1000
        )
        self._completed = registry.counter("dapr_http_client_completed_count", "Count of completed requests", *labels)
        self._probe_latency = registry.histogram(
            "dapr_http_healthprobes_roundtrip_latency",
            text.format("health probes headers"),
            latencies,
            "app_id",
            "status",
            scale=1000,
        )
        self._probes = registry.counter(
            "dapr_http_healthprobes_completed_count", "Count of completed health probes", "app_id", "status"
        )

    # -- requests to the API --

    def answered(self, method: bytes, target: bytes, status: int, asked: int, told: int, seconds: float) -> None:
        """A request was answered; `asked` and `told` are the sizes of the bodies."""
        found = self._requests.get((target, method, status)) or self._request(target, method, status)
        found.requests.value += 1
        found.responses.value += 1
        latency = found.latency
        latency.fresh.append(seconds)
        if len(latency.fresh) >= MANY:
            latency.settle()
        sizes = self._told
        self._asked.fresh.append(asked)
        sizes.fresh.append(told)
        if len(sizes.fresh) >= MANY:
            self._asked.settle()
            sizes.settle()

    def _request(self, target: bytes, method: bytes, status: int) -> _Request:
        path = target.partition(b"?")[0]
        try:
            shown = urls.decode(path)
        except ValueError:
            shown = path.decode("latin-1")
        values = (self._verb(method), self._paths.of_request(shown), str(status))
        responses = self._response_count.get(*values) if self._response_count is not None else Count()
        found = _Request(self._request_count.get(*values), responses, self._server_latency.get(*values))
        if len(target) <= LONGEST:
            if len(self._requests) >= KNOWN:
                self._requests.clear()
            self._requests[target, method, status] = found
        return found

    def _verb(self, method: bytes) -> str:
        if not self._with_verbs:
            return ""
        verb = method.decode("latin-1")
        return verb if verb in _VERBS else "UNKNOWN"

    # -- calls to the app --

    def called(self, verb: bytes, method: str, status: int, sent: int, received: int, seconds: float) -> None:
        """A server was called; `sent` and `received` are the sizes of the bodies as far as they are known."""
        found = self._calls.get((method, verb, status)) or self._call(method, verb, status)
        found.calls.value += 1
        latency = found.latency
        latency.fresh.append(seconds)
        if len(latency.fresh) >= MANY:
            latency.settle()
        sizes = found.sent
        sizes.fresh.append(sent)
        if len(sizes.fresh) >= MANY:
            sizes.settle()
        sizes = self._received
        sizes.fresh.append(received)
        if len(sizes.fresh) >= MANY:
            sizes.settle()

    def _call(self, method: str, verb: bytes, status: int) -> _Call:
        path = self._paths.of_call("/" + method.lstrip("/"))
        shown = self._verb(verb)
        found = _Call(
            self._completed.get(shown, path, str(status)),
            self._roundtrip.get(shown, path, str(status)),
            self._sent.get(shown, path, ""),
        )
        if len(method) <= LONGEST:
            if len(self._calls) >= KNOWN:
                self._calls.clear()
            self._calls[method, verb, status] = found
        return found

    def probed(self, status: str, seconds: float) -> None:
        """The app was asked whether it is healthy."""
        self._probes.get(status).inc()
        self._probe_latency.get(status).record(seconds)
