"""placement's command line; defaults and refusals were compared with the original placement v1.18.3."""

import shlex

import pytest

from pydapr.lib import pflag
from pydapr.placement import flags


def parse(line: str, **environ: str) -> flags.Settings:
    return flags.parse(shlex.split(line), environ)


def test_nothing_is_needed() -> None:
    settings = parse("")
    assert (settings.id, settings.own_address) == ("dapr-placement-0", "127.0.0.1:8201")
    assert (settings.port, settings.healthz_port, settings.metrics_port) == (50005, 8080, 9090)
    assert (settings.keepalive_time, settings.keepalive_timeout) == (2, 3)
    assert (settings.disseminate_timeout, settings.coalesce_window, settings.replication_factor) == (8, 0, 100)
    assert (settings.tls_enabled, settings.metadata_enabled, settings.mode) == (False, False, "standalone")
    assert (settings.namespace, settings.sentry_address) == ("default", "dapr-sentry.default.svc:443")
    assert settings.trust_anchors_file == "/var/run/secrets/dapr.io/tls/ca.crt"
    assert settings.warnings == ""


def test_the_environment_says_where_sentry_is_and_whether_tables_are_shown() -> None:
    settings = parse("", NAMESPACE="dapr-system", DAPR_PLACEMENT_METADATA_ENABLED="true")
    assert (settings.namespace, settings.sentry_address) == ("dapr-system", "dapr-sentry.dapr-system.svc:443")
    assert settings.metadata_enabled
    assert not parse("--metadata-enabled=false", DAPR_PLACEMENT_METADATA_ENABLED="true").metadata_enabled


def test_members_have_an_id_and_an_address() -> None:
    settings = parse("--id b -initial-cluster ' a = one:1,b=two:2,c=three=3,d' --initial-cluster e=:5")
    assert settings.members == (flags.Member("a", "one:1"), flags.Member("b", "two:2"), flags.Member("e", ":5"))
    assert settings.own_address == "two:2"


def test_a_member_must_be_one_of_its_cluster() -> None:
    with pytest.raises(flags.Invalid) as refused:
        _ = parse("--id x").own_address
    assert str(refused.value) == "address for node x not found in raft peers [{dapr-placement-0 127.0.0.1:8201}]"


def test_old_flags_are_taken_with_a_word_on_stderr() -> None:
    settings = parse("--max-api-level=3 --inmem-store-enabled=false --raft-logstore-path=x")
    assert settings.warnings == (
        "Flag --max-api-level has been deprecated, this flag will be removed in future releases\n"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--keepalive-time 500ms", "invalid value for keepalive-time: value should be between 1s and 10s, got 500ms"),
        ("--keepalive-timeout 11s", "invalid value for keepalive-timeout: value should be between 1s and 10s, got 11s"),
        ("--disseminate-timeout 0", "invalid value for disseminate-timeout: value should be positive, got 0s"),
        ("--replicationFactor 0", "invalid value for replicationFactor: value should be positive, got 0"),
        ("--initial-cluster a=b:1,a=c:1", "the member a stands twice in initial-cluster"),
        ("--metrics-port x", "failed to parse metrics port"),
    ],
)
def test_flags_that_make_no_sense_are_refused(line: str, reason: str) -> None:
    with pytest.raises(flags.Invalid) as refused:
        parse(line)
    assert str(refused.value).startswith(reason)


def test_unknown_flags_are_refused() -> None:
    with pytest.raises(pflag.UsageError) as refused:
        parse("--no-such-flag")
    assert refused.value.status == 2 and "Usage of placement" in refused.value.output
