"""The configuration API of a sidecar over HTTP and gRPC, and changes that come from elsewhere."""

import contextlib
import json
import queue
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World, eventually
from tests.integration.http_wire import App, Message, Wire

from pydapr.proto.dapr.proto.runtime.v1 import configuration_pb2 as pb

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: store}}
spec:
  type: configuration.sqlite
  version: v1
  metadata: [{{name: connectionString, value: "{path}"}}]
"""

POLICIES = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: policies}
spec:
  policies: {retries: {again: {policy: constant, duration: 10ms, maxRetries: 1000}}}
  targets: {components: {store: {inbound: {retry: again}}}}
"""

LIMIT = 10.0


class Table:
    """The store as any program sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, sql: str, *given: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            db.execute(sql, given)

    def put(self, key: str, value: str) -> None:
        self.run(
            "INSERT INTO configuration (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )


class Told:
    """An app that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.answer = "200 OK"

    def __call__(self, wire: Wire, request: Message) -> None:
        body = b"".join(wire.pieces())
        if request.target.startswith("/configuration/"):
            assert (request.verb, request.get("content-type")) == ("POST", "application/json")
            self.calls.put((request.target, json.loads(body)))
        wire.send(http_wire.answer(self.answer, body=b""))

    def next(self) -> tuple[str, Any]:
        return self.calls.get(timeout=LIMIT)


@pytest.fixture
def table(world: World) -> Table:
    made = Table(world.folder / "configuration.db")
    world.write("resources/store.yaml", COMPONENT.format(path=made.path))
    return made


def sidecar_of(world: World, app: App | None = None, name: str = "config") -> Sidecar:
    return world.daprd(name, app, "--resources-path", str(world.folder / "resources")).await_ready()


@pytest.fixture
def channel(world: World) -> Iterator[Any]:
    opened: list[Any] = []

    def make(sidecar: Sidecar) -> Any:
        opened.append(grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def get(sidecar: Sidecar, path: str) -> tuple[int, Any]:
    reply = sidecar.call("GET", path)
    return reply.status, json.loads(reply.body) if reply.body else None


def stream(made: Any, store: str = "store", *keys: str, name: str = "SubscribeConfiguration") -> Any:
    request = pb.SubscribeConfigurationRequest(store_name=store, keys=keys)
    method = made.unary_stream(DAPR + name, None, pb.SubscribeConfigurationResponse.FromString)
    return method(request.SerializeToString(), timeout=60)


def test_items_are_read(world: World, table: Table) -> None:
    sidecar = sidecar_of(world)
    assert sidecar.call("GET", "/v1.0/configuration/store").status == 204
    table.put("a", "1 <&>")
    table.put("ü", "")
    table.run('UPDATE configuration SET metadata = \'{"by": "me", "n": 1}\' WHERE key = \'a\'')
    table.put("b", "2")
    table.put("b", "3")

    a = {"value": "1 <&>", "version": "1", "metadata": {"by": "me", "n": "1"}}
    b = {"value": "3", "version": "2"}
    for prefix in ("/v1.0", "/v1.0-alpha1"):
        assert get(sidecar, f"{prefix}/configuration/store") == (200, {"a": a, "b": b, "ü": {"version": "1"}})
        assert get(sidecar, f"{prefix}/configuration/store?key=b&key=no&metadata.x=y") == (200, {"b": b})
    assert get(sidecar, "/v1.0/configuration/store?key=no") == (204, None)
    raw = sidecar.call("GET", "/v1.0/configuration/store?key=a").body
    assert raw.startswith(b'{"a":{"value":"1 \\u003c\\u0026\\u003e","version":"1","metadata":{"by":"me"')


def test_items_are_read_over_grpc(world: World, table: Table, channel: Any) -> None:
    made = channel(sidecar_of(world))
    table.put("a", "1")
    table.put("b", "2")

    for name in ("GetConfiguration", "GetConfigurationAlpha1"):
        method = made.unary_unary(DAPR + name, None, pb.GetConfigurationResponse.FromString)
        request = pb.GetConfigurationRequest(store_name="store", keys=["b", "no"])
        items = method(request.SerializeToString(), timeout=10).items
        assert {key: (item.value, item.version) for key, item in items.items()} == {"b": ("2", "1")}
        everything = method(pb.GetConfigurationRequest(store_name="store").SerializeToString(), timeout=10)
        assert set(everything.items) == {"a", "b"}


def test_the_app_is_told_of_changes_until_it_unsubscribes(world: World, table: Table) -> None:
    told = Told()
    sidecar = sidecar_of(world, world.app(told))
    table.put("before", "0")

    status, made = get(sidecar, "/v1.0/configuration/store/subscribe?key=a&key=before")
    assert (status, list(made)) == (200, ["id"])
    table.put("other", "x")
    table.put("a", "1")
    assert told.next() == ("/configuration/store/a", {"id": made["id"], "items": {"a": {"value": "1", "version": "1"}}})
    table.put("a", "2")
    assert told.next()[1]["items"] == {"a": {"value": "2", "version": "2"}}
    table.run("UPDATE configuration SET metadata = '{\"k\": \"v\"}' WHERE key = 'a'")
    assert told.next()[1]["items"] == {"a": {"value": "2", "version": "2", "metadata": {"k": "v"}}}
    table.run("DELETE FROM configuration WHERE key = 'a'")
    assert told.next() == ("/configuration/store/a", {"id": made["id"], "items": {"a": {}}})

    everything = get(sidecar, "/v1.0-alpha1/configuration/store/subscribe")[1]
    assert get(sidecar, f"/v1.0/configuration/store/{made['id']}/unsubscribe") == (200, {"ok": True})
    table.put("a", "3")
    assert told.next()[1]["id"] == everything["id"]
    assert told.calls.empty()
    message = (
        f"failed to unsubscribe to configuration request {made['id']}: subscription with id {made['id']} does not exist"
    )
    assert get(sidecar, f"/v1.0/configuration/store/{made['id']}/unsubscribe") == (500, {"message": message})


def test_what_the_app_does_not_take_is_logged_and_later_changes_come(world: World, table: Table) -> None:
    told = Told()
    sidecar = sidecar_of(world, world.app(told))
    get(sidecar, "/v1.0/configuration/store/subscribe")
    told.answer = "500 Internal Server Error"
    table.put("a", "1")
    told.next()
    sidecar.await_log("error sending configuration item to application, status 500")

    told.answer = "200 OK"
    table.put("a", "2")
    assert told.next()[1]["items"]["a"]["value"] == "2"


def test_an_inbound_policy_has_the_app_told_again(world: World, table: Table) -> None:
    world.write("resources/policies.yaml", POLICIES)
    told = Told()
    sidecar = sidecar_of(world, world.app(told))
    get(sidecar, "/v1.0/configuration/store/subscribe")
    told.answer = "500 Internal Server Error"

    table.put("a", "1")

    first, again = told.next(), told.next()
    assert first == again
    told.answer = "200 OK"
    table.put("a", "2")
    while told.next()[1]["items"]["a"]["value"] != "2":
        pass


@pytest.mark.parametrize("suffix", ["", "Alpha1"])
def test_a_stream_has_the_id_first_and_then_changes(world: World, table: Table, channel: Any, suffix: str) -> None:
    made = channel(sidecar_of(world))
    table.put("b", "0")
    changes = stream(made, "store", "b", "a", name=f"SubscribeConfiguration{suffix}")

    first = next(changes)
    assert (bool(first.id), dict(first.items)) == (True, {})
    table.put("a", "1")
    second = next(changes)
    assert (second.id, {key: item.value for key, item in second.items.items()}) == (first.id, {"a": "1"})

    end = made.unary_unary(
        f"{DAPR}UnsubscribeConfiguration{suffix}", None, pb.UnsubscribeConfigurationResponse.FromString
    )
    request = pb.UnsubscribeConfigurationRequest(store_name="store", id=first.id).SerializeToString()
    assert end(request, timeout=10).ok is True
    assert list(changes) == []
    told = end(request, timeout=10)
    text = f"failed to unsubscribe to configuration request {first.id}: subscription does not exist"
    assert (told.ok, told.message) == (False, text)


def test_a_stream_whose_client_goes_has_no_subscription_any_more(world: World, table: Table, channel: Any) -> None:
    sidecar = sidecar_of(world)
    changes = stream(channel(sidecar))
    name = next(changes).id

    changes.cancel()

    eventually(lambda: get(sidecar, f"/v1.0/configuration/store/{name}/unsubscribe")[0] == 500, "it is gone")


def test_a_change_is_seen_soon_by_all_sidecars_of_the_file(world: World, table: Table, channel: Any) -> None:
    streams = [stream(channel(sidecar_of(world, name=name))) for name in ("one", "two")]
    for one in streams:
        next(one)

    seconds = []
    for number in range(5):
        began = time.monotonic()
        table.put("a", str(number))
        assert [next(one).items["a"].value for one in streams] == [str(number)] * 2
        seconds.append(time.monotonic() - began)

    # Usually a tenth of a second; the bound is for a machine that has much else to do.
    assert min(seconds) < 2.0


def test_of_many_changes_the_last_is_told(world: World, table: Table, channel: Any) -> None:
    changes = stream(channel(sidecar_of(world)))
    next(changes)

    for number in range(200):
        table.put("a", str(number))

    seen: list[int] = []
    while not seen or seen[-1] != 199:
        seen.append(int(next(changes).items["a"].value))
    assert seen == sorted(set(seen))


def test_open_streams_do_not_hold_the_end_up(world: World, table: Table, channel: Any) -> None:
    sidecar = sidecar_of(world)
    changes = stream(channel(sidecar))
    next(changes)

    assert sidecar.stop() == 0
    with contextlib.suppress(grpc.RpcError):
        list(changes)
    assert "Graceful shutdown timeout exceeded" not in sidecar.log


@pytest.mark.parametrize("path", ["none", "none/subscribe", "none/x/unsubscribe"])
def test_a_store_that_is_not_there(world: World, table: Table, path: str) -> None:
    told = {"errorCode": "ERR_CONFIGURATION_STORE_NOT_FOUND", "message": "configuration store none not found"}

    assert get(sidecar_of(world), f"/v1.0/configuration/{path}") == (400, told)


def test_errors_over_grpc(world: World, table: Table, channel: Any) -> None:
    made = channel(sidecar_of(world))
    request = pb.GetConfigurationRequest(store_name="none").SerializeToString()

    told = ("INVALID_ARGUMENT", "configuration store none not found")
    assert failure(lambda: made.unary_unary(DAPR + "GetConfiguration")(request, timeout=10)) == told
    assert failure(lambda: list(stream(made, "none"))) == told


def test_a_subscription_without_an_app(world: World, table: Table) -> None:
    message = "app channel is not initialized. cannot subscribe to configuration updates"

    told = {"errorCode": "ERR_APP_CHANNEL_NIL", "message": message}
    assert get(sidecar_of(world), "/v1.0/configuration/store/subscribe") == (500, told)


def test_without_any_store(world: World, channel: Any) -> None:
    sidecar = world.sidecar("bare")

    told = {"errorCode": "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "message": "configuration stores not configured"}
    for path in ("x", "x/subscribe", "x/y/unsubscribe"):
        assert get(sidecar, f"/v1.0/configuration/{path}") == (500, told)
    made = channel(sidecar)
    refused = ("FAILED_PRECONDITION", told["message"])
    assert failure(lambda: made.unary_unary(DAPR + "GetConfiguration")(b"", timeout=10)) == refused
    assert failure(lambda: list(stream(made))) == refused
    method = made.unary_unary(DAPR + "UnsubscribeConfiguration", None, pb.UnsubscribeConfigurationResponse.FromString)
    assert method(pb.UnsubscribeConfigurationRequest(id="z").SerializeToString(), timeout=10).message == (
        "failed to unsubscribe to configuration request z: subscription does not exist"
    )


def test_operations_are_counted(world: World, table: Table) -> None:
    sidecar = sidecar_of(world, world.app(Told()))
    get(sidecar, "/v1.0/configuration/store")
    get(sidecar, "/v1.0/configuration/store/subscribe")
    get(sidecar, "/v1.0/configuration/store/x/unsubscribe")

    told = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    for operation, success in (("get", "true"), ("subscribe", "true"), ("unsubscribe", "false")):
        labels = f'app_id="{sidecar.app_id}",component="store",namespace="",operation="{operation}",success="{success}"'
        assert f"dapr_component_configuration_count{{{labels}}} 1" in told
