"""Input bindings: which the app takes, how events come to it, and what becomes of its answers."""

import signal
import threading
from collections.abc import Callable

import grpc
import pytest
from tests.integration.bindings.conftest import Resources, RpcApp, component
from tests.integration.collector import Collector
from tests.integration.harness import World, eventually
from tests.integration.http_wire import App, Message, Wire, answer
from tests.integration.tracing.conftest import otlp

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2

CLIENT = 3
FAST = {"schedule": "@every 50ms"}
RPC = ("--app-protocol", "grpc")

RETRIES = """apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: tries}
spec:
  policies: {retries: {again: {duration: 1ms, maxRetries: 2}}}
  targets: {components: {tick: {inbound: {retry: again}}}}
"""


def by_verb(options: str, post: str = "200 OK", body: bytes = b"") -> Callable[[Wire, Message], None]:
    def handler(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        wire.send(answer(options if request.verb == "OPTIONS" else post, body=body))

    return handler


def posts(app: App) -> list[Message]:
    return [one for one in list(app.seen) if one.verb == "POST"]


def test_an_app_is_asked_at_the_route_and_called_there(world: World, resources: Resources) -> None:
    app = world.app(by_verb("204 No Content"))
    flags = resources(component("tick", "bindings.cron", **FAST, route="/on/tick?a=b"))

    world.daprd("in", app, *flags, environment={"APP_API_TOKEN": "secret"}).await_ready()

    eventually(lambda: posts(app), "an event")
    assert (app.seen[0].verb, app.seen[0].target) == ("OPTIONS", "/on/tick?a=b")
    event = posts(app)[0]
    assert (event.target, event.body) == ("/on/tick?a=b", b"")
    assert event.get("content-type") == "application/json" and event.get("timezone") == "Local"
    assert event.get("dapr-api-token") == "secret"
    assert event.get("traceparent")


@pytest.mark.parametrize(
    ("status", "is_taken"), [("200 OK", True), ("405 No", True), ("404 No", False), ("500 No", False)]
)
def test_what_the_app_says_of_a_binding(world: World, resources: Resources, status: str, is_taken: bool) -> None:
    app = world.app(by_verb(status))

    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST)))

    if is_taken:
        eventually(lambda: posts(app), "an event")
    else:
        assert "app has not subscribed to binding tick." in sidecar.messages()
        assert not posts(app)


def test_an_app_that_takes_too_long_to_say_is_not_called(world: World, resources: Resources) -> None:
    is_over = threading.Event()

    def handler(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        is_over.wait(10)
        wire.send(answer())

    app = world.app(handler)
    flags = ("--app-binding-options-timeout", "100ms")

    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST)), *flags)

    sidecar.await_log("failed to read from bindings: could not invoke OPTIONS method on input binding subscription")
    is_over.set()
    assert not posts(app)


def test_a_binding_whose_resource_says_so_is_not_asked_for(world: World, resources: Resources) -> None:
    app = world.app(by_verb("404 Not Found"))

    world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST, direction="Output, INPUT")))

    eventually(lambda: posts(app), "an event")
    assert all(one.verb == "POST" for one in app.seen)


def test_one_that_is_only_for_output_is_not_read(world: World, resources: Resources) -> None:
    app = world.app(by_verb("200 OK"))

    world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST, direction="output")))

    assert not app.seen


def test_policies_hold_for_events(world: World, resources: Resources) -> None:
    app = world.app(by_verb("200 OK", "503 Not Now"))

    world.write("resources/resiliency.yaml", RETRIES)
    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", schedule="@every 300ms")))

    eventually(lambda: len(posts(app)) >= 3, "tries")
    sidecar.await_log("Error processing operation component[tick] input. Retrying in 1ms")


def test_events_are_counted(world: World, resources: Resources) -> None:
    app = world.app(by_verb("200 OK"))
    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST)))

    def lines() -> list[str]:
        page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        return [one for one in page.splitlines() if one.startswith("dapr_component_input_binding_count{")]

    eventually(lambda: any('component="tick"' in one and 'success="true"' in one for one in lines()), "the metric")
    assert not any("operation=" in one for one in lines())


@pytest.mark.parametrize("status", ["200 OK", "503 Not Now"])
def test_an_event_has_a_span(world: World, resources: Resources, collector: Collector, status: str) -> None:
    app = world.app(by_verb("200 OK", status))
    flags = (*resources(component("tick", "bindings.cron", **FAST)), *otlp(world, collector))
    world.daprd("in", app, *flags, environment={"OTEL_BSP_SCHEDULE_DELAY": "10"}).await_ready()

    eventually(lambda: collector.named("bindings/tick", CLIENT), "the span")

    span = collector.named("bindings/tick", CLIENT)[0]
    assert span.attributes == {
        "db.name": "tick", "rpc.service": "Dapr", "db.system": "bindings", "db.connection_string": "POST /tick",
    }  # fmt: skip
    wanted = (0, "") if status == "200 OK" else (2, "Code(503): Service Unavailable")
    assert (span.code, span.message) == wanted
    assert posts(app)[0].get("traceparent") == f"00-{span.trace}-{span.id}-01"


def test_an_event_under_way_ends_before_the_sidecar_does(world: World, resources: Resources) -> None:
    may_end = threading.Event()
    answered: list[bool] = []

    def handler(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        if request.verb == "POST":
            may_end.wait(10)
        wire.send(answer())
        answered.extend([True] if request.verb == "POST" else [])

    app = world.app(handler)
    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", schedule="@every 1s")))
    eventually(lambda: posts(app), "an event")

    sidecar.send_signal(signal.SIGTERM)
    sidecar.await_log("Dapr is shutting down")
    assert sidecar.process.poll() is None
    may_end.set()

    assert sidecar.exit_code() == 0
    assert len(answered) == 1


def test_an_unhealthy_app_gets_no_events(world: World, resources: Resources) -> None:
    is_healthy = threading.Event()
    is_healthy.set()

    def handler(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        is_bad = request.target == "/healthz" and not is_healthy.is_set()
        wire.send(answer("500 No" if is_bad else "200 OK"))

    app = world.app(handler)
    flags = (
        "--enable-app-health-check", "--app-health-check-path", "/healthz", "--app-health-probe-interval", "1",
        "--app-health-threshold", "1",
    )  # fmt: skip
    sidecar = world.sidecar("in", app, *resources(component("tick", "bindings.cron", **FAST)), *flags)
    eventually(lambda: posts(app), "an event")

    is_healthy.clear()
    sidecar.await_log("App entered un-healthy status")
    eventually(lambda: _quiet(app), "quiet")
    is_healthy.set()

    count = len(posts(app))
    eventually(lambda: len(posts(app)) > count, "events again")


def _quiet(app: App) -> bool:
    count = len(posts(app))
    threading.Event().wait(0.3)
    return len(posts(app)) == count


def test_grpc_an_app_lists_what_it_takes(world: World, resources: Resources, rpc_app: RpcApp) -> None:
    listed = appcallback_pb2.ListInputBindingsResponse(bindings=["tick"])
    rpc_app.answers = {
        "ListInputBindings": lambda data: listed.SerializeToString(),
        "OnBindingEvent": lambda data: b"",
    }
    text = component("tick", "bindings.cron", **FAST) + component("tock", "bindings.cron", **FAST)

    sidecar = world.sidecar("in", rpc_app.port, *resources(text), *RPC)

    eventually(lambda: rpc_app.given("OnBindingEvent"), "an event")
    event = appcallback_pb2.BindingEventRequest.FromString(rpc_app.given("OnBindingEvent")[0][0])
    assert (event.name, event.data, event.metadata["timeZone"]) == ("tick", b"", "Local")
    assert len(rpc_app.given("ListInputBindings")) == 1
    assert "app has not subscribed to binding tock." in sidecar.messages()


def test_grpc_an_app_without_the_list_takes_none(world: World, resources: Resources, rpc_app: RpcApp) -> None:
    sidecar = world.sidecar("in", rpc_app.port, *resources(component("tick", "bindings.cron", **FAST)), *RPC)

    assert "app has not subscribed to binding tick." in sidecar.messages()


def test_grpc_the_answer_is_passed_on_and_saved(world: World, resources: Resources, rpc_app: RpcApp) -> None:
    reply = appcallback_pb2.BindingEventResponse(
        data=b'{"hello": "files"}',
        to=["files", "nope", "never"],
        store_name="store",
        states=[common_pb2.StateItem(key="k", value=b'"v"')],
    )
    rpc_app.answers = {"OnBindingEvent": lambda data: reply.SerializeToString()}
    folder = world.folder / "files"
    text = component("tick", "bindings.cron", **FAST, direction="input") + component("store", "state.in-memory")
    text += component("files", "bindings.localstorage", rootPath=str(folder))
    sidecar = world.sidecar("in", rpc_app.port, *resources(text), *RPC)

    sidecar.await_log("error executing app response: couldn't find output binding nope")

    assert next(folder.iterdir()).read_bytes() == b'{"hello": "files"}'
    assert sidecar.call("GET", "/v1.0/state/store/k").body == b'"v"'
    assert "never" not in sidecar.log


def test_grpc_a_failed_event_is_a_failure(world: World, resources: Resources, rpc_app: RpcApp) -> None:
    rpc_app.answers = {"OnBindingEvent": grpc.StatusCode.UNAVAILABLE}
    flags = ("--log-level", "debug", *RPC)

    sidecar = world.sidecar(
        "in", rpc_app.port, *resources(component("tick", "bindings.cron", **FAST, direction="input")), *flags
    )

    sidecar.await_log("error invoking app: rpc error: code = Unavailable desc = not here")


def test_grpc_an_event_counts_as_a_call_of_the_api_too(world: World, resources: Resources, rpc_app: RpcApp) -> None:
    """As with the original."""
    rpc_app.answers = {"OnBindingEvent": grpc.StatusCode.ABORTED}
    text = component("tick", "bindings.cron", **FAST, direction="input")
    sidecar = world.sidecar("in", rpc_app.port, *resources(text), *RPC)
    method = 'grpc_server_method="/dapr.proto.runtime.v1.AppCallback/OnBindingEvent"'

    def page() -> str:
        return sidecar.call("GET", "/", port=sidecar.metrics).body.decode()

    labels = f'app_id="{sidecar.app_id}",{method}'
    eventually(
        lambda: f'dapr_grpc_io_server_completed_rpcs{{{labels},grpc_server_status="Aborted"}}' in page(), "the metric"
    )
    assert f"dapr_grpc_io_server_received_bytes_per_rpc_count{{{labels}}}" in page()


def test_a_schedule_that_is_none_ends_the_start(world: World, resources: Resources) -> None:
    sidecar = world.daprd("in", None, *resources(component("tick", "bindings.cron", schedule="now and then")))

    assert sidecar.exit_code() == 1
    assert "invalid schedule format 'now and then': expected 5 to 6 fields, found 3: [now and then]" in sidecar.log


def test_a_type_that_is_not_built_is_named_with_the_way_to_have_it(world: World, resources: Resources) -> None:
    sidecar = world.daprd("in", None, *resources(component("b", "bindings.zeebe.command")))

    assert sidecar.exit_code() == 1
    about = "b (bindings.zeebe.command/v1)"
    assert (
        "Fatal error from runtime: process component b error: [INIT_COMPONENT_FAILURE]: initialization error occurred "
        f"for {about}: couldn't find binding {about}; it is not built into this runtime; run it as a pluggable "
        "component (gRPC over a Unix socket in DAPR_COMPONENTS_SOCKETS_FOLDER, default /tmp/dapr-components-sockets)"
    ) in sidecar.messages()
