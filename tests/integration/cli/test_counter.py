"""The example with actors does what its page says."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.cli.conftest import eventually
from tests.integration.cli.test_control_plane import call
from tests.integration.harness import free_port

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr

ROOT = Path(__file__).resolve().parents[3]


def test_counters_count_and_are_reminded(dapr: "Dapr") -> None:
    if dapr.flags:
        pytest.skip("about our own control plane")
    dapr.with_control_plane()
    app = [sys.executable, str(ROOT / "examples/counter/app.py")]
    arguments = ("run", "--app-id", dapr.app_id("counter"), "--app-port", str(free_port()), "--", *app)
    run = dapr.start(*arguments)
    run.await_up()
    visits = "/v1.0/actors/Counter/visits/method/"

    assert call(run, "POST", visits + "increment", {}) == b"1"
    assert call(run, "POST", visits + "increment", {}) == b"2"
    call(run, "POST", visits + "start", {})
    eventually(lambda: "visits is 32" in run.output(), "it is reminded three times")
    assert re.findall(r"visits is (\d+)", run.output()) == ["1", "2", "12", "22", "32"]

    run.interrupt()
    assert run.exit_code() == 0
    again = dapr.start(*arguments)
    again.await_up()
    assert call(again, "POST", visits + "increment", {}) == b"33"
