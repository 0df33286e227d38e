"""`dapr run`: from start to exit code."""

import os
import pty
import re
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr, Run

Script = Callable[[str], list[str]]


def ports_of(run: "Run") -> list[str]:
    found = re.search(r"HTTP Port: (\d+)\. gRPC Port: (\d+)", run.output())
    assert found
    return list(found.groups())


def test_ends_with_zero_when_the_app_does(dapr: "Dapr") -> None:
    run = dapr.call("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "echo out; echo err >&2")

    assert run.exit_code() == 0
    assert f"ℹ️  Starting Dapr with id {dapr.app_id('a')}. HTTP Port: " in run.output()  # noqa: RUF001
    assert "\nout\n" in run.output()
    assert "✅  You're up and running! Both Dapr and your app logs will appear here.\n\n" in run.output()
    assert "err\n" in run.errors()
    assert "✅  Exited Dapr successfully\n✅  Exited App successfully\n" in run.output()
    dapr.await_nothing_left()


def test_fails_when_the_app_fails(dapr: "Dapr") -> None:
    run = dapr.call("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "printf unfinished; exit 3")

    assert run.exit_code() == 1
    assert "\nunfinished" in run.output()
    assert "❌  The App process exited with error code: 3\n" in run.errors()
    assert "❌  Error exiting App: app exited with status 3\n" in run.errors()


def test_finds_no_such_command(dapr: "Dapr") -> None:
    run = dapr.call("run", "--app-id", dapr.app_id("a"), "no-such-command")

    assert run.exit_code() == 1
    assert (
        'Failed to find command no-such-command: exec: "no-such-command": executable file not found in $PATH'
        in run.errors()
    )


def test_takes_the_command_without_dashes(dapr: "Dapr") -> None:
    run = dapr.call("run", "--app-id", dapr.app_id("a"), "echo", "plain")

    assert run.exit_code() == 0
    assert "\nplain\n" in run.output()


def test_tells_the_app_where_its_sidecar_is(dapr: "Dapr") -> None:
    run = dapr.call("run", "-a", dapr.app_id("a"), "-P", "grpc", "--", "env")

    told = set(run.output().splitlines())
    http, grpc = ports_of(run)
    assert {
        f"APP_ID={dapr.app_id('a')}",
        "APP_CHANNEL_ADDRESS=127.0.0.1",
        "APP_PROTOCOL=grpc",
        f"DAPR_HTTP_PORT={http}",
        f"DAPR_GRPC_PORT={grpc}",
        "PYTHONUNBUFFERED=1",
    } <= told


def test_stops_both_at_ctrl_c(dapr: "Dapr", script: Script) -> None:
    app = script("import time; print('started'); time.sleep(600)")
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", *app)
    run.await_up()
    run.await_output("started\n")

    run.interrupt()

    assert run.exit_code() == 0
    assert "terminated signal received: shutting down" in run.output()
    assert "✅  Exited Dapr successfully\n✅  Exited App successfully\n" in run.output()
    dapr.await_nothing_left()


def test_stops_at_ctrl_c_while_the_sidecar_waits_for_the_app(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--app-port", "1", "--", "sleep", "600")
    run.await_output("Starting Dapr")

    run.interrupt()

    run.exit_code()
    dapr.await_nothing_left()


def test_second_ctrl_c_kills_what_does_not_end(dapr: "Dapr", script: Script) -> None:
    stubborn = script(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('no'))\n"
        "print('started')\n"
        "while True: time.sleep(1)"
    )
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", *stubborn)
    run.await_output("started\n")
    run.interrupt()
    run.await_output("no\n")

    run.interrupt()

    run.process.wait(4)
    dapr.await_nothing_left()


def test_leaves_nothing_behind_when_its_watchdog_is_killed_too(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sleep", "600")
    run.await_up()

    for pid in dapr.processes():
        if b"watchdog.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    run.process.kill()

    dapr.await_nothing_left()


def test_kills_a_stubborn_app_when_killed_itself(dapr: "Dapr") -> None:
    stubborn = "trap '' TERM; echo up; while true; do sleep 1; done"
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", stubborn)
    run.await_output("up\n")

    run.process.kill()

    dapr.await_nothing_left()


def test_ends_grandchildren_too(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "sleep 600 & sleep 600 & echo up; wait")
    run.await_output("up\n")

    run.process.send_signal(signal.SIGTERM)

    assert run.exit_code() == 0
    dapr.await_nothing_left()


def test_leaves_nothing_behind_when_killed(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "sleep 600 & echo up; wait")
    run.await_up()
    run.await_output("up\n")

    run.process.kill()

    dapr.await_nothing_left()


def test_leaves_nothing_behind_when_killed_at_once(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sleep", "600")
    run.await_output("Starting Dapr")

    run.process.kill()

    dapr.await_nothing_left()


def test_ends_the_app_when_the_sidecar_dies(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "sleep 600 & wait")
    run.await_up()
    os.kill(sidecar_pid(dapr, dapr.app_id("a")), signal.SIGKILL)

    assert run.exit_code() == 1
    assert "The daprd process exited with error code: signal: killed" in run.errors()
    assert "✅  Exited App successfully" in run.output()
    dapr.await_nothing_left()


def test_ends_the_sidecar_when_the_app_dies(dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sh", "-c", "kill -9 $$")

    assert run.exit_code() == 1
    assert "The App process was terminated by signal: killed" in run.errors()
    dapr.await_nothing_left()


def sidecar_pid(dapr: "Dapr", app_id: str) -> int:
    import json

    listed = json.loads(dapr.call("list", "--output", "json").output())
    return next(int(row["daprdPid"]) for row in listed if row["appId"] == app_id)


def test_runs_started_together_get_ports_of_their_own(dapr: "Dapr") -> None:
    runs = [dapr.start("run", "--app-id", dapr.app_id(name), "--", "sleep", "600") for name in "abcd"]
    for run in runs:
        run.await_up()

    assert len({port for run in runs for port in ports_of(run)}) == 8


def test_several_instances_of_one_app_run_beside_each_other(dapr: "Dapr") -> None:
    runs = [dapr.start("run", "--app-id", dapr.app_id("a")) for _ in range(2)]
    for run in runs:
        run.await_up()

    assert len({port for run in runs for port in ports_of(run)}) == 4


def test_refuses_a_port_in_use(dapr: "Dapr") -> None:
    first = dapr.start("run", "--app-id", dapr.app_id("a"))
    first.await_up()
    port = ports_of(first)[0]

    second = dapr.call("run", "--app-id", dapr.app_id("b"), "--dapr-http-port", port)

    assert second.exit_code() == 1
    assert f"invalid configuration for HTTPPort. Port {port} is not available" in second.errors()


def test_gives_its_input_to_the_app(dapr: "Dapr") -> None:
    run = dapr.call("run", "--app-id", dapr.app_id("a"), "--", "cat", typed=b"typed")

    assert "\ntyped" in run.output()
    assert run.exit_code() == 0


def test_lends_the_terminal_to_an_app_that_reads_from_it(dapr: "Dapr", script: Script) -> None:
    app = script("print('got ' + input('your' + ' name? ')); import time; time.sleep(600)")
    pid, terminal = pty.fork()
    if not pid:
        program = [
            sys.executable,
            "-m",
            "pydapr",
            "dapr",
            *dapr.flags,
            "run",
            "-a",
            dapr.app_id("a"),
            "--",
            *app,
        ]
        os.execve(sys.executable, program, dapr.environment)
    shown = _Screen(terminal)
    shown.await_text(b"your name? ")
    os.write(terminal, b"ada\n")
    shown.await_text(b"got ada")

    os.write(terminal, b"\x03")

    shown.await_text(b"Exited App successfully")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    dapr.await_nothing_left()


class _Screen:
    """What a terminal shows."""

    def __init__(self, terminal: int) -> None:
        self._terminal, self._shown = terminal, b""

    def await_text(self, text: bytes) -> None:
        while text not in self._shown:
            assert select.select([self._terminal], [], [], 30)[0], self._shown
            self._shown += os.read(self._terminal, 65536)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_stops_at_other_signals(name: str, dapr: "Dapr") -> None:
    run = dapr.start("run", "--app-id", dapr.app_id("a"), "--", "sleep", "600")
    run.await_up()

    run.process.send_signal(getattr(signal, name))

    assert run.exit_code() == 0
    dapr.await_nothing_left()


def test_uses_unix_sockets(dapr: "Dapr") -> None:
    sockets = dapr.directory / "s"
    sockets.mkdir()
    run = dapr.start("run", "-a", dapr.app_id("a"), "-u", str(sockets), "--", "sleep", "600")
    run.await_up()

    path = sockets / f"dapr-{dapr.app_id('a')}-http.socket"
    assert f"Checking if Dapr sidecar is listening on HTTP socket {path}" in run.output()
    assert str(run.process.pid) in dapr.call("list").output()
    run.interrupt()
    assert run.exit_code() == 0
    assert not path.exists()
