"""Configurations: schema, defaults, merging and the original's texts."""

from pathlib import Path

import pytest

from pydapr.resources import accesscontrol, configuration, fields


def load(folder: Path, *texts: str, **variables: str) -> configuration.Configuration:
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.yaml"
        path.write_text(text)
        paths.append(str(path))
    return configuration.load_files(paths, variables)


def test_the_default_allows_measures_and_reloads() -> None:
    default = configuration.DEFAULT
    assert default.metrics.enabled
    assert default.access_control == accesscontrol.AccessControl("allow", "public", ())
    assert default.features == {"HotReload", "WorkflowsRemoteActivityReminder"}
    assert default.tracing.otel.is_secure


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load(tmp_path, "") == configuration.DEFAULT


def test_later_files_override_earlier_ones_key_by_key_and_replace_lists(tmp_path: Path) -> None:
    one = "spec: {features: [{name: A, enabled: true}], tracing: {samplingRate: 1.0, stdout: true}}"
    two = "spec: {features: [{name: B, enabled: true}, {name: HotReload, enabled: false}], tracing: {stdout: no}}"
    found = load(tmp_path, one, two)
    assert found.features == {"B", "WorkflowsRemoteActivityReminder"}
    assert (found.tracing.sampling_rate, found.tracing.stdout) == ("1.0", False)


def test_variables_are_expanded(tmp_path: Path) -> None:
    text = "spec: {tracing: {zipkin: {endpointAddress: '$URL/${PATH_}$NONE'}}}"
    assert load(tmp_path, text, URL="http://z", PATH_="p").tracing.zipkin_endpoint == "http://z/p"


def test_metrics_win_over_metric(tmp_path: Path) -> None:
    text = """
spec:
  metric: {enabled: false, recordErrorCodes: true, http: {excludeVerbs: true}, latencyDistributionBuckets: [1, 2]}
  metrics:
    enabled: true
    http: {increasedCardinality: false, pathMatching: [/a/{id}]}
    rules: [{name: r, labels: [{name: l, regex: {x: y}}]}]
"""
    metrics = load(tmp_path, text.replace("{id}]", "x]")).metrics
    assert (metrics.enabled, metrics.record_error_codes) == (True, True)
    assert metrics.latency_distribution_buckets == (1, 2)
    assert metrics.http == configuration.MetricHttp(False, ("/a/x",), None)
    assert metrics.rules[0].labels[0].regex == {"x": "y"}


def test_of_a_number_what_is_behind_the_point_is_cut_off(tmp_path: Path) -> None:
    found = load(tmp_path, "spec: {metrics: {latencyDistributionBuckets: [0.5, 2.9, 3]}}")

    assert found.metrics.latency_distribution_buckets == (0, 2, 3)


def test_the_whole_schema_is_read(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c, namespace: n}
spec:
  tracing: {otel: {endpointAddress: x:4317, protocol: grpc, isSecure: false, headers: [a=b], timeout: 5s}}
  httpPipeline: {handlers: [{name: h, type: middleware.http.x, selector: {fields: [{field: f, value: v}]}}]}
  appHttpPipeline: {handlers: [{name: g, type: t, version: v1}]}
  mtls: {enabled: true, workloadCertTTL: 1h, tokenValidators: [{name: jwks, options: {source: s, n: 1}}]}
  secrets: {scopes: [{storeName: s, defaultAccess: Deny, allowedSecrets: [b, a]}]}
  accessControl:
    defaultAction: deny
    trustDomain: td
    policies: [{appId: a, namespace: n, operations: [{name: /x, httpVerb: [GET], action: allow}]}]
  nameResolution: {component: sqlite, version: v1, configuration: {connectionString: x, timeout: 5}}
  api: {allowed: [{name: state, version: v1.0, protocol: HTTP}], denied: [{name: invoke, version: v1}]}
  components: {deny: [bindings.smtp]}
  logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}
  wasm: {strictSandbox: true}
  workflow:
    maxConcurrentWorkflowInvocations: 3
    globalMaxConcurrentActivityInvocations: 0
    workflowConcurrencyLimits: [{name: w, maxConcurrent: 2}]
    stateRetentionPolicy: {completed: 1m, failed: 0s}
""",
    )
    assert (found.name, found.namespace) == ("c", "n")
    assert found.tracing.otel == configuration.Otel("grpc", "x:4317", False, ("a=b",), (), 5.0)
    assert found.http_pipeline == (configuration.Handler("h", "middleware.http.x", "", (("f", "v"),)),)
    assert found.app_http_pipeline[0].log_name == "g (t/v1)"
    assert found.mtls.token_validators == (configuration.TokenValidator("jwks", {"source": "s", "n": 1}),)
    assert found.access_control is not None
    assert found.access_control.policies[0].operations == (accesscontrol.Operation("/x", ("GET",), "allow"),)
    assert found.name_resolution == configuration.NameResolution(
        "sqlite", "v1", {"connectionString": "x", "timeout": 5}
    )
    assert (found.api_allowed[0].protocol, found.api_denied[0].name) == ("http", "invoke")
    assert (found.components_deny, found.wasm_strict_sandbox) == (("bindings.smtp",), True)
    assert found.api_logging == configuration.ApiLogging(True, True, True)
    assert found.workflow == configuration.Workflow(
        max_concurrent_workflow_invocations=3,
        workflow_concurrency_limits=(configuration.ConcurrencyLimit("w", 2),),
        state_retention_policy=configuration.Retention(completed=60.0, failed=0.0),
    )


@pytest.mark.parametrize(
    ("access", "allowed", "denied", "verdicts"),
    [
        ("", (), (), (True, True)),
        ("deny", (), (), (False, False)),
        ("Deny", ("a",), (), (True, False)),
        ("allow", (), ("a",), (False, True)),
        ("allow", ("a",), ("a",), (True, False)),
    ],
)
def test_a_secrets_scope_decides_by_lists_and_default(
    access: str, allowed: tuple[str, ...], denied: tuple[str, ...], verdicts: tuple[bool, bool]
) -> None:
    scope = configuration.SecretsScope("s", access, frozenset(allowed), frozenset(denied))
    assert (scope.is_allowed("a"), scope.is_allowed("b")) == verdicts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "spec: {secrets: {scopes: [{storeName: a}, {storeName: a}]}}",
            "a storeName is repeated in secrets configuration",
        ),
        (
            "spec: {secrets: {scopes: [{storeName: a, defaultAccess: x}]}}",
            "defaultAccess x can be either allow or deny",
        ),
        (
            "spec: {logging: {apiLogging: {enabled: abc}}}",
            "yaml: unmarshal errors:\n  {path}: spec.logging.apiLogging.enabled: "
            "cannot unmarshal !!str `abc` into bool",
        ),
        (
            "spec: {tracing: {otel: {timeout: 5x}}}",
            "yaml: unmarshal errors:\n  {path}: spec.tracing.otel.timeout: "
            "cannot unmarshal !!str `5x` into time.Duration",
        ),
        ("a: b: c", "yaml: mapping values are not allowed in this context ({path})"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(configuration.ConfigurationError) as refusal:
        load(tmp_path, "spec: {}", text)
    assert str(refusal.value) == words.replace("{path}", str(tmp_path / "1.yaml"))


def test_a_missing_file_is_told_as_go_does() -> None:
    with pytest.raises(configuration.ConfigurationError, match=r"^stat nofile: no such file or directory$"):
        configuration.load_files(["nofile"], {})


def test_kubernetes_gives_headers_as_pairs_and_keys_in_any_case() -> None:
    document = {"spec": {"Tracing": {"otel": {"headers": [{"name": "a", "value": "b"}]}}}}
    found = configuration.read(fields.Fields(document, "Configuration"))
    assert found.tracing.otel.headers == ("a=b",)


def test_opentelemetrys_variables_count_when_the_file_has_no_endpoint() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://general:1",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:2",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=a%20b",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1500",
    }
    tracing = configuration.with_otel_environment(configuration.DEFAULT, environ).tracing
    assert tracing.sampling_rate == "1"
    assert tracing.otel == configuration.Otel("http", "traces:2", False, ("k=a b",), (), 1.5)
    for endpoint, insecure, is_secure in (
        ("http://c:1", "", False), ("https://c:1", "", True), ("c:1", "", True), ("c:1", "True", False),
    ):  # fmt: skip
        said = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TRACES_INSECURE": insecure}
        found = configuration.with_otel_environment(configuration.DEFAULT, said).tracing.otel
        assert (found.endpoint_address, found.is_secure) == ("c:1", is_secure)
    set_already = configuration.Configuration(tracing=tracing)
    assert configuration.with_otel_environment(set_already, {"OTEL_EXPORTER_OTLP_ENDPOINT": "x"}) is set_already
