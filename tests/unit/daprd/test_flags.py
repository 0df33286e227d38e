"""daprd's command line; outcomes and texts were compared with the original daprd v1.18.3."""

import shlex

import pytest

from pydapr.daprd import flags
from pydapr.lib import pflag


def parse(line: str, **environ: str) -> flags.Settings:
    return flags.parse(shlex.split(line), environ)


def test_only_an_app_id_is_needed() -> None:
    settings = parse("--app-id myapp")
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (3500, 50001, 9090)
    assert (settings.app_port, settings.app_protocol, settings.app_max_concurrency) == (0, "http", 0)
    assert (settings.max_body_size, settings.read_buffer_size) == (4194304, 4096)
    assert (settings.graceful_shutdown_seconds, settings.block_shutdown_seconds) == (5.0, None)
    assert settings.listen_addresses == ("",)
    assert settings.enable_api_logging is None
    assert settings.app_health is None
    assert settings.given == {"app-id"}


def test_everything_is_typed_and_derived() -> None:
    settings = parse(
        "-app-id=x --app-port 6001 --app-protocol GRPC --app-ssl --dapr-listen-addresses 127.0.0.1,::1"
        " --max-body-size 16Mi --dapr-graceful-shutdown-seconds -1 --dapr-block-shutdown-duration 1m"
        " --enable-api-logging=false --enable-app-health-check --app-health-threshold 0"
        " --disable-init-endpoints ' Config,'  --components-path /c --dapr-public-port 3501"
        " --app-binding-options-timeout=-1s --dapr-internal-grpc-port 50002"
    )
    assert (settings.app_protocol, settings.app_ssl_deprecated) == ("grpcs", True)
    assert settings.listen_addresses == ("127.0.0.1", "::1")
    assert (settings.max_body_size, settings.graceful_shutdown_seconds) == (16 << 20, 5.0)
    assert (settings.block_shutdown_seconds, settings.enable_api_logging) == (60.0, False)
    assert settings.app_health == flags.AppHealth("/healthz", 5.0, 0.5, 3)
    assert (settings.disable_init_endpoints, settings.resources_paths) == (frozenset({"config"}), ("/c",))
    assert (settings.public_port, settings.internal_grpc_port) == (3501, 50002)
    assert (settings.app_binding_options_timeout, settings.internal_grpc_port_derived) == (3.0, False)
    assert settings.warnings.count("has been deprecated") == 2


def test_the_environment_fills_in_what_flags_leave_open() -> None:
    settings = parse(
        "--app-id x --control-plane-namespace given",
        NAMESPACE="prod",
        DAPR_CONTROLPLANE_NAMESPACE="env",
        DAPR_CONTROLPLANE_TRUST_DOMAIN="td",
        DAPR_SCHEDULER_HOST_ADDRESS_DNS_A="a:1,b:2",
        DAPR_API_TOKEN="t",
        DAPR_ENV_KEYS="A B",
    )
    assert (settings.namespace, settings.identity_namespace) == ("prod", "prod")
    assert (settings.control_plane_namespace, settings.control_plane_trust_domain) == ("given", "td")
    assert settings.scheduler_addresses == ("a:1", "b:2")
    assert (settings.api_token, settings.env_keys) == ("t", frozenset({"A", "B"}))


def test_without_namespace_the_identity_has_the_default() -> None:
    assert parse("--app-id x").identity_namespace == "default"
    assert parse("--app-id x").namespace == ""


@pytest.mark.parametrize("addresses", ["", " ", "''", '""', "'   '", '"   "'])
def test_blank_or_quoted_scheduler_addresses_turn_jobs_off(addresses: str) -> None:
    by_variable = {"DAPR_SCHEDULER_HOST_ADDRESS_DNS_A": addresses}

    assert flags.parse(["--app-id=x", f"--scheduler-host-address={addresses}"], {}).scheduler_addresses == ()
    assert flags.parse(["--app-id=x"], by_variable).scheduler_addresses == ()


@pytest.mark.parametrize("addresses", ["", " ", "''", "\"'   '\"", "'\"\"'"])
def test_blank_or_quoted_placement_addresses_turn_actors_off(addresses: str) -> None:
    assert flags.parse(["--app-id=x", f"--placement-host-address={addresses}"], {}).placement_addresses == ()


FATAL = [
    ("", "parameter app-id cannot be empty"),
    ("--app-id a.b", "parameter app-id cannot contain dots"),
    (
        "--app-id x --dapr-http-port abc",
        'error parsing dapr-http-port flag: strconv.Atoi: parsing "abc": invalid syntax',
    ),
    ("--app-id x --dapr-http-port 0", "the 'dapr-http-port' argument value 0 conflicts with 'app-port'"),
    ("--app-id x --app-port 50001", "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'"),
    ("--app-id x --app-protocol foo", "invalid value for 'app-protocol': foo"),
    ("--app-id x --disable-init-endpoints foo", "invalid value for 'disable-init-endpoints': foo"),
    (
        "--app-id x --app-health-probe-interval 1 --app-health-probe-timeout 2000",
        "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
    ),
    (
        "--app-id x --dapr-internal-grpc-port foo",
        'error parsing dapr-internal-grpc-port: strconv.Atoi: parsing "foo": invalid syntax',
    ),
    (
        "--app-id x --dapr-public-port p",
        'error parsing dapr-public-port: strconv.Atoi: parsing "p": invalid syntax',
    ),
    ("--app-id x --mode foo", "invalid mode: foo"),
]


@pytest.mark.parametrize(("line", "words"), FATAL)
def test_contradictions_end_the_runtime_in_the_originals_words(line: str, words: str) -> None:
    with pytest.raises(flags.FlagsError) as refusal:
        parse(line)
    assert refusal.value.started
    assert refusal.value.message == f"Fatal error from runtime: {words}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "--max-body-size 1.5",
            "invalid value for 'max-body-size' option: "
            "cannot get bytes from resource quantity value '{{15 -1} {<nil>}  DecimalSI}'",
        ),
        (
            "--read-buffer-size 4Kii",
            "invalid value for 'read-buffer-size' option: unable to parse quantity's suffix",
        ),
        (
            "--actors-disseminate-timeout 0s",
            "invalid value for 'actors-disseminate-timeout' option: must be positive, got 0s",
        ),
    ],
)
def test_impossible_sizes_and_times_are_fatal_before_the_log_is_set_up(line: str, words: str) -> None:
    with pytest.raises(flags.FlagsError) as refusal:
        parse(f"--app-id x --log-as-json {line}")
    assert not refusal.value.started
    assert refusal.value.message == f"Failed to parse flags: {words}"
    assert refusal.value.log_settings == flags.LogSettings()


def test_version_build_info_and_wait_need_no_app_id() -> None:
    assert parse("--version").version
    assert parse("--build-info --dapr-http-port 0").build_info
    assert parse("--wait --dapr-http-port 4000").http_port == 4000


def test_deprecated_sizes_count_only_without_the_new_ones() -> None:
    assert parse("--app-id x --dapr-http-max-request-size 8").max_body_size == 8 << 20
    assert parse("--app-id x --dapr-http-max-request-size -1").max_body_size == 4 << 20
    assert parse("--app-id x --dapr-http-max-request-size 8 --max-body-size 1Ki").max_body_size == 1024
    assert parse("--app-id x --dapr-http-read-buffer-size 0").read_buffer_size == 0


def test_kubernetes_takes_any_app_id() -> None:
    assert parse("--mode kubernetes").mode == flags.KUBERNETES


def test_the_internal_port_is_steady_and_in_range() -> None:
    port = flags.stable_port("myapp")
    assert port == flags.stable_port("myapp") != flags.stable_port("other")
    assert 47300 <= port < 65535


def test_help_has_a_line_for_each_flag_that_is_not_hidden() -> None:
    with pytest.raises(pflag.UsageError) as asked:
        parse("--help")
    described = [line.split()[0] for line in asked.value.output.splitlines()[1:]]
    assert len(described) == 52
    assert described == sorted(described)
    assert all(flag.usage for flag in flags.FLAGS if not flag.hidden)
