"""Lines of the log at an OTLP collector, where OpenTelemetry's variables ask for it."""

import pytest
from tests.integration import harness
from tests.integration.collector import Collector
from tests.integration.harness import World


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_lines_go_out_when_they_are_asked_for(world: World, collector: Collector, protocol: str) -> None:
    address = collector.grpc if protocol == "grpc" else collector.http
    environment = {
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://{address}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BLRP_SCHEDULE_DELAY": "10",
    }
    sidecar = world.daprd("app", None, environment=environment).await_ready()
    wanted = ("dapr.runtime.channels", "warning: App channel is not initialized. Did you configure an app-port?")
    harness.eventually(lambda: wanted in collector.lines, "the line")
    assert wanted[1].partition(": ")[2] in sidecar.messages()
    path = "/v1/logs" if protocol != "grpc" else "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    assert collector.paths[0] == path
    assert sidecar.stop() == 0


def test_a_collector_that_is_away_changes_nothing(world: World) -> None:
    environment = {
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{harness.free_port()}",
        "OTEL_BLRP_SCHEDULE_DELAY": "10",
    }
    sidecar = world.daprd("app", None, environment=environment).await_ready()
    assert sidecar.stop() == 0
