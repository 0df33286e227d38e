"""Spans at a collector: OTLP over gRPC and HTTP, Zipkin, the log; and when the collector is away."""

import re
import socket

import pytest
from tests.integration import harness
from tests.integration.collector import Collector
from tests.integration.harness import Sidecar, World
from tests.integration.tracing.conftest import config, otlp

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "10"}
CLIENT, SERVER = 3, 2


def started(world: World, *flags: str, app: bool = True, **environment: str) -> Sidecar:
    made = world.daprd("app", world.app() if app else None, *flags, environment={**FAST, **environment})
    return made.await_ready()


def call(sidecar: Sidecar, suffix: str = "", *headers: str) -> str:
    """Calls the own app; the answer's trace context."""
    return sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/hello{suffix}", *headers).get("traceparent") or ""


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_spans_go_out_by_otlp(world: World, collector: Collector, protocol: str) -> None:
    more = "  headers:\n    - x-key=secret\n  timeout: 5s\n"
    sidecar = started(world, *otlp(world, collector, protocol, more=more))
    fields = ("dapr-note: mine", "dapr-api-token: hush", f"dapr-app-id: {sidecar.app_id}", "tracestate: a=b")
    told = sidecar.call("GET", "/hello?a=1", *fields).get("traceparent") or ""
    name = f"CallLocal/{sidecar.app_id}/hello"
    harness.eventually(lambda: collector.named(name, CLIENT), "the span")
    span = collector.named(name, CLIENT)[0]
    assert f"00-{span.trace}-{span.id}-01" == told
    assert (span.parent, span.code, span.message) == ("", 0, "")
    assert 0 < span.took < 20_000_000_000
    assert span.resource == {"service.name": sidecar.app_id}
    port = span.attributes.pop("server.port")
    assert port.isdigit()
    assert span.attributes == {
        "dapr-note": "mine",
        "dapr.api": "GET /hello",
        "dapr.protocol": "http",
        "dapr.status_code": "200",
        "http.request.method": "GET",
        "net.peer.name": sidecar.app_id,
        "rpc.service": "ServiceInvocation",
        "server.address": "127.0.0.1",
        "url.full": "/hello?a=1",
    }
    assert collector.headers[0]["x-key"] == "secret"
    expected = "/v1/traces" if protocol == "http" else "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    assert collector.paths[0] == expected


def test_a_call_of_another_app_leaves_a_span_on_either_side(world: World, collector: Collector) -> None:
    flags = otlp(world, collector)
    callee = started(world, *flags)
    caller = world.daprd("caller", None, *flags, environment=FAST).await_ready()
    url = f"/v1.0/invoke/{callee.app_id}/method/hello"
    harness.eventually(lambda: caller.call("GET", url).status == 200, "the caller finds the callee")
    told = caller.call("GET", url).get("traceparent") or ""
    name = f"CallLocal/{callee.app_id}/hello"
    harness.eventually(
        lambda: told[3:35] in {span.trace for span in collector.named(name, SERVER)}, "the server's span"
    )
    harness.eventually(lambda: told[36:52] in {span.id for span in collector.named(name, CLIENT)}, "the client's")
    server = next(span for span in collector.named(name, SERVER) if span.trace == told[3:35])
    assert server.parent == told[36:52]
    assert (world.apps[0].last.get("traceparent") or "")[36:52] == server.id
    assert server.resource == {"service.name": callee.app_id}
    assert server.attributes == {
        "dapr.api": "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
        "dapr.invoke_method": "hello",
        "dapr.protocol": "grpc",
        "rpc.service": "ServiceInvocation",
    }


def test_a_failure_is_an_error_of_the_span(world: World, collector: Collector) -> None:
    sidecar = started(world, *otlp(world, collector), app=False)
    sidecar.call("GET", "/v1.0/invoke/nobody/method/x")
    harness.eventually(lambda: collector.named("CallLocal/nobody/x", CLIENT), "the span")
    span = collector.named("CallLocal/nobody/x", CLIENT)[0]
    assert (span.code, span.message) == (2, "Code(500): Internal Server Error")


def test_zipkin_gets_spans_in_its_own_words(world: World, collector: Collector) -> None:
    url = f"http://user:p%40ss@{collector.http}/api/v2/spans?key=a%20b"
    sidecar = started(world, *config(world, f'samplingRate: "1"\nzipkin:\n  endpointAddress: {url}'))
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    told = call(sidecar, "", f"traceparent: {parent}")
    harness.eventually(lambda: collector.zipkin, "the span")
    span = collector.zipkin[0]
    assert (span["traceId"], span["id"], span["parentId"]) == (told[3:35], told[36:52], parent[36:52])
    assert (span["name"], span["kind"]) == (f"calllocal/{sidecar.app_id}/hello", "CLIENT")
    assert span["localEndpoint"] == {"serviceName": sidecar.app_id}
    assert span["remoteEndpoint"] == {"serviceName": "127.0.0.1"}
    assert span["duration"] >= 1
    assert span["tags"]["otel.scope.name"] == "dapr-diagnostics"
    assert span["tags"]["service.name"] == sidecar.app_id
    assert collector.paths[0] == "/api/v2/spans?key=a%20b"
    assert collector.headers[0]["authorization"] == "Basic dXNlcjpwQHNz"


def test_spans_are_lines_of_the_log(world: World) -> None:
    sidecar = started(world, *config(world, 'samplingRate: "1"\nstdout: true'))
    told = call(sidecar)
    expected = f"[CallLocal/{sidecar.app_id}/hello] Trace: {told[3:35]} Span: 0000000000000000/{told[36:52]} Time: ["
    harness.eventually(lambda: any(line.startswith(expected) for line in sidecar.messages()), "the line")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_endpoint_that_begins_with_http_is_spoken_to_without_tls(
    world: World, collector: Collector, protocol: str
) -> None:
    address = collector.grpc if protocol == "grpc" else collector.http
    url = f"http://user:p%40ss@{address}"
    sidecar = started(world, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    call(sidecar)
    harness.eventually(lambda: collector.spans, "the span")
    assert collector.headers[0]["authorization"] == "Basic dXNlcjpwQHNz"


def test_headers_of_the_configuration_go_out_as_they_stand(world: World, collector: Collector) -> None:
    more = "  headers:\n    - Authorization=a%20b=\n"
    sidecar = started(world, *otlp(world, collector, "http", more=more))
    call(sidecar)
    harness.eventually(lambda: collector.spans, "the span")
    assert collector.headers[0]["authorization"] == "a%20b="


def test_opentelemetrys_variables_are_enough(world: World, collector: Collector) -> None:
    sidecar = started(
        world,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{collector.http}/base",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_INSECURE="true",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_SERVICE_NAME="my-service",
        OTEL_RESOURCE_ATTRIBUTES="service.namespace=production,service.name=other,note=a%20b",
    )
    call(sidecar)
    harness.eventually(lambda: collector.spans, "the span")
    assert collector.paths[0] == "/base/v1/traces"
    assert collector.headers[0]["x-key"] == "a b"
    expected = {"service.name": "my-service", "service.namespace": "production", "note": "a b"}
    assert collector.spans[0].resource == expected


def test_what_waits_is_sent_at_the_end(world: World, collector: Collector) -> None:
    sidecar = world.sidecar("app", world.app(), *otlp(world, collector))
    call(sidecar)
    assert sidecar.stop() == 0
    assert collector.named(f"CallLocal/{sidecar.app_id}/hello", CLIENT)


def test_a_collector_that_is_away_neither_stops_calls_nor_the_end(world: World) -> None:
    gone = harness.free_port()
    text = f'samplingRate: "1"\notel:\n  endpointAddress: 127.0.0.1:{gone}\n  protocol: grpc\n  isSecure: false'
    sidecar = started(world, *config(world, text))
    for _ in range(3):
        assert call(sidecar).endswith("-01")
    assert sidecar.stop() == 0
    assert any(line.startswith("Spans were not exported") for line in sidecar.messages())


@pytest.mark.parametrize(
    "text",
    [
        "zipkin:\n  endpointAddress: http://{}/api/v2/spans",
        "otel:\n  endpointAddress: {}\n  protocol: grpc\n  isSecure: false",
        "otel:\n  endpointAddress: {}\n  protocol: http\n  isSecure: false",
    ],
)
def test_a_collector_that_hangs_does_not_make_the_end_a_failure(world: World, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        named = config(world, 'samplingRate: "1"\n' + text.format(address))
        variables = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}"}
        flags = (*named, "--dapr-graceful-shutdown-seconds", "2")
        sidecar = world.daprd("app", None, *flags, environment=variables).await_ready()
        sidecar.call("GET", "/v1.0/metadata")
        assert sidecar.stop() == 0
    assert "Error flushing tracing provider: 1 spans were left" in sidecar.messages()
    assert sidecar.messages()[-1] == "Daprd shutdown gracefully"


@pytest.mark.parametrize(
    ("environment", "reason", "most"),
    [
        ({"OTEL_BSP_EXPORT_TIMEOUT": "20"}, "timeout", 4),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_SCHEDULE_DELAY": "60000"}, "queue_full", 2),
    ],
)
def test_lost_spans_are_counted_with_the_reason(
    world: World, environment: dict[str, str], reason: str, most: int
) -> None:
    gone = harness.free_port()
    text = f'samplingRate: "1"\notel:\n  endpointAddress: 127.0.0.1:{gone}\n  protocol: grpc\n  isSecure: false'
    sidecar = world.daprd("app", world.app(), *config(world, text), environment={**FAST, **environment}).await_ready()
    labels = f'{{app_id="{sidecar.app_id}",reason="{reason}"}}'
    line = re.compile(rf"^dapr_runtime_tracing_spans_dropped_total{re.escape(labels)} (\d+)$", re.MULTILINE)

    def dropped() -> int:
        found = line.search(sidecar.call("GET", "/", port=sidecar.metrics).body.decode())
        return int(found[1]) if found else 0

    assert dropped() == 0
    for _ in range(4):
        assert call(sidecar).endswith("-01")
    harness.eventually(lambda: dropped() >= most, "they are counted")
    assert dropped() == most


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("otel:\n  endpointAddress: localhost:4317\n  protocol: carrier-pigeon", "invalid protocol carrier-pigeon"),
        ("zipkin:\n  endpointAddress: nowhere", "zipkin.endpointAddress"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(world: World, text: str, words: str) -> None:
    sidecar = world.daprd("app", None, *config(world, text))
    assert sidecar.exit_code() == 1
    assert words in sidecar.log
