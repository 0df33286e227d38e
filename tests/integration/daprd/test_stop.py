"""How a sidecar ends: signals, the shutdown API, and calls that are under way."""

import signal
import threading

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import OK, App, Broken, Message, Wire


class Held:
    """An app whose answer to `/slow` waits until it is let go."""

    def __init__(self, world: World) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.healthy = True
        self.app: App = world.app(self.handle)

    def handle(self, wire: Wire, request: Message) -> None:
        b"".join(wire.pieces())
        if request.target == "/slow":
            self.asked.set()
            self.go.wait(20)
        wire.send(OK if self.healthy or request.target != "/healthz" else http_wire.answer("503 No"))


def slow_call(sidecar: Sidecar, app_id: str) -> Wire:
    wire = sidecar.connect()
    wire.send(http_wire.request("POST", f"/v1.0/invoke/{app_id}/method/slow", (), b"x"))
    return wire


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "interrupt"), (signal.SIGTERM, "terminated")])
def test_signal_ends_it_well(world: World, number: signal.Signals, name: str) -> None:
    sidecar = world.sidecar("app", world.app())

    assert sidecar.stop(number) == 0

    messages = iter(sidecar.messages())
    for expected in (
        f"Received signal '{name}'; beginning shutdown",
        "Dapr is shutting down",
        "Dapr runtime stopped",
        "Daprd shutdown gracefully",
    ):
        assert any(message == expected for message in messages), expected


def test_second_signal_ends_it_at_once(world: World) -> None:
    held = Held(world)
    sidecar = world.sidecar("app", held.app)
    slow_call(sidecar, sidecar.app_id)
    assert held.asked.wait(10)
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("beginning shutdown")

    assert sidecar.stop() == 1

    assert "Received signal 'terminated' during shutdown; exiting immediately" in sidecar.log
    held.go.set()


def test_shutdown_api(world: World) -> None:
    sidecar = world.sidecar("app", world.app())

    assert sidecar.call("POST", "/v1.0/shutdown").status == 204

    assert sidecar.exit_code() == 0
    assert "Shutdown requested via API" in sidecar.messages()
    assert "Daprd shutdown gracefully" in sidecar.messages()


def test_shutdown_api_by_force(world: World) -> None:
    held = Held(world)
    sidecar = world.sidecar("app", held.app)
    slow_call(sidecar, sidecar.app_id)
    assert held.asked.wait(10)

    assert sidecar.call("POST", "/v1.0/shutdown", "dapr-force-shutdown: true").status == 204

    assert sidecar.exit_code() == 1
    assert "Force shutdown requested, exiting immediately without graceful shutdown" in sidecar.messages()
    held.go.set()


@pytest.mark.parametrize("is_remote", [False, True])
def test_call_under_way_finishes(world: World, is_remote: bool) -> None:
    held = Held(world)
    callee = world.sidecar("callee", held.app)
    caller = world.sidecar("caller") if is_remote else callee
    wire = slow_call(caller, callee.app_id)
    assert held.asked.wait(10)
    callee.send_signal(signal.SIGTERM)
    callee.await_log("Dapr is shutting down")

    held.go.set()

    assert wire.message().status == 200
    assert callee.exit_code() == 0


def test_caller_finishes_its_own_call(world: World) -> None:
    held = Held(world)
    callee, caller = world.sidecar("callee", held.app), world.sidecar("caller")
    wire = slow_call(caller, callee.app_id)
    assert held.asked.wait(10)
    caller.send_signal(signal.SIGTERM)
    caller.await_log("Dapr is shutting down")

    held.go.set()

    assert wire.message().status == 200
    assert caller.exit_code() == 0


def test_time_for_it_has_an_end(world: World) -> None:
    held = Held(world)
    sidecar = world.sidecar("app", held.app, "--dapr-graceful-shutdown-seconds", "1")
    wire = slow_call(sidecar, sidecar.app_id)
    assert held.asked.wait(10)

    assert sidecar.stop() == 1

    assert sidecar.messages()[-1] == "Graceful shutdown timeout exceeded, forcing shutdown"
    with pytest.raises((Broken, ConnectionError)):
        wire.message()
    held.go.set()


PROBES = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")


def test_end_is_put_off_until_the_app_is_unhealthy(world: World) -> None:
    held = Held(world)
    sidecar = world.sidecar("app", held.app, "--dapr-block-shutdown-duration", "180s", *PROBES)
    sidecar.await_log("App entered healthy status")
    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Blocking graceful shutdown for 3m0s or until app reports unhealthy...")

    assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200
    held.healthy = False

    assert sidecar.exit_code() == 0
    assert "App reported unhealthy, entering shutdown..." in sidecar.messages()


def test_end_is_put_off_for_a_while(world: World) -> None:
    sidecar = world.sidecar("app", Held(world).app, "--dapr-block-shutdown-duration", "500ms", *PROBES)
    sidecar.await_log("App entered healthy status")

    assert sidecar.stop() == 0

    assert "Block shutdown period expired, entering shutdown..." in sidecar.messages()


def test_hangup_starts_anew_in_the_same_process(world: World) -> None:
    app = world.app()
    sidecar = world.sidecar("app", app)
    old = sidecar.connect()
    sidecar.send_signal(signal.SIGHUP)
    harness.eventually(
        lambda: sidecar.log.count("dapr initialized. Status: Running.") == 2, "the sidecar is ready again", 40
    )

    assert "Received signal 'hangup'; restarting" in sidecar.messages()
    assert sidecar.log.count("Starting Dapr Runtime") == 1
    assert old.is_closed()
    assert sidecar.await_ready().call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200
    assert sidecar.stop() == 0


STORE = """apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: st}
spec: {type: state.in-memory, version: v1}
"""


def test_components_are_named_when_they_are_closed(world: World) -> None:
    world.write("resources/st.yaml", STORE)
    sidecar = world.sidecar("app", None, "--resources-path", str(world.folder / "resources"))
    assert sidecar.stop() == 0
    ended = sidecar.messages()[sidecar.messages().index("Dapr is shutting down") :]
    wanted = ["Shutting down component st (state.in-memory/v1)", "Dapr runtime stopped"]
    assert [line for line in ended if line in wanted] == wanted
