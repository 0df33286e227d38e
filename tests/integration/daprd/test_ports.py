"""The ports of a sidecar: what is served where, and what happens when one is taken."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import World


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--dapr-http-port", "failed to start HTTP server: could not listen on any endpoint"),
        ("--dapr-grpc-port", "failed to start API gRPC server: could not listen on any endpoint"),
        ("--metrics-port", "bind: address already in use"),
        ("--dapr-internal-grpc-port", "bind: address already in use"),
    ],
)
def test_taken_port_is_fatal(world: World, flag: str, reason: str) -> None:
    first = world.sidecar("first")
    names = {"http": first.http, "grpc": first.grpc, "metrics": first.metrics, "internal": first.internal}
    taken = next(port for name, port in names.items() if name in flag.replace("internal-grpc", "internal"))

    second = world.daprd("second", None, flag, str(taken))

    assert second.exit_code() == 1
    assert "level=fatal" in second.log
    assert reason in second.log


@pytest.mark.skipif(bool(harness.OTHER), reason="the original has no port of its own choice")
def test_internal_ports_nobody_chose_do_not_collide(world: World) -> None:
    app = world.app()
    for name in ("first", "second"):
        world.daprd(name, app, "--dapr-internal-grpc-port", "0").await_ready()
    first, second = world.sidecars

    assert first.call("GET", f"/v1.0/invoke/{second.app_id}/method/m").status == 200


def test_public_port_has_health_and_metadata_only(world: World) -> None:
    port = harness.free_port()
    sidecar = world.sidecar("app", None, "--dapr-public-port", str(port))

    statuses = {
        f"{verb} {path}": sidecar.call(verb, path, port=port, body=b"x" if verb != "GET" else None).status
        for verb, path in [
            ("GET", "/v1.0/healthz"),
            ("GET", "/v1.0/healthz/outbound"),
            ("GET", "/v1.0/metadata"),
            ("PUT", "/v1.0/metadata/key"),
            ("POST", "/v1.0/healthz"),
            ("POST", "/v1.0/shutdown"),
            ("GET", "/v1.0/invoke/x/method/y"),
            ("GET", "/"),
        ]
    }

    assert list(statuses.values()) == [204, 204, 200, 204, 405, 404, 404, 404]
    assert sidecar.document("GET", "/v1.0/metadata")["extended"]["key"] == "x"


def test_metrics_port_tells_of_the_process(world: World) -> None:
    sidecar = world.sidecar()

    reply = sidecar.call("GET", "/", port=sidecar.metrics)

    assert (reply.get("content-type") or "").startswith("text/plain; version=0.0.4")
    names = {line.split()[0] for line in reply.body.decode().splitlines() if line.startswith("process_")}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"} <= names


def test_metrics_port_can_be_left_out(world: World) -> None:
    sidecar = world.sidecar("app", None, "--enable-metrics=false")

    with pytest.raises(ConnectionRefusedError):
        http_wire.connect(sidecar.metrics)


def test_profile_port(world: World) -> None:
    port = harness.free_port()
    sidecar = world.sidecar("app", None, "--enable-profiling", "--profile-port", str(port))

    assert sidecar.call("GET", "/debug/pprof/", port=port).status == 200
    sidecar.await_log(f"HTTP profiling server listening on: :{port}")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path may have 107 bytes; pytest's folders take most of them."""
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as path:
        yield Path(path)


def test_unix_domain_sockets(world: World, short_folder: Path) -> None:
    folder = short_folder
    sidecar = world.daprd("app", world.app(), "--unix-domain-socket", str(folder))
    sidecar.socket_path = str(folder / f"dapr-{sidecar.app_id}-http.socket")
    grpc_path = folder / f"dapr-{sidecar.app_id}-grpc.socket"
    sidecar.await_ready()

    assert sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/m", body=b"hi").body == b"hi"
    assert "HTTP server listening on UNIX socket: " + sidecar.socket_path in sidecar.log
    http_wire.connect(0, str(grpc_path)).close()
    assert sidecar.stop() == 0
    assert not grpc_path.exists()


@pytest.mark.parametrize("addresses", ["127.0.0.1", "127.0.0.1,::1"])
def test_listen_addresses(world: World, addresses: str) -> None:
    sidecar = world.sidecar("app", None, "--dapr-listen-addresses", addresses)

    assert f"HTTP server listening on TCP address: 127.0.0.1:{sidecar.http}" in sidecar.log


def test_wait_ends_when_the_sidecar_can_be_used(world: World) -> None:
    sidecar = world.daprd("app", 1)

    waiting = subprocess.run(
        [*([harness.OTHER] if harness.OTHER else harness.OURS), "--wait", "--dapr-http-port", str(sidecar.http)],
        env=world.environment,
        capture_output=True,
        timeout=20,
    )

    assert waiting.returncode == 0
    assert b"outbound ready" in waiting.stderr + waiting.stdout
    assert sidecar.status("/v1.0/healthz/outbound") == 204
