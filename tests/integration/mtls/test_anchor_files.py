"""The file of trust anchors, in each way in which one is changed or broken, while a process goes by it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.integration import harness
from tests.integration.harness import Sidecar
from tests.integration.mtls.conftest import Mesh, knock
from tests.integration.placement.members import Member
from tests.unit.security import issuing

from pydapr.net import http2_pool
from pydapr.security import certificates, pem, svid, tls, trust
from pydapr.sentry import bundle

CHANGED, RENEWED = "Trust anchors have changed", "Successfully renewed workload identity"
REFUSED = "the trust anchors from before stay in force"


class Folder:
    """A folder with `ca.crt` as Kubernetes mounts it: a link to a link that is swapped."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, path / "ca.crt"
        self._number = 0
        path.mkdir()
        self.file.symlink_to("..data/ca.crt")

    def swap(self, data: bytes) -> None:
        self._number += 1
        folder = self.path / f"..{self._number}"
        folder.mkdir()
        (folder / "ca.crt").write_bytes(data)
        (self.path / "..data_tmp").symlink_to(folder.name)
        os.replace(self.path / "..data_tmp", self.path / "..data")

    def rename(self, data: bytes) -> None:
        (self.path / "next").write_bytes(data)
        os.replace(self.path / "next", self.file)


def broken(made: bundle.Bundle) -> bytes:
    """Its root as one that no library reads: of a version that there is none of."""
    content = certificates.read_all(made.anchors)[0].public_bytes(serialization.Encoding.DER)
    return pem.encode("CERTIFICATE", content.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x77"))


async def visit(port: int, by: bundle.Bundle, anchors: trust.Anchors) -> None:
    """Connects with a certificate of this authority. Raises `http2_pool.Unreachable`."""
    source: svid.Source = await issuing.Issuer(by).source("visitor")
    source.go_by(anchors)
    await knock(port, tls.connector(source.client_context, lambda _: True))


@pytest.mark.parametrize("kind", ["daprd", "placement"])
def test_whatever_becomes_of_the_file(mesh: Mesh, tmp_path: Path, kind: str) -> None:
    folder, own, other, third = (
        Folder(tmp_path / "anchors"),
        mesh.sentry.anchors.encode(),
        issuing.made(),
        issuing.made(),
    )
    folder.swap(own)
    follower: Member | Sidecar
    if kind == "daprd":
        follower = mesh.daprd(environment={"DAPR_TRUST_ANCHORS_FILE": str(folder.file)}).await_ready()
        port = follower.internal
    else:
        flags = "--tls-enabled", f"--sentry-address={mesh.sentry.address}", f"--trust-anchors-file={folder.file}"
        follower = Member(tmp_path, {"p1": harness.free_port()}, "p1", *flags).await_ready()
        port = follower.port

    def awaited(line: str, change: Callable[[], object]) -> None:
        before = follower.log.count(line)
        change()
        harness.eventually(lambda: follower.log.count(line) > before or follower.process.poll() is not None, line)
        assert follower.process.poll() is None, follower.log

    def is_let_in(by: bundle.Bundle) -> bool:
        try:
            asyncio.run(visit(port, by, trust.read(own)))
        except http2_pool.Unreachable:
            return False
        return True

    try:
        assert not is_let_in(other)
        awaited(RENEWED, lambda: folder.swap(own + other.anchors))
        assert is_let_in(other)
        awaited(REFUSED, lambda: folder.file.write_bytes(own + broken(third)))
        awaited(REFUSED, folder.file.unlink)
        awaited(REFUSED, lambda: folder.file.write_bytes(b"\xff\x00 no certificate"))
        assert is_let_in(other)
        awaited(RENEWED, lambda: folder.rename(own + third.anchors))
        assert is_let_in(third)
        assert not is_let_in(other)
        awaited(RENEWED, lambda: folder.file.write_bytes(own))
        assert not is_let_in(third)
        assert follower.log.count(CHANGED) == 3
    finally:
        if isinstance(follower, Member):
            follower.kill()
