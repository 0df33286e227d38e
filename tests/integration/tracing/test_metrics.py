"""Metrics at an OTLP collector, where OpenTelemetry's variables ask for it."""

import pytest
from tests.integration import harness
from tests.integration.collector import Collector
from tests.integration.harness import World


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_metrics_go_out_when_they_are_asked_for(world: World, collector: Collector, protocol: str) -> None:
    address = collector.grpc if protocol == "grpc" else collector.http
    environment = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://{address}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
    }
    sidecar = world.daprd("app", world.app(), environment=environment).await_ready()
    sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/hello")
    wanted = {"dapr_http_server_request_count", "dapr_http_server_latency", "process_cpu_seconds_total"}
    harness.eventually(lambda: wanted <= collector.metrics, "the metrics")
    path = "/v1/metrics" if protocol != "grpc" else "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    assert collector.paths[0] == path
    assert sidecar.stop() == 0


def test_a_collector_that_cannot_be_is_said_at_the_start(world: World) -> None:
    environment = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:many"}
    sidecar = world.daprd("app", None, environment=environment)
    assert sidecar.exit_code() == 1
    assert "metrics by OTLP" in sidecar.log
