"""(a) The app is killed under load and comes back: no call hangs, all have an error, calls after its return succeed."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.integration import harness
from tests.integration.faults.conftest import AppProcess, Ask, Load, over_grpc, over_http
from tests.integration.grpc_app import DAPR, invocation
from tests.integration.harness import Sidecar, World

Make = Callable[[str], AppProcess]
MakeLoad = Callable[[Ask], Load]
Channel = Callable[[Sidecar], Any]

CHECKED = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")
WAYS = {"http": "http", "proxy": "grpc", "invoke": "grpc"}
"""Way to call → what the app speaks."""


def _ask(way: str, caller: Sidecar, callee: Sidecar, channel: Channel) -> Ask:
    if way == "http":
        return over_http(caller, callee.app_id)
    if way == "proxy":
        return over_grpc(channel(caller), "/my.Service/Unary", b"x", callee.app_id)
    return over_grpc(channel(caller), DAPR + "InvokeService", invocation(callee.app_id, "m"), callee.app_id)


@pytest.mark.parametrize("place", ["own", "remote"])
@pytest.mark.parametrize("way", list(WAYS))
def test_calls_recover_with_the_app(
    world: World, app_process: Make, load: MakeLoad, channel: Channel, way: str, place: str
) -> None:
    app = app_process(WAYS[way])
    app.start()
    callee = world.sidecar("callee", app.port, "--app-protocol", app.kind)
    caller = callee if place == "own" else world.sidecar("caller")
    ask = _ask(way, caller, callee, channel)
    harness.eventually(lambda: not ask(), "calls succeed")
    running = load(ask)
    running.more(100)

    app.kill()
    running.more(50)
    back = app.start()
    running.more(200)
    running.stop()

    assert 0 < len(running.errors) < len(running.calls)
    assert not [error for error in running.errors if error.startswith(("broken", "DEADLINE"))]
    assert not [call for call in running.begun_since(back) if call[2]]


@pytest.mark.parametrize("way", ["http", "invoke"])
def test_calls_recover_with_the_next_good_probe(
    world: World, app_process: Make, load: MakeLoad, channel: Channel, way: str
) -> None:
    app = app_process(WAYS[way])
    app.start()
    callee = world.sidecar("callee", app.port, "--app-protocol", app.kind, *CHECKED)
    ask = _ask(way, world.sidecar("caller"), callee, channel)
    harness.eventually(lambda: not ask(), "calls succeed")
    running = load(ask)
    running.more(100)

    app.kill()
    callee.await_log("App entered un-healthy status")
    harness.eventually(lambda: "not in a healthy state" in running.calls[-1][2], "calls are refused")
    app.start()
    harness.eventually(lambda: not running.calls[-1][2], "calls succeed again")
    count = len(running.calls)
    running.more(100)
    running.stop()

    assert not [error for error in running.errors if error.startswith(("broken", "DEADLINE"))]
    assert not [error for _, _, error in running.calls[count + 8 :] if error]
