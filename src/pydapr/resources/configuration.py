"""The Configuration: `kind: Configuration`, `dapr.io/v1alpha1`, with Dapr's defaults filled in.

`load_files` is called once by `daprd.runtime` with the `--config` files (standalone), `read` with what the
operator sends (Kubernetes); without either, `DEFAULT` holds. The values are then handed to those that they
concern: observe, policy, blocks. `with_otel_environment` adds what OpenTelemetry's own variables say.
"""

from __future__ import annotations

from pydapr.lib.record import Record
from pydapr.resources import fields
from pydapr.resources.accesscontrol import ALLOW, DENY, AccessControl, AppPolicy, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydapr.resources.fields import Fields, NameValue

_ON_BY_DEFAULT = ("HotReload", "WorkflowsRemoteActivityReminder")


class ConfigurationError(ValueError):
    """A Configuration cannot be used; what follows `error loading configuration: ` in the log."""


class Otel(Record):
    """Where spans go by OTLP; `headers` are `name=value` texts, or values to be looked up."""

    protocol: str = ""
    endpoint_address: str = ""
    is_secure: bool = True
    headers: tuple[str, ...] = ()
    secret_headers: tuple[NameValue, ...] = ()
    timeout_seconds: float | None = None


class Tracing(Record):
    """Which requests are traced, and where spans go."""

    sampling_rate: str = ""
    stdout: bool = False
    zipkin_endpoint: str = ""
    otel: Otel = Otel()


class MetricLabel(Record):
    """A label whose values are shortened by expressions."""

    name: str
    regex: Mapping[str, str]


class MetricRule(Record):
    """Labels to be rewritten in one metric."""

    name: str
    labels: tuple[MetricLabel, ...]


class MetricHttp(Record):
    """Labels of HTTP metrics; None where the file says nothing."""

    increased_cardinality: bool | None = None
    path_matching: tuple[str, ...] = ()
    exclude_verbs: bool | None = None


class Metrics(Record):
    """What is measured; `spec.metrics` over `spec.metric`. None where the file says nothing."""

    enabled: bool = True
    record_error_codes: bool | None = None
    http: MetricHttp | None = None
    latency_distribution_buckets: tuple[int, ...] | None = None
    rules: tuple[MetricRule, ...] = ()


class Handler(Record):
    """One middleware of a pipeline; `selector` has pairs of field and value."""

    name: str = ""
    type: str = ""
    version: str = ""
    selector: tuple[tuple[str, str], ...] = ()

    @property
    def log_name(self) -> str:
        return f"{self.name} ({self.type}/{self.version})" if self.version else f"{self.name} ({self.type})"


class TokenValidator(Record):
    """A further way for sentry to check who asks for a certificate."""

    name: str
    options: object = None


class Mtls(Record):
    """Certificates of the system; read by sentry."""

    enabled: bool = False
    workload_cert_ttl: str = ""
    allowed_clock_skew: str = ""
    sentry_address: str = ""
    control_plane_trust_domain: str = ""
    token_validators: tuple[TokenValidator, ...] = ()


class SecretsScope(Record):
    """Which secrets of a store the app may read."""

    store_name: str = ""
    default_access: str = ""
    allowed_secrets: frozenset[str] = frozenset()
    denied_secrets: frozenset[str] = frozenset()

    def is_allowed(self, secret: str) -> bool:
        """A list of allowed secrets decides alone; else denied ones and the default."""
        if self.allowed_secrets:
            return secret in self.allowed_secrets
        return secret not in self.denied_secrets and self.default_access.lower() != DENY


class NameResolution(Record):
    """Which component finds other apps; `configuration` is its own affair."""

    component: str = ""
    version: str = ""
    configuration: object = None


class ApiRule(Record):
    """One API by name, version and protocol."""

    name: str
    version: str
    protocol: str


class ApiLogging(Record):
    """Whether and how API calls are logged."""

    enabled: bool = False
    obfuscate_urls: bool = False
    omit_health_checks: bool = False


class ConcurrencyLimit(Record):
    """How many of one workflow or activity may run at the same time, over all replicas."""

    name: str
    max_concurrent: int


class Retention(Record):
    """How long finished workflows are kept, in seconds; None is for ever."""

    any_terminal: float | None = None
    completed: float | None = None
    failed: float | None = None
    terminated: float | None = None


class Workflow(Record):
    """Limits of workflows; None is unlimited."""

    max_concurrent_workflow_invocations: int | None = None
    max_concurrent_activity_invocations: int | None = None
    global_max_concurrent_workflow_invocations: int | None = None
    global_max_concurrent_activity_invocations: int | None = None
    workflow_concurrency_limits: tuple[ConcurrencyLimit, ...] = ()
    activity_concurrency_limits: tuple[ConcurrencyLimit, ...] = ()
    state_retention_policy: Retention | None = None


class Configuration(Record):
    """All of it."""

    name: str = ""
    namespace: str = ""
    tracing: Tracing = Tracing()
    metrics: Metrics = Metrics()
    http_pipeline: tuple[Handler, ...] = ()
    app_http_pipeline: tuple[Handler, ...] = ()
    mtls: Mtls = Mtls()
    secrets_scopes: tuple[SecretsScope, ...] = ()
    access_control: AccessControl | None = AccessControl()
    name_resolution: NameResolution | None = None
    features: frozenset[str] = frozenset(_ON_BY_DEFAULT)
    """The enabled ones, with those that are on by default."""
    api_allowed: tuple[ApiRule, ...] = ()
    api_denied: tuple[ApiRule, ...] = ()
    components_deny: tuple[str, ...] = ()
    api_logging: ApiLogging = ApiLogging()
    wasm_strict_sandbox: bool = False
    workflow: Workflow = Workflow()

    def secrets_scope(self, store: str) -> SecretsScope | None:
        """The scope of a secret store, None when everything may be read."""
        return next((scope for scope in self.secrets_scopes if scope.store_name == store), None)


DEFAULT = Configuration()


def load_files(paths: Sequence[str], variables: Mapping[str, str]) -> Configuration:
    """The Configuration of several files, later over earlier over the defaults; raises ConfigurationError.

    `$VAR` and `${VAR}` are replaced by `variables` first. Mappings are merged, lists and scalars replaced.
    """
    loaded = [(path, _load_file(path, variables)) for path in paths]
    merged: dict[str, object] = {}
    for _, values in loaded:
        merged = _merge(merged, values)
    try:
        return read(fields.Fields(merged, "Configuration", fields.YAML))
    except fields.FieldError as error:
        raise ConfigurationError(_blamed(loaded) or str(error)) from error


def _blamed(loaded: list[tuple[str, dict[str, object]]]) -> str:
    """The error again, with the name of the file that has it."""
    for path, values in loaded:
        try:
            read(fields.Fields(values, "Configuration", fields.YAML))
        except fields.FieldError as error:
            return f"yaml: unmarshal errors:\n  {path}: {error}"
    return ""


def _load_file(path: str, variables: Mapping[str, str]) -> dict[str, object]:
    from pydapr.lib import expand
    from pydapr.resources import documents

    try:
        with open(path, "rb") as file:
            content = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        operation = "stat" if isinstance(error, FileNotFoundError | NotADirectoryError) else "open"
        operation = "read" if isinstance(error, IsADirectoryError) else operation
        raise ConfigurationError(f"{operation} {path}: {(error.strerror or '').lower()}") from error
    try:
        value = documents.decode_configuration(expand.expand(content, variables).encode("utf-8", "surrogateescape"))
    except documents.DocumentError as error:
        raise ConfigurationError(f"{error} ({path})") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"yaml: unmarshal errors:\n  {path}: the document is no mapping")
    return value


def _merge(below: dict[str, object], above: dict[str, object], path: str = "") -> dict[str, object]:
    """`above` over `below`. What is null above becomes absent, as a nil pointer does in the original."""
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        at = f"{path}.{key}"
        if isinstance(value, dict) and isinstance(before, dict) and at != ".spec.nameResolution.configuration":
            value = _merge(before, value, at)
        merged[key] = value
    return merged


def read(document: Fields) -> Configuration:
    """The Configuration in a document; raises fields.FieldError or ConfigurationError."""
    about = document.child("metadata", "ObjectMeta")
    spec = document.child("spec", "ConfigurationSpec")
    api = spec.child("api", "APISpec")
    return Configuration(
        name=about.text("name"),
        namespace=about.text("namespace"),
        tracing=_tracing(spec.child("tracing", "TracingSpec")),
        metrics=_metrics(spec.child("metric", "MetricSpec"), spec.child("metrics", "MetricSpec")),
        http_pipeline=_pipeline(spec.child("httpPipeline", "PipelineSpec")),
        app_http_pipeline=_pipeline(spec.child("appHttpPipeline", "PipelineSpec")),
        mtls=_mtls(spec.child("mtls", "MTLSSpec")),
        secrets_scopes=_secrets_scopes(spec.child("secrets", "SecretsSpec")),
        access_control=_access_control(spec),
        name_resolution=_name_resolution(spec),
        features=_features(spec.children("features", "FeatureSpec")),
        api_allowed=_api_rules(api, "allowed"),
        api_denied=_api_rules(api, "denied"),
        components_deny=spec.child("components", "ComponentsSpec").texts("deny"),
        api_logging=_api_logging(spec.child("logging", "LoggingSpec").child("apiLogging", "APILoggingSpec")),
        wasm_strict_sandbox=spec.child("wasm", "WasmSpec").flag("strictSandbox"),
        workflow=_workflow(spec.child("workflow", "WorkflowSpec")),
    )


def _tracing(tracing: Fields) -> Tracing:
    return Tracing(
        sampling_rate=tracing.text("samplingRate"),
        stdout=tracing.flag("stdout"),
        zipkin_endpoint=tracing.child("zipkin", "ZipkinSpec").text("endpointAddress"),
        otel=_otel(tracing.child("otel", "OtelSpec")),
    )


def _otel(otel: Fields) -> Otel:
    plain, secret = _headers(otel)
    return Otel(
        protocol=otel.text("protocol"),
        endpoint_address=otel.text("endpointAddress"),
        is_secure=otel.flag("isSecure", True),
        headers=plain,
        secret_headers=secret,
        timeout_seconds=otel.seconds("timeout"),
    )


def _headers(otel: Fields) -> tuple[tuple[str, ...], tuple[NameValue, ...]]:
    """Headers are texts in files and name-value pairs in Kubernetes; we take both in both."""
    value = otel.value("headers")
    if not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
        return otel.texts("headers"), ()
    pairs = otel.name_values("headers")
    plain = tuple(f"{pair.name}={pair.value or ''}" for pair in pairs if pair.secret_key_ref is None)
    return plain, tuple(pair for pair in pairs if pair.secret_key_ref is not None)


def _metrics(older: Fields, newer: Fields) -> Metrics:
    below, above = _metric(older), _metric(newer)
    http = _metric_http(newer) or _metric_http(older)
    buckets = above.latency_distribution_buckets
    enabled, error_codes = newer.flag_or_none("enabled"), above.record_error_codes
    return Metrics(
        enabled=below.enabled if enabled is None else enabled,
        record_error_codes=below.record_error_codes if error_codes is None else error_codes,
        http=http,
        latency_distribution_buckets=below.latency_distribution_buckets if buckets is None else buckets,
        rules=above.rules or below.rules,
    )


def _metric(metric: Fields) -> Metrics:
    return Metrics(
        enabled=metric.flag("enabled", True),
        record_error_codes=metric.flag_or_none("recordErrorCodes"),
        latency_distribution_buckets=metric.numbers_or_none("latencyDistributionBuckets"),
        rules=tuple(
            MetricRule(
                rule.text("name"),
                tuple(
                    MetricLabel(label.text("name"), label.pairs("regex"))
                    for label in rule.children("labels", "MetricLabel")
                ),
            )
            for rule in metric.children("rules", "MetricsRule")
        ),
    )


def _metric_http(metric: Fields) -> MetricHttp | None:
    if not metric.has("http"):
        return None
    http = metric.child("http", "MetricHTTP")
    return MetricHttp(
        http.flag_or_none("increasedCardinality"),
        http.texts("pathMatching"),
        http.flag_or_none("excludeVerbs"),
    )


def _pipeline(pipeline: Fields) -> tuple[Handler, ...]:
    return tuple(
        Handler(
            handler.text("name"),
            handler.text("type"),
            handler.text("version"),
            tuple(
                (field.text("field"), field.text("value"))
                for field in handler.child("selector", "SelectorSpec").children("fields", "SelectorField")
            ),
        )
        for handler in pipeline.children("handlers", "HandlerSpec")
    )


def _mtls(mtls: Fields) -> Mtls:
    return Mtls(
        enabled=mtls.flag("enabled"),
        workload_cert_ttl=mtls.text("workloadCertTTL"),
        allowed_clock_skew=mtls.text("allowedClockSkew"),
        sentry_address=mtls.text("sentryAddress"),
        control_plane_trust_domain=mtls.text("controlPlaneTrustDomain"),
        token_validators=tuple(
            TokenValidator(validator.text("name"), fields.plain(validator.value("options")))
            for validator in mtls.children("tokenValidators", "ValidatorSpec")
        ),
    )


def _secrets_scopes(secrets: Fields) -> tuple[SecretsScope, ...]:
    scopes: dict[str, SecretsScope] = {}
    for item in secrets.children("scopes", "SecretsScope"):
        store, access = item.text("storeName"), item.text("defaultAccess")
        if store in scopes:
            raise ConfigurationError(f"{store} storeName is repeated in secrets configuration")
        if access.lower() not in ("", ALLOW, DENY):
            raise ConfigurationError(f"defaultAccess {access} can be either allow or deny")
        allowed, denied = item.texts("allowedSecrets"), item.texts("deniedSecrets")
        scopes[store] = SecretsScope(store, access, frozenset(allowed), frozenset(denied))
    return tuple(scopes.values())


def _access_control(spec: Fields) -> AccessControl | None:
    if "accessControl" in spec.mapping() and not spec.has("accessControl"):
        return None
    control = spec.child("accessControl", "AccessControlSpec")
    return AccessControl(
        default_action=control.text("defaultAction", ALLOW),
        trust_domain=control.text("trustDomain", "public"),
        policies=tuple(_app_policy(policy) for policy in control.children("policies", "AppPolicySpec")),
    )


def _app_policy(policy: Fields) -> AppPolicy:
    return AppPolicy(
        app_id=policy.text("appId"),
        default_action=policy.text("defaultAction"),
        trust_domain=policy.text("trustDomain"),
        namespace=policy.text("namespace"),
        operations=tuple(
            Operation(operation.text("name"), operation.texts("httpVerb"), operation.text("action"))
            for operation in policy.children("operations", "AppOperation")
        ),
    )


def _name_resolution(spec: Fields) -> NameResolution | None:
    if not spec.has("nameResolution"):
        return None
    resolution = spec.child("nameResolution", "NameResolutionSpec")
    return NameResolution(
        component=resolution.text("component"),
        version=resolution.text("version"),
        configuration=fields.plain(resolution.value("configuration")),
    )


def _features(features: list[Fields]) -> frozenset[str]:
    """Of entries with the same name the last one counts."""
    named = {feature.text("name") for feature in features}
    enabled = {name for name in _ON_BY_DEFAULT if name not in named}
    for feature in features:
        name = feature.text("name")
        if name and feature.flag("enabled"):
            enabled.add(name)
        else:
            enabled.discard(name)
    return frozenset(enabled)


def _api_rules(api: Fields, key: str) -> tuple[ApiRule, ...]:
    return tuple(
        ApiRule(rule.text("name"), rule.text("version"), rule.text("protocol").lower())
        for rule in api.children(key, "APIAccessRule")
    )


def _api_logging(logging: Fields) -> ApiLogging:
    return ApiLogging(logging.flag("enabled"), logging.flag("obfuscateURLs"), logging.flag("omitHealthChecks"))


def _workflow(workflow: Fields) -> Workflow:
    retention = workflow.child("stateRetentionPolicy", "WorkflowStateRetentionPolicy")
    return Workflow(
        _limit(workflow, "maxConcurrentWorkflowInvocations"),
        _limit(workflow, "maxConcurrentActivityInvocations"),
        _limit(workflow, "globalMaxConcurrentWorkflowInvocations"),
        _limit(workflow, "globalMaxConcurrentActivityInvocations"),
        _named_limits(workflow, "workflowConcurrencyLimits"),
        _named_limits(workflow, "activityConcurrencyLimits"),
        Retention(
            retention.seconds("anyTerminal"),
            retention.seconds("completed"),
            retention.seconds("failed"),
            retention.seconds("terminated"),
        )
        if workflow.has("stateRetentionPolicy")
        else None,
    )


def _limit(workflow: Fields, key: str) -> int | None:
    number = workflow.number(key, kind="int32")
    return number if number > 0 else None


def _named_limits(workflow: Fields, key: str) -> tuple[ConcurrencyLimit, ...]:
    return tuple(
        ConcurrencyLimit(limit.text("name"), limit.number("maxConcurrent", kind="int32"))
        for limit in workflow.children(key, "NamedConcurrencyLimit")
    )


def with_otel_environment(configuration: Configuration, environ: Mapping[str, str]) -> Configuration:
    """The Configuration with OpenTelemetry's exporter variables, unless it names an OTLP endpoint itself.

    Raises ConfigurationError for malformed headers, of which it says nothing that may be a secret, or timeout.
    """
    tracing = configuration.tracing
    if tracing.otel.endpoint_address:
        return configuration
    otel, rate = tracing.otel, tracing.sampling_rate
    endpoint = _otel_variable(environ, "ENDPOINT")
    if endpoint:
        otel = otel.replace(
            endpoint_address=endpoint.removeprefix("http://").removeprefix("https://"),
            protocol="http" if _otel_variable(environ, "PROTOCOL").startswith("http") else "grpc",
            is_secure=otel.is_secure and not _is_plain(endpoint, _otel_variable(environ, "INSECURE")),
        )
        rate = rate or "1"
    headers = _otel_variable(environ, "HEADERS")
    if headers:
        otel = otel.replace(headers=otel.headers + _header_list(headers))
    timeout = _otel_variable(environ, "TIMEOUT")
    if timeout and _milliseconds(timeout) > 0:
        otel = otel.replace(timeout_seconds=_milliseconds(timeout) / 1000)
    return configuration.replace(tracing=tracing.replace(otel=otel, sampling_rate=rate))


def _is_plain(endpoint: str, insecure: str) -> bool:
    """Whether an endpoint of OpenTelemetry's variables is spoken to without TLS."""
    return endpoint.startswith("http://") or insecure.lower() == "true"


def _otel_variable(environ: Mapping[str, str], name: str) -> str:
    general = environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "") or general


def _milliseconds(text: str) -> int:
    from pydapr.lib import pflag

    try:
        return pflag.atoi(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _header_list(text: str) -> tuple[str, ...]:
    from urllib.parse import unquote

    headers = {}
    for number, header in enumerate(text.split(","), 1):
        name, equals, value = header.partition("=")
        name = name.strip()
        if not equals or not name or not all(letter.isascii() and _is_token(letter) for letter in name):
            raise ConfigurationError(f"the headers of OpenTelemetry's variables: number {number} is not name=value")
        headers[name] = unquote(value).strip()
    return tuple(f"{name}={value}" for name, value in headers.items())


def _is_token(letter: str) -> bool:
    return letter.isalnum() or letter in "!#$%&'*+-.^_`|~"
