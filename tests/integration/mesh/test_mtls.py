"""Our sidecars and the original's in one mesh under mTLS, with certificates of our sentry and of the original's.

Runs when PYDAPR_ORIGINAL names a folder with the original executables. Both sides refuse what they are to refuse.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.integration import harness
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import Sidecar, World
from tests.integration.mtls.load import Load, await_renewals
from tests.integration.sentry.authority import CONFIGURATION, OURS, THEIRS, Authority

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

KINDS = ("ours", "original")
PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}


class Mesh:
    """A caller and a callee of each kind, with identities from one sentry."""

    def __init__(self, world: World, sentry: Authority) -> None:
        flags = ("--enable-mtls", "--sentry-address", sentry.address)
        environment = {"DAPR_TRUST_ANCHORS": sentry.anchors}
        self.app = world.app()
        self.callers: dict[str, Sidecar] = {}
        self.callees: dict[str, Sidecar] = {}
        self.bare: dict[str, Sidecar] = {}
        for kind in KINDS:
            made = PROGRAMS[kind]
            self.callers[kind] = world.daprd(f"caller-{kind}", None, *flags, environment=environment, program=made)
            self.callees[kind] = world.daprd(f"callee-{kind}", self.app, *flags, environment=environment, program=made)
            self.bare[kind] = world.daprd(f"bare-{kind}", self.app, program=made)
        for sidecar in world.sidecars:
            sidecar.await_ready()


@pytest.fixture(scope="module", params=[OURS, THEIRS], ids=["our sentry", "original sentry"])
def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("authority")
    sentry = Authority(folder, program=request.param)
    world = World(folder)
    try:
        yield Mesh(world, sentry.await_ready())
    finally:
        world.close()
        sentry.kill()


@pytest.mark.parametrize(("caller", "callee"), list(itertools.product(KINDS, repeat=2)))
def test_each_calls_the_other(mesh: Mesh, caller: str, callee: str) -> None:
    url = f"/v1.0/invoke/{mesh.callees[callee].app_id}/method/some"
    one = mesh.callers[caller]
    harness.eventually(lambda: one.call("POST", url, body=b"hello").status == 200, f"{caller} calls {callee}")
    for size in (0, 1000, 200_000):
        answer = one.call("POST", url, body=b"x" * size)
        assert answer.status == 200
        assert b"x" * size in answer.body


@pytest.mark.parametrize(("caller", "callee"), list(itertools.product(KINDS, repeat=2)))
def test_nobody_calls_one_that_shows_no_identity(mesh: Mesh, caller: str, callee: str) -> None:
    url = f"/v1.0/invoke/{mesh.bare[callee].app_id}/method/some"
    before = len(mesh.app.seen)
    answer = mesh.callers[caller].call("POST", url, body=b"hello")
    assert answer.status == 500
    assert b"tls: first record does not look like a TLS handshake" in answer.body
    assert len(mesh.app.seen) == before


@pytest.mark.parametrize(("caller", "callee"), list(itertools.product(KINDS, repeat=2)))
def test_nobody_without_an_identity_is_let_in(mesh: Mesh, caller: str, callee: str) -> None:
    url = f"/v1.0/invoke/{mesh.callees[callee].app_id}/method/some"
    before = len(mesh.app.seen)
    answer = mesh.bare[caller].call("POST", url, body=b"hello")
    assert answer.status == 500
    assert b"error reading server preface" in answer.body
    assert len(mesh.app.seen) == before


@pytest.mark.parametrize(("caller", "callee"), [("ours", "original"), ("original", "ours")])
def test_renewals_of_either_pass_unnoticed(world: World, tmp_path: Path, caller: str, callee: str) -> None:
    rules = CONFIGURATION + "    workloadCertTTL: 4s\n    allowedClockSkew: 1s\n"
    sentry = Authority(tmp_path / "authority", configuration=rules)
    try:
        sentry.await_ready()
        flags = ("--enable-mtls", "--sentry-address", sentry.address)
        environment = {"DAPR_TRUST_ANCHORS": sentry.anchors}
        one = world.daprd("caller", None, *flags, environment=environment, program=PROGRAMS[caller]).await_ready()
        other = world.daprd("callee", world.app(), *flags, environment=environment, program=PROGRAMS[callee])
        other.await_ready()
        load = Load(one, other)
        assert load.once() == 200
        with load.running():
            await_renewals([one if caller == "ours" else other], 4)
    finally:
        sentry.kill()
    assert not load.failures
    assert load.count > 50


@pytest.mark.parametrize(("caller", "callee"), [("ours", "ours"), ("ours", "original"), ("original", "ours")])
def test_grpc_calls_pass_through(world: World, tmp_path: Path, caller: str, callee: str) -> None:
    sentry = Authority(tmp_path / "authority")
    app = GrpcApp()
    try:
        sentry.await_ready()
        flags = ("--enable-mtls", "--sentry-address", sentry.address)
        environment = {"DAPR_TRUST_ANCHORS": sentry.anchors}
        one = world.daprd("caller", None, *flags, environment=environment, program=PROGRAMS[caller]).await_ready()
        kind = ("--app-protocol", "grpc")
        other = world.daprd(
            "callee", app.port, *flags, *kind, environment=environment, program=PROGRAMS[callee]
        ).await_ready()
        metadata = (("dapr-app-id", other.app_id),)
        with grpc.insecure_channel(f"127.0.0.1:{one.grpc}") as channel:
            call = channel.unary_unary("/my.Service/Unary")
            for size in (0, 1000, 1_000_000):
                assert call(b"x" * size, metadata=metadata, timeout=harness.LIMIT) == b"x" * size
    finally:
        app.close()
        sentry.kill()
