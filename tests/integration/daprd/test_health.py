"""Health of the sidecar, and of its app."""

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import World
from tests.integration.http_wire import OK, Message, Wire


def test_waits_for_the_app_but_can_be_used_before(world: World) -> None:
    port = harness.free_port()
    other = world.sidecar("other", world.app())
    sidecar = world.daprd("app", port).await_outbound()

    reply = sidecar.call("GET", "/v1.0/healthz")
    assert reply.status == 500
    assert reply.body == b'{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [runtime]"}'
    assert sidecar.call("GET", f"/v1.0/invoke/{other.app_id}/method/m").status == 200

    world.app(port=port)
    sidecar.await_ready()
    assert f"application discovered on port {port}" in sidecar.log


def test_stops_at_once_while_it_waits(world: World) -> None:
    sidecar = world.daprd("app", harness.free_port()).await_outbound()

    assert sidecar.stop() == 0


@pytest.mark.parametrize(("query", "status"), [("", 204), ("?appid={}", 204), ("?appid=other", 500)])
def test_health_of_a_certain_app(world: World, query: str, status: int) -> None:
    sidecar = world.sidecar()

    reply = sidecar.call("GET", "/v1.0/healthz" + query.format(sidecar.app_id))

    assert reply.status == status
    if status == 500:
        assert reply.body == b'{"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}'


def test_unhealthy_app_is_not_called(world: World) -> None:
    healthy = [True]

    def handle(wire: Wire, request: Message) -> None:
        b"".join(wire.pieces())
        wire.send(OK if healthy[0] or request.target != "/healthz" else http_wire.answer("503 No"))

    probes = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")
    sidecar = world.sidecar("app", world.app(handle), *probes)
    url = f"/v1.0/invoke/{sidecar.app_id}/method/m"
    sidecar.await_log("App entered healthy status")
    assert sidecar.call("GET", url).status == 200

    healthy[0] = False
    sidecar.await_log("App entered un-healthy status")
    reply = sidecar.call("GET", url)
    assert reply.status == 500
    assert b"app is not in a healthy state" in reply.body

    healthy[0] = True
    harness.eventually(lambda: sidecar.call("GET", url).status == 200, "the app is called again")
