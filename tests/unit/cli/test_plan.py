"""What a run will start, from its flags."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pydapr.cli import grammar, plan, ports, run, sidecars, usage


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("DAPR_", "APP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def reservation() -> Iterator[ports.Reservation]:
    made = ports.Reservation()
    yield made
    made.close()


def make(reservation: ports.Reservation, line: str = "", running: tuple[sidecars.Sidecar, ...] = ()) -> plan.Plan:
    values, command = grammar.parse((*run.FLAGS, *usage.GLOBAL), line.split())
    return plan.make(values, command, running, reservation)


def flags(planned: plan.Plan) -> dict[str, str]:
    return sidecars.read_flags(planned.sidecar_command[planned.sidecar_command.index("daprd") + 1 :])


def test_a_run_without_flags_gets_a_name_and_ports(reservation: ports.Reservation) -> None:
    planned = make(reservation)

    given = flags(planned)
    assert planned.app_id
    assert given["app-id"] == planned.app_id
    names = ("dapr-http-port", "dapr-grpc-port", "metrics-port", "dapr-internal-grpc-port")
    assert len({given[name] for name in names} - {"0"}) == 4
    assert not given.keys() & {"config", "placement-host-address", "app-port"}


def test_a_run_without_resources_gets_those_that_are_embedded(reservation: ports.Reservation, empty_home: Path) -> None:
    assert flags(make(reservation))["resources-path"] == str(empty_home / ".dapr" / "embedded" / "resources")


def test_what_was_given_is_passed_on(reservation: ports.Reservation) -> None:
    line = (
        "-a x -p 80 -P grpc --app-ssl --log-level debug --max-body-size 8Mi --app-max-concurrency 4 "
        "--enable-app-health-check --app-health-check-path /h --app-health-threshold 2 --enable-api-logging "
        "--dapr-listen-addresses ::1 -u /tmp/s --app-channel-address ::1 --enable-profiling"
    )
    planned = make(reservation, line)

    expected = {
        "app-id": "x",
        "app-port": "80",
        "app-protocol": "grpc",
        "app-ssl": "",
        "log-level": "debug",
        "max-body-size": "8Mi",
        "app-max-concurrency": "4",
        "enable-app-health-check": "",
        "app-health-check-path": "/h",
        "app-health-threshold": "2",
        "enable-api-logging": "",
        "dapr-listen-addresses": "::1",
        "unix-domain-socket": "/tmp/s",
        "app-channel-address": "::1",
    }
    assert expected.items() <= flags(planned).items()
    assert int(flags(planned)["profile-port"]) > 0
    assert planned.app_environment["APP_PROTOCOL"] == "grpcs"
    assert planned.app_environment["APP_PORT"] == "80"
    assert planned.socket("http") == "/tmp/s/dapr-x-http.socket"


def test_resources_and_configuration_of_the_home_are_used_if_they_exist(
    reservation: ports.Reservation, empty_home: Path
) -> None:
    (empty_home / ".dapr" / "components").mkdir(parents=True)
    (empty_home / ".dapr" / "config.yaml").write_text("spec: {mtls: {enabled: true}}")

    given = flags(make(reservation))

    assert given["resources-path"] == str(empty_home / ".dapr" / "components")
    assert given["config"] == str(empty_home / ".dapr" / "config.yaml")
    assert "enable-mtls" in given
    assert given["sentry-address"] == "localhost:50001"


def test_all_resource_paths_are_used(reservation: ports.Reservation, empty_home: Path) -> None:
    for name in "ab":
        (empty_home / name).mkdir()
    planned = make(reservation, f"--resources-path {empty_home}/a --resources-path {empty_home}/b")

    command = planned.sidecar_command
    assert [command[at + 1] for at, word in enumerate(command) if word == "--resources-path"] == [
        f"{empty_home}/a",
        f"{empty_home}/b",
    ]


def test_the_control_plane_is_used_when_asked_for(
    reservation: ports.Reservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_PLACEMENT_HOST_ADDRESS", "p:1")
    monkeypatch.setenv("DAPR_SCHEDULER_HOST_ADDRESS", "ignored")

    given = flags(make(reservation, "--scheduler-host-address s"))

    assert (given["placement-host-address"], given["scheduler-host-address"]) == ("p:1", "s:50006")
    assert "placement-host-address" not in flags(make(reservation, "--placement-host-address="))


def test_an_installation_of_its_own_is_used_only_when_named(
    reservation: ports.Reservation, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = empty_home / ".dapr" / "bin" / "daprd"
    program.parent.mkdir(parents=True)
    program.write_text("")

    assert make(reservation, f"--runtime-path {empty_home}").sidecar_command[0] == str(program)
    monkeypatch.setenv("DAPR_RUNTIME_PATH", str(empty_home))
    assert make(reservation).sidecar_command[1:5] == ["-P", "-m", "pydapr", "daprd"]


def test_python_apps_do_not_hold_their_output_back(
    reservation: ports.Reservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(reservation).app_environment["PYTHONUNBUFFERED"] == "1"

    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    assert make(reservation).app_environment["PYTHONUNBUFFERED"] == ""


RUNNING = sidecars.Sidecar(1, "taken", 3500, 50001, 80, True, 0, 0, "", 0.0)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("-H 3500", "invalid configuration for HTTPPort. Port 3500 is not available"),
        ("-G 99999", "invalid configuration for GRPCPort. Port 99999 is not available"),
        ("-M 80", "invalid configuration for MetricsPort. Port 80 is not available"),
        (
            "--resources-path /no,/way",
            'error validating resources path ["/no" "/way"] : stat /no: no such file or directory',
        ),
        (
            "--max-body-size 4Zz",
            "invalid max request body size: quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_refusals_say_why(line: str, text: str, reservation: ports.Reservation) -> None:
    with pytest.raises(plan.Refused) as refused:
        make(reservation, line, (RUNNING,))

    assert str(refused.value) == text
