"""sentry's command line; defaults and refusals were compared with the original sentry v1.18.3."""

import shlex

import pytest

from pydapr.lib import pflag
from pydapr.sentry import flags


def parse(line: str, **environ: str) -> flags.Settings:
    return flags.parse(shlex.split(line), environ)


def test_nothing_is_needed() -> None:
    settings = parse("", HOME="/home/x")
    folder = "/var/run/secrets/dapr.io/credentials"
    assert (settings.port, settings.healthz_port, settings.metrics_port) == (50001, 8080, 9090)
    assert settings.files == (f"{folder}/ca.crt", f"{folder}/issuer.crt", f"{folder}/issuer.key")
    assert (settings.mode, settings.trust_domain, settings.namespace) == ("standalone", "localhost", "default")
    assert settings.config == "daprsystem"
    assert settings.kubeconfig == "/home/x/.kube/config"
    assert not settings.jwt.enabled
    assert (settings.jwt.algorithm, settings.jwt.ttl, settings.jwt.issuer, settings.jwt.key_id) == (
        "RS256",
        86400.0,
        None,
        None,
    )
    assert (settings.oidc.enabled, settings.oidc.tls) == (False, True)
    assert (settings.oidc.address, settings.oidc.port) == ("localhost", 9080)


def test_files_stand_in_the_folder_or_where_they_are_said_to_be() -> None:
    settings = parse("-issuer-credentials=here --issuer-ca-filename /there/root.pem --jwt-enabled --jwks-filename k")
    assert settings.files == (
        "/there/root.pem", "here/issuer.crt", "here/issuer.key", "here/jwt.key", "here/k",
    )  # fmt: skip


def test_a_certificate_of_the_openid_server_is_no_part_of_the_authority() -> None:
    settings = parse("--oidc-enabled --oidc-server-tls-cert-file c --oidc-server-tls-key-file k")
    assert settings.oidc.certificate_file == "c"
    assert len(settings.files) == 3


def test_no_metrics_have_no_port() -> None:
    assert parse("--enable-metrics=false --metrics-port x").metrics_port == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--mode x", "Invalid options: invalid mode: x"),
        ("--oidc-enabled", "Invalid options: oidc-server-tls-cert-file is required"),
        ("--oidc-enabled --oidc-server-tls-cert-file c", "Invalid options: oidc-server-tls-key-file is required"),
        ("--oidc-server-tls-cert-file c", "both OIDC TLS certificate and key must be provided"),
        ("--jwt-issuer x", "Invalid options: jwt-issuer cannot be set when jwt-enabled is false"),
        ("--jwt-enabled --jwt-ttl 0s", "Invalid options: jwt-ttl must be positive"),
        ("--metrics-port x", "failed to parse metrics port"),
    ],
)
def test_what_cannot_stand_together(line: str, reason: str) -> None:
    with pytest.raises(flags.Invalid, match=reason):
        parse(line)


def test_an_unknown_flag_is_a_usage_error() -> None:
    with pytest.raises(pflag.UsageError, match="unknown flag: --no-such"):
        parse("--no-such")
