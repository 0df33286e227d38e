"""The scheduler's command line; defaults and refusals were compared with the original scheduler v1.18.3."""

import shlex

import pytest

from pydapr.lib import pflag
from pydapr.scheduler import flags


def parse(line: str, **environ: str) -> flags.Settings:
    return flags.parse(shlex.split(line), environ)


def test_nothing_is_needed() -> None:
    settings = parse("")
    assert (settings.id, settings.port, settings.healthz_port) == ("dapr-scheduler-server-0", 50006, 8080)
    assert (settings.metrics_port, settings.workers, settings.broadcast) == (9090, 2048, None)
    assert (settings.namespace, settings.sentry_address) == ("default", "dapr-sentry.default.svc:443")
    assert settings.identity_folder == "/tmp/secrets/dapr.io/tls"
    assert not settings.with_tls
    etcd = settings.etcd
    assert (etcd.embed, etcd.data_dir, etcd.client_port, etcd.client_listen_address) == (
        True, "./data", 2379, "localhost",
    )  # fmt: skip
    assert etcd.space_quota == 9_200_000_000_000_000_000
    assert etcd.initial_cluster == ("dapr-scheduler-server-0=http://localhost:2380",)


def test_the_namespace_is_in_the_environment() -> None:
    settings = parse("", NAMESPACE="system", TMPDIR="/var/tmp")
    assert (settings.namespace, settings.sentry_address) == ("system", "dapr-sentry.system.svc:443")
    assert settings.identity_folder == "/var/tmp/secrets/dapr.io/tls"


def test_in_kubernetes_there_is_always_mtls() -> None:
    assert parse("--mode kubernetes --kubeconfig x").with_tls
    assert parse("--tls-enabled").with_tls


def test_an_external_etcd() -> None:
    etcd = parse("--etcd-embed=false --etcd-client-endpoints a:1,b:2 --etcd-client-username u").etcd
    assert (etcd.embed, etcd.client_endpoints, etcd.client_username) == (False, ("a:1", "b:2"), "u")


def test_an_address_for_sidecars_may_be_given() -> None:
    assert parse("--override-broadcast-host-port localhost:1234").broadcast == "localhost:1234"


def test_no_metrics_have_no_port() -> None:
    assert parse("--enable-metrics=false --metrics-port x").metrics_port == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--etcd-client-endpoints x", "cannot use --etcd-client-endpoints with --etcd-embed"),
        ("--etcd-client-username x", "cannot use --etcd-client-username with --etcd-embed"),
        ("--etcd-client-password x", "cannot use --etcd-client-password with --etcd-embed"),
        ("--etcd-embed=false", "must specify --etcd-client-endpoints when not using embedded etcd"),
        ("--kubeconfig x", "kubeconfig flag is only valid in --mode=kubernetes"),
        ("--etcd-space-quota x", "failed to parse etcd space quota: quantities must match"),
        ("--etcd-backend-batch-interval x", "failed to parse backend batch interval. Please use"),
        ("--metrics-port x", "failed to parse metrics port"),
        ("--workers 0", "workers must be larger than 0"),
        ("--workers 5000000000", "invalid value for --workers"),
    ],
)
def test_what_cannot_stand_together(line: str, reason: str) -> None:
    with pytest.raises(flags.Invalid) as refused:
        parse(line)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-log-level=info", "unknown shorthand flag: 'l' in -log-level=info"),
        ("--workers=-1", 'invalid argument "-1" for "--workers" flag: strconv.ParseUint: parsing "-1": invalid syntax'),
        ("--nothing", "unknown flag: --nothing"),
    ],
)
def test_what_is_no_flag(line: str, reason: str) -> None:
    with pytest.raises(pflag.UsageError) as refused:
        parse(line)
    assert refused.value.output.endswith(f"{reason}\n")
    assert refused.value.status == 2
