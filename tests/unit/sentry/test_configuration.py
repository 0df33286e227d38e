"""What sentry takes from the Configuration."""

from pathlib import Path

import pytest

from pydapr.resources.configuration import Mtls, TokenValidator
from pydapr.security import token
from pydapr.sentry import configuration, flags


def test_without_anything_everybody_is_believed_for_a_day() -> None:
    rules = configuration.read(Mtls())
    assert (rules.workload_seconds, rules.skew_seconds) == (86400.0, 900.0)
    assert (rules.validators, rules.default_validator) == ({token.INSECURE: {}}, token.INSECURE)


def test_a_validator_that_is_configured_is_the_only_one_and_no_default() -> None:
    options = {"source": "x", "minRefreshInterval": 5, "caCertificate": None}
    rules = configuration.read(Mtls(token_validators=(TokenValidator("JWKS", options),)))
    expected = {"source": "x", "minrefreshinterval": "5", "cacertificate": ""}
    assert (rules.validators, rules.default_validator) == ({token.JWKS: expected}, token.UNKNOWN)


@pytest.mark.parametrize(
    ("mtls", "reason"),
    [
        (Mtls(workload_cert_ttl="x"), "error parsing WorkloadCertTTL duration: time: invalid duration"),
        (Mtls(allowed_clock_skew="1"), "error parsing AllowedClockSkew duration: time: missing unit"),
        (Mtls(workload_cert_ttl="-1h"), "WorkloadCertTTL must be positive"),
        (Mtls(allowed_clock_skew="-1h"), "AllowedClockSkew must not be negative"),
        (Mtls(token_validators=(TokenValidator("x"),)), "invalid token validator name: 'x'"),
        (Mtls(token_validators=(TokenValidator("unknown"),)), "invalid token validator name"),
        (Mtls(token_validators=(TokenValidator("insecure"),)), "cannot be configured manually"),
        (Mtls(token_validators=(TokenValidator("kubernetes"),)), "cannot be configured manually"),
        (Mtls(token_validators=(TokenValidator("jwks", [1]),)), "are no mapping"),
    ],
)
def test_what_is_refused(mtls: Mtls, reason: str) -> None:
    with pytest.raises(configuration.Invalid, match=reason):
        configuration.read(mtls)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("kind: Configuration\nspec:\n  mtls:\n    workloadCertTTL: $LIFE\n    allowedClockSkew: 1m\n")
    rules = configuration.load(flags.parse([f"--config={path}"], {}), {"LIFE": "1h"})
    assert (rules.workload_seconds, rules.skew_seconds) == (3600.0, 60.0)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(configuration.Invalid) as refused:
        configuration.load(flags.parse([], {}), {})
    assert str(refused.value) == (
        'loading default config. couldn\'t find config name "daprsystem": stat daprsystem: no such file or directory'
    )
