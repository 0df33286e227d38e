"""Name resolution that a Configuration chooses."""

from pathlib import Path

import pytest
from tests.integration.harness import Sidecar, World

KIND = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"


def start(world: World, name: str, component: str, configuration: str = "{}") -> Sidecar:
    text = f"{KIND}spec: {{nameResolution: {{component: {component}, configuration: {configuration}}}}}\n"
    path = world.write(f"{name}.yaml", text)
    return world.daprd(name, world.app(), "--config", str(path))


def call(caller: Sidecar, callee: Sidecar) -> int:
    return caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/x").status


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"{{connectionString: {tmp_path / 'names.db'}}}"


def test_sidecars_meet_in_a_sqlite_file(world: World, database: str) -> None:
    one, two = start(world, "one", "sqlite", database), start(world, "two", "sqlite", database)

    assert call(one.await_ready(), two.await_ready()) == 200
    assert "Initialized name resolution to sqlite" in one.messages()


def test_sidecar_that_stops_is_gone_from_the_file(world: World, database: str) -> None:
    one, two = start(world, "one", "sqlite", database).await_ready(), start(world, "two", "sqlite", database)
    assert two.await_ready().stop() == 0

    reply = one.call("GET", f"/v1.0/invoke/{two.app_id}/method/x")

    assert reply.status == 500
    assert b"couldn't find service: two" in reply.body


def test_address_is_made_of_the_id(world: World) -> None:
    callee = world.sidecar("callee", world.app())
    form = f'{{format: "127.0.0.1:{callee.internal}{{appid}}"}}'
    refused = start(world, "refused", "nameformat", '{format: "127.0.0.1"}')
    named = start(world, "named", "nameformat", form.replace("{appid}", "").replace("127", "{appid}"))

    refused.await_ready().await_log("format must contain {appid} placeholder")
    assert named.await_ready().call("GET", "/v1.0/invoke/127/method/x").status == 200


@pytest.mark.parametrize(
    ("component", "configuration", "reason"),
    [
        ("sqlite", "{}", "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (sqlite/v1)"),
        ("nothing", "{}", "couldn't find name resolver nothing/v1"),
        ("consul", "{client: {address: 127.0.0.1:1}}", "failed check on consul agent"),
    ],
)
def test_resolver_that_cannot_be_had_does_not_end_the_start(
    world: World, component: str, configuration: str, reason: str
) -> None:
    sidecar = start(world, "one", component, configuration).await_ready()

    reply = sidecar.call("GET", "/v1.0/invoke/other/method/x")

    assert reason in sidecar.log
    assert (reply.status, b"name resolver not initialized" in reply.body) == (500, True)
    assert call(sidecar, sidecar) == 200
