"""Middleware that decides on requests: policies (opa), rules (sentinel) and guests (wasm), in both pipelines."""

import json

import pytest
from tests.integration import http_wire
from tests.integration.harness import World
from tests.integration.middleware.test_pipelines import invoke, start
from tests.unit.components.middleware import guests

PIPELINES = ("httpPipeline", "appHttpPipeline")


def described(type_: str, **metadata: object) -> str:
    return f"{type_} {json.dumps([{'name': name, 'value': value} for name, value in metadata.items()])}"


POLICY = """package http
default allow = {"status_code": 401, "additional_headers": {"x-why": "closed"}}
allow { endswith(input.request.path, "/open") }
allow { input.request.path == "/v1.0/healthz" }
allow = {"allow": true, "additional_headers": {"x-who": input.request.body}} {
    endswith(input.request.path, "/asked")
    input.request.headers["X-Token"] == "t"
}
"""


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_policy_decides(world: World, pipeline: str) -> None:
    opa = described("opa", rego=POLICY, includedHeaders="x-token", readBody="true")
    sidecar = start(world, pipeline, {"opa": "opa"}, opa=opa).await_ready()

    assert invoke(sidecar, "open").body == b"hello"
    refused = invoke(sidecar, "closed")
    asked = sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/asked", "X-Token: t", body=b"me")

    assert (refused.status, refused.body, refused.get("x-why")) == (401, b"Unauthorized", "closed")
    assert asked.body == b"me"
    assert world.apps[0].last.get("x-who") == "me"
    assert [one.target for one in world.apps[0].seen] == ["/open", "/asked"]


def test_policy_that_reads_bodies_does_not_read_more_than_the_sidecar_takes(world: World) -> None:
    opa = described("opa", rego="package http\nallow = true", readBody="true")
    sidecar = start(world, "httpPipeline", {"opa": "opa"}, opa=opa).await_ready()

    assert invoke(sidecar, body=b"x" * 4_000_000).status == 200
    # It answers and closes before it has been sent everything.
    wire = sidecar.connect()
    target = f"/v1.0/invoke/{sidecar.app_id}/method/x"
    wire.send_until_answered(http_wire.request("POST", target, body=b"x" * 5_000_000))
    assert wire.message().status == 413
    assert len(world.apps[0].seen) == 1


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_flow_is_limited(world: World, pipeline: str) -> None:
    app_id = world.app_id("app")
    resource = "POST:/limited" if pipeline == "appHttpPipeline" else f"POST:/v1.0/invoke/{app_id}/method/limited"
    rules = json.dumps([{"resource": resource, "threshold": 2, "statIntervalInMs": 600_000}])
    sentinel = described("sentinel", appName="shop", logDir="/nowhere", flowRules=rules)
    sidecar = start(world, pipeline, {"s": "sentinel"}, s=sentinel).await_ready()

    statuses = [invoke(sidecar, "limited").status for _ in range(4)]

    assert statuses == [200, 200, 429, 429]
    assert invoke(sidecar, "other").status == 200
    assert invoke(sidecar, "limited").body == b"Too Many Requests"


def guest(world: World, code: bytes, **metadata: object) -> str:
    file = world.folder / "guest.wasm"
    file.write_bytes(code)
    return described("wasm", url=f"file://{file}", **metadata)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_guest_changes_request_and_answer(world: World, pipeline: str) -> None:
    posted = "(i32.eq (call $get_method (i32.const 9000) (i32.const 9)) (i32.const 4))"
    code = guests.module(
        f"(if {posted} (then"
        "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 8) (i32.const 3))"
        "(drop (call $read_body (i32.const 0) (i32.const 4096) (i32.const 3)))))" + guests.GO_ON,
        f"(if {posted} (then"
        "(local.set $n (i32.wrap_i64 (call $read_body (i32.const 1) (i32.const 4096) (i32.const 60000))))"
        "(call $write_body (i32.const 1) (i32.const 16) (i32.const 1))"
        "(call $write_body (i32.const 1) (i32.const 4096) (local.get $n))"
        "(call $set_status_code (i32.const 202))))",
        start="(drop (call $enable_features (i32.const 3)))",
        texts={0: "x-guest", 8: "yes", 16: ">"},
    )
    sidecar = start(world, pipeline, {"w": "wasm"}, w=guest(world, code)).await_ready()

    reply = invoke(sidecar, "a", b"hello")

    assert (reply.status, reply.body) == (202, b">hello")
    assert world.apps[0].last.get("x-guest") == "yes"
    assert invoke(sidecar, "a", b"y" * 50_000).body == b">" + b"y" * 50_000


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_guest_reads_part_of_a_large_body_and_the_rest_streams_on(world: World, pipeline: str) -> None:
    code = guests.module("(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 10)))" + guests.GO_ON)
    sidecar = start(world, pipeline, {"w": "wasm"}, w=guest(world, code)).await_ready()

    assert invoke(sidecar, body=b"0123456789" + b"x" * 3_000_000).body == b"x" * 3_000_000


def test_guest_that_loops_holds_up_nobody_and_not_the_end(world: World) -> None:
    loops = "(if (i32.eq (call $get_method (i32.const 0) (i32.const 9)) (i32.const 4)) (then (loop $l (br $l))))"
    sidecar = start(world, "httpPipeline", {"w": "wasm"}, w=guest(world, guests.module(loops + guests.GO_ON)))
    sidecar.await_ready()
    wire = sidecar.connect()
    wire.send(http_wire.request("POST", f"/v1.0/invoke/{sidecar.app_id}/method/x"))

    assert sidecar.status(f"/v1.0/invoke/{sidecar.app_id}/method/x") == 200
    assert sidecar.stop() == 1, "with a request that does not end the time for a graceful end is over"
    assert "Graceful shutdown timeout exceeded" in sidecar.log


@pytest.mark.parametrize("type_", ["opa", "wasm"])
def test_library_that_is_missing_is_named(world: World, type_: str) -> None:
    library = {"opa": "regopy", "wasm": "wasmtime"}[type_]
    (world.folder / "hidden").mkdir()
    (world.folder / "hidden" / f"{library}.py").write_text(f"raise ModuleNotFoundError(name={library!r})\n")
    world.environment["PYTHONPATH"] = str(world.folder / "hidden")
    metadata = {"rego": "package http\nallow = true"} if type_ == "opa" else {"url": "file:///x"}
    sidecar = start(world, "httpPipeline", {"x": type_}, x=described(type_, **metadata))

    assert sidecar.exit_code() == 1
    assert f"it needs the library {library}, which is not installed" in sidecar.log
