"""The command line and environment of the scheduler, checked, as one frozen `Settings`.

`start` calls `parse` first of all. `pflag.UsageError` is for stderr; `Invalid` is a fatal line of the log.
"""

from __future__ import annotations

from pydapr.lib import durations, pflag, quantity
from pydapr.lib.pflag import Flag
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDALONE, KUBERNETES = "standalone", "kubernetes"

MOST_WORKERS = (1 << 32) - 1


class Invalid(ValueError):
    """Flags that cannot stand together."""


class Etcd(Record):
    """What was said about etcd, embedded or not."""

    embed: bool
    initial_cluster: tuple[str, ...]
    data_dir: str
    client_port: int
    client_listen_address: str
    space_quota: int
    compaction_mode: str
    compaction_retention: str
    snapshot_count: int
    max_snapshots: int
    max_wals: int
    backend_batch_limit: int
    backend_batch_interval: str
    max_txn_ops: int
    defrag_threshold_mb: int
    initial_election_tick_advance: bool
    metrics: str
    client_endpoints: tuple[str, ...]
    client_username: str
    client_password: str


class Settings(Record):
    """What the scheduler was asked to be."""

    id: str
    port: int
    listen_address: str
    broadcast: str | None
    """The address (host:port) that sidecars are told, if it is another than ours."""
    healthz_port: int
    healthz_listen_address: str
    metrics_port: int
    """0 for none."""
    tls_enabled: bool
    trust_domain: str
    trust_anchors_file: str
    sentry_address: str
    identity_folder: str
    namespace: str
    mode: str
    workers: int
    etcd: Etcd
    log_level: str
    log_as_json: bool
    log_file: str

    @property
    def with_tls(self) -> bool:
        return self.tls_enabled or self.mode == KUBERNETES


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises `pflag.UsageError` and `Invalid`."""
    namespace = environ.get("NAMESPACE", "default")
    flags = pflag.parse("scheduler", _flags(namespace, environ), arguments, single_dash=False)
    if "kubeconfig" in flags.given and flags.string("mode") != KUBERNETES:
        raise Invalid("kubeconfig flag is only valid in --mode=kubernetes")
    return Settings(
        id=flags.string("id"),
        port=flags.int("port"),
        listen_address=flags.string("listen-address"),
        broadcast=_given(flags, "override-broadcast-host-port"),
        healthz_port=flags.int("healthz-port"),
        healthz_listen_address=flags.string("healthz-listen-address"),
        metrics_port=_metrics_port(flags),
        tls_enabled=flags.bool("tls-enabled"),
        trust_domain=flags.string("trust-domain"),
        trust_anchors_file=flags.string("trust-anchors-file"),
        sentry_address=flags.string("sentry-address"),
        identity_folder=flags.string("identity-directory-write"),
        namespace=namespace,
        mode=flags.string("mode"),
        workers=_workers(flags),
        etcd=_etcd(flags),
        log_level=flags.string("log-level"),
        log_as_json=flags.bool("log-as-json"),
        log_file=flags.string("log-file"),
    )


def _etcd(flags: pflag.Parsed) -> Etcd:
    try:
        quota = quantity.to_bytes(flags.string("etcd-space-quota"))
    except ValueError as error:
        raise Invalid(f"failed to parse etcd space quota: {error}") from None
    try:
        durations.parse(flags.string("etcd-backend-batch-interval"))
    except ValueError:
        raise Invalid(
            "failed to parse backend batch interval. Please use a string representing time.Duration"
        ) from None
    etcd = Etcd(
        embed=flags.bool("etcd-embed"),
        initial_cluster=flags.strings("etcd-initial-cluster"),
        data_dir=flags.string("etcd-data-dir"),
        client_port=flags.int("etcd-client-port"),
        client_listen_address=flags.string("etcd-client-listen-address"),
        space_quota=quota,
        compaction_mode=flags.string("etcd-compaction-mode"),
        compaction_retention=flags.string("etcd-compaction-retention"),
        snapshot_count=flags.int("etcd-snapshot-count"),
        max_snapshots=flags.int("etcd-max-snapshots"),
        max_wals=flags.int("etcd-max-wals"),
        backend_batch_limit=flags.int("etcd-backend-batch-limit"),
        backend_batch_interval=flags.string("etcd-backend-batch-interval"),
        max_txn_ops=flags.int("etcd-max-txn-ops"),
        defrag_threshold_mb=flags.int("etcd-experimental-bootstrap-defrag-threshold-megabytes"),
        initial_election_tick_advance=flags.bool("etcd-initial-election-tick-advance"),
        metrics=flags.string("etcd-metrics"),
        client_endpoints=flags.strings("etcd-client-endpoints"),
        client_username=flags.string("etcd-client-username"),
        client_password=flags.string("etcd-client-password"),
    )
    _check(etcd)
    return etcd


def _check(etcd: Etcd) -> None:
    """Raises `Invalid`."""
    if not etcd.embed:
        if not etcd.client_endpoints:
            raise Invalid("must specify --etcd-client-endpoints when not using embedded etcd")
        return
    for name, value in (
        ("endpoints", etcd.client_endpoints), ("username", etcd.client_username), ("password", etcd.client_password)
    ):  # fmt: skip
        if value:
            raise Invalid(f"cannot use --etcd-client-{name} with --etcd-embed")


def _metrics_port(flags: pflag.Parsed) -> int:
    if not flags.bool("enable-metrics"):
        return 0
    try:
        return pflag.atoi(flags.string("metrics-port"))
    except ValueError as error:
        raise Invalid(f"failed to parse metrics port: {error}") from None


def _workers(flags: pflag.Parsed) -> int:
    workers = flags.int("workers")
    if workers > MOST_WORKERS:
        raise Invalid(f"invalid value for --workers: {workers} is more than {MOST_WORKERS}")
    if workers == 0:
        raise Invalid("workers must be larger than 0")
    return workers


def _given(flags: pflag.Parsed, name: str) -> str | None:
    return flags.string(name) if name in flags.given else None


def _flags(namespace: str, environ: Mapping[str, str]) -> tuple[Flag, ...]:
    folder = f"{environ.get('TMPDIR') or '/tmp'}/secrets/dapr.io/tls"
    return (
        *FLAGS,
        Flag("sentry-address", f"dapr-sentry.{namespace}.svc:443", "Address of sentry"),
        Flag("identity-directory-write", folder, "Folder to write certificate, key and trust anchors to", hidden=True),
        Flag("kubeconfig", "", "How to reach the Kubernetes API; for mode kubernetes only", hidden=True),
    )


_WITHOUT = "No effect: there is no etcd in this process. "

FLAGS = (
    Flag("id", "dapr-scheduler-server-0", "Which scheduler of the cluster this is"),
    Flag("port", 50006, "Port that sidecars connect to", "int"),
    Flag("listen-address", "", "Address that sidecars connect to; empty for all"),
    Flag("override-broadcast-host-port", "", "Address (host:port) that sidecars are told, if it is another"),
    Flag("healthz-port", 8080, "Port of the health check", "int"),
    Flag("healthz-listen-address", "", "Address of the health check; empty for all"),
    Flag("tls-enabled", False, "Speak mTLS with sidecars", "bool"),
    Flag("trust-domain", "localhost", "Trust domain of the control plane"),
    Flag("trust-anchors-file", "/var/run/secrets/dapr.io/tls/ca.crt", "File with the trust anchors"),
    Flag("mode", STANDALONE, "Where Dapr runs: standalone or kubernetes"),
    Flag("workers", 2048, "No effect: jobs are triggered without workers", "uint"),
    Flag("etcd-embed", True, "Keep jobs in a file of this process; false to keep them in etcd", "bool"),
    Flag(
        "etcd-initial-cluster",
        ("dapr-scheduler-server-0=http://localhost:2380",),
        "Schedulers of the cluster: id=url of the etcd peer",
        "strings",
    ),
    Flag("etcd-data-dir", "./data", "Folder for the file with the jobs"),
    Flag("etcd-client-port", 2379, "Port on which etcd's API shows the jobs", "uint"),
    Flag("etcd-client-listen-address", "localhost", "Address on which etcd's API shows the jobs"),
    Flag("etcd-space-quota", "9.2E", "Most bytes of the jobs; what comes beyond is refused"),
    Flag("etcd-compaction-mode", "revision", _WITHOUT + "How its past is compacted: periodic or revision"),
    Flag("etcd-compaction-retention", "1000000", _WITHOUT + "How much of its past it keeps"),
    Flag("etcd-snapshot-count", 100000, _WITHOUT + "Transactions before a snapshot", "uint"),
    Flag("etcd-max-snapshots", 10, _WITHOUT + "Snapshots it keeps", "uint"),
    Flag("etcd-max-wals", 10, _WITHOUT + "Write-ahead logs it keeps", "uint"),
    Flag("etcd-backend-batch-limit", 10000, _WITHOUT + "Operations before it commits", "int"),
    Flag("etcd-backend-batch-interval", "100ms", _WITHOUT + "Time before it commits"),
    Flag("etcd-max-txn-ops", 10000, "Most operations of a transaction by etcd's API", "uint"),
    Flag(
        "etcd-experimental-bootstrap-defrag-threshold-megabytes",
        100,
        _WITHOUT + "Megabytes to gain by its defragmentation at the start",
        "uint",
    ),
    Flag("etcd-initial-election-tick-advance", False, _WITHOUT + "A faster first election", "bool"),
    Flag("etcd-metrics", "basic", _WITHOUT + "Its metrics: basic or extensive"),
    Flag("etcd-client-endpoints", (), "Addresses of etcd, with --etcd-embed=false", "strings"),
    Flag("etcd-client-username", "", "User of etcd, with --etcd-embed=false"),
    Flag("etcd-client-password", "", "Password of that user"),
    Flag("enable-metrics", True, "Serve Prometheus metrics", "bool"),
    Flag("metrics-port", "9090", "Port of the metrics"),
    Flag("metrics-listen-address", "0.0.0.0", "No effect: metrics are served on --listen-address"),
    Flag("log-level", "info", "From which level on to log: debug, info, warn, error or fatal"),
    Flag("log-as-json", False, "Log as JSON lines", "bool"),
    Flag("log-file", "", "File to write the log to, instead of stdout"),
)
