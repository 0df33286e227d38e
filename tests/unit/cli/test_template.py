"""The multi-app run template: what becomes of each field, and what is refused."""

from pathlib import Path

import pytest

from pydapr.cli import run, template, usage

FLAGS = (*run.FLAGS, *usage.GLOBAL)


def parse(base: Path, text: str) -> template.Template:
    return template.parse(text, str(base), FLAGS)


def one(base: Path, text: str) -> template.App:
    (base / "app").mkdir(exist_ok=True)
    return parse(base, f"version: 1\napps:\n- appDirPath: app\n{text}").apps[0]


def test_the_smallest_app_is_named_after_its_directory(tmp_path: Path) -> None:
    app = one(tmp_path, "")

    assert (app.app_id, app.directory) == ("app", str(tmp_path / "app"))
    assert (app.command, app.environment) == ([], {})
    assert (app.app_log, app.sidecar_log) == ("fileAndConsole", "file")
    assert app.values.given() == ["app-id"]


def test_every_field_means_what_the_flag_means(tmp_path: Path) -> None:
    app = one(
        tmp_path,
        """
  appID: 007
  appPort: 8080
  appProtocol: grpc
  appChannelAddress: 127.0.0.2
  appMaxConcurrency: 4
  daprHTTPPort: 3501
  daprGRPCPort: 3502
  daprInternalGRPCPort: 3503
  metricsPort: 3504
  profilePort: 3505
  enableProfiling: yes
  logLevel: debug
  apiListenAddresses: "::1"
  maxBodySize: 8Mi
  readBufferSize: 8Ki
  enableAppHealthCheck: true
  appHealthCheckPath: /ready
  appHealthProbeInterval: 3
  appHealthProbeTimeout: 4
  appHealthThreshold: 5
  enableApiLogging: true
  placementHostAddress: here:1
  schedulerHostAddress: here:2
  unixDomainSocket: sockets
  command: [python3, app.py, 1]
  env: {PORT: 8080, YES: yes, NONE: }
  appLogDestination: console
  daprdLogDestination: fileAndConsole
""",
    )

    values = app.values
    assert app.app_id == values.text("app-id") == "007"
    numbers = {
        "app-port": 8080,
        "app-max-concurrency": 4,
        "dapr-http-port": 3501,
        "dapr-grpc-port": 3502,
        "dapr-internal-grpc-port": 3503,
        "metrics-port": 3504,
        "profile-port": 3505,
        "app-health-probe-interval": 3,
        "app-health-probe-timeout": 4,
        "app-health-threshold": 5,
    }
    assert {name: values.number(name) for name in numbers} == numbers
    texts = {
        "app-protocol": "grpc",
        "app-channel-address": "127.0.0.2",
        "log-level": "debug",
        "dapr-listen-addresses": "::1",
        "max-body-size": "8Mi",
        "read-buffer-size": "8Ki",
        "app-health-check-path": "/ready",
        "placement-host-address": "here:1",
        "scheduler-host-address": "here:2",
        "unix-domain-socket": str(tmp_path / "app" / "sockets"),
    }
    assert {name: values.text(name) for name in texts} == texts
    assert all(values.switch(name) for name in ("enable-profiling", "enable-app-health-check", "enable-api-logging"))
    assert app.command == ["python3", "app.py", "1"]
    assert app.environment == {"PORT": "8080", "YES": "yes", "NONE": ""}
    assert (app.app_log, app.sidecar_log) == ("console", "fileAndConsole")


def test_an_app_wins_over_common_and_maps_are_joined(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    read = parse(
        tmp_path,
        """
version: 1
name: shop
common:
  logLevel: warn
  appProtocol: http
  placementHostAddress: here
  env: {A: common, B: common}
apps:
- appDirPath: app
  appProtocol: grpc
  appMaxConcurrency: 0
  placementHostAddress: ""
  env: {B: own, C: own}
- appDirPath: ./app/
  appID: second
""",
    )

    first, second = read.apps
    assert read.name == "shop"
    assert (first.values.text("log-level"), second.values.text("log-level")) == ("warn", "warn")
    assert (first.values.text("app-protocol"), second.values.text("app-protocol")) == ("grpc", "http")
    assert first.values.is_given("placement-host-address")
    assert first.values.text("placement-host-address") == ""
    assert second.values.text("placement-host-address") == "here"
    assert first.environment == {"A": "common", "B": "own", "C": "own"}
    assert second.environment == {"A": "common", "B": "common"}


def test_paths_start_at_the_file_for_common_and_at_its_directory_for_an_app(tmp_path: Path) -> None:
    for name in ("all", "app/own", "app/older, still", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "app" / "own.yaml").touch()
    (tmp_path / "all.yaml").touch()
    first, second = parse(
        tmp_path,
        """
version: 1
common: {resourcesPath: all, configFilePath: all.yaml}
apps:
- appDirPath: app
  resourcesPaths: [./own]
  resourcesPath: older, still
  configFilePath: own.yaml
- appDirPath: other
""",
    ).apps

    assert first.values.many("resources-path") == [str(tmp_path / "app/own"), str(tmp_path / "app/older, still")]
    assert first.values.text("config") == str(tmp_path / "app/own.yaml")
    assert second.values.many("resources-path") == [str(tmp_path / "all")]
    assert second.values.text("config") == str(tmp_path / "all.yaml")


def test_the_folder_of_an_app_wins_over_common(tmp_path: Path) -> None:
    (tmp_path / "app/.dapr/resources").mkdir(parents=True)
    (tmp_path / "app/.dapr/config.yaml").touch()
    (tmp_path / "all").mkdir()
    (tmp_path / "all.yaml").touch()
    text = "version: 1\ncommon: {resourcesPath: all, configFilePath: all.yaml}\napps: [{appDirPath: app}]"
    app = parse(tmp_path, text).apps[0]

    assert app.values.many("resources-path") == [str(tmp_path / "app/.dapr/resources")]
    assert app.values.text("config") == str(tmp_path / "app/.dapr/config.yaml")


def test_anchors_may_be_merged(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    text = "version: 1\napps:\n- &a {appDirPath: app, appPort: 80}\n- {<<: *a, appID: b}"

    assert [app.values.number("app-port") for app in parse(tmp_path, text).apps] == [80, 80]


def test_fields_without_a_meaning_are_named(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    text = "version: 1\nfoo: 1\ncommon: {appPort: 1}\napps:\n- {appDirPath: app, appPrt: 80, containerImage: x}"

    assert parse(tmp_path, text).unknown == ["foo", "common.appPort", "apps[0].appPrt"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("apps: []", "required field 'version' not found in the provided run template file"),
        ("version: 0", "required field 'version' not found in the provided run template file"),
        ("version: 1\napps: [{appID: a}]", "required field 'appDirPath' not found in the provided app config file"),
        ("version: 1\napps: [{appDirPath: none}]", "error in getting the file info for "),
        ("version: 1\napps: [{appDirPath: ., appLogDestination: tape}]", "invalid log destination type: tape"),
        (
            "version: 1\napps: [{appDirPath: ., containerImagePullPolicy: Often}]",
            "invalid containerImagePullPolicy: Often, allowed values: Always, Never, IfNotPresent",
        ),
        ("version: 1\napps: [{appDirPath: ., appPort: x}]", 'appPort is "x", not a whole number'),
        ("version: 1\napps: [{appDirPath: ., enableProfiling: 2}]", 'enableProfiling is "2", not true or false'),
        ("version: 1\napps: [{appDirPath: ., appID: [a]}]", "appID is no single value"),
        ("version: 1\napps: [{appDirPath: ., command: ls}]", "command is no list of texts"),
        ("version: 1\napps: [{appDirPath: ., env: [a]}]", "env is no map of texts"),
        ("version: 1\napps: {a: 1}", "apps is no list"),
        ("version: 1\napps: [1]", "apps[0] is no map of fields"),
        ("version: 1\ncommon: 1", "common is no map of fields"),
        ("", "the run template file is no map of fields"),
        ("a: b: c", "error in parsing the provided app config file: mapping values are not allowed here"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(template.Wrong) as refused:
        parse(tmp_path, text)

    assert error in str(refused.value)


def test_a_directory_means_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "dapr.yaml").touch()
    (tmp_path / "apps.txt").touch()

    assert template.locate(str(tmp_path)) == str(tmp_path / "dapr.yaml")
    assert template.locate("-") == "-"
    for path, error in {"apps.txt": "is not a YAML file", "none.yaml": "no such file or directory"}.items():
        with pytest.raises(template.Wrong, match=error):
            template.locate(str(tmp_path / path))
