"""The metrics port of a running sidecar, as the Configuration wants it."""

import gzip
import re
import threading

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR
from tests.integration.harness import LIMIT, Sidecar, World, eventually
from tests.integration.http_wire import Message, Wire, always, answer


def configured(world: World, metrics: str, *flags: str, environment: dict[str, str] | None = None) -> Sidecar:
    """A ready sidecar with an app, whose Configuration has these metrics."""
    path = world.folder / "metrics.yaml"
    path.write_text(
        f"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: m}}\nspec: {{metrics: {{{metrics}}}}}\n"
    )
    app = world.app()
    return world.daprd("app", app, "--config", str(path), *flags, environment=environment).await_ready()


def page(sidecar: Sidecar, path: str = "/") -> Message:
    return sidecar.call("GET", path, port=sidecar.metrics)


def series(sidecar: Sidecar, name: str) -> dict[str, str]:
    """Labels without app_id → value, of one metric."""
    text = page(sidecar).body.decode()
    found = re.findall(rf'^{name}\{{app_id="[^"]*",?(.*)\}} (\S+)$', text, re.MULTILINE)
    return dict(found)


def invoke(sidecar: Sidecar, method: str, verb: str = "GET") -> Message:
    return sidecar.call(verb, f"/v1.0/invoke/{sidecar.app_id}/method/{method}")


COUNT = "dapr_http_server_request_count"


def test_the_type_of_the_page_is_prometheus_text(world: World) -> None:
    sidecar = configured(world, "")
    told = page(sidecar, "/any/path")

    assert told.status == 200
    assert ("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores") in told.headers


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [("gzip", True), ("zstd, GZIP;q=0.5", True), ("gzip;q=0, identity", False), ("gzip; q=0.0", False), ("br", False)],
)
def test_who_takes_gzip_gets_the_page_compressed(world: World, accepted: str, is_compressed: bool) -> None:
    sidecar = configured(world, "")
    told = sidecar.call("GET", "/", f"Accept-Encoding: {accepted}", port=sidecar.metrics)

    assert told.all("content-encoding") == ["gzip"] * is_compressed
    text = gzip.decompress(told.body) if is_compressed else told.body
    assert text.endswith(b"\n")
    assert b"\n# TYPE process_resident_memory_bytes gauge\n" in text


def test_each_path_is_shown_without_a_configuration(world: World) -> None:
    sidecar = configured(world, "")
    invoke(sidecar, "orders/7?q=1")

    path = f"/v1.0/invoke/{sidecar.app_id}/method/orders/7"
    assert series(sidecar, COUNT)[f'method="GET",path="{path}",status="200"'] == "1"
    assert series(sidecar, "dapr_http_client_completed_count")['method="GET",path="/orders/7",status="200"'] == "1"


def test_patterns_stand_for_paths(world: World) -> None:
    sidecar = configured(world, 'http: {increasedCardinality: false, pathMatching: ["/orders/{id}"]}')
    invoke(sidecar, "orders/7")
    invoke(sidecar, "orders/8")
    invoke(sidecar, "other")

    counts = series(sidecar, COUNT)
    assert counts['method="GET",path="/v1.0/invoke/{app_id}/method/orders/{id}",status="200"'] == "2"
    assert counts['method="GET",path="",status="200"'] == "1"


def test_verbs_can_be_left_out(world: World) -> None:
    sidecar = configured(world, "http: {increasedCardinality: false, excludeVerbs: true}")
    invoke(sidecar, "x")
    invoke(sidecar, "x", "POST")

    assert series(sidecar, COUNT)['method="",path="",status="200"'] == "2"


def test_bounds_of_times_can_be_chosen(world: World) -> None:
    sidecar = configured(world, "latencyDistributionBuckets: [7, 70]")
    invoke(sidecar, "x")

    bounds = re.findall(r'^dapr_http_server_latency_bucket\{.*le="([^"]+)"', page(sidecar).body.decode(), re.MULTILINE)
    assert set(bounds) == {"7", "70", "+Inf"}


def test_a_bound_that_is_given_twice_is_one(world: World) -> None:
    sidecar = configured(world, "latencyDistributionBuckets: [70, 7, 70, 0]")
    invoke(sidecar, "x")

    bounds = re.findall(
        r'^dapr_http_server_latency_bucket\{.*path="/v1.0/invoke/.*le="([^"]+)"',
        page(sidecar).body.decode(),
        re.MULTILINE,
    )
    assert bounds == ["7", "70", "+Inf"]


def test_rules_rewrite_labels(world: World) -> None:
    rule = '{name: dapr_http_client_completed_count, labels: [{name: path, regex: {"/orders/N": "/orders/[0-9]+"}}]}'
    sidecar = configured(world, f"rules: [{rule}]")
    invoke(sidecar, "orders/7")
    invoke(sidecar, "orders/8")

    assert series(sidecar, "dapr_http_client_completed_count")['method="GET",path="/orders/N",status="200"'] == "2"


def test_a_rule_that_cannot_be_read_is_told_and_there_is_none(world: World) -> None:
    sidecar = configured(world, 'rules: [{name: x, labels: [{name: path, regex: {"a": "("}}]}]')

    assert "no rule is in force" in sidecar.log


def test_a_pattern_that_is_none_ends_the_start(world: World) -> None:
    path = world.folder / "bad.yaml"
    path.write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: m}\n"
        'spec: {metrics: {http: {pathMatching: ["/a{b}"]}}}\n'
    )
    sidecar = world.daprd("app", None, "--config", str(path))

    assert sidecar.exit_code() == 1
    assert "/a{b}: a wildcard must be a whole segment" in sidecar.log


@pytest.mark.parametrize("records", [True, False])
def test_errors_are_counted_by_code_when_that_is_wanted(world: World, records: bool) -> None:
    sidecar = configured(world, f"recordErrorCodes: {str(records).lower()}")
    sidecar.call("GET", "/no/such/thing")

    expected = {'category="service-invocation",error_code="ERR_DIRECT_INVOKE"': "1"} if records else {}
    found = series(sidecar, "dapr_error_code_total")
    assert {name: value for name, value in found.items() if "INVOKE" in name} == expected


def test_an_error_that_an_answer_of_grpc_only_tells_of_counts_too(world: World) -> None:
    sidecar = configured(world, "recordErrorCodes: true")
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        channel.unary_unary(DAPR + "UnsubscribeConfiguration")(b"", timeout=10)

    found = series(sidecar, "dapr_error_code_total")
    assert found['category="configuration",error_code="ERR_CONFIGURATION_UNSUBSCRIBE"'] == "1"


def test_a_call_that_its_caller_gives_up_is_answered_with_0(world: World) -> None:
    """As with the original: calls received and answers sent come to the same number."""
    came, is_over = threading.Event(), threading.Event()

    def slow(wire: Wire, request: Message) -> None:
        came.set()
        is_over.wait(LIMIT)

    callee = world.sidecar("callee", world.app(slow))
    caller = configured(world, "")
    wire = caller.connect()
    wire.send(http_wire.request("GET", f"/v1.0/invoke/{callee.app_id}/method/x"))
    assert came.wait(LIMIT)
    wire.close()

    name, labels = "dapr_runtime_service_invocation_res_sent_total", f'dst_app_id="{caller.app_id}",status="0"'
    eventually(lambda: series(callee, name) == {labels: "1"}, "the answer counts")
    is_over.set()


def test_failures_of_the_app_are_errors_of_invocation(world: World) -> None:
    sidecar = configured(world, "recordErrorCodes: true")
    world.apps[-1].handler = always(answer("503 Later"))
    invoke(sidecar, "x")

    counts = series(sidecar, "dapr_error_code_total")
    assert counts['category="service-invocation",error_code="ERR_DIRECT_INVOKE"'] == "1"


def test_switched_off_the_page_shows_the_process_only(world: World) -> None:
    sidecar = configured(world, "enabled: false")
    invoke(sidecar, "x")
    text = page(sidecar).body.decode()

    assert "process_resident_memory_bytes" in text
    assert "\ndapr_" not in text


def test_series_are_bounded(world: World) -> None:
    sidecar = configured(world, "", environment={"DAPR_METRICS_MAX_SERIES": "3"})
    for number in range(10):
        invoke(sidecar, f"path-{number}")

    counts = series(sidecar, COUNT)
    assert len(counts) == 4
    assert 'method="__overflow__",path="__overflow__",status="__overflow__"' in counts
    assert sidecar.log.count(f"metric {COUNT} has 3 label sets") == 1


@pytest.mark.parametrize("text", ["0", "many", "-1"])
def test_a_bound_that_is_none_is_refused(world: World, text: str) -> None:
    sidecar = world.daprd("app", environment={"DAPR_METRICS_MAX_SERIES": text})

    assert sidecar.exit_code() == 1
    assert f"DAPR_METRICS_MAX_SERIES environment variable: {text}" in sidecar.log


def test_a_streamed_answer_counts_with_its_size(world: World) -> None:
    def stream(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        wire.send(b"3\r\nyou\r\n0\r\n\r\n")

    sidecar = configured(world, "")
    before = float(series(sidecar, "dapr_http_server_response_bytes_sum")[""])
    world.apps[-1].handler = stream
    invoke(sidecar, "x")

    assert float(series(sidecar, "dapr_http_server_response_bytes_sum")[""]) - before == 8


def test_probes_of_the_app_are_no_calls(world: World) -> None:
    sidecar = configured(world, "", "--enable-app-health-check", "--app-health-probe-interval", "1")
    world.apps[-1].handler = http_wire.echo

    def probed() -> bool:
        return 'status="200"' in series(sidecar, "dapr_http_healthprobes_completed_count")

    eventually(probed, "a probe that went well")
    assert all("/healthz" not in name for name in series(sidecar, "dapr_http_client_completed_count"))


def test_components_are_counted(world: World) -> None:
    folder = world.folder / "resources"
    folder.mkdir()
    (folder / "alias.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: alias}\n"
        "spec: {type: middleware.http.routeralias, version: v1, metadata: [{name: routes, value: '{}'}]}\n"
    )
    (folder / "none.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: none}\n"
        "spec: {type: secretstores.none, version: v1, ignoreErrors: true, metadata: []}\n"
    )
    sidecar = world.daprd("app", None, "--resources-path", str(folder)).await_ready()

    assert series(sidecar, "dapr_runtime_component_loaded") == {"": "1"}
    assert series(sidecar, "dapr_runtime_component_init_fail_total") == {
        'component="secretstores.none",componentName="none",reason="creation"': "1",
        'component="secretstores.none",componentName="none",reason="init"': "1",
    }
