"""Certificates that live for seconds, and roots that are replaced, while calls go on: none of them fails."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar
from tests.integration.mtls.conftest import Mesh, invoke, knock
from tests.integration.mtls.load import Load, await_renewals
from tests.unit.security import issuing

from pydapr.net import http2_pool
from pydapr.security import certificates, svid, tls, trust
from pydapr.sentry import bundle

pytestmark = pytest.mark.parametrize("sentry", ["short-lived"], indirect=True)


def test_renewals_pass_unnoticed(mesh: Mesh) -> None:
    callee, caller = mesh.sidecar("callee", mesh.world.app()), mesh.sidecar("caller")
    load = Load(caller, callee)
    with load.running():
        await_renewals([caller, callee], 4)
    assert not load.failures
    assert load.count > 50
    page = caller.call("GET", "/", port=caller.metrics).body.decode()
    method = 'grpc_client_method="/dapr.proto.sentry.v1.CA/SignCertificate",grpc_client_status="OK"'
    assert f'dapr_grpc_io_client_completed_rpcs{{app_id="{caller.app_id}",{method}}}' in page


def test_a_stream_outlives_the_certificates_that_it_began_with(mesh: Mesh) -> None:
    callee, caller = mesh.sidecar("callee", mesh.world.app()), mesh.sidecar("caller")
    wire = caller.connect()
    wire.send(
        f"POST /v1.0/invoke/{callee.app_id}/method/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n".encode()
    )
    await_renewals([caller, callee], 4)  # 4 s of life each, renewed at less than half of it
    wire.send(b"6\r\n world\r\n0\r\n\r\n")
    answer = wire.message()
    assert answer.status == 200
    assert b"hello world" in answer.body


def test_roots_are_replaced_one_after_the_other_without_a_restart(mesh: Mesh, tmp_path: Path) -> None:
    sentry = mesh.sentry
    file = tmp_path / "anchors.pem"
    file.write_text(sentry.anchors)
    environment = {"DAPR_TRUST_ANCHORS_FILE": str(file)}
    callee = mesh.daprd("callee", mesh.world.app(), environment=environment).await_ready()
    caller = mesh.daprd("caller", environment=environment).await_ready()
    sidecars = [callee, caller]
    load = Load(caller, callee)
    first = old = sentry.anchors.encode()
    with load.running():
        for _ in range(3):
            made = issuing.made()
            take(file, old + made.anchors, sidecars)
            issue_by(mesh, made, old + made.anchors)
            await_renewals(sidecars, 2)
            take(file, made.anchors, sidecars)
            old = made.anchors
    assert not load.failures
    assert load.count > 50
    asyncio.run(is_known_by(callee, mesh, trust.read(old)))
    with pytest.raises(http2_pool.Unreachable):
        asyncio.run(is_known_by(callee, mesh, trust.read(first)))


def take(file: Path, anchors: bytes, sidecars: list[Sidecar]) -> None:
    """Writes trust anchors, and waits until all go by them."""
    before = [one.log.count("Trust anchors have changed") for one in sidecars]
    file.write_bytes(anchors)
    for sidecar, number in zip(sidecars, before, strict=True):
        harness.eventually(
            lambda sidecar=sidecar, number=number: sidecar.log.count("Trust anchors have changed") > number,  # type: ignore[misc]
            "the anchors are taken over",
        )


def issue_by(mesh: Mesh, made: bundle.Bundle, anchors: bytes) -> None:
    """Has sentry issue by another authority."""
    sentry = mesh.sentry
    before = sentry.log.count("Issuer credentials changed")
    (sentry.credentials / "ca.crt").write_bytes(anchors)
    (sentry.credentials / "issuer.crt").write_bytes(certificates.encode(made.chain))
    (sentry.credentials / "issuer.key").write_bytes(certificates.encode_key(made.key))
    harness.eventually(lambda: sentry.log.count("Issuer credentials changed") > before, "sentry has changed")


async def is_known_by(sidecar: Sidecar, mesh: Mesh, anchors: trust.Anchors) -> None:
    """Connects with a certificate of now and trust in `anchors` only. Raises `http2_pool.Unreachable`."""
    source: svid.Source = await mesh.sentry.source("visitor")
    source.go_by(anchors)
    await knock(sidecar.internal, tls.connector(source.client_context, lambda _: True))


def test_anchors_that_cannot_be_used_leave_those_from_before_in_force(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "anchors.pem"
    file.write_text(mesh.sentry.anchors)
    environment = {"DAPR_TRUST_ANCHORS_FILE": str(file)}
    callee = mesh.daprd("callee", mesh.world.app(), environment=environment).await_ready()
    caller = mesh.daprd("caller", environment=environment).await_ready()
    file.write_text("nonsense")
    caller.await_log("no certificates found: the trust anchors from before stay in force")
    assert invoke(caller, callee)[0] == 200


def test_without_sentry_calls_go_on_while_certificates_last_and_again_when_it_is_back(mesh: Mesh) -> None:
    callee, caller = mesh.sidecar("callee", mesh.world.app()), mesh.sidecar("caller")
    restart: Callable[[], object] = mesh.sentry.stop
    restart()
    for sidecar in (callee, caller):
        sidecar.await_log("Error renewing identity")
    back = type(mesh.sentry)(
        mesh.sentry.credentials.parent, port=mesh.sentry.port, configuration=mesh.sentry.configuration
    )
    try:
        await_renewals([callee, caller], 1)
        assert invoke(caller, callee)[0] == 200
    finally:
        back.kill()
