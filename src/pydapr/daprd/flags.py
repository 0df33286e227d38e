"""The command line and environment of daprd, checked and derived, as one frozen `Settings`.

`daprd.main` calls `parse(sys.argv[1:], os.environ)` first of all and gives the settings to the runtime.
Nothing else in daprd reads flags; environment variables that configure the sidecar itself are read here too.
The next step is `daprd.runtime`.

Three things can be wrong, and each leaves the process another way:
`pflag.UsageError` (unknown flag, unparsable number): its output to stderr, exit with its status;
`FlagsError` with `started` false: a fatal log line at once, exit 1;
`FlagsError` with `started` true: the original notices these only while the runtime is built, so the first
lines of the log come before the fatal one; `log_settings` has what they need.
"""

from __future__ import annotations

import os

from pydapr.lib import durations, pflag, quantity, truth
from pydapr.lib.pflag import Flag
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDALONE, KUBERNETES = "standalone", "kubernetes"

_MAX_BODY_SIZE = 4 << 20
_READ_BUFFER_SIZE = 4 << 10
_MAX_SERIES = 1000
_GRACEFUL_SECONDS = 5
_PROBE_INTERVAL, _PROBE_TIMEOUT, _PROBE_THRESHOLD = 5, 500, 3
_BINDING_OPTIONS_TIMEOUT = 3.0
_PROTOCOLS = ("grpcs", "https", "h2c", "http", "grpc")
_WITH_TLS = {"http": "https", "grpc": "grpcs"}
_INIT_ENDPOINTS = ("subscribe", "config")
_STABLE_PORT_FROM, _LAST_PORT = 47300, 65535


class LogSettings(Record):
    """How the log is to be written."""

    app_id: str = ""
    level: str = "info"
    as_json: bool = False
    file: str = ""


class AppHealth(Record):
    """How the app's health is probed; seconds, and failures in a row until it counts as unhealthy."""

    path: str
    interval: float
    timeout: float
    threshold: int


class Settings(Record):
    """What daprd was asked to be. Empty text and None mean: not asked for."""

    # what to do instead of running
    version: bool
    build_info: bool
    wait: bool

    mode: str
    app_id: str
    namespace: str
    """Environment NAMESPACE as it is; empty when unset. `identity_namespace` has the default filled in."""
    identity_namespace: str
    log: LogSettings

    # the app
    app_port: int
    """0 when there is no app."""
    app_protocol: str
    app_channel_address: str
    app_max_concurrency: int
    """0 for no limit."""
    app_ssl_deprecated: bool
    """`--app-ssl` made the protocol its TLS form; `The 'app-ssl' flag is deprecated; …` is to be logged."""
    app_health: AppHealth | None
    app_binding_options_timeout: float
    disable_init_endpoints: frozenset[str]

    # listening
    listen_addresses: tuple[str, ...]
    """At least one; empty text stands for all interfaces."""
    http_port: int
    grpc_port: int
    internal_grpc_port: int
    """The wanted port; when `internal_grpc_port_derived` and taken, any free one does."""
    internal_grpc_port_derived: bool
    internal_grpc_listen_address: str
    public_port: int | None
    public_listen_address: str
    unix_domain_socket: str
    enable_profiling: bool
    profile_port: int
    enable_metrics: bool
    metrics_port: int
    metrics_listen_address: str
    metrics_max_series: int
    """How many label sets a metric may have."""

    # limits
    max_body_size: int
    read_buffer_size: int
    allowed_origins: str
    graceful_shutdown_seconds: float
    block_shutdown_seconds: float | None
    enable_api_logging: bool | None
    """None leaves the choice to the Configuration."""

    # resources
    resources_paths: tuple[str, ...]
    configs: tuple[str, ...]
    hot_reload_reconcile_seconds: float
    disable_builtin_k8s_secret_store: bool

    # control plane
    enable_mtls: bool
    control_plane_address: str
    control_plane_trust_domain: str
    control_plane_namespace: str
    sentry_address: str
    sentry_jwt_audiences: tuple[str, ...]
    trust_anchors: str
    trust_anchors_file: str
    sentry_token_file: str
    placement_addresses: tuple[str, ...]
    """Empty means that actors are off."""
    scheduler_addresses: tuple[str, ...]
    scheduler_job_streams: int
    actors_disseminate_seconds: float

    # environment only
    api_token: str
    app_api_token: str
    pod_name: str
    env_keys: frozenset[str] | None
    """Names that `envRef` may read; None is no limit."""
    disable_h2c: bool
    components_sockets_folder: str

    given: frozenset[str]
    """Names of the flags that stood on the command line."""
    warnings: str
    """Announcements of deprecated flags, for stderr."""


class FlagsError(Exception):
    """The settings contradict each other or themselves; the message is the whole fatal log line."""

    def __init__(self, message: str, started: bool, log_settings: LogSettings, warnings: str = "") -> None:
        super().__init__(message)
        self.message, self.started, self.log_settings = message, started, log_settings
        self.warnings = warnings


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings in `argv` and `environ`; raises FlagsError or pflag.UsageError."""
    flags = pflag.parse("daprd", FLAGS, argv)
    log = LogSettings(
        flags.string("app-id"),
        flags.string("log-level"),
        flags.bool("log-as-json"),
        flags.string("log-file"),
    )
    warnings = "".join(flags.warnings)
    try:
        sizes = _sizes(flags)
        dissemination = _dissemination(flags)
    except ValueError as error:
        message = f"Failed to parse flags: {error}"
        raise FlagsError(message, False, LogSettings(), warnings) from error
    try:
        return _settings(flags, environ, log, sizes, dissemination)
    except ValueError as error:
        raise FlagsError(f"Fatal error from runtime: {error}", True, log, warnings) from error


def _settings(
    flags: pflag.Parsed,
    environ: Mapping[str, str],
    log: LogSettings,
    sizes: tuple[int, int],
    dissemination: float,
) -> Settings:
    ports = _Ports(flags)
    protocol, ssl_deprecated = _app_protocol(flags)
    init_endpoints = _init_endpoints(flags.strings("disable-init-endpoints"))
    app_health = _app_health(flags)
    mode = flags.string("mode")
    if mode not in (STANDALONE, KUBERNETES) and not ports.unchecked:
        raise ValueError(f"invalid mode: {mode}")
    graceful = flags.int("dapr-graceful-shutdown-seconds")
    concurrency = flags.int("app-max-concurrency")
    binding_timeout = flags.seconds("app-binding-options-timeout")
    components_path = flags.string("components-path")
    return Settings(
        version=flags.bool("version"),
        build_info=flags.bool("build-info"),
        wait=flags.bool("wait"),
        mode=mode,
        app_id=flags.string("app-id"),
        namespace=environ.get("NAMESPACE", ""),
        identity_namespace=environ.get("NAMESPACE", "default"),
        log=log,
        app_port=ports.app,
        app_protocol=protocol,
        app_channel_address=flags.string("app-channel-address"),
        app_max_concurrency=0 if concurrency == -1 else concurrency,
        app_ssl_deprecated=ssl_deprecated,
        app_health=app_health if flags.bool("enable-app-health-check") else None,
        app_binding_options_timeout=binding_timeout if binding_timeout > 0 else _BINDING_OPTIONS_TIMEOUT,
        disable_init_endpoints=init_endpoints,
        listen_addresses=tuple(flags.string("dapr-listen-addresses").split(",")),
        http_port=ports.http,
        grpc_port=ports.grpc,
        internal_grpc_port=ports.internal,
        internal_grpc_port_derived=ports.internal_derived,
        internal_grpc_listen_address=flags.string("dapr-internal-grpc-listen-address"),
        public_port=ports.public,
        public_listen_address=flags.string("dapr-public-listen-address"),
        unix_domain_socket=flags.string("unix-domain-socket"),
        enable_profiling=flags.bool("enable-profiling"),
        profile_port=ports.profile,
        enable_metrics=flags.bool("enable-metrics"),
        metrics_port=ports.metrics,
        metrics_listen_address=flags.string("metrics-listen-address"),
        metrics_max_series=_max_series(environ),
        max_body_size=_MAX_BODY_SIZE if sizes[0] == -1 else sizes[0],
        read_buffer_size=_READ_BUFFER_SIZE if sizes[1] == -1 else sizes[1],
        allowed_origins=flags.string("allowed-origins"),
        graceful_shutdown_seconds=float(_GRACEFUL_SECONDS if graceful < 0 else graceful),
        block_shutdown_seconds=_given_seconds(flags, "dapr-block-shutdown-duration"),
        enable_api_logging=_given_bool(flags, "enable-api-logging"),
        resources_paths=flags.strings("resources-path") or ((components_path,) if components_path else ()),
        configs=flags.strings("config"),
        hot_reload_reconcile_seconds=flags.seconds("hot-reload-reconcile-interval"),
        disable_builtin_k8s_secret_store=flags.bool("disable-builtin-k8s-secret-store"),
        enable_mtls=flags.bool("enable-mtls"),
        control_plane_address=flags.string("control-plane-address"),
        control_plane_trust_domain=_or_environment(
            flags, "control-plane-trust-domain", environ, "DAPR_CONTROLPLANE_TRUST_DOMAIN"
        ),
        control_plane_namespace=_or_environment(
            flags, "control-plane-namespace", environ, "DAPR_CONTROLPLANE_NAMESPACE"
        ),
        sentry_address=flags.string("sentry-address"),
        sentry_jwt_audiences=flags.strings("sentry-request-jwt-audiences"),
        trust_anchors=environ.get("DAPR_TRUST_ANCHORS", ""),
        trust_anchors_file=environ.get("DAPR_TRUST_ANCHORS_FILE", ""),
        sentry_token_file=environ.get("DAPR_SENTRY_TOKEN_FILE", ""),
        placement_addresses=_placement_addresses(flags),
        scheduler_addresses=_scheduler_addresses(flags, environ),
        scheduler_job_streams=flags.int("scheduler-job-streams"),
        actors_disseminate_seconds=dissemination,
        api_token=environ.get("DAPR_API_TOKEN", ""),
        app_api_token=environ.get("APP_API_TOKEN", ""),
        pod_name=environ.get("POD_NAME", ""),
        env_keys=frozenset(environ["DAPR_ENV_KEYS"].split()) if environ.get("DAPR_ENV_KEYS") else None,
        disable_h2c=truth.is_true(environ.get("DAPR_HTTP_DISABLE_H2C", "")),
        components_sockets_folder=environ.get("DAPR_COMPONENTS_SOCKETS_FOLDER") or "/tmp/dapr-components-sockets",
        given=frozenset(flags.given),
        warnings="".join(flags.warnings),
    )


class _Ports:
    """All ports, parsed and compared in the original's order, because the first fault is the one reported."""

    def __init__(self, flags: pflag.Parsed) -> None:
        self.unchecked = any(flags.bool(name) for name in ("version", "build-info", "wait"))
        app_id = flags.string("app-id")
        if flags.string("mode") == STANDALONE and not self.unchecked:
            _check_app_id(app_id)
        self.http = _port(flags, "dapr-http-port", "error parsing dapr-http-port flag")
        self.grpc = _port(flags, "dapr-grpc-port", "error parsing dapr-grpc-port flag")
        self.profile = _port(flags, "profile-port", "error parsing profile-port flag")
        self.internal_derived = flags.string("dapr-internal-grpc-port") in ("", "0")
        if self.internal_derived:
            self.internal = 0 if self.unchecked else stable_port(app_id)
        else:
            self.internal = _port(flags, "dapr-internal-grpc-port", "error parsing dapr-internal-grpc-port")
        self.public: int | None = None
        if flags.string("dapr-public-port"):
            self.public = _port(flags, "dapr-public-port", "error parsing dapr-public-port")
        self.app = _port(flags, "app-port", "error parsing app-port") if flags.string("app-port") else 0
        if not self.unchecked:
            self._check_conflicts()
        self.metrics = 0
        if flags.bool("enable-metrics"):
            self.metrics = _port(flags, "metrics-port", "failed to parse metrics port")

    def _check_conflicts(self) -> None:
        for name, port in (("dapr-http-port", self.http), ("dapr-grpc-port", self.grpc)):
            if self.app == port:  # an absent app counts as port 0, so 0 for Dapr needs an app
                raise ValueError(f"the '{name}' argument value {port} conflicts with 'app-port'")


def _check_app_id(app_id: str) -> None:
    if not app_id:
        raise ValueError("parameter app-id cannot be empty")
    if "." in app_id:
        raise ValueError("parameter app-id cannot contain dots")


def _port(flags: pflag.Parsed, name: str, complaint: str) -> int:
    try:
        return pflag.atoi(flags.string(name))
    except ValueError as error:
        raise ValueError(f"{complaint}: {error}") from error


def stable_port(app_id: str) -> int:
    """The internal gRPC port that this app gets each time it starts here, if nobody else has it."""
    import hashlib

    user = os.getuid() if hasattr(os, "getuid") else -1
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    try:
        folder = os.environ.get("PWD", "")
        if not folder or not os.path.samefile(folder, "."):
            folder = os.getcwd()
    except OSError:
        folder = ""
    digest = hashlib.sha256(f"{app_id}|{folder}|{user}|{host}".encode()).digest()
    return _STABLE_PORT_FROM + int.from_bytes(digest[:2], "little") % (_LAST_PORT - _STABLE_PORT_FROM)


def _sizes(flags: pflag.Parsed) -> tuple[int, int]:
    """Bytes of the largest body and of the read buffer."""
    body = _size(flags, "max-body-size", "dapr-http-max-request-size", 20)
    buffer = _size(flags, "read-buffer-size", "dapr-http-read-buffer-size", 10)
    return body, buffer


def _size(flags: pflag.Parsed, name: str, deprecated: str, shift: int) -> int:
    if name not in flags.given and deprecated in flags.given:
        number = flags.int(deprecated)
        return number << shift if number > 0 else number
    try:
        return quantity.to_bytes(flags.string(name))
    except ValueError as error:
        raise ValueError(f"invalid value for '{name}' option: {error}") from error


def _dissemination(flags: pflag.Parsed) -> float:
    name = "actors-disseminate-timeout"
    seconds = flags.seconds(name)
    if seconds <= 0:
        shown = durations.text(seconds)
        raise ValueError(f"invalid value for '{name}' option: must be positive, got {shown}")
    return seconds


def _app_protocol(flags: pflag.Parsed) -> tuple[str, bool]:
    """The protocol, and whether the deprecated `--app-ssl` changed it."""
    given = flags.string("app-protocol")
    protocol = given.lower()
    if not protocol:
        return "http", False
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid value for 'app-protocol': {given}")
    if flags.bool("app-ssl") and protocol in _WITH_TLS:
        return _WITH_TLS[protocol], True
    return protocol, False


def _init_endpoints(given: tuple[str, ...]) -> frozenset[str]:
    names = [name.strip().lower() for name in given]
    for name in names:
        if name and name not in _INIT_ENDPOINTS:
            raise ValueError(f"invalid value for 'disable-init-endpoints': {name}")
    return frozenset(filter(None, names))


def _app_health(flags: pflag.Parsed) -> AppHealth:
    interval = flags.int("app-health-probe-interval")
    timeout = flags.int("app-health-probe-timeout")
    threshold = flags.int("app-health-threshold")
    health = AppHealth(
        path=flags.string("app-health-check-path"),
        interval=float(interval if interval > 0 else _PROBE_INTERVAL),
        timeout=(timeout if timeout > 0 else _PROBE_TIMEOUT) / 1000,
        threshold=threshold if 0 < threshold < (1 << 31) - 1 else _PROBE_THRESHOLD,
    )
    if health.timeout > health.interval:
        raise ValueError("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")
    return health


def _given_seconds(flags: pflag.Parsed, name: str) -> float | None:
    return flags.seconds(name) if name in flags.given else None


def _given_bool(flags: pflag.Parsed, name: str) -> bool | None:
    return flags.bool(name) if name in flags.given else None


def _or_environment(flags: pflag.Parsed, name: str, environ: Mapping[str, str], variable: str) -> str:
    given = flags.string(name)
    return given if name in flags.given else environ.get(variable, given)


def _placement_addresses(flags: pflag.Parsed) -> tuple[str, ...]:
    given = flags.string("placement-host-address")
    if "," not in given and not given.strip("\"'").strip():
        return ()
    return tuple(given.split(","))


def _scheduler_addresses(flags: pflag.Parsed, environ: Mapping[str, str]) -> tuple[str, ...]:
    name, variable = "scheduler-host-address", "DAPR_SCHEDULER_HOST_ADDRESS_DNS_A"
    given = flags.strings(name)
    if name not in flags.given and variable in environ:
        given = tuple(environ[variable].split(","))
    if len(given) == 1 and not given[0].strip("\"'").strip():
        return ()
    return given


def _max_series(environ: Mapping[str, str]) -> int:
    text = environ.get("DAPR_METRICS_MAX_SERIES") or str(_MAX_SERIES)
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError(f"invalid value for the DAPR_METRICS_MAX_SERIES environment variable: {text}")
    return int(text)


FLAGS = (
    Flag("mode", STANDALONE, "Where Dapr runs: standalone or kubernetes"),
    Flag("app-id", "", "Name of the app in service discovery and in its state keys; required"),
    Flag("app-port", "", "Port on which the app listens; leave out when nothing is to be called"),
    Flag("app-protocol", "http", "What the app speaks: http, https, h2c, grpc or grpcs"),
    Flag("app-channel-address", "127.0.0.1", "Address on which the app listens"),
    Flag("app-max-concurrency", -1, "Calls that the app gets at the same time; -1 for no limit", "int"),
    Flag("app-ssl", False, "Call the app with TLS", "bool", "use '--app-protocol https|grpcs'"),
    Flag("enable-app-health-check", False, "Probe the health of the app, with the app's protocol", "bool"),
    Flag("app-health-check-path", "/healthz", "Path of the health probe, for HTTP apps"),
    Flag("app-health-probe-interval", _PROBE_INTERVAL, "Seconds between two health probes", "int"),
    Flag("app-health-probe-timeout", _PROBE_TIMEOUT, "Milliseconds that a health probe may take", "int"),
    Flag("app-health-threshold", _PROBE_THRESHOLD, "Failed probes in a row that make the app unhealthy", "int"),
    Flag(
        "app-binding-options-timeout",
        _BINDING_OPTIONS_TIMEOUT,
        "Time that the app has to say whether it takes an input binding; 0 or less for the default",
        "duration",
    ),
    Flag("disable-init-endpoints", (), "What not to ask the app at its start: config, subscribe", "strings"),
    Flag("dapr-listen-addresses", "", "Addresses of the Dapr API, separated by commas; empty for all"),
    Flag("dapr-http-port", "3500", "Port of the HTTP API"),
    Flag("dapr-grpc-port", "50001", "Port of the gRPC API"),
    Flag("dapr-internal-grpc-port", "", "Port that other sidecars call; without one a steady port is derived"),
    Flag("dapr-internal-grpc-listen-address", "", "Address that other sidecars call"),
    Flag("dapr-public-port", "", "Further port, with health and metadata only"),
    Flag("dapr-public-listen-address", "", "Address of the health and metadata port"),
    Flag("unix-domain-socket", "", "Folder for Unix sockets on which the API listens instead of ports"),
    Flag("enable-profiling", False, "Open the profiling port", "bool"),
    Flag("profile-port", "7777", "Port for profiling"),
    Flag("enable-metrics", True, "Serve Prometheus metrics", "bool"),
    Flag("metrics-port", "9090", "Port of the metrics"),
    Flag("metrics-listen-address", "0.0.0.0", "Address of the metrics"),
    Flag("max-body-size", "4Mi", "Largest request body of both APIs, as a quantity such as 4Mi"),
    Flag("read-buffer-size", "4Ki", "Size of the read buffer and thus of request headers, such as 4Ki"),
    Flag(
        "dapr-http-max-request-size",
        4,
        "Largest request body in MB",
        "int",
        "use '--max-body-size 4Mi'",
    ),
    Flag(
        "dapr-http-read-buffer-size",
        4,
        "Size of the read buffer in KB",
        "int",
        "use '--read-buffer-size 4Ki'",
    ),
    Flag("allowed-origins", "", "Origins from which browsers may call the HTTP API"),
    Flag(
        "dapr-graceful-shutdown-seconds",
        _GRACEFUL_SECONDS,
        "Seconds for work in progress when stopping",
        "int",
    ),
    Flag(
        "dapr-block-shutdown-duration",
        0.0,
        "Keep serving this long after the signal to stop, or until the app is unhealthy",
        "duration",
    ),
    Flag("enable-api-logging", False, "Log each call of the API", "bool"),
    Flag("resources-path", (), "Folder with resource files; may be given several times", "strings"),
    Flag("components-path", "", "The same as --resources-path", deprecated="use --resources-path"),
    Flag("config", (), "Configuration files, later ones over earlier ones; in Kubernetes a name", "strings"),
    Flag(
        "hot-reload-reconcile-interval",
        0.0,
        "Time between two full comparisons of resources; 0 for 60s",
        "duration",
    ),
    Flag("disable-builtin-k8s-secret-store", False, "Do without the Kubernetes secret store", "bool"),
    Flag("enable-mtls", False, "Mutual TLS with other Dapr processes", "bool"),
    Flag("control-plane-address", "", "Address of the Dapr operator"),
    Flag("control-plane-trust-domain", "localhost", "Trust domain of the control plane"),
    Flag("control-plane-namespace", "default", "Namespace of the control plane"),
    Flag("sentry-address", "", "Address of the certificate authority"),
    Flag(
        "sentry-request-jwt-audiences",
        (),
        "Audiences of the token asked for with the certificate; without any, the trust domain",
        "strings",
    ),
    Flag("placement-host-address", "", "Addresses of placement servers; without any, there are no actors"),
    Flag("scheduler-host-address", (), "Addresses of scheduler servers, host:port", "strings"),
    Flag("scheduler-job-streams", 3, "Streams to each scheduler on which jobs arrive", "uint"),
    Flag(
        "actors-disseminate-timeout",
        30.0,
        "Time for a round of placement changes; make it longer than placement's own --disseminate-timeout",
        "duration",
    ),
    Flag("actors-service", "", "", deprecated="flag no longer has any effect", hidden=True),
    Flag("reminders-service", "", "", deprecated="flag no longer has any effect", hidden=True),
    Flag("log-level", "info", "From which level on to log: debug, info, warn, error or fatal"),
    Flag("log-as-json", False, "Log as JSON lines", "bool"),
    Flag("log-file", "", "File to write the log to, instead of stdout"),
    Flag("version", False, "Print the version and leave", "bool"),
    Flag("build-info", False, "Print version and commit and leave", "bool"),
    Flag("wait", False, "Wait until the sidecar on --dapr-http-port can serve its app, then leave", "bool"),
)
