"""The command line and environment of placement, checked, as one frozen `Settings`.

`start` calls `parse` first of all. `pflag.UsageError` is for stderr; `Invalid` is a fatal line of the log.
"""

from __future__ import annotations

from pydapr.lib import durations, pflag, truth
from pydapr.lib.pflag import Flag
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METADATA_VARIABLE = "DAPR_PLACEMENT_METADATA_ENABLED"
SHORTEST, LONGEST = 1.0, 10.0
"""Seconds that the flags of keepalive may say."""


class Invalid(ValueError):
    """Flags that cannot stand together."""


class Member(Record):
    """One process of a cluster, and where the others reach it."""

    id: str
    address: str


class Settings(Record):
    """What placement was asked to be."""

    id: str
    members: tuple[Member, ...]
    port: int
    listen_address: str
    healthz_port: int
    healthz_listen_address: str
    metrics_port: int
    """0 for none."""
    metrics_listen_address: str
    metadata_enabled: bool
    replication_factor: int
    keepalive_time: float
    keepalive_timeout: float
    disseminate_timeout: float
    coalesce_window: float
    tls_enabled: bool
    trust_domain: str
    trust_anchors_file: str
    sentry_address: str
    namespace: str
    mode: str
    warnings: str
    """What stderr is to be told."""
    log_level: str
    log_as_json: bool
    log_file: str

    @property
    def own_address(self) -> str:
        """Where the others reach this process. Raises `Invalid`."""
        for member in self.members:
            if member.id == self.id:
                return member.address
        listed = " ".join(f"{{{member.id} {member.address}}}" for member in self.members)
        raise Invalid(f"address for node {self.id} not found in raft peers [{listed}]")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises `pflag.UsageError` and `Invalid`."""
    namespace = environ.get("NAMESPACE", "default")
    flags = pflag.parse("placement", _flags(namespace, environ), arguments)
    metrics_port = 0
    if flags.bool("enable-metrics"):
        try:
            metrics_port = pflag.atoi(flags.string("metrics-port"))
        except ValueError as error:
            raise Invalid(f"failed to parse metrics port: {error}") from None
    return Settings(
        id=flags.string("id"),
        members=_members(flags.strings("initial-cluster")),
        port=flags.int("port"),
        listen_address=flags.string("listen-address"),
        healthz_port=flags.int("healthz-port"),
        healthz_listen_address=flags.string("healthz-listen-address"),
        metrics_port=metrics_port,
        metrics_listen_address=flags.string("metrics-listen-address"),
        metadata_enabled=flags.bool("metadata-enabled"),
        replication_factor=_positive(flags, "replicationFactor"),
        keepalive_time=_bounded(flags, "keepalive-time"),
        keepalive_timeout=_bounded(flags, "keepalive-timeout"),
        disseminate_timeout=_timeout(flags),
        coalesce_window=max(flags.seconds("disseminate-coalesce-window"), 0.0),
        tls_enabled=flags.bool("tls-enabled"),
        trust_domain=flags.string("trust-domain"),
        trust_anchors_file=flags.string("trust-anchors-file"),
        sentry_address=flags.string("sentry-address"),
        namespace=namespace,
        mode=flags.string("mode"),
        warnings="".join(flags.warnings),
        log_level=flags.string("log-level"),
        log_as_json=flags.bool("log-as-json"),
        log_file=flags.string("log-file"),
    )


def _members(listed: Sequence[str]) -> tuple[Member, ...]:
    """The members of the cluster; what has no id and address is left out, as the original does."""
    found: dict[str, Member] = {}
    for one in listed:
        parts = one.split("=", 2)
        if len(parts) == 2:
            id_ = parts[0].strip()
            if id_ in found:
                raise Invalid(f"the member {id_} stands twice in initial-cluster")
            found[id_] = Member(id_, parts[1].strip())
    return tuple(found.values())


def _bounded(flags: pflag.Parsed, name: str) -> float:
    seconds = flags.seconds(name)
    if not SHORTEST <= seconds <= LONGEST:
        shortest, longest, got = map(durations.text, (SHORTEST, LONGEST, seconds))
        raise Invalid(f"invalid value for {name}: value should be between {shortest} and {longest}, got {got}")
    return seconds


def _timeout(flags: pflag.Parsed) -> float:
    seconds = flags.seconds("disseminate-timeout")
    if seconds <= 0:
        raise Invalid(f"invalid value for disseminate-timeout: value should be positive, got {durations.text(seconds)}")
    return seconds


def _positive(flags: pflag.Parsed, name: str) -> int:
    number = flags.int(name)
    if number < 1:
        raise Invalid(f"invalid value for {name}: value should be positive, got {number}")
    return number


def _flags(namespace: str, environ: Mapping[str, str]) -> tuple[Flag, ...]:
    sentry = f"dapr-sentry.{namespace}.svc:443"
    return (
        *FLAGS,
        Flag("metadata-enabled", truth.is_true(environ.get(METADATA_VARIABLE, "")), "Show the tables by HTTP", "bool"),
        Flag("sentry-address", sentry, "Address of sentry"),
    )


FLAGS = (
    Flag("id", "dapr-placement-0", "Which member of the cluster this is"),
    Flag("initial-cluster", ("dapr-placement-0=127.0.0.1:8201",), "Members of the cluster: id=host:port", "strings"),
    Flag("inmem-store-enabled", True, "No effect: nothing is stored", "bool"),
    Flag("raft-logstore-path", "", "No effect: nothing is stored"),
    Flag("port", 50005, "Port that sidecars report to", "int"),
    Flag("listen-address", "", "Address that sidecars report to; empty for all"),
    Flag("healthz-port", 8080, "Port of the health check", "int"),
    Flag("healthz-listen-address", "", "Address of the health check; empty for all"),
    Flag("tls-enabled", False, "Speak mTLS with sidecars and other members", "bool"),
    Flag("replicationFactor", 100, "Points of each host on the rings by which actors are distributed", "int"),
    Flag("keepalive-time", 2.0, "How long a sidecar may be quiet before it is asked for a sign of life", "duration"),
    Flag("keepalive-timeout", 3.0, "How long it has to answer before it counts as gone", "duration"),
    Flag("disseminate-timeout", 8.0, "How long a sidecar may hold the others up in one round", "duration"),
    Flag("disseminate-coalesce-window", 0.0, "How long changes are gathered after a round", "duration"),
    Flag("trust-domain", "localhost", "Trust domain of the control plane"),
    Flag("trust-anchors-file", "/var/run/secrets/dapr.io/tls/ca.crt", "File with the trust anchors"),
    Flag("mode", "standalone", "Where Dapr runs: standalone or kubernetes"),
    Flag("max-api-level", 10, "", "int", hidden=True, deprecated="this flag will be removed in future releases"),
    Flag("min-api-level", 0, "", "int", hidden=True, deprecated="this flag will be removed in future releases"),
    Flag("enable-metrics", True, "Serve Prometheus metrics", "bool"),
    Flag("metrics-port", "9090", "Port of the metrics"),
    Flag("metrics-listen-address", "0.0.0.0", "Address of the metrics"),
    Flag("log-level", "info", "From which level on to log: debug, info, warn, error or fatal"),
    Flag("log-as-json", False, "Log as JSON lines", "bool"),
    Flag("log-file", "", "File to write the log to, instead of stdout"),
)
