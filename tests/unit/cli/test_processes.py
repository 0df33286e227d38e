"""Telling sidecars from other processes."""

import os
import time

import pytest

from pydapr.cli import processes


@pytest.mark.parametrize(
    "line",
    [
        "/home/me/.dapr/bin/daprd --app-id x",
        "daprd.exe --app-id x",
        "/venv/bin/python3 /venv/bin/daprd --app-id x",
        "/usr/bin/python3.11 -m pydapr daprd --app-id x",
        "python -P -m pydapr daprd --app-id x",
    ],
)
def test_sidecars_are_recognised(line: str) -> None:
    assert processes.sidecar_arguments(line.split()) == ["--app-id", "x"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "python -m pydapr dapr list",
        "python -m pytest daprd",
        "python app.py daprd --app-id x",
        "python -c daprd",
        "vim daprd",
        "python",
        "/venv/bin/python /venv/bin/dapr run --app-id x -- daprd",
    ],
)
def test_other_programs_are_not(line: str) -> None:
    assert processes.sidecar_arguments(line.split()) is None


def test_a_line_of_ps_is_understood() -> None:
    found = processes.from_ps_line("  123 Mon Jan  2 15:04:05 2006     /opt/daprd --app-id x")

    assert found is not None
    assert (found.pid, found.arguments) == (123, ["/opt/daprd", "--app-id", "x"])
    assert time.localtime(found.started)[:6] == (2006, 1, 2, 15, 4, 5)


@pytest.mark.parametrize("line", ["", "PID STARTED COMMAND", "1 a b c d e daprd"])
def test_other_lines_of_ps_are_left_out(line: str) -> None:
    assert processes.from_ps_line(line) is None


def test_the_start_of_a_process_is_known() -> None:
    moment = processes.started(os.getpid())

    assert moment is not None
    assert 0 <= time.time() + 1 - moment < 86400 * 365
    assert processes.started(2**30) is None
