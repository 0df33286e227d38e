"""A placement and a scheduler are there for runs of a home, without anything being started by hand."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.cli.conftest import eventually
from tests.integration.faults import actor_app
from tests.integration.harness import free_port

import pydapr
from pydapr.cli import embedded, plane

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr, Run

BOTH = {"placement", "scheduler"}


@pytest.fixture
def dapr(dapr: "Dapr") -> "Dapr":
    if dapr.flags:
        pytest.skip("about our own control plane")
    dapr.with_control_plane()
    return dapr


def start(dapr: "Dapr", name: str) -> "Run":
    return dapr.start("run", "--app-id", dapr.app_id(name), "--", "sleep", "60")


def addresses(dapr: "Dapr") -> set[tuple[str, ...]]:
    """What the sidecars have been given."""
    found = set()
    for pid in dapr.processes():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "daprd" in words:
            found.add(tuple(words[words.index(f"--{name}-host-address") + 1] for name in sorted(BOTH)))
    return found


def await_listening(address: str) -> None:
    host, _, port = address.partition(":")

    def is_there() -> bool:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    eventually(is_there, f"somebody listens at {address}")


def test_runs_share_a_control_plane_that_outlives_them(dapr: "Dapr") -> None:
    first = start(dapr, "a")
    first.await_up()
    second = start(dapr, "b")
    second.await_up()
    [given] = addresses(dapr)
    for address in given:
        await_listening(address)
    before = dapr.control_plane()

    for run in (first, second):
        run.interrupt()
        assert run.exit_code() == 0

    assert set(before) == BOTH
    assert dapr.control_plane() == before
    dapr.await_nothing_left()


def test_runs_that_start_at_once_start_one_pair(dapr: "Dapr") -> None:
    runs = [start(dapr, f"a{number}") for number in range(4)]
    for run in runs:
        run.await_up()

    assert len(addresses(dapr)) == 1
    marks = [Path(f"/proc/{pid}/cmdline").read_text() for pid in _control_plane_processes(dapr)]
    assert len(marks) == 2


def _control_plane_processes(dapr: "Dapr") -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_text().split("\0")
                environment = Path(f"/proc/{name}/environ").read_text()
            except OSError:
                continue
            if BOTH & set(words) and f"HOME={dapr.directory}\0" in environment:
                found.append(int(name))
    return found


@pytest.mark.parametrize("name", sorted(BOTH))
def test_what_was_killed_is_there_again_where_it_was(dapr: "Dapr", name: str) -> None:
    run = start(dapr, "a")
    run.await_up()
    [given] = addresses(dapr)
    address = dict(zip(sorted(BOTH), given, strict=True))[name]
    await_listening(address)
    before = dapr.control_plane()

    os.kill(before[name], signal.SIGKILL)

    eventually(lambda: dapr.control_plane().get(name, before[name]) != before[name], f"{name} runs again")
    await_listening(address)
    assert run.process.poll() is None


def test_it_ends_when_nobody_has_been_connected_for_a_while(dapr: "Dapr") -> None:
    dapr.environment["PYDAPR_IDLE_SECONDS"] = "0.5"

    run = dapr.call("run", "--app-id", dapr.app_id("a"), "--", "true")

    assert run.exit_code() == 0
    eventually(lambda: not dapr.control_plane(), "the control plane ends")


def test_a_run_says_no_to_it(dapr: "Dapr") -> None:
    off = ("--placement-host-address", "", "--scheduler-host-address", "")

    run = dapr.call("run", "--app-id", dapr.app_id("a"), *off, "--", "true")

    assert run.exit_code() == 0
    assert not dapr.control_plane()


def test_init_starts_it_and_uninstall_ends_it(dapr: "Dapr") -> None:
    made = dapr.call("init")
    assert made.exit_code() == 0, made.output() + made.errors()
    assert "✅  Success! Dapr is up and running." in made.output()
    home = dapr.directory / ".dapr"
    assert set(dapr.control_plane()) == BOTH
    assert {path.name for path in home.iterdir()} >= {"bin", "components", "config.yaml"}
    assert os.access(home / "bin" / "daprd", os.X_OK)
    rows = dapr.call("status").output().splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["dapr-placement", "Running"], ["dapr-scheduler", "Running"]]
    assert dapr.call("init").exit_code() == 0, "it may be repeated"

    (home / "components" / "own.txt").touch()
    removed = dapr.call("uninstall")

    assert removed.exit_code() == 0
    assert not dapr.control_plane()
    assert not (home / "bin").exists()
    assert (home / "components" / "own.txt").exists(), "what may be the user's stays"
    assert dapr.call("uninstall", "--all").exit_code() == 0
    assert not home.exists()


def test_a_run_that_goes_on_does_not_start_again_what_was_uninstalled(dapr: "Dapr") -> None:
    for name in BOTH:  # where they were last: the defaults may just have been somebody's outgoing connection
        (dapr.directory / ".dapr" / embedded.FOLDER).mkdir(parents=True, exist_ok=True)
        (dapr.directory / ".dapr" / embedded.FOLDER / f"{name}.port").write_text(str(free_port()))
    run = start(dapr, "a")
    run.await_up()

    removed = dapr.call("uninstall")

    assert removed.exit_code() == 0, removed.errors()
    assert "These apps go on, without actors, reminders and jobs" in removed.output()
    assert not dapr.control_plane()
    time.sleep(2 * plane.LOOK_SECONDS)
    assert not dapr.control_plane()
    second = start(dapr, "b")
    second.await_up()
    assert set(dapr.control_plane()) == BOTH
    assert len(addresses(dapr)) == 1, "the first run has it again, too"


def test_init_ends_what_another_version_has_started(dapr: "Dapr") -> None:
    assert dapr.call("init").exit_code() == 0
    before = dapr.control_plane()
    assert f" {pydapr.DAPR_VERSION} " in dapr.call("status").output()
    for name in BOTH:
        path = dapr.directory / ".dapr" / "embedded" / f"{name}.lock"
        path.write_text(path.read_text().replace(pydapr.__version__, "0.0.7"))
    assert "(pydapr 0.0.7)" in dapr.call("status").output()

    assert dapr.call("init").exit_code() == 0

    assert not set(before.values()) & set(dapr.control_plane().values())
    assert "(pydapr 0.0.7)" not in dapr.call("status").output()


def test_a_run_that_begins_when_it_ends_has_it_nevertheless(dapr: "Dapr") -> None:
    """Nobody was connected for the time allowed just when the next run was told where it is."""
    first = start(dapr, "a")
    first.await_up()
    [given] = addresses(dapr)
    second = start(dapr, "b")
    for pid in dapr.control_plane().values():
        os.kill(pid, signal.SIGTERM)
    first.interrupt()
    second.await_up()

    for address in given:
        await_listening(address)
    assert addresses(dapr) == {given}
    eventually(lambda: set(dapr.control_plane()) == BOTH, "both run again")


def test_all_are_killed_and_the_next_run_has_all_again(dapr: "Dapr") -> None:
    run = start(dapr, "a")
    run.await_up()
    for pid in (run.process.pid, *dapr.control_plane().values(), *dapr.processes()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not dapr.processes(), "all are gone")

    again = start(dapr, "a")
    again.await_up()

    assert set(dapr.control_plane()) == BOTH
    for address in addresses(dapr).pop():
        await_listening(address)


def test_a_slim_init_starts_nothing(dapr: "Dapr") -> None:
    made = dapr.call("init", "--slim")

    assert made.exit_code() == 0
    assert not dapr.control_plane()
    assert list((dapr.directory / ".dapr" / "components").iterdir()) == []


def test_init_leaves_programs_of_the_original_alone(dapr: "Dapr") -> None:
    programs = dapr.directory / ".dapr" / "bin"
    programs.mkdir(parents=True)
    (programs / "daprd").write_text("original")

    made = dapr.call("init")

    assert made.exit_code() == 1
    assert "please run `dapr uninstall` first" in made.errors()
    assert (programs / "daprd").read_text() == "original"


def test_actors_reminders_and_jobs_work_across_runs(dapr: "Dapr") -> None:
    port, turns = free_port(), dapr.directory / "turns"
    app = f"exec {sys.executable} {actor_app.__file__} {port} $DAPR_HTTP_PORT {turns} h"
    host = dapr.start("run", "--app-id", dapr.app_id("host"), "--app-port", str(port), "--", "sh", "-c", app)
    host.await_up()
    caller = start(dapr, "caller")
    caller.await_up()
    actor = f"/v1.0/actors/{actor_app.TYPE}/a"

    assert call(caller, "PUT", f"{actor}/method/increment", {}) == b"1"
    assert call(host, "PUT", f"{actor}/method/increment", {}) == b"2"
    call(host, "POST", f"{actor}/reminders/wake", {"dueTime": "100ms"})
    call(host, "POST", "/v1.0/jobs/nightly", {"dueTime": "100ms"})

    eventually(lambda: "remind a wake " in turns.read_text(), "the reminder comes")
    eventually(lambda: "job nightly " in turns.read_text(), "the job comes")


def call(run: "Run", verb: str, target: str, document: object) -> bytes:
    found = re.search(r"HTTP Port: (\d+)", run.output())
    assert found is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
    with contextlib.closing(connection):
        connection.request(verb, target, json.dumps(document), {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
    assert reply.status in (200, 204), text
    return text


SCHEDULE = """
import json, os, time, urllib.request
base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/jobs/"
def schedule(name, **job):
    request = urllib.request.Request(base + name, json.dumps(job).encode(), {"content-type": "application/json"})
    end = time.monotonic() + 20
    while True:
        try:
            return urllib.request.urlopen(request, timeout=20).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
schedule("soon", dueTime="1h", data="x")
schedule("daily", schedule="@daily", repeats=3)
"""


def test_jobs_are_listed_removed_and_carried_away(dapr: "Dapr", script: Callable[[str], list[str]]) -> None:
    app_id = dapr.app_id("orders")
    run = dapr.call("run", "--app-id", app_id, "--", *script(SCHEDULE))
    assert run.exit_code() == 0, run.output()

    listed = dapr.call("scheduler", "list").output()
    assert re.search(rf"^app/{app_id}/soon +\+(59|60)\.\dm +0", listed, re.MULTILINE), listed
    wide = dapr.call("scheduler", "get", f"app/{app_id}/daily", "-o", "json").output()
    assert '"schedule": "@daily"' in wide
    assert '"repeats": 3' in wide
    assert dapr.call("scheduler", "export", "-o", "jobs.bin").exit_code() == 0
    assert dapr.call("scheduler", "delete", f"app/{app_id}/soon").exit_code() == 0
    assert dapr.call("scheduler", "delete", f"app/{app_id}/soon").exit_code() == 1
    deleted = dapr.call("scheduler", "delete-all", "all")
    assert "Deleted 1 jobs in namespace 'default'." in deleted.output()
    assert 'No jobs found in namespace "default"' in dapr.call("scheduler", "list").errors()
    assert dapr.call("scheduler", "import", "-f", "jobs.bin").exit_code() == 0
    assert f"app/{app_id}/soon" in dapr.call("scheduler", "list").output()
