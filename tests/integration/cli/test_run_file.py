"""`dapr run -f` and `dapr stop -f`: several apps of one file, from start to exit code."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr, Run

WAITS = '["sh", "-c", "echo out; echo err >&2; exec sleep 600"]'


def write(dapr: "Dapr", apps: str) -> Path:
    """A `dapr.yaml` with apps whose ids belong to this test; `@name` in the text stands for an id."""
    for name in ("a", "b"):
        (dapr.directory / name).mkdir(exist_ok=True)
        apps = apps.replace(f"@{name}", dapr.app_id(name))
    path = dapr.directory / "dapr.yaml"
    path.write_text(f"version: 1\nname: shop\n{apps}")
    return path


def two_apps(dapr: "Dapr") -> Path:
    return write(
        dapr,
        f"""
apps:
- {{appID: "@a", appDirPath: a, command: {WAITS}}}
- {{appID: "@b", appDirPath: b, command: {WAITS}}}
""",
    )


def start(dapr: "Dapr", *arguments: str) -> "Run":
    run = dapr.start("run", *arguments)
    run.await_output(f'Started Dapr with app id "{dapr.app_id("b")}"')
    run.await_output(f"{dapr.directory}/b/.dapr/logs")
    return run


def rows(dapr: "Dapr") -> dict[str, dict[str, object]]:
    listed = json.loads(dapr.call("list", "-o", "json").output())
    return {row["appId"]: row for row in listed if row["appId"].endswith(dapr.mark[:8])}


def log(dapr: "Dapr", name: str, kind: str) -> str:
    (path,) = (dapr.directory / name / ".dapr" / "logs").glob(f"{dapr.app_id(name)}_{kind}_*.log")
    return path.read_text()


def test_runs_all_apps_of_a_directory_until_they_are_stopped(dapr: "Dapr") -> None:
    file = two_apps(dapr)
    run = start(dapr, "-f", ".")

    shown = run.output()
    for name in ("a", "b"):
        app_id = dapr.app_id(name)
        validated = shown.index(f'ℹ️  Validating config and starting app "{app_id}"\n')  # noqa: RUF001
        assert validated < shown.index(f'ℹ️  Started Dapr with app id "{app_id}". HTTP Port: ')  # noqa: RUF001
        assert f"Writing log files to directory : {dapr.directory}/{name}/.dapr/logs\n" in shown
        run.await_output(f"== APP - {app_id} == err\n")
        assert f"== APP - {app_id} == out\n" in run.output()
        assert "level=info" in log(dapr, name, "daprd")
        assert "You're up and running! Dapr logs will appear here." in log(dapr, name, "daprd")
        assert f"== APP - {app_id} == err\n" in log(dapr, name, "app")
    assert "level=info" not in run.output()
    row = rows(dapr)[dapr.app_id("a")]
    assert (row["runTemplatePath"], row["runTemplateName"], row["cliPid"]) == (str(file), "shop", run.process.pid)
    assert str(row["appLogPath"]).startswith(f"{dapr.directory}/a/.dapr/logs/{dapr.app_id('a')}_app_")
    assert str(row["daprdLogPath"]).startswith(f"{dapr.directory}/a/.dapr/logs/{dapr.app_id('a')}_daprd_")
    assert os.path.exists(f"/proc/{row['appPid']}")

    stopped = dapr.call("stop", "-f", ".")

    assert stopped.output() == "✅  Dapr and app processes stopped successfully\n"
    assert run.exit_code() == 0
    assert "Received signal to stop Dapr and app processes. Shutting down" in run.output()
    dapr.await_nothing_left()


def test_the_apps_end_at_ctrl_c(dapr: "Dapr") -> None:
    run = start(dapr, "--run-file", str(two_apps(dapr)))

    run.interrupt()

    assert run.exit_code() == 0
    dapr.await_nothing_left()


def test_nothing_is_left_when_the_command_is_killed(dapr: "Dapr") -> None:
    run = start(dapr, "-f", str(two_apps(dapr)))

    run.process.kill()

    dapr.await_nothing_left()


def test_one_app_of_several_can_be_stopped(dapr: "Dapr") -> None:
    run = start(dapr, "-f", str(two_apps(dapr)))

    assert "app stopped successfully" in dapr.call("stop", "--app-id", dapr.app_id("a")).output()

    assert rows(dapr).keys() == {dapr.app_id("b")}
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.exit_code() == 0
    dapr.await_nothing_left()


def test_an_app_that_fails_is_named_and_the_others_go_on(dapr: "Dapr") -> None:
    write(
        dapr,
        f"""
apps:
- {{appID: "@a", appDirPath: a, command: [sh, -c, "exit 3"], appLogDestination: file}}
- {{appID: "@b", appDirPath: b, command: {WAITS}}}
""",
    )
    run = start(dapr, "-f", ".")
    failed = "The App process exited with error code: exited with status 3"

    run.await_output(f"== APP - {dapr.app_id('b')} == out")
    assert failed in log(dapr, "a", "app")
    assert f"❌  {dapr.app_id('a')}: {failed}\n" in run.errors()
    assert run.process.poll() is None


def test_an_app_that_ends_before_it_listens_holds_up_nobody(dapr: "Dapr") -> None:
    write(
        dapr,
        f"""
apps:
- {{appID: "@a", appDirPath: a, appPort: 1, command: [sh, -c, "exit 3"]}}
- {{appID: "@b", appDirPath: b, command: {WAITS}}}
""",
    )
    run = start(dapr, "-f", ".")

    assert f"{dapr.app_id('a')}: " not in run.errors(), "its lines are on the terminal already"
    assert "exited with status 3" in run.output()


def test_a_sidecar_that_cannot_start_is_named_and_the_others_go_on(dapr: "Dapr") -> None:
    resources = dapr.directory / "a" / "resources"
    resources.mkdir(parents=True)
    (resources / "x.yaml").write_text(
        "{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: x}, spec: {type: state.none, version: v1}}"
    )
    write(
        dapr,
        f"""
apps:
- {{appID: "@a", appDirPath: a, resourcesPath: resources}}
- {{appID: "@b", appDirPath: b, command: {WAITS}}}
""",
    )
    run = start(dapr, "-f", ".")

    assert f"❌  {dapr.app_id('a')}: The daprd process exited with error code: exit status 1\n" in run.errors()
    assert f'Started Dapr with app id "{dapr.app_id("a")}"' not in run.output()
    assert "state.none" in log(dapr, "a", "daprd")
    assert rows(dapr).keys() == {dapr.app_id("b")}


def test_it_ends_when_nothing_runs_any_more(dapr: "Dapr") -> None:
    run = start(dapr, "-f", str(two_apps(dapr)))
    told = rows(dapr).values()
    for row in told:
        os.kill(int(str(row["daprdPid"])), signal.SIGKILL)
        os.kill(int(str(row["appPid"])), signal.SIGKILL)

    assert run.exit_code() == 0
    assert "All Dapr and app processes have ended." in run.output()
    assert "The daprd process exited with error code: signal: killed" in run.errors()


def test_what_cannot_be_started_stops_all(dapr: "Dapr") -> None:
    write(
        dapr,
        f"""
apps:
- {{appID: "@a", appDirPath: a, command: {WAITS}}}
- {{appID: "@b", appDirPath: b, command: [no-such-command]}}
""",
    )
    run = dapr.call("run", "-f", ".")

    assert run.exit_code() == 1
    error = f'Error starting Dapr and app ("{dapr.app_id("b")}"): no-such-command: no such file or directory'
    assert error in run.errors()
    dapr.await_nothing_left()


def test_a_port_in_use_stops_all(dapr: "Dapr") -> None:
    other = dapr.start("run", "--app-id", dapr.app_id("c"))
    other.await_up()
    port = rows(dapr)[dapr.app_id("c")]["httpPort"]
    write(dapr, f'apps: [{{appID: "@a", appDirPath: a, daprHTTPPort: {port}}}]')

    run = dapr.call("run", "-f", ".")

    assert run.exit_code() == 1
    assert f'Error validating run config for app "{dapr.app_id("a")}" present in ./dapr.yaml: ' in run.errors()
    assert f"invalid configuration for HTTPPort. Port {port} is not available" in run.errors()


def test_lines_go_where_the_file_says(dapr: "Dapr") -> None:
    write(
        dapr,
        f"""
common: {{daprdLogDestination: fileAndConsole, appLogDestination: file}}
apps:
- {{appID: "@a", appDirPath: a, command: {WAITS}, daprdLogDestination: console}}
- {{appID: "@b", appDirPath: b, command: {WAITS}, appLogDestination: console}}
""",
    )
    run = start(dapr, "-f", ".")
    run.await_output(f"== APP - {dapr.app_id('b')} == out")

    assert f"app_id={dapr.app_id('a')}" in run.output()
    assert f"app_id={dapr.app_id('b')}" in run.output()
    assert "level=info" in log(dapr, "b", "daprd")
    assert f"== APP - {dapr.app_id('a')}" not in run.output()
    names = {path.name.split("_")[1] for path in dapr.directory.glob("*/.dapr/logs/*")}
    assert names == {"app", "daprd"}
    assert len(list(dapr.directory.glob("*/.dapr/logs/*"))) == 2


def test_no_line_is_lost(dapr: "Dapr") -> None:
    program = dapr.directory / "many.py"
    program.write_text(
        "import sys\n"
        "out = sys.stdout.buffer\n"
        "for n in range(20000): out.write(b'%d\\n' % n)\n"
        "out.write(b'x' * 1_000_000 + b'\\n' + b'end')\n"
    )
    write(dapr, f'apps: [{{appID: "@b", appDirPath: b, command: ["{sys.executable}", "{program}"]}}]')
    run = start(dapr, "-f", ".")
    mark = f"== APP - {dapr.app_id('b')} == "
    run.await_output(f"{mark}end\n")

    for text in (run.output(), log(dapr, "b", "app")):
        lines = [line for line in text.split("\n") if line.startswith(mark)]
        assert lines == [f"{mark}{line}" for line in [*range(20000), "x" * 1_000_000, "end"]]


def test_environment_directory_and_standard_input(dapr: "Dapr") -> None:
    path = write(
        dapr,
        """
common: {env: {COLOUR: red, SIZE: 1}}
apps:
- {appID: "@a", appDirPath: a, command: [env], env: {SIZE: 2}}
- {appID: "@b", appDirPath: b, command: [pwd]}
""",
    )
    run = dapr.start("run", "-f", "-", typed=path.read_bytes())
    run.await_output(f"== APP - {dapr.app_id('b')} == {dapr.directory}/b\n")

    told = {line.partition(" == ")[2] for line in run.output().splitlines() if line.startswith("== APP")}
    assert {"COLOUR=red", "SIZE=2", f"APP_ID={dapr.app_id('a')}"} <= told


def test_a_sidecar_may_run_without_an_app(dapr: "Dapr") -> None:
    write(dapr, 'apps: [{appID: "@b", appDirPath: b}]')
    run = start(dapr, "-f", ".", "--app-port", "1")

    assert (
        "are ignored when using --run-file and should be configured in the run file instead: app-port" in run.output()
    )
    assert f'No application command found for app "{dapr.app_id("b")}"' in run.output()
    assert rows(dapr).keys() == {dapr.app_id("b")}


def test_files_that_cannot_be_used_are_named(dapr: "Dapr") -> None:
    nowhere = dapr.call("run", "-f", "none.yaml")
    assert (nowhere.exit_code(), nowhere.errors()) == (
        1,
        "❌  Failed to get run file path: error in getting the file info for none.yaml: "
        "stat none.yaml: no such file or directory\n",
    )
    write(dapr, "apps: []")
    empty = dapr.call("run", "-f", ".")
    assert (empty.exit_code(), empty.errors()) == (1, "❌  No apps to run\n")
    write(dapr, "apps: 1")
    broken = dapr.call("run", "-f", ".")
    assert broken.exit_code() == 1
    assert "Error getting apps from config file: error in parsing" in broken.errors()
    stopped = dapr.call("stop", "-f", ".")
    assert (stopped.exit_code(), stopped.errors()) == (
        0,
        f'❌  Failed to stop Dapr and app processes: couldn\'t find apps with run file "{dapr.directory}/dapr.yaml"\n',
    )
