"""Sidecars with `--enable-mtls`: who gets a certificate, who may call whom, and what a start says and refuses."""

import ssl
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.mtls.conftest import Mesh, invoke, knock
from tests.integration.sentry.authority import Authority
from tests.unit.security import issuing

from pydapr.net import http2_pool
from pydapr.security import spiffe, svid, tls


async def greet(sidecar: Sidecar, connector: http2_pool.Connector) -> None:
    """Connects to the internal port. Raises `http2_pool.Unreachable`."""
    await knock(sidecar.internal, connector)


def test_calls_pass_and_bodies_of_any_size_arrive(mesh: Mesh) -> None:
    callee, caller = mesh.sidecar("callee", mesh.world.app()), mesh.sidecar("caller")
    for size in (0, 1, 1000, 100_000, 3_000_000):
        status, body = invoke(caller, callee, b"x" * size)
        assert status == 200
        assert body.count(b"x" * size) == 1 if size else True
    messages = callee.messages()
    assert any(text.startswith("Starting workload identity expiry watcher") for text in messages)
    assert messages.index("Security is initialized successfully") < messages.index(
        f"Internal gRPC server is running on :{callee.internal}"
    )


async def test_the_port_shows_the_identity_and_lets_only_those_in_who_show_one(mesh: Mesh) -> None:
    callee = mesh.sidecar("callee", mesh.world.app())
    source = await mesh.sentry.source("visitor")
    seen: list[spiffe.Id] = []

    def notes(found: spiffe.Id) -> bool:
        seen.append(found)
        return True

    await greet(callee, tls.connector(source.client_context, notes))
    assert seen == [spiffe.new("public", "default", callee.app_id)]
    with pytest.raises(http2_pool.Unreachable):
        await greet(callee, tls.connector(lambda: tls.client(source.anchors), notes))
    stranger = await issuing.Issuer().source("stranger")
    stranger.go_by(source.anchors)
    with pytest.raises(http2_pool.Unreachable):
        await greet(callee, tls.connector(stranger.client_context, notes))


async def test_a_certificate_without_a_spiffe_id_is_of_no_use(mesh: Mesh) -> None:
    callee = mesh.sidecar("callee", mesh.world.app())
    key = (mesh.sentry.credentials / "issuer.key").read_bytes()
    chain = (mesh.sentry.credentials / "issuer.crt").read_bytes()
    context = tls.client(mesh.sentry.trusted())
    tls.show(context, chain, key)
    with pytest.raises(http2_pool.Unreachable):
        await greet(callee, tls.connector(lambda: context, lambda _: True))


def test_no_clear_text_is_spoken_on_the_internal_port(mesh: Mesh) -> None:
    callee = mesh.sidecar("callee", mesh.world.app())
    caller = mesh.world.sidecar("caller")
    status, body = invoke(caller, callee)
    assert status == 500
    assert b"error reading server preface: EOF" in body


def test_a_callee_without_mtls_is_not_called(mesh: Mesh) -> None:
    callee = mesh.world.sidecar("callee", mesh.world.app())
    caller = mesh.sidecar("caller")
    status, body = invoke(caller, callee)
    assert status == 500
    assert b"tls: first record does not look like a TLS handshake" in body


def test_the_access_list_sees_who_calls(mesh: Mesh) -> None:
    friend = mesh.world.app_id("friend")
    rules = mesh.world.write(
        "rules.yaml",
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: rules\nspec:\n  accessControl:\n"
        f"    defaultAction: deny\n    trustDomain: public\n    policies:\n    - appId: {friend}\n"
        "      defaultAction: allow\n      trustDomain: public\n      namespace: default\n",
    )
    callee = mesh.sidecar("callee", mesh.world.app(), "--config", str(rules))
    assert invoke(mesh.sidecar("friend"), callee)[0] == 200
    status, body = invoke(mesh.sidecar("other"), callee)
    assert status == 403
    assert b"has denied access to id: spiffe://public/ns/default/other-" in body


def test_nothing_listens_before_there_is_an_identity_and_a_late_sentry_is_waited_for(world: World) -> None:
    made = issuing.made()
    port = harness.free_port()
    flags = ("--enable-mtls", "--sentry-address", f"localhost:{port}")
    anchors = made.anchors.decode()
    sidecar = world.daprd("early", None, *flags, environment={"DAPR_TRUST_ANCHORS": anchors})
    sidecar.await_log("Fetching initial identity")
    assert sidecar.status("/v1.0/healthz") == 0
    assert sidecar.stop() == 0


def test_it_is_ready_as_soon_as_sentry_is(mesh: Mesh) -> None:
    mesh.sentry.stop()
    sidecar = mesh.daprd()
    sidecar.await_log("Fetching initial identity")
    assert sidecar.status("/v1.0/healthz") == 0
    again = Authority(mesh.sentry.credentials.parent, port=mesh.sentry.port)
    try:
        sidecar.await_ready()
    finally:
        again.kill()


def test_an_address_without_a_host_is_this_machine(mesh: Mesh) -> None:
    mesh.daprd("app", None, "--sentry-address", f":{mesh.sentry.port}").await_ready()


@pytest.mark.parametrize(
    ("anchors", "flags", "reason"),
    [
        ("", (), "trust anchors are required"),
        ("nonsense", (), "failed to decode trust anchors: no certificates found"),
        ("good", ("--control-plane-trust-domain", "a b"), "invalid control plane trust domain: trust domain"),
        ("good", ("--control-plane-namespace", "a b"), "failed to parse sentry SPIFFE ID: path segment"),
        ("good", ("--sentry-address", ""), "--enable-mtls needs --sentry-address"),
    ],
)
def test_what_is_missing_or_wrong_ends_the_start(
    world: World, anchors: str, flags: tuple[str, ...], reason: str
) -> None:
    text = issuing.made().anchors.decode() if anchors == "good" else anchors
    given = ("--enable-mtls", "--sentry-address", "localhost:1", *flags)
    sidecar = world.daprd("app", None, *given, environment={"DAPR_TRUST_ANCHORS": text})
    assert sidecar.exit_code() == 1
    assert f"Fatal error from runtime: {reason}" in sidecar.log


def test_anchors_come_from_one_place_only(world: World, tmp_path: Path) -> None:
    anchors = issuing.made().anchors
    file = tmp_path / "ca.crt"
    file.write_bytes(anchors)
    flags = ("--enable-mtls", "--sentry-address", "localhost:1")
    both = {"DAPR_TRUST_ANCHORS": anchors.decode(), "DAPR_TRUST_ANCHORS_FILE": str(file)}
    sidecar = world.daprd("app", None, *flags, environment=both)
    assert sidecar.exit_code() == 1
    assert "trust anchors cannot be specified in both" in sidecar.log
    file.write_text("nonsense")
    wrong = world.daprd("app", None, *flags, environment={"DAPR_TRUST_ANCHORS_FILE": str(file)})
    assert wrong.exit_code() == 1
    assert "Fatal error from runtime: failed to decode trust anchors: no certificates found" in wrong.log


def test_a_file_of_anchors_that_comes_late_is_waited_for(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    sidecar = mesh.daprd(environment={"DAPR_TRUST_ANCHORS_FILE": str(file)})
    sidecar.await_log(f"Trust anchors file '{file}' not found, waiting...")
    file.write_text(mesh.sentry.anchors)
    sidecar.await_ready()


async def test_tls_is_1_2_at_least_and_http2(mesh: Mesh) -> None:
    callee = mesh.sidecar("callee", mesh.world.app())
    source: svid.Source = await mesh.sentry.source("visitor")
    context = tls.client(source.anchors)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    source.showing(context)
    await greet(callee, tls.connector(lambda: context, lambda _: True))
    assert callee.process.poll() is None
