"""(b, f) One of several instances is killed or stands still: calls go to those that are left."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration import harness
from tests.integration.faults.conftest import Ask, Load, over_grpc, over_http
from tests.integration.grpc_app import DAPR, GrpcApp, invocation
from tests.integration.harness import Sidecar, World

MakeLoad = Callable[[Ask], Load]
Channel = Callable[[Sidecar], Any]


@pytest.mark.parametrize("way", ["proxy", "invoke"])
def test_calls_over_grpc_go_to_the_instances_left(world: World, load: MakeLoad, channel: Channel, way: str) -> None:
    apps = [GrpcApp() for _ in range(3)]
    callees = [world.daprd("callee", app.port, "--app-protocol", "grpc") for app in apps]
    for callee in callees:
        callee.await_ready()
    caller, app_id = world.sidecar("caller"), world.app_id("callee")
    method, data = ("/my.Service/Unary", b"x") if way == "proxy" else (DAPR + "InvokeService", invocation(app_id, "m"))
    ask = over_grpc(channel(caller), method, data, app_id)
    harness.eventually(lambda: not ask() and all(app.seen for app in apps), "all are known")
    running = load(ask)
    running.more(100)

    callees[0].kill()
    running.more(300)
    killed = len(running.calls)
    running.more(100)
    running.stop()
    for app in apps:
        app.close()

    assert len(running.errors) <= 4  # one for each thread of the load
    assert not [error for error in running.errors if not error.startswith(("UNAVAILABLE", "INTERNAL"))]
    assert not [error for _, _, error in running.calls[killed:] if error]


def test_an_instance_that_stands_still_is_left_out_until_it_answers(world: World, load: MakeLoad) -> None:
    apps = [world.app() for _ in range(3)]
    callees = [world.daprd("callee", app) for app in apps]
    for callee in callees:
        callee.await_ready()
    caller = world.sidecar("caller")
    ask = over_http(caller, world.app_id("callee"))
    harness.eventually(lambda: not ask() and all(app.seen for app in apps), "all are known")
    running = load(ask)
    running.more(50)

    callees[0].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    # Each thread is held up until the instance has given no sign of life; none of them twice.
    harness.eventually(lambda: sum(call[1] - call[0] > 2 for call in list(running.calls)) >= 4, "given up", 40)
    given_up = time.monotonic()
    running.more(200)
    held_up = [call for call in running.begun_since(given_up) if call[1] - call[0] > 4]
    callees[0].send_signal(signal.SIGCONT)
    asked = len(apps[0].seen)
    harness.eventually(lambda: len(apps[0].seen) > asked + 5, "it has its share again")
    running.stop()

    assert running.errors == []
    assert held_up == []
    assert given_up - stopped < 35


def test_a_call_to_one_that_stands_still_keeps_its_deadline(world: World, channel: Channel) -> None:
    app = GrpcApp()
    callee, caller = world.sidecar("callee", app.port, "--app-protocol", "grpc"), world.sidecar("caller")
    ask = over_grpc(channel(caller), "/my.Service/Unary", b"x", callee.app_id)
    harness.eventually(lambda: not ask(), "calls succeed")

    callee.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    late = [over_grpc(channel(caller), "/my.Service/Unary", b"x", callee.app_id, 1.0)() for _ in range(3)]
    took = time.monotonic() - began
    callee.send_signal(signal.SIGCONT)
    harness.eventually(lambda: not ask(), "calls succeed again")
    app.close()

    assert [text.partition(" ")[0] for text in late] == ["DEADLINE_EXCEEDED"] * 3
    assert took < 20
